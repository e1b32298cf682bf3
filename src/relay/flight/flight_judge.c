#include "relay/flight/flight_judge.h"

#include "config/config.h"
#include "flight/flight_env.h"
#include "flight/resolve.h"
#include "machine/clock.h"
#include "relay/client.h"
#include "relay/flight/flight_analyze.h"
#include "relay/flight/flight_key.h"
#include "relay/relay.h"
#include "wire/messages.h"

#include <stdlib.h>
#include <string.h>

/* A verdict is made again after this time: the schema may have changed from outside. */
#define VERDICT_AGE sec(60)
/* The analysis and the question of the catalog. */
#define JUDGE_MAX sec(10)
/* Bytes of a row of the catalog's answer. */
#define ROW_MAX 65536u

void flight_judge_key(const struct client *client, const struct turn_batch *batch,
                      const struct origin *origin, struct buffer *key)
{
    uint64_t age[2] = {(uint64_t)(now().us / VERDICT_AGE.us), 0};
    if (origin != NULL) {
        age[0] = origin_catalog(origin);
        age[1] = origin_epoch(origin);
    }
    flight_key_session(client, key);
    buffer_append(key, age, sizeof(age));
    buffer_append_span(key, flight_key_text_of(batch));
}

void flight_judge_writes_key(const struct client *client, uint64_t catalog, uint64_t settings,
                             struct span bare, struct buffer *key)
{
    uint64_t age[3] = {(uint64_t)(now().us / VERDICT_AGE.us), catalog, settings};
    buffer_append(key, "W", 1);
    flight_key_session(client, key);
    buffer_append(key, age, sizeof(age));
    buffer_append_span(key, bare);
}

/* --- what is known without asking ------------------------------------------------------------- */

/* Looks at the types that the Parse gives. */
static uint32_t judge_types(const struct turn_batch *batch)
{
    struct wire_reader in = wire_reader_over(batch->parse);
    (void)wire_get_string(&in);
    for (uint32_t left = wire_get_u16(&in); left > 0 && !in.failed; left--) {
        uint32_t type = wire_get_u32(&in);
        if (type != 0 && !verdict_parameter_type(type))
            return VERDICT_REASON_TYPE;
    }
    return in.failed ? VERDICT_REASON_TYPE : VERDICT_REASONS;
}

/* Looks at the values of the Bind: a text among them may be 'now', in both formats. */
static uint32_t judge_values(const struct turn_batch *batch)
{
    struct wire_reader in = wire_reader_over(batch->bind);
    (void)wire_get_bytes(&in, 2 * (size_t)wire_get_u16(&in));
    for (uint32_t left = wire_get_u16(&in); left > 0 && !in.failed; left--) {
        uint32_t size = wire_get_u32(&in);
        if (size != UINT32_MAX && query_is_time_word(wire_get_bytes(&in, size)))
            return QUERY_REASON_TIME_WORD;
    }
    return in.failed ? VERDICT_REASON_TYPE : VERDICT_REASONS;
}

struct verdict *flight_judge_find(const struct client *client, const struct turn_batch *batch,
                                  const struct origin *origin)
{
    struct buffer key = BUFFER_INIT(VERDICTS_KEY_MAX);
    flight_judge_key(client, batch, origin, &key);
    struct verdict *verdict =
        buffer_fault(&key) == OK
            ? verdicts_find(client->relay->pools.env->flight->verdicts, buffer_span(&key))
            : NULL;
    buffer_fini(&key);
    return verdict;
}

static uint32_t judge_before(const struct client *client, const struct turn_batch *batch,
                             const struct origin *origin)
{
    uint32_t reason = VERDICT_REASONS;
    struct verdict *verdict = flight_judge_find(client, batch, origin);
    if (verdict != NULL)
        reason = verdict->reason;
    verdict_unref(&verdict);
    return reason;
}

uint32_t flight_judge_known(const struct client *client, const struct turn_batch *batch,
                            const struct origin *origin)
{
    uint32_t reason = VERDICT_REASONS;
    if (batch->extended)
        reason = judge_types(batch);
    if (batch->extended && reason == VERDICT_REASONS)
        reason = judge_values(batch);
    return reason == VERDICT_REASONS ? judge_before(client, batch, origin) : reason;
}

/* --- the question ----------------------------------------------------------------------------- */

struct catalog_sink {
    struct flight_sink sink;
    struct resolve *resolve;
    struct buffer row; /* a DataRow under way */
    bool refused;
};

static fault take_row(struct catalog_sink *catalog)
{
    struct wire_reader in = wire_reader_over(span_skip(buffer_span(&catalog->row), WIRE_HEADER));
    struct span cells[RESOLVE_COLUMNS];
    if (wire_get_u16(&in) != RESOLVE_COLUMNS)
        return fault_raise(FAULT_PROTOCOL, "the catalog's answer has other columns");
    for (uint32_t i = 0; i < RESOLVE_COLUMNS; i++) {
        uint32_t size = wire_get_u32(&in);
        cells[i] = size == UINT32_MAX ? SPAN_NONE : wire_get_bytes(&in, size);
    }
    TRY(wire_done(&in));
    return resolve_row(catalog->resolve, cells);
}

static fault catalog_part(struct flight_sink *sink, const struct flight_part *part)
{
    struct catalog_sink *catalog = CONTAINER_OF(sink, struct catalog_sink, sink);
    catalog->refused = catalog->refused || part->type == WIRE_ERROR;
    if (part->type != WIRE_DATA_ROW)
        return OK;
    if (part->first)
        buffer_clear(&catalog->row);
    buffer_append_span(&catalog->row, part->bytes);
    TRY(buffer_fault(&catalog->row));
    return part->last ? take_row(catalog) : OK;
}

static void catalog_drained(struct flight_sink *sink UNUSED)
{
}

static fault ask_catalog(struct flight_session *session, const struct query_analysis *analysis,
                         const struct resolve_rules *rules, deadline by, struct verdict **ret)
{
    struct catalog_sink catalog = {.sink = {catalog_part, catalog_drained},
                                   .resolve = resolve_new(analysis, rules),
                                   .row = BUFFER_INIT(ROW_MAX)};
    struct buffer sql = BUFFER_INIT(RESOLVE_QUESTION_MAX);
    struct buffer message = BUFFER_INIT(RESOLVE_QUESTION_MAX + 64);
    if (catalog.resolve == NULL)
        return FAULT_MEMORY;
    resolve_question(analysis, rules, &sql);
    wire_put_query(&message, buffer_span(&sql));
    fault asked = buffer_fault(&sql);
    if (asked == OK)
        asked = buffer_fault(&message);
    if (asked == OK)
        asked = flight_session_ask(session, buffer_span(&message), &catalog.sink, by);
    if (asked == OK && catalog.refused)
        asked = fault_raise(FAULT_UPSTREAM, "the server has refused to tell its catalog");
    if (asked == OK)
        asked = resolve_end(catalog.resolve, ret);
    buffer_fini(&sql);
    buffer_fini(&message);
    buffer_fini(&catalog.row);
    resolve_free(&catalog.resolve);
    return asked;
}

/* --- declared functions ----------------------------------------------------------------------- */

/* "schema.name" */
static struct query_object object_of(const char *name)
{
    const char *dot = strchr(name, '.');
    if (dot == NULL)
        return (struct query_object){SPAN("pg_catalog"), span_text(name)};
    return (struct query_object){span_of(name, (size_t)(dot - name)), span_text(dot + 1)};
}

static struct resolve_declared *declared_of(const struct config *config)
{
    struct resolve_declared *declared = calloc(config->cache_function_count + 1, sizeof(*declared));
    for (size_t i = 0; declared != NULL && i < config->cache_function_count; i++)
        declared[i].is = object_of(config->cache_functions[i]);
    return declared;
}

/* `writes`: what is written is asked for, too. */
static fault judge(struct flight_session *session, const struct config *config, struct span text,
                   bool writes, struct verdict **ret)
{
    deadline by = after(JUDGE_MAX);
    struct query_analysis *analysis = NULL;
    struct resolve_rules rules = {declared_of(config), config->cache_function_count};
    if (rules.declared == NULL)
        return FAULT_MEMORY;
    fault judged = flight_analyze(text, by, &analysis);
    if (judged == OK)
        judged = resolve_asks(analysis, writes) ? ask_catalog(session, analysis, &rules, by, ret)
                                                : resolve_without(analysis, ret);
    query_analysis_free(&analysis);
    free((void *)(uintptr_t)rules.declared);
    return judged;
}

fault flight_judge_writes(struct flight_session *session, const struct config *config,
                          struct span text, struct verdict **ret)
{
    return judge(session, config, text, true, ret);
}

fault flight_judge(struct flight_session *session, const struct config *config,
                   struct verdicts *verdicts, struct span key, struct span text,
                   struct verdict **ret)
{
    fault judged = judge(session, config, text, false, ret);
    if (judged == OK && verdicts != NULL)
        (void)verdicts_store(verdicts, key, *ret);
    return judged;
}
