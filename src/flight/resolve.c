#include "flight/resolve.h"

#include "base/check.h"
#include "flight/resolve_parts.h"

#include <stdlib.h>

/* The oldest server whose catalog the question fits. */
#define VERSION_MIN 120000u

/* --- reasons ---------------------------------------------------------------------------------- */

static void against_both(struct resolve *resolve, uint32_t reason, struct span schema,
                         struct span name)
{
    resolve_against(resolve, reason, schema, name);
    resolve_unlisted(resolve, reason, schema, name);
}

/* --- texts ------------------------------------------------------------------------------------ */

static uint32_t names_of(const struct query_analysis *analysis)
{
    return (uint32_t)analysis->reads_count + analysis->writes_count + analysis->functions_count +
           analysis->operators_count + analysis->types_count;
}

static bool may_be_listed(const struct query_analysis *analysis)
{
    return analysis->extent <= QUERY_WRITES_LISTED &&
           (analysis->statement == QUERY_STATEMENT_READS ||
            analysis->statement == QUERY_STATEMENT_WRITES);
}

bool resolve_asks(const struct query_analysis *analysis, bool writes)
{
    return may_be_listed(analysis) && names_of(analysis) <= RESOLVE_NAMES_MAX &&
           (analysis->reasons == 0 || writes);
}

static uint32_t reason_of(const struct query_analysis *analysis)
{
    return analysis->reasons == 0 ? VERDICT_REASONS : query_analysis_reason(analysis);
}

fault resolve_without(const struct query_analysis *analysis, struct verdict **ret)
{
    struct verdict draft = {.reason = reason_of(analysis), .written_reason = VERDICT_REASONS};
    if (draft.reason == VERDICT_REASONS)
        draft.reason = VERDICT_REASON_NAMES;
    /* A text that reads may call functions that write. */
    bool nothing =
        analysis->extent == QUERY_WRITES_NOTHING && analysis->statement == QUERY_STATEMENT_UTILITY;
    draft.writes = nothing || analysis->statement == QUERY_STATEMENT_NONE ? VERDICT_WRITES_NOTHING
                                                                          : VERDICT_WRITES_DATABASE;
    if (draft.writes == VERDICT_WRITES_DATABASE)
        draft.written_reason = draft.reason;
    return verdict_new(&draft, ret);
}

/* --- rows ------------------------------------------------------------------------------------- */

struct resolve *resolve_new(const struct query_analysis *analysis,
                            const struct resolve_rules *rules)
{
    struct resolve *resolve = malloc(sizeof(*resolve));
    if (resolve == NULL)
        return NULL;
    memset(resolve, 0, offsetof(struct resolve, kept));
    resolve->analysis = analysis;
    resolve->rules = rules;
    resolve->against.reason = reason_of(analysis);
    resolve->unlisted.reason = VERDICT_REASONS;
    return resolve;
}

void resolve_free(struct resolve **resolve)
{
    free(*resolve);
    *resolve = NULL;
}

static bool read_number(struct span text, uint32_t *ret)
{
    uint64_t number = 0;
    if (text.size > 10)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
        number = number * 10 + (uint64_t)(text.at[i] - '0');
    }
    *ret = (uint32_t)number;
    return number <= UINT32_MAX;
}

/* `how` is the version, `name` the encoding of the database, `schema` client_encoding, and `more`
 * standard_conforming_strings. */
static void see_session(struct resolve *resolve, const struct resolve_cells *row)
{
    uint32_t version = 0;
    resolve->begun = true;
    if (!read_number(row->how, &version) || version < VERSION_MIN)
        against_both(resolve, VERDICT_REASON_VERSION, SPAN_NONE, row->how);
    resolve->converts = !(span_is(row->name, "UTF8") && span_is(row->schema, "UTF8"));
    if (resolve->analysis->high_bytes && resolve->converts)
        against_both(resolve, VERDICT_REASON_ENCODING, SPAN_NONE, row->name);
    if (resolve->analysis->backslash && !span_is(row->more, "on"))
        against_both(resolve, VERDICT_REASON_STRINGS, SPAN_NONE, SPAN_NONE);
}

/* `how` is RESOLVE_SETTINGS_DIGEST. */
static void see_settings(struct resolve *resolve, const struct resolve_cells *row)
{
    bool negative = span_starts(row->how, SPAN("-"));
    uint64_t number = 0;
    for (size_t i = negative; i < row->how.size; i++)
        number = number * 10 + (uint64_t)(row->how.at[i] - '0');
    resolve->settings = negative ? 0 - number : number;
}

/* --- relations -------------------------------------------------------------------------------- */

/* Adds a relation to a list, once.  False: there is no room. */
static bool list(struct resolve *resolve, struct verdict_relation *relations, uint16_t *count,
                 const struct resolve_cells *row)
{
    for (uint16_t i = 0; i < *count; i++)
        if (relations[i].oid == row->oid)
            return true;
    if (*count == VERDICT_RELATIONS_MAX)
        return false;
    struct verdict_relation *relation = &relations[*count];
    *relation = (struct verdict_relation){.oid = row->oid, .stored = row->more.at[0] != 'v'};
    if (!resolve_keep(resolve, row->schema, &relation->schema) ||
        !resolve_keep(resolve, row->name, &relation->name))
        return false;
    *count += 1;
    return true;
}

static uint32_t reason_of_kind(const struct resolve_cells *row)
{
    uint8_t kind = row->more.at[0], persistence = row->more.at[1];
    if (persistence == 't')
        return QUERY_REASON_TEMPORARY;
    if (resolve_is_builtin(row->oid))
        return QUERY_REASON_CATALOG;
    if (kind == 'f')
        return VERDICT_REASON_FOREIGN;
    if (kind == 'S')
        return VERDICT_REASON_SEQUENCE;
    if (persistence == 'u')
        return VERDICT_REASON_UNLOGGED;
    if (persistence != 'p' || memchr("rpvm", kind, 4) == NULL)
        return VERDICT_REASON_RELATION;
    return VERDICT_REASONS;
}

static void see_read(struct resolve *resolve, const struct resolve_cells *row)
{
    uint32_t reason = reason_of_kind(row);
    if (reason != VERDICT_REASONS)
        resolve_against(resolve, reason, row->schema, row->name);
    else if (!list(resolve, resolve->reads, &resolve->reads_count, row))
        resolve_against(resolve, VERDICT_REASON_BEHIND, SPAN_NONE, SPAN_NONE);
}

/* Nothing that reads a temporary relation is kept. */
static void see_written(struct resolve *resolve, const struct resolve_cells *row)
{
    uint32_t reason = reason_of_kind(row);
    if (reason == QUERY_REASON_TEMPORARY)
        return;
    if (reason == QUERY_REASON_CATALOG || reason == VERDICT_REASON_FOREIGN)
        resolve_unlisted(resolve, reason, row->schema, row->name);
    else if (!list(resolve, resolve->written, &resolve->written_count, row))
        resolve_unlisted(resolve, VERDICT_REASON_BEHIND, SPAN_NONE, SPAN_NONE);
}

static bool has_high_bytes(struct span name)
{
    for (size_t i = 0; i < name.size; i++)
        if (name.at[i] >= 0x80)
            return true;
    return false;
}

/* `more` is pg_class's relkind and relpersistence.  A name is told in client_encoding, and the feed
 * tells it in that of the database. */
static void see_relation(struct resolve *resolve, const struct resolve_cells *row)
{
    if (resolve->converts && (has_high_bytes(row->schema) || has_high_bytes(row->name)))
        against_both(resolve, VERDICT_REASON_ENCODING, row->schema, row->name);
    else if (row->more.size != 2)
        against_both(resolve, VERDICT_REASON_RELATION, row->schema, row->name);
    else if (span_is(row->how, "r"))
        see_read(resolve, row);
    else
        see_written(resolve, row);
}

static void see_behind(struct resolve *resolve, const struct resolve_cells *row)
{
    against_both(resolve, VERDICT_REASON_BEHIND, SPAN_NONE, SPAN_NONE);
}

static void see_missing(struct resolve *resolve, const struct resolve_cells *row)
{
    against_both(resolve, VERDICT_REASON_MISSING, row->schema, row->name);
}

static void see_denied(struct resolve *resolve, const struct resolve_cells *row)
{
    against_both(resolve, VERDICT_REASON_DENIED, row->schema, row->name);
}

/* `name` and `schema` are its types. */
static void see_cast(struct resolve *resolve, const struct resolve_cells *row)
{
    against_both(resolve, VERDICT_REASON_CAST, SPAN_NONE, row->name);
}

/* A default operator class of a user, for ORDER BY, DISTINCT and the like. */
static void see_class(struct resolve *resolve, const struct resolve_cells *row)
{
    resolve_against(resolve, VERDICT_REASON_OPERATOR, SPAN_NONE, row->name);
}

static void see_trigger(struct resolve *resolve, const struct resolve_cells *row)
{
    resolve_unlisted(resolve, VERDICT_REASON_TRIGGER, row->schema, row->name);
}

static void see_end(struct resolve *resolve, const struct resolve_cells *row)
{
    resolve->ended = true;
}

static const struct {
    const char *what;
    void (*see)(struct resolve *resolve, const struct resolve_cells *row);
} rows[] = {
    {"session", see_session},     {"settings", see_settings},
    {"rel", see_relation},        {"behind", see_behind},
    {"missing", see_missing},     {"denied", see_denied},
    {"call", resolve_judge_call}, {"node", resolve_judge_node},
    {"type", resolve_judge_type}, {"cast", see_cast},
    {"opclass", see_class},       {"trigger", see_trigger},
    {"key", resolve_see_column},  {"end", see_end},
};

fault resolve_row(struct resolve *resolve, const struct span cells[RESOLVE_COLUMNS])
{
    struct resolve_cells row = {
        .what = cells[0], .how = cells[1], .name = cells[3], .schema = cells[4], .more = cells[5]};
    if (++resolve->rows > RESOLVE_ROWS_MAX)
        return FAULT_LIMIT;
    if (!read_number(cells[2], &row.oid))
        return FAULT_PROTOCOL;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (!span_is(row.what, rows[i].what))
            continue;
        rows[i].see(resolve, &row);
        return OK;
    }
    return FAULT_PROTOCOL;
}

/* --- the verdict ------------------------------------------------------------------------------ */

static void finish_writes(const struct resolve *resolve, struct verdict *draft)
{
    draft->written_reason = resolve->unlisted.reason;
    draft->written_because = span_of(resolve->unlisted.name, resolve->unlisted.size);
    if (resolve->unlisted.reason != VERDICT_REASONS) {
        draft->writes = VERDICT_WRITES_DATABASE;
    } else if (resolve->analysis->extent == QUERY_WRITES_LISTED) {
        draft->writes = VERDICT_WRITES_LISTED;
        draft->written = resolve->written;
        draft->written_count = resolve->written_count;
    }
}

/* Functions whose results are of type time, beside columns and casts. */
static bool makes_time(const struct query_analysis *analysis)
{
    for (uint16_t i = 0; i < analysis->functions_count; i++)
        if (span_is(analysis->functions[i].is.name, "make_time"))
            return true;
    return false;
}

fault resolve_end(struct resolve *resolve, struct verdict **ret)
{
    struct verdict_key keys[VERDICT_KEYS_MAX];
    if (!resolve->begun || !resolve->ended)
        return FAULT_PROTOCOL;
    if (resolve->zones && (resolve->clocks || makes_time(resolve->analysis)))
        resolve_against(resolve, VERDICT_REASON_TIME_TYPE, SPAN_NONE, SPAN("time"));
    struct verdict draft = {
        .reason = resolve->against.reason,
        .because = span_of(resolve->against.name, resolve->against.size),
        .settings = resolve->settings,
    };
    finish_writes(resolve, &draft);
    if (draft.reason == VERDICT_REASONS) {
        draft.reads = resolve->reads;
        draft.reads_count = resolve->reads_count;
    }
    if (draft.reason == VERDICT_REASONS || draft.writes == VERDICT_WRITES_LISTED) {
        draft.keys = keys;
        draft.keys_count = resolve_find_keys(resolve, keys);
        draft.key_relation = draft.keys_count > 0 ? resolve->key_relation : 0;
    }
    return verdict_new(&draft, ret);
}
