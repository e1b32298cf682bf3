/* resolver_lookup.c - what is known about one name, and the questions that a round asks about it.
 */
#include "fleet/resolver_parts.h"
#include "machine/stream.h"

#include <stdio.h>
#include <stdlib.h>

static const int family_types[FAMILIES] = {DNS_TYPE_A, DNS_TYPE_AAAA};

/* --- targets ---------------------------------------------------------------------------------- */

static struct lookup_target *target_find(const struct lookup *lookup, const char *name)
{
    LIST_EACH (&lookup->targets, it) {
        struct lookup_target *target = LIST_ENTRY(it, struct lookup_target, node);
        if (strcmp(target->name, name) == 0)
            return target;
    }
    return NULL;
}

/* Finds or adds a target.  NULL: no memory. */
static struct lookup_target *target_named(struct lookup *lookup, const char *name)
{
    struct lookup_target *target = target_find(lookup, name);
    if (target == NULL) {
        size_t size = strlen(name) + 1;
        target = calloc(1, sizeof(*target) + size);
        if (target == NULL)
            return NULL;
        memcpy(target->name, name, size);
        list_push(&lookup->targets, &target->node);
    }
    target->named = true;
    return target;
}

static void family_clear(struct lookup_family *family)
{
    free(family->addresses);
    family->addresses = NULL;
    family->count = 0;
    family->known.good = false;
}

static void target_free(struct lookup *lookup, struct lookup_target *target)
{
    for (int i = 0; i < FAMILIES; i++)
        family_clear(&target->families[i]);
    list_remove(&lookup->targets, &target->node);
    free(target);
}

void lookup_init(struct lookup *lookup)
{
    *lookup = (struct lookup){.is_srv = false};
    list_init(&lookup->targets);
}

void lookup_forget(struct lookup *lookup)
{
    LIST_EACH_SAFE (&lookup->targets, it)
        target_free(lookup, LIST_ENTRY(it, struct lookup_target, node));
    lookup->count = 0;
    lookup->empties = 0;
    lookup->pending = 0;
    lookup->known = (struct lookup_known){.asked = false};
}

void lookup_fini(struct lookup *lookup)
{
    lookup_forget(lookup);
    free(lookup->services);
    lookup->services = NULL;
}

/* --- what is known ---------------------------------------------------------------------------- */

static bool is_negative(enum dns_said said)
{
    return said == DNS_EMPTY || said == DNS_NO_NAME;
}

static void known_note(struct lookup_known *known, enum dns_said said, const struct address *by,
                       uint32_t ttl, moment now)
{
    known->asked = true;
    known->said = said;
    known->by = *by;
    if (said != DNS_RECORDS)
        return;
    known->good = true;
    known->good_at = now;
    known->ttl = ttl;
}

bool lookup_is_stale(const struct lookup_known *known)
{
    return known->good && known->said != DNS_RECORDS;
}

bool lookup_is_usable(const struct resolver *resolver, const struct lookup_known *known, moment now)
{
    if (!known->good || !lookup_failed(known->said))
        return known->good;
    return between(known->good_at, now).us <= resolver->settings.stale_for.us;
}

/* Adds an address to a family whose addresses are being read anew. */
static void family_add(struct lookup_family *family, const struct address *address)
{
    if (family->addresses == NULL)
        family->addresses = calloc(BACKENDS_FOUND_MAX, sizeof(*family->addresses));
    if (family->addresses != NULL && family->count < BACKENDS_FOUND_MAX)
        family->addresses[family->count++] = *address;
}

/* Gives back the memory that was reserved for the largest answer. */
static void family_fit(struct lookup_family *family)
{
    struct address *fitting = reallocarray(family->addresses, family->count, sizeof(*fitting));
    if (fitting != NULL)
        family->addresses = fitting;
}

/* Takes the addresses of `owner` from one section of an answer.  Returns how many there are, and
 * the smallest of *ttl and theirs. */
static size_t family_take(struct lookup_family *family, struct span raw, enum dns_section section,
                          const char *owner, int type, uint32_t *ttl)
{
    struct lookup_family fresh = {.known = family->known};
    struct dns_message message;
    struct dns_record record;
    if (!dns_message_open(raw, &message))
        return 0;
    while (dns_message_next(&message, &record)) {
        if (record.section != section || record.type != type || strcmp(record.owner, owner) != 0)
            continue;
        family_add(&fresh, &record.address);
        *ttl = MIN_OF(*ttl, record.ttl);
    }
    if (fresh.count == 0) {
        free(fresh.addresses);
        return 0;
    }
    family_clear(family);
    *family = fresh;
    family_fit(family);
    return family->count;
}

/* --- questions -------------------------------------------------------------------------------- */

/* Adds a question.  Without memory the question has failed, which changes nothing that is known. */
static void question_add(struct resolver *resolver, struct lookup *lookup,
                         struct lookup_target *target, int family, const char *name)
{
    struct lookup_known *known = target == NULL ? &lookup->known : &target->families[family].known;
    struct question *question = calloc(1, sizeof(*question));
    if (question == NULL) {
        known->asked = true;
        known->said = DNS_FAILED;
        return;
    }
    question->lookup = lookup;
    question->target = target;
    question->family = family;
    question->type = target == NULL ? DNS_TYPE_SRV : family_types[family];
    question->said = DNS_UNREACHABLE;
    snprintf(question->name, sizeof(question->name), "%s", name);
    lookup->pending += 1;
    list_push(&resolver->questions, &question->node);
}

/* Takes the addresses that the hosts file has for a target.  Returns whether there are any. */
static bool target_take_local(struct resolver *resolver, struct lookup_target *target, moment now)
{
    struct lookup_family fresh[FAMILIES] = {{.count = 0}};
    struct address address;
    size_t at = 0;
    while (dns_hosts_next(buffer_span(&resolver->system.hosts), &at, target->name, 0, &address))
        family_add(&fresh[address.family == ADDRESS_IPV6], &address);
    if (fresh[FAMILY_IPV4].count + fresh[FAMILY_IPV6].count == 0)
        return false;
    for (int i = 0; i < FAMILIES; i++) {
        family_clear(&target->families[i]);
        target->families[i] = fresh[i];
        known_note(&target->families[i].known, fresh[i].count > 0 ? DNS_RECORDS : DNS_EMPTY,
                   &(struct address){0}, UINT32_MAX, now);
    }
    return true;
}

/* Writes the name with the place `candidate` in the search order: as it is, or within a domain of
 * the search list; "" if that is too long.  Returns false behind the last one. */
static bool candidate_name(const struct dns_system *system, const char *name, size_t candidate,
                           char ret[DNS_NAME_SIZE])
{
    size_t size = strlen(name);
    uint32_t dots = 0;
    for (size_t i = 0; i < size; i++)
        dots += name[i] == '.';
    bool complete = size > 0 && name[size - 1] == '.';
    size_t domains = complete ? 0 : system->search_count;
    size_t as_it_is = complete || dots >= system->dots ? 0 : domains;
    if (candidate > domains)
        return false;
    int written;
    if (candidate == as_it_is)
        written = snprintf(ret, DNS_NAME_SIZE, "%.*s", (int)(size - complete), name);
    else
        written = snprintf(ret, DNS_NAME_SIZE, "%s.%s", name,
                           system->search[candidate - (as_it_is < candidate)]);
    if (written >= DNS_NAME_SIZE)
        ret[0] = '\0';
    return true;
}

static struct lookup_target *lookup_first_target(const struct lookup *lookup)
{
    return LIST_ENTRY(lookup->targets.head.next, struct lookup_target, node);
}

/* Asks for the next name of the search order, if there is one. */
static void lookup_next_candidate(struct resolver *resolver, struct lookup *lookup)
{
    char name[DNS_NAME_SIZE];
    do {
        if (!candidate_name(&resolver->system, lookup->name, lookup->candidate++, name))
            return;
    } while (name[0] == '\0');
    if (lookup->is_srv) {
        question_add(resolver, lookup, NULL, 0, name);
        return;
    }
    for (int i = 0; i < FAMILIES; i++)
        question_add(resolver, lookup, lookup_first_target(lookup), i, name);
}

/* Makes the only target of a name with addresses.  Returns false without memory. */
static bool lookup_make_target(struct resolver *resolver, struct lookup *lookup)
{
    LIST_EACH (&lookup->targets, it)
        LIST_ENTRY(it, struct lookup_target, node)->named = false;
    struct lookup_target *target = target_named(lookup, lookup->name);
    if (target == NULL)
        return false;
    list_remove(&lookup->targets, &target->node);
    list_push_front(&lookup->targets, &target->node);
    lookup->services[0] = (struct lookup_service){
        .target = target, .weight = BACKEND_WEIGHT_PLAIN, .port = resolver->settings.port};
    lookup->count = 1;
    lookup->targets_asked = true;
    return true;
}

void lookup_begin(struct resolver *resolver, struct lookup *lookup, moment now)
{
    lookup->candidate = 0;
    lookup->targets_asked = false;
    if (lookup->services == NULL)
        lookup->services = calloc(BACKENDS_FOUND_MAX, sizeof(*lookup->services));
    if (lookup->services == NULL || (!lookup->is_srv && !lookup_make_target(resolver, lookup))) {
        lookup->known.said = DNS_FAILED;
        return;
    }
    if (lookup->is_srv || !target_take_local(resolver, lookup_first_target(lookup), now))
        lookup_next_candidate(resolver, lookup);
}

/* --- answers ---------------------------------------------------------------------------------- */

/* Replaces the services by those of an answer.  Records with the target "." say that there is no
 * service; they are left out. */
static void lookup_take_services(struct lookup *lookup, struct span raw, const char *owner)
{
    struct dns_message message;
    struct dns_record record;
    bool opened = dns_message_open(raw, &message);
    invariant(opened);
    LIST_EACH (&lookup->targets, it)
        LIST_ENTRY(it, struct lookup_target, node)->named = false;
    lookup->count = 0;
    while (dns_message_next(&message, &record) && lookup->count < BACKENDS_FOUND_MAX) {
        if (record.section != DNS_ANSWER || record.type != DNS_TYPE_SRV ||
            strcmp(record.owner, owner) != 0 || strcmp(record.target, ".") == 0)
            continue;
        struct lookup_target *target = target_named(lookup, record.target);
        if (target != NULL)
            lookup->services[lookup->count++] =
                (struct lookup_service){target, record.priority, record.weight, record.port};
    }
}

static bool names_a_service(struct span raw, const char *owner)
{
    struct dns_message message;
    struct dns_record record;
    if (!dns_message_open(raw, &message))
        return false;
    while (dns_message_next(&message, &record))
        if (record.section == DNS_ANSWER && record.type == DNS_TYPE_SRV &&
            strcmp(record.owner, owner) == 0 && strcmp(record.target, ".") != 0)
            return true;
    return false;
}

/* Finds the addresses of the named targets: in the hosts file, in the additional section of the
 * answer, or by a question. */
static void lookup_ask_targets(struct resolver *resolver, struct lookup *lookup,
                               const struct address *by, struct span raw, moment now)
{
    lookup->targets_asked = true;
    LIST_EACH (&lookup->targets, it) {
        struct lookup_target *target = LIST_ENTRY(it, struct lookup_target, node);
        if (!target->named || target_take_local(resolver, target, now))
            continue;
        for (int i = 0; i < FAMILIES; i++) {
            struct lookup_family *family = &target->families[i];
            uint32_t ttl = UINT32_MAX;
            if (family_take(family, raw, DNS_ADDITIONAL, target->name, family_types[i], &ttl) > 0)
                known_note(&family->known, DNS_RECORDS, by, ttl, now);
            else
                question_add(resolver, lookup, target, i, target->name);
        }
    }
}

static void lookup_services_answered(struct resolver *resolver, const struct question *question,
                                     enum dns_said said, const struct address *by, struct span raw,
                                     moment now)
{
    struct lookup *lookup = question->lookup;
    struct dns_reply reply = {.ttl = 0};
    if (said == DNS_RECORDS)
        said = dns_message_reply(raw, question->name, DNS_TYPE_SRV, &reply);
    if (said == DNS_RECORDS && !names_a_service(raw, reply.owner))
        said = DNS_EMPTY;
    known_note(&lookup->known, said, by, reply.ttl, now);
    if (said == DNS_RECORDS) {
        lookup_take_services(lookup, raw, reply.owner);
        lookup_ask_targets(resolver, lookup, by, raw, now);
    } else if (is_negative(said)) {
        lookup_next_candidate(resolver, lookup);
    }
}

static void lookup_addresses_answered(const struct question *question, enum dns_said said,
                                      const struct address *by, struct span raw, moment now)
{
    struct lookup_family *family = &question->target->families[question->family];
    struct dns_reply reply = {.ttl = 0};
    if (said == DNS_RECORDS)
        said = dns_message_reply(raw, question->name, question->type, &reply);
    if (said == DNS_RECORDS &&
        family_take(family, raw, DNS_ANSWER, reply.owner, question->type, &reply.ttl) == 0)
        said = DNS_FAILED;
    known_note(&family->known, said, by, reply.ttl, now);
}

static bool target_is_negative(const struct lookup_target *target)
{
    return is_negative(target->families[FAMILY_IPV4].known.said) &&
           is_negative(target->families[FAMILY_IPV6].known.said);
}

void lookup_answered(struct resolver *resolver, struct question *question, enum dns_said said,
                     const struct address *by, struct span raw, moment now)
{
    struct lookup *lookup = question->lookup;
    lookup->pending -= 1;
    if (question->target == NULL)
        lookup_services_answered(resolver, question, said, by, raw, now);
    else
        lookup_addresses_answered(question, said, by, raw, now);
    if (!lookup->is_srv && question->target != NULL && lookup->pending == 0 &&
        target_is_negative(question->target))
        lookup_next_candidate(resolver, lookup);
    list_remove(&resolver->questions, &question->node);
    free(question);
}

/* --- the end of a round ----------------------------------------------------------------------- */

/* Counts a round for a target.  One family without a record is dropped if the other has one; both
 * are dropped after `empty_after` rounds without any. */
static void target_end(const struct resolver *resolver, struct lookup_target *target)
{
    bool found = false;
    for (int i = 0; i < FAMILIES; i++)
        found |= target->families[i].known.said == DNS_RECORDS;
    if (found)
        target->empties = 0;
    else if (target_is_negative(target))
        target->empties += 1;
    for (int i = 0; i < FAMILIES; i++)
        if (is_negative(target->families[i].known.said) &&
            (found || target->empties >= resolver->settings.empty_after))
            family_clear(&target->families[i]);
}

void lookup_end(struct resolver *resolver, struct lookup *lookup)
{
    invariant(lookup->pending == 0);
    if (lookup->is_srv && lookup->known.said == DNS_RECORDS)
        lookup->empties = 0;
    if (lookup->is_srv && is_negative(lookup->known.said)) {
        lookup->empties += 1;
        if (lookup->empties >= resolver->settings.empty_after) {
            lookup->known.good = false;
            lookup->count = 0;
            LIST_EACH (&lookup->targets, it)
                LIST_ENTRY(it, struct lookup_target, node)->named = false;
        }
    }
    LIST_EACH_SAFE (&lookup->targets, it) {
        struct lookup_target *target = LIST_ENTRY(it, struct lookup_target, node);
        if (!target->named)
            target_free(lookup, target);
        else if (lookup->targets_asked)
            target_end(resolver, target);
    }
}

bool lookup_is_empty(const struct resolver *resolver, const struct lookup *lookup)
{
    uint32_t enough = resolver->settings.empty_after;
    if (lookup->is_srv && lookup->empties >= enough)
        return true;
    LIST_EACH (&lookup->targets, it)
        if (LIST_ENTRY(it, struct lookup_target, node)->empties < enough)
            return false;
    return !list_empty(&lookup->targets);
}

static void collect_family(const struct resolver *resolver, const struct lookup_service *service,
                           const struct lookup_family *family, moment now, struct found_set *set)
{
    if (!lookup_is_usable(resolver, &family->known, now))
        return;
    for (size_t i = 0; i < family->count; i++) {
        struct backend_found found = {.target = service->target->name,
                                      .address = family->addresses[i],
                                      .priority = service->priority,
                                      .weight = service->weight,
                                      .zone = ""};
        found.address.port = service->port;
        found_set_add(set, &found);
    }
}

void lookup_collect(const struct resolver *resolver, const struct lookup *lookup, moment now,
                    struct found_set *set)
{
    if (lookup->is_srv && !lookup_is_usable(resolver, &lookup->known, now))
        return;
    for (size_t i = 0; i < lookup->count; i++)
        for (int k = 0; k < FAMILIES; k++)
            collect_family(resolver, &lookup->services[i], &lookup->services[i].target->families[k],
                           now, set);
}

static uint32_t known_ttl(const struct lookup_known *known)
{
    return known->said == DNS_RECORDS && known->good ? known->ttl : UINT32_MAX;
}

uint32_t lookup_ttl(const struct lookup *lookup)
{
    uint32_t ttl = lookup->is_srv ? known_ttl(&lookup->known) : UINT32_MAX;
    LIST_EACH (&lookup->targets, it) {
        const struct lookup_target *target = LIST_ENTRY(it, struct lookup_target, node);
        for (int i = 0; i < FAMILIES; i++)
            ttl = MIN_OF(ttl, known_ttl(&target->families[i].known));
    }
    return ttl;
}

/* --- what is wrong ---------------------------------------------------------------------------- */

static void wrong_text(const char *records, const char *name, const struct lookup_known *known,
                       char *text, size_t size)
{
    char by[ADDRESS_TEXT_SIZE] = "no name server";
    if (known->by.family != ADDRESS_NONE)
        address_text(&known->by, by, sizeof(by));
    snprintf(text, size, "%s records of \"%s\": %s said \"%s\"", records, name, by,
             dns_said_text(known->said));
}

static bool target_wrong(const struct lookup_target *target, char *text, size_t size)
{
    static const char *const names[FAMILIES] = {"A", "AAAA"};
    for (int i = 0; i < FAMILIES; i++) {
        if (!lookup_failed(target->families[i].known.said))
            continue;
        wrong_text(names[i], target->name, &target->families[i].known, text, size);
        return true;
    }
    if (!target_is_negative(target))
        return false;
    wrong_text("A and AAAA", target->name, &target->families[FAMILY_IPV4].known, text, size);
    return true;
}

bool lookup_wrong(const struct lookup *lookup, char *text, size_t size)
{
    if (lookup->is_srv && lookup->known.said != DNS_RECORDS) {
        wrong_text("SRV", lookup->name, &lookup->known, text, size);
        return true;
    }
    LIST_EACH (&lookup->targets, it)
        if (target_wrong(LIST_ENTRY(it, struct lookup_target, node), text, size))
            return true;
    return false;
}
