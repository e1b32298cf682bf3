#include "relay/flight/flight_shadow.h"

#include "fleet/target.h"
#include "flight/flight_env.h"
#include "machine/clock.h"
#include "machine/log.h"
#include "query/analysis.h"
#include "relay/client.h"
#include "relay/flight/flight_analyze.h"
#include "relay/flight/flight_judge.h"
#include "relay/flight/flight_key.h"
#include "relay/flight/flight_runner.h"
#include "relay/flight/flight_strict_parts.h"
#include "relay/relay.h"
#include "wire/message.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* A RowDescription. */
#define HELD_MAX (256u * 1024)
/* As for answers that clients get: flight_runner.c. */
#define JITTER     10u
#define STRICT_TTL sec(3600)
/* A statement's text in the log. */
#define TEXT_MAX     200u
#define ANALYSIS_MAX sec(1)
/* Between two differences that one relay logs. */
#define TOLD_EVERY sec(1)
/* How long a stale entry waits for the answer that replaces it. */
#define REFRESH_MAX sec(10)

struct flight_shadow {
    struct relay *relay;
    struct config *config;  /* counted: `rule` borrows from it */
    struct cache_rule rule; /* `mode` is what is compared */
    uint32_t line;          /* of the route */
    uint32_t noted;         /* bytes of the text that may be logged */
    uint64_t differences;   /* since the last one that was logged */
    struct buffer bytes;    /* of `key` */
    struct l1_key key;

    struct answer *own;    /* what the client gets; NULL: it is not kept any more */
    struct answer *other;  /* what the mode would have given; NULL: nothing */
    moment made;           /* of `other` */
    struct flight *flight; /* the own execution is one that others would have joined; counted */
    bool stores;           /* the own answer would have been stored */

    uint8_t header[WIRE_HEADER]; /* of the message that is read */
    uint8_t header_size;
    uint64_t left;
    struct buffer held; /* a RowDescription */
    uint64_t size;      /* bytes of rows */
    bool failed;
    bool complete;
    bool reported; /* a parameter's new value has come: the answer is not to be stored */

    moment sent;
    uint64_t flushes;
    struct generations_reads reads;
    uint64_t captured;

    /* Of the mode strict. */
    struct origin *origin;
    uint64_t epoch;
    struct feed_ticket ticket;
    struct mail back; /* to the relay */
    duration probe;
    bool asking;   /* the ticket is under way: the shadow outlives its client's statement */
    bool again;    /* it is the second one: the answers differ */
    bool detached; /* the client has its answer, or has left */
};

static struct flight_env *env_of(const struct flight_shadow *shadow)
{
    return shadow->relay->pools.env->flight;
}

/* --- the end ---------------------------------------------------------------------------------- */

static void shadow_free(struct flight_shadow *shadow)
{
    invariant(!shadow->asking && shadow->flight == NULL);
    answer_unref(&shadow->own);
    answer_unref(&shadow->other);
    config_unref(&shadow->config);
    buffer_fini(&shadow->bytes);
    buffer_fini(&shadow->held);
    free(shadow);
}

/* --- comparing -------------------------------------------------------------------------------- */

/* Whether two answers are the same bytes: description, rows in their order, tag. */
static bool are_equal(struct answer *a, struct answer *b)
{
    struct answer_reader one = {0}, two = {0};
    bool equal = answer_bytes(a) == answer_bytes(b) && answer_open(a, ANSWER_WHOLE, &one) &&
                 answer_open(b, ANSWER_WHOLE, &two);
    while (equal) {
        struct span left = answer_peek(&one), right = answer_peek(&two);
        size_t size = MIN_OF(left.size, right.size);
        if (size == 0)
            break;
        equal = memcmp(left.at, right.at, size) == 0;
        answer_consume(&one, size);
        answer_consume(&two, size);
    }
    answer_close(&one);
    answer_close(&two);
    return equal;
}

static void log_difference(const struct flight_shadow *shadow, const char *fingerprint)
{
    struct span text = flight_key_text(shadow->key.bytes);
    text.size = MIN_OF(text.size, (size_t)shadow->noted);
    log_event(LOG_WARNING, "cache.difference", log_number("route", shadow->line),
              log_number("rule", shadow->rule.number),
              log_text("of", cache_rules_mode_text(shadow->rule.mode)),
              log_number("age_ms", (uint64_t)(between(shadow->made, now()).us / 1000)),
              log_number("bytes", answer_bytes(shadow->own)),
              log_number("cached_bytes", answer_bytes(shadow->other)),
              log_number("differences", shadow->differences), log_text("fingerprint", fingerprint),
              text.size > 0 ? log_quote_span("text", text) : log_nothing());
}

/* Logs a difference, with the fingerprint of the statement.  Owns the shadow. */
static void tell_main(void *argument)
{
    struct flight_shadow *shadow = argument;
    struct relay *relay = shadow->relay;
    struct query_analysis *analysis = NULL;
    char fingerprint[17] = "";
    if (flight_analyze(flight_key_text(shadow->key.bytes), after(ANALYSIS_MAX), &analysis) == OK)
        snprintf(fingerprint, sizeof(fingerprint), "%016" PRIx64, analysis->fingerprint);
    query_analysis_free(&analysis);
    log_difference(shadow, fingerprint);
    shadow_free(shadow);
    relay->runs -= 1;
    relay_check_end(relay);
}

/* Counts a difference, and logs it if none was logged just now.  True: the shadow was taken over.
 */
static bool tell_difference(struct flight_shadow *shadow)
{
    struct relay *relay = shadow->relay;
    cache_rules_count(&shadow->rule, CACHE_COUNT_DIFFERENCES);
    relay->shadows.differences += 1;
    if (relay->shadows.told.us != 0 && later(relay->shadows.told, TOLD_EVERY).us > now().us)
        return false;
    relay->shadows.told = now();
    shadow->differences = relay->shadows.differences;
    relay->shadows.differences = 0;
    relay->runs += 1;
    if (co_group_start(&relay->runners, tell_main, shadow, CO_SMALL) == OK)
        return true;
    relay->runs -= 1;
    return false;
}

static void shadow_ask(struct flight_shadow *shadow);
static void asked_again(struct flight_shadow *shadow, bool current);

/* Whether what is in memory counts where all writers are inside: nothing has to be asked. */
static bool is_current_inside(struct origin *origin)
{
    return inside_counts(origin_inside(origin)) && !origin_is_suspected(origin);
}

/* Compares both answers.  One of mode strict that differs is looked at once more when the feed has
 * told all that was committed before the own answer came.  True: the shadow is not the caller's any
 * more. */
static bool compare(struct flight_shadow *shadow)
{
    if (answer_ended(shadow->other) != ANSWER_COMPLETE || !answer_storable(shadow->own)) {
        cache_rules_count(&shadow->rule, CACHE_COUNT_UNDECIDED);
        return false;
    }
    if (are_equal(shadow->own, shadow->other))
        return false;
    if (shadow->rule.mode == CACHE_STRICT && shadow->made.us >= shadow->sent.us) {
        cache_rules_count(&shadow->rule, CACHE_COUNT_UNDECIDED); /* the own one may be older */
        return false;
    }
    if (shadow->rule.mode != CACHE_STRICT)
        return tell_difference(shadow);
    shadow->again = true;
    if (origin_inside(shadow->origin) != NULL)
        asked_again(shadow, is_current_inside(shadow->origin));
    else
        shadow_ask(shadow);
    return true;
}

/* --- strict: asking the feed ------------------------------------------------------------------ */

/* Finds the entry, if no write has changed it; the caller owns it. */
static struct answer *find_current(const struct flight_shadow *shadow, moment *ret_made)
{
    struct l1_found found;
    enum l1_outcome outcome =
        l1_find(env_of(shadow)->l1, &shadow->key, now(), after(REFRESH_MAX), &found);
    bool any = outcome != L1_MISS && outcome != L1_HELD;
    if (any)
        *ret_made = found.made;
    return any ? found.answer : NULL;
}

/* The feed has said whether an entry of before the own execution is current. */
static void asked_first(struct flight_shadow *shadow, bool current)
{
    if (!current)
        cache_rules_count(&shadow->rule, CACHE_COUNT_BYPASSED);
    else
        shadow->other = find_current(shadow, &shadow->made);
    if (shadow->other != NULL)
        cache_rules_count(&shadow->rule, CACHE_COUNT_WOULD_HIT);
    if (!shadow->detached)
        return;
    if (shadow->other != NULL && !shadow->complete)
        cache_rules_count(&shadow->rule, CACHE_COUNT_UNDECIDED);
    else if (shadow->other != NULL && compare(shadow))
        return;
    shadow_free(shadow);
}

/* Both answers differ.  If the feed has told all that the own execution can have seen, and the
 * entry is still current, it should not. */
static void asked_again(struct flight_shadow *shadow, bool current)
{
    moment made;
    struct answer *entry = current ? find_current(shadow, &made) : NULL;
    bool same = entry == shadow->other;
    answer_unref(&entry);
    if (!same)
        cache_rules_count(&shadow->rule, CACHE_COUNT_UNDECIDED);
    else if (tell_difference(shadow))
        return;
    shadow_free(shadow);
}

static void shadow_deliver(struct mail *mail)
{
    struct flight_shadow *shadow = CONTAINER_OF(mail, struct flight_shadow, back);
    struct relay *relay = shadow->relay;
    bool current = shadow->ticket.verdict == FEED_READY &&
                   shadow->ticket.epoch == origin_epoch(shadow->origin) &&
                   shadow->ticket.epoch == shadow->epoch;
    shadow->asking = false;
    if (shadow->again)
        asked_again(shadow, current);
    else
        asked_first(shadow, current);
    relay->runs -= 1;
    relay_check_end(relay);
}

/* On the feeds' thread. */
static void shadow_answered(struct feed_ticket *ticket)
{
    struct flight_shadow *shadow = CONTAINER_OF(ticket, struct flight_shadow, ticket);
    bool sent = mail_send(shadow->relay->pools.machine, &shadow->back);
    invariant(sent);
}

static void shadow_ask(struct flight_shadow *shadow)
{
    shadow->ticket = (struct feed_ticket){.answered = shadow_answered, .timeout = shadow->probe};
    shadow->back = (struct mail){.deliver = shadow_deliver};
    shadow->asking = true;
    shadow->relay->runs += 1; /* the relay's machine does not end before the answer */
    origin_ask(shadow->origin, &shadow->ticket);
}

/* --- the own answer --------------------------------------------------------------------------- */

static void give_up(struct flight_shadow *shadow)
{
    shadow->failed = true;
}

/* Takes a part of a message; `last`: its end. */
static void take_part(struct flight_shadow *shadow, struct span part, bool last)
{
    fault taken = OK;
    switch (shadow->header[0]) {
    case WIRE_ROW_DESCRIPTION:
        buffer_append_span(&shadow->held, part);
        taken = buffer_fault(&shadow->held);
        if (last && taken == OK)
            taken = answer_describe(shadow->own, buffer_span(&shadow->held));
        break;
    case WIRE_COMMAND_COMPLETE:
        shadow->complete = true;
        taken = answer_append(shadow->own, part);
        break;
    case WIRE_DATA_ROW:
        shadow->size += part.size;
        if (shadow->size > shadow->rule.result_max)
            give_up(shadow);
        else
            taken = answer_append(shadow->own, part);
        break;
    case WIRE_PARAMETER_STATUS:
        shadow->reported = true;
        break;
    case WIRE_PARSE_COMPLETE:
    case WIRE_BIND_COMPLETE:
    case WIRE_NOTICE:
    case WIRE_NOTIFICATION:
    case WIRE_READY:
        break;
    default:
        give_up(shadow);
    }
    if (taken != OK)
        give_up(shadow);
}

static void take_bytes(struct flight_shadow *shadow, struct span part, bool last)
{
    if (!shadow->failed)
        take_part(shadow, part, last);
}

static void store(struct flight_shadow *shadow)
{
    const struct cache_rule *rule = &shadow->rule;
    bool strict = rule->mode == CACHE_STRICT;
    bool ages = !strict || rule->ttl.us > 0;
    deadline expires = later(shadow->sent, ages ? l1_jitter(rule->ttl, JITTER) : STRICT_TTL);
    if (strict && (origin_epoch(shadow->origin) != shadow->epoch || origin_lacks(shadow->origin)))
        return;
    struct l1_offer offer = {
        .key = shadow->key,
        .answer = shadow->own,
        .text = flight_key_text(shadow->key.bytes),
        .tags = rule->tag == NULL ? SPAN_NONE : span_text(rule->tag),
        .made = shadow->sent,
        .expires = expires,
        .stale_until = {expires.us + rule->stale.us},
        .reads = strict ? &shadow->reads : NULL,
        .captured = strict ? shadow->captured : 0,
        .flushes = shadow->flushes,
    };
    if (l1_store(env_of(shadow)->l1, &offer, now()) == L1_STORED)
        cache_rules_count(rule, CACHE_COUNT_STORED);
}

/* The client's statement has been answered, or is not going to be. */
static void finish(struct flight_shadow *shadow)
{
    shadow->detached = true;
    shadow->complete = shadow->complete && !shadow->failed;
    answer_end(shadow->own, shadow->complete ? ANSWER_COMPLETE : ANSWER_BROKEN);
    if (shadow->flight != NULL)
        flight_end(shadow->flight, FLIGHT_ENDED);
    flight_unref(&shadow->flight);
    if (shadow->complete && shadow->stores && !shadow->reported && answer_storable(shadow->own))
        store(shadow);
    if (shadow->asking)
        return;
    if (!shadow->complete && shadow->other != NULL)
        cache_rules_count(&shadow->rule, CACHE_COUNT_UNDECIDED);
    else if (shadow->other != NULL && compare(shadow))
        return;
    shadow_free(shadow);
}

/* Reads a header byte by byte.  True: it is whole. */
static bool read_header(struct flight_shadow *shadow, struct span *bytes)
{
    while (shadow->header_size < WIRE_HEADER && bytes->size > 0) {
        shadow->header[shadow->header_size++] = bytes->at[0];
        *bytes = span_skip(*bytes, 1);
    }
    return shadow->header_size == WIRE_HEADER;
}

void flight_shadow_take(struct client *client, struct span bytes)
{
    struct flight_shadow *shadow = client->shadow;
    while (bytes.size > 0) {
        bool begins = shadow->header_size < WIRE_HEADER;
        if (begins && !read_header(shadow, &bytes))
            return;
        if (begins) {
            shadow->left = wire_u32(shadow->header + 1) - 4;
            take_bytes(shadow, span_of(shadow->header, WIRE_HEADER), shadow->left == 0);
        }
        size_t size = (size_t)MIN_OF((uint64_t)bytes.size, shadow->left);
        shadow->left -= size;
        if (size > 0)
            take_bytes(shadow, span_of(bytes.at, size), shadow->left == 0);
        bytes = span_skip(bytes, size);
        if (shadow->left > 0)
            return;
        shadow->header_size = 0;
        if (shadow->header[0] != WIRE_READY)
            continue;
        client->shadow = NULL;
        finish(shadow);
        return;
    }
}

void flight_shadow_drop(struct client *client)
{
    struct flight_shadow *shadow = TAKE(client->shadow);
    if (shadow == NULL)
        return;
    shadow->failed = true;
    finish(shadow);
}

/* --- the beginning ---------------------------------------------------------------------------- */

static void on_news(struct flight_waiter *waiter UNUSED)
{
}

static struct flight_about about(const struct client *client, const struct l1_key *key)
{
    return (struct flight_about){flight_key_text(key->bytes), span_text(client->pool->database),
                                 span_text(client->pool->user)};
}

/* Takes the answer of the execution that the client would have joined.  False: there is none. */
static bool join(struct flight_shadow *shadow, const struct client *client)
{
    struct flights *flights = env_of(shadow)->flights;
    struct flight_waiter waiter = {.news = on_news};
    struct flight_about whom = about(client, &shadow->key);
    if (!flights_runs(flights, &shadow->key))
        return false;
    enum flight_role role = flights_join(flights, &shadow->key, &whom, &waiter);
    struct answer *answer = role == FLIGHT_JOINED ? flight_answer(waiter.flight) : NULL;
    if (answer != NULL)
        shadow->other = answer_ref(answer);
    if (role == FLIGHT_LED)
        flight_end(waiter.flight, FLIGHT_DECLINED);
    flight_leave(&waiter);
    shadow->made = now();
    if (answer != NULL)
        cache_rules_count(&shadow->rule, CACHE_COUNT_WOULD_HIT);
    return answer != NULL;
}

/* Lets others join the own execution. */
static void lead(struct flight_shadow *shadow, const struct client *client)
{
    struct flight_env *env = env_of(shadow);
    struct flight_about whom = about(client, &shadow->key);
    generations_reads_init(env->generations, &shadow->reads,
                           flight_key_database(env->generations, client));
    if (!generations_capture(env->generations, &shadow->reads, &shadow->captured))
        return;
    shadow->flight = flights_refresh(env->flights, &shadow->key, &whom);
    if (shadow->flight != NULL)
        flight_run(shadow->flight, shadow->own, &shadow->reads, shadow->captured);
}

/* Finds the verdict; the caller owns it.  NULL: the answer may not be shared, or that is found out
 * now, for the next statement. */
static struct verdict *find_verdict(const struct flight_shadow *shadow, const struct client *client,
                                    const struct turn_batch *batch)
{
    uint32_t reason = flight_judge_known(client, batch, shadow->origin);
    if (reason != VERDICT_REASONS) {
        cache_rules_count_refused(&shadow->rule, reason);
        return NULL;
    }
    struct verdict *verdict = flight_judge_find(client, batch, shadow->origin);
    if (verdict == NULL)
        flight_runner_judge(client, &shadow->rule, batch, &shadow->key);
    return verdict;
}

/* What modes dedupe and ttl would do.  False: nothing is to be compared or stored. */
static bool begin_plain(struct flight_shadow *shadow, const struct client *client,
                        const struct turn_batch *batch)
{
    struct l1_found found;
    enum l1_outcome outcome = L1_MISS;
    if (shadow->rule.mode == CACHE_TTL)
        outcome = l1_find(env_of(shadow)->l1, &shadow->key, now(), after(REFRESH_MAX), &found);
    if (outcome == L1_HIT || outcome == L1_STALE || outcome == L1_REFRESH) {
        shadow->other = found.answer;
        shadow->made = found.made;
        shadow->stores = outcome == L1_REFRESH;
        cache_rules_count(&shadow->rule, CACHE_COUNT_WOULD_HIT);
        return true;
    }
    struct verdict *verdict = find_verdict(shadow, client, batch);
    if (verdict == NULL)
        return false;
    verdict_unref(&verdict);
    if (join(shadow, client))
        return true;
    shadow->stores = shadow->rule.mode == CACHE_TTL;
    lead(shadow, client);
    return true;
}

/* Captures what the own answer would be stored with. */
static bool begin_storing(struct flight_shadow *shadow, const struct client *client,
                          const struct turn_batch *batch)
{
    struct flight_env *env = env_of(shadow);
    struct flight_values values;
    struct flight_strict_of of = {
        env->generations, shadow->origin,
        generations_catalog(env->generations, origin_database(shadow->origin))};
    struct verdict *verdict = find_verdict(shadow, client, batch);
    if (verdict == NULL)
        return false;
    flight_values_init(&values, batch);
    shadow->stores =
        buffer_fault(&values.bytes) == OK &&
        flight_strict_capture(&of, verdict, &values, &shadow->reads, &shadow->captured);
    flight_values_fini(&values);
    verdict_unref(&verdict);
    return shadow->stores;
}

/* Finds the entry where all writers are inside.  False: there is none that counts. */
static bool begin_inside(struct flight_shadow *shadow)
{
    if (!is_current_inside(shadow->origin))
        return false;
    shadow->other = find_current(shadow, &shadow->made);
    if (shadow->other != NULL)
        cache_rules_count(&shadow->rule, CACHE_COUNT_WOULD_HIT);
    return shadow->other != NULL;
}

/* What mode strict would do. */
static bool begin_strict(struct flight_shadow *shadow, const struct client *client,
                         const struct turn_batch *batch)
{
    if (!target_needs_primary(client->pool->route->target)) {
        cache_rules_count(&shadow->rule, CACHE_COUNT_OFF);
        return false;
    }
    shadow->origin = flight_strict_origin(client);
    if (shadow->origin == NULL)
        return false;
    shadow->epoch = origin_epoch(shadow->origin);
    shadow->probe = client->pool->route->service->feed.probe_timeout;
    bool changed;
    if (origin_inside(shadow->origin) != NULL) {
        if (begin_inside(shadow))
            return true;
    } else if (l1_has(env_of(shadow)->l1, &shadow->key, now(), &changed)) {
        shadow_ask(shadow);
        return true;
    }
    if (flight_strict_may_lead(client, shadow->origin)) {
        if (!origin_lacks(shadow->origin))
            return begin_storing(shadow, client, batch);
        flight_runner_judge(client, &shadow->rule, batch, &shadow->key); /* finds the server */
    }
    cache_rules_count(&shadow->rule, CACHE_COUNT_BYPASSED);
    return false;
}

static struct flight_shadow *shadow_new(struct client *client, const struct cache_rule *rule,
                                        const struct l1_key *key)
{
    struct flight_env *env = client->relay->pools.env->flight;
    struct flight_shadow *shadow = calloc(1, sizeof(*shadow));
    if (shadow == NULL)
        return NULL;
    shadow->relay = client->relay;
    shadow->config = config_ref(client->pool->config);
    shadow->rule = *rule;
    shadow->rule.mode = rule->of;
    shadow->line = client->pool->route->line;
    shadow->noted = MIN_OF(client->pool->config->log_query_text, TEXT_MAX);
    shadow->bytes = BUFFER_INIT(L1_KEY_MAX);
    shadow->held = BUFFER_INIT(HELD_MAX);
    buffer_append_span(&shadow->bytes, key->bytes);
    shadow->key = (struct l1_key){key->low, key->high, buffer_span(&shadow->bytes)};
    shadow->own = answer_new(&env->memory, rule->result_max);
    shadow->sent = now();
    shadow->flushes = l1_flushes(env->l1);
    if (shadow->own != NULL && buffer_fault(&shadow->bytes) == OK)
        return shadow;
    shadow_free(shadow);
    return NULL;
}

void flight_shadow_key(const struct cache_rule *rule, const struct turn_batch *batch,
                       struct buffer *key)
{
    bool whole = !batch->extended || batch->describes;
    if (key->size > 0)
        key->at[0] = (uint8_t)(0x80u | (unsigned)rule->of << 2 | (unsigned)batch->extended << 1 |
                               (unsigned)whole);
}

void flight_shadow_begin(struct client *client, const struct turn_batch *batch,
                         const struct cache_rule *rule, const struct l1_key *key)
{
    struct flight_shadow *shadow = shadow_new(client, rule, key);
    invariant(client->shadow == NULL);
    if (shadow == NULL) {
        cache_rules_count(rule, CACHE_COUNT_FAILED);
        return;
    }
    bool strict = rule->of == CACHE_STRICT;
    if (strict ? begin_strict(shadow, client, batch) : begin_plain(shadow, client, batch))
        client->shadow = shadow;
    else
        shadow_free(shadow);
}
