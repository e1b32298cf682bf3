/* resolver.c - rounds of questions to name servers, and when they begin. */
#include "fleet/resolver_parts.h"
#include "machine/stream.h"

#include <stdlib.h>

/* Queries under way whose answers are still needed. */
#define QUERIES_MAX 64u
/* A server that owes this many answers which others gave meanwhile is asked last. */
#define OWED_MAX 4u
/* Demanded rounds begin at least this long after the one before. */
#define DEMAND_PAUSE sec(1)

/* --- life ------------------------------------------------------------------------------------- */

static void resolver_follow(struct resolver *resolver, const struct resolver_settings *settings)
{
    resolver->settings = *settings;
    resolver->backends.is_srv = settings->kind == RESOLVER_SRV;
    resolver->backends.name = settings->name;
    resolver->listing.is_srv = true;
    resolver->listing.name = settings->server_service;
}

fault resolver_new(const struct resolver_settings *settings, uint64_t seed, struct resolver **ret)
{
    struct resolver *resolver = calloc(1, sizeof(*resolver));
    struct found_set *found = calloc(1, sizeof(*found));
    if (resolver == NULL || found == NULL) {
        free(resolver);
        free(found);
        return FAULT_MEMORY;
    }
    resolver->found = found;
    resolver->seed = seed | 1;
    resolver->system = DNS_SYSTEM_INIT;
    list_init(&resolver->questions);
    list_init(&resolver->queries);
    lookup_init(&resolver->listing);
    lookup_init(&resolver->backends);
    resolver_follow(resolver, settings);
    *ret = resolver;
    return OK;
}

/* Ends the round without a result.  Queries under way stay, but their answers are ignored. */
static void resolver_abandon(struct resolver *resolver)
{
    LIST_EACH (&resolver->queries, it)
        LIST_ENTRY(it, struct query, node)->question = NULL;
    LIST_EACH_SAFE (&resolver->questions, it) {
        struct question *question = LIST_ENTRY(it, struct question, node);
        list_remove(&resolver->questions, it);
        free(question);
    }
    resolver->listing.pending = 0;
    resolver->backends.pending = 0;
    resolver->phase = PHASE_IDLE;
}

void resolver_free(struct resolver **resolver)
{
    struct resolver *gone = TAKE(*resolver);
    if (gone == NULL)
        return;
    resolver_abandon(gone);
    LIST_EACH_SAFE (&gone->queries, it) {
        struct query *query = LIST_ENTRY(it, struct query, node);
        list_remove(&gone->queries, it);
        free(query);
    }
    lookup_fini(&gone->listing);
    lookup_fini(&gone->backends);
    dns_system_fini(&gone->system);
    free(gone->found);
    free(gone);
}

static bool texts_equal(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

void resolver_set(struct resolver *resolver, const struct resolver_settings *settings)
{
    const struct resolver_settings *before = &resolver->settings;
    resolver_abandon(resolver);
    if (before->kind != settings->kind || !texts_equal(before->name, settings->name))
        lookup_forget(&resolver->backends);
    if (!texts_equal(before->server_service, settings->server_service))
        lookup_forget(&resolver->listing);
    resolver_follow(resolver, settings);
    resolver->due = (deadline){.us = 0};
}

void resolver_set_system(struct resolver *resolver, struct dns_system *system)
{
    dns_system_fini(&resolver->system);
    resolver->system = *system;
    *system = DNS_SYSTEM_INIT;
}

/* --- backends --------------------------------------------------------------------------------- */

/* Replaces the found backends if the new ones differ. */
static void resolver_replace(struct resolver *resolver, struct found_set *set)
{
    found_set_sort(set);
    if (found_set_equal(set, resolver->found)) {
        free(set);
        return;
    }
    free(resolver->found);
    resolver->found = set;
    resolver->version += 1;
}

/* Adds what was found so far in this round.  Only its end removes anything. */
static void resolver_add(struct resolver *resolver, moment now)
{
    struct found_set *set = calloc(1, sizeof(*set));
    if (set == NULL)
        return;
    lookup_collect(resolver, &resolver->backends, now, set);
    for (size_t i = 0; i < resolver->found->count; i++)
        found_set_add(set, &resolver->found->all[i]);
    resolver_replace(resolver, set);
}

/* Whether backends stay of which nothing is known any more: failures empty no service. */
static bool resolver_keeps(const struct resolver *resolver, moment now)
{
    return !lookup_is_empty(resolver, &resolver->backends) &&
           between(resolver->good_at, now).us <= resolver->settings.stale_for.us;
}

static void resolver_conclude(struct resolver *resolver, moment now)
{
    struct found_set *set = calloc(1, sizeof(*set));
    if (set == NULL)
        return;
    lookup_collect(resolver, &resolver->backends, now, set);
    if (set->count == 0 && resolver_keeps(resolver, now))
        free(set);
    else
        resolver_replace(resolver, set);
}

/* --- rounds ----------------------------------------------------------------------------------- */

static bool resolver_lists(const struct resolver *resolver)
{
    return resolver->settings.server_service != NULL;
}

/* Makes the list of name servers anew, so that those which are no longer listed are gone. */
static void resolver_make_servers(struct resolver *resolver, moment now)
{
    const struct resolver_settings *settings = &resolver->settings;
    struct name_servers before = resolver->servers;
    bool own = settings->server_count > 0;
    size_t count = own ? settings->server_count : resolver->system.server_count;
    const struct address *given = own ? settings->servers : resolver->system.servers;
    struct found_set *listed = resolver_lists(resolver) ? calloc(1, sizeof(*listed)) : NULL;
    resolver->servers.count = 0;
    for (size_t i = 0; i < count; i++)
        name_servers_add(&resolver->servers, &before, &given[i], NAME_SERVER_GIVEN);
    if (listed == NULL)
        return;
    lookup_collect(resolver, &resolver->listing, now, listed);
    for (size_t i = 0; i < listed->count; i++)
        name_servers_add(&resolver->servers, &before, &listed->all[i].address, NAME_SERVER_LISTED);
    free(listed);
}

static void resolver_begin_backends(struct resolver *resolver, moment now)
{
    resolver_make_servers(resolver, now);
    resolver->phase = PHASE_BACKENDS;
    lookup_begin(resolver, &resolver->backends, now);
}

static void resolver_begin(struct resolver *resolver, moment now)
{
    resolver->began = true;
    resolver->began_at = now;
    resolver->demanded = false;
    if (!resolver_lists(resolver)) {
        resolver_begin_backends(resolver, now);
        return;
    }
    resolver_make_servers(resolver, now);
    resolver->phase = PHASE_SERVERS;
    lookup_begin(resolver, &resolver->listing, now);
}

static uint64_t resolver_random(struct resolver *resolver)
{
    uint64_t x = resolver->seed;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    resolver->seed = x;
    return x;
}

/* Four fifths of the smallest time to live, up to a tenth less by chance, so that the processes of
 * many machines do not ask at the same time.  At the shortest interval it is up to a tenth more. */
static duration resolver_interval(struct resolver *resolver, bool found_all)
{
    int64_t min = resolver->settings.refresh_min.us;
    int64_t max = MAX_OF(resolver->settings.refresh_max.us, min);
    uint32_t ttl = lookup_ttl(&resolver->backends);
    if (resolver_lists(resolver))
        ttl = MIN_OF(ttl, lookup_ttl(&resolver->listing));
    int64_t wait = !found_all ? min : ttl == UINT32_MAX ? max : (int64_t)ttl * 800000;
    wait = MIN_OF(MAX_OF(wait, min), max);
    int64_t chance = (int64_t)(resolver_random(resolver) % (uint64_t)(wait / 10 + 1));
    wait = wait > min ? MAX_OF(wait - chance, min) : MIN_OF(wait + chance, max);
    return (duration){.us = wait};
}

static void resolver_end(struct resolver *resolver, moment now)
{
    lookup_end(resolver, &resolver->backends);
    bool wrong = lookup_wrong(&resolver->backends, resolver->wrong, sizeof(resolver->wrong)) ||
                 (resolver_lists(resolver) &&
                  lookup_wrong(&resolver->listing, resolver->wrong, sizeof(resolver->wrong)));
    resolver->failures += wrong;
    if (!wrong) {
        resolver->wrong[0] = '\0';
        resolver->good_at = now;
    }
    resolver_conclude(resolver, now);
    resolver->phase = PHASE_IDLE;
    resolver->rounds += 1;
    resolver->due = later(now, resolver_interval(resolver, !wrong));
}

/* Goes on after the last question of a phase. */
static void resolver_end_phase(struct resolver *resolver, moment now)
{
    if (resolver->phase == PHASE_BACKENDS) {
        resolver_end(resolver, now);
        return;
    }
    lookup_end(resolver, &resolver->listing);
    resolver_begin_backends(resolver, now);
}

deadline resolver_due(const struct resolver *resolver)
{
    if (resolver->phase != PHASE_IDLE)
        return NEVER;
    if (!resolver->demanded || !resolver->began)
        return resolver->due;
    return earlier_of(resolver->due, later(resolver->began_at, DEMAND_PAUSE));
}

bool resolver_begins(const struct resolver *resolver, moment now)
{
    return resolver->phase == PHASE_IDLE && resolver_due(resolver).us <= now.us;
}

void resolver_demand(struct resolver *resolver)
{
    resolver->demanded = true;
}

/* --- queries ---------------------------------------------------------------------------------- */

static uint32_t answers_owed(const struct resolver *resolver, const struct address *at)
{
    uint32_t count = 0;
    LIST_EACH (&resolver->queries, it) {
        const struct query *query = LIST_ENTRY(it, struct query, node);
        count += query->question == NULL && address_equal(&query->server, at);
    }
    return count;
}

/* Servers of a lower rank are asked first.  Those that `server_service` lists know the service;
 * those that were given know only which these are. */
static uint32_t server_rank(const struct resolver *resolver, const struct name_server *server,
                            moment now)
{
    enum name_server_source first =
        resolver->phase == PHASE_BACKENDS ? NAME_SERVER_LISTED : NAME_SERVER_GIVEN;
    bool held = server->held_until.us > now.us || answers_owed(resolver, &server->at) >= OWED_MAX;
    return (server->source == first ? 0u : 2u) + held;
}

/* Finds the server to ask next, beside those that are being asked.  NULL: none. */
static struct name_server *question_server(struct resolver *resolver, struct question *question,
                                           moment now)
{
    struct name_server *best = NULL;
    uint32_t best_rank = UINT32_MAX;
    if (question->asked >= resolver->settings.at_once || question->negative)
        return NULL;
    for (size_t i = 0; i < resolver->servers.count; i++) {
        struct name_server *server = &resolver->servers.all[i];
        uint32_t rank = server_rank(resolver, server, now);
        if ((question->tried & (uint64_t)1 << i) != 0 || rank >= best_rank)
            continue;
        best = server;
        best_rank = rank;
    }
    if (best == NULL || (question->asked > 0 && best_rank != question->rank))
        return NULL;
    question->rank = best_rank;
    return best;
}

/* Asks a server; returns false without memory, and the server counts as tried. */
static bool question_send(struct resolver *resolver, struct question *question,
                          const struct name_server *server, struct resolver_query *ret)
{
    question->tried |= (uint64_t)1 << (server - resolver->servers.all);
    struct query *query = calloc(1, sizeof(*query));
    if (query == NULL)
        return false;
    query->number = ++resolver->numbers;
    query->server = server->at;
    query->question = question;
    question->asked += 1;
    list_push(&resolver->queries, &query->node);
    *ret = (struct resolver_query){.number = query->number,
                                   .server = server->at,
                                   .type = question->type,
                                   .timeout = resolver->settings.timeout};
    memcpy(ret->name, question->name, sizeof(ret->name));
    return true;
}

static uint32_t answers_needed(const struct resolver *resolver)
{
    uint32_t count = 0;
    LIST_EACH (&resolver->queries, it)
        count += LIST_ENTRY(it, struct query, node)->question != NULL;
    return count;
}

/* Looks for a question that can be asked now.  Ends questions that no server is left for. */
static bool resolver_ask_any(struct resolver *resolver, moment now, struct resolver_query *ret)
{
    bool full = answers_needed(resolver) >= QUERIES_MAX;
    struct node *it = resolver->questions.head.next;
    while (it != &resolver->questions.head) {
        struct question *question = LIST_ENTRY(it, struct question, node);
        struct name_server *server = full ? NULL : question_server(resolver, question, now);
        if (server != NULL) {
            if (question_send(resolver, question, server, ret))
                return true;
            continue;
        }
        bool over = question->asked == 0 && (!full || question->negative);
        it = it->next;
        if (!over)
            continue;
        /* May add questions, at the end of the list. */
        bool last = it == &resolver->questions.head;
        lookup_answered(resolver, question, question->said, &question->by, SPAN_NONE, now);
        if (last)
            it = resolver->questions.head.next;
    }
    return false;
}

bool resolver_ask(struct resolver *resolver, moment now, struct resolver_query *ret)
{
    if (resolver_begins(resolver, now))
        resolver_begin(resolver, now);
    while (resolver->phase != PHASE_IDLE) {
        if (resolver_ask_any(resolver, now, ret))
            return true;
        if (!list_empty(&resolver->questions))
            return false;
        resolver_end_phase(resolver, now);
    }
    return false;
}

static struct query *query_find(const struct resolver *resolver, uint64_t number)
{
    LIST_EACH (&resolver->queries, it) {
        struct query *query = LIST_ENTRY(it, struct query, node);
        if (query->number == number)
            return query;
    }
    return NULL;
}

/* Takes the first answer with records: other servers' answers are no longer needed. */
static void question_won(struct resolver *resolver, struct question *question,
                         const struct address *by, struct span raw, moment now)
{
    LIST_EACH (&resolver->queries, it) {
        struct query *query = LIST_ENTRY(it, struct query, node);
        if (query->question == question)
            query->question = NULL;
    }
    lookup_answered(resolver, question, DNS_RECORDS, by, raw, now);
    if (resolver->phase == PHASE_BACKENDS)
        resolver_add(resolver, now);
}

void resolver_answer(struct resolver *resolver, moment now, uint64_t number, int status,
                     struct span raw)
{
    struct query *query = query_find(resolver, number);
    struct dns_reply reply;
    if (query == NULL)
        return;
    struct question *question = query->question;
    struct address by = query->server;
    list_remove(&resolver->queries, &query->node);
    free(query);
    enum dns_said said = dns_said_of(status);
    if (status == 0)
        said = dns_message_reply(raw, question == NULL ? "" : question->name,
                                 question == NULL ? 0 : question->type, &reply);
    name_servers_note(&resolver->servers, &by, said, now);
    if (question == NULL)
        return;
    question->asked -= 1;
    if (said == DNS_RECORDS) {
        question_won(resolver, question, &by, raw, now);
        return;
    }
    if (question->negative)
        return;
    question->negative = !lookup_failed(said);
    question->said = said;
    question->by = by;
}

/* --- results ---------------------------------------------------------------------------------- */

uint64_t resolver_version(const struct resolver *resolver)
{
    return resolver->version;
}

const struct backend_found *resolver_found(const struct resolver *resolver, size_t *ret_count)
{
    *ret_count = resolver->found->count;
    return resolver->found->all;
}

uint64_t resolver_begun(const struct resolver *resolver)
{
    return resolver->rounds + (resolver->phase != PHASE_IDLE);
}

uint64_t resolver_rounds(const struct resolver *resolver)
{
    return resolver->rounds;
}

bool resolver_succeeded(const struct resolver *resolver, const char **ret)
{
    *ret = resolver->wrong;
    return resolver->rounds > 0 && resolver->wrong[0] == '\0';
}
