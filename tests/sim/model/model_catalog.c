/*
 * model_catalog.c - what the pooler asks about the catalog and about the server, for answers from
 * memory.
 *
 * The question of flight/resolve_question.c is recognised by its first words; the names in its
 * VALUES are looked up, and its rows are written as lists of which model_pick() takes one cell
 * each. Other questions are read column by column: each is known by one of the functions that it
 * calls
 * (`parts`), and becomes a call of model_fact().
 *
 * The view "seen" shows reg_a, and behind each value the schema that the view was found in, the
 * user and the hour of a fixed time in the session's time zone.
 */
#include "model_inside.h"

#include <inttypes.h>

/* --- relations -------------------------------------------------------------------------------- */

#define OID_SEEN 16399u /* in "public"; the next one in "other" */

/* Whether search_path begins with the schema "other". */
static bool path_is_other(const struct model_session *session)
{
    struct span path = span_text(model_guc_value(session, "search_path"));
    return span_starts(path, SPAN("other"));
}

static struct model_table *find_shared(struct model *model, struct span name)
{
    for (size_t i = 0; i < MODEL_REGISTERS; i++)
        if (span_is(name, model->registers[i].name))
            return &model->registers[i];
    if (span_is(name, model->kv.name))
        return &model->kv;
    return span_is(name, model->guarded.name) ? &model->guarded : NULL;
}

struct model_table *model_register(struct model *model, struct span name)
{
    struct model_table *found = find_shared(model, name);
    return found == &model->kv || found == &model->guarded ? NULL : found;
}

/* --- rows of the answer ----------------------------------------------------------------------- */

#define COLUMNS 6u
#define NOTHING "-" /* a cell that is NULL */

struct answer_rows {
    struct sql_parser *parser;
    struct span columns[COLUMNS];
    uint32_t count;
    uint32_t relations;
    struct span keyed; /* the table whose key is told, if it stays the only relation */
    uint32_t keyed_oid;
    bool equals, view, casts;
};

static void add(struct answer_rows *rows, const char *const cells[COLUMNS])
{
    for (size_t i = 0; i < COLUMNS; i++)
        rows->columns[i] = sql_printf(rows->parser->arena, "%.*s%s|", SPAN_ARG(rows->columns[i]),
                                      cells[i] == NULL ? NOTHING : cells[i]);
    rows->count += 1;
}

#define ADD(rows, ...) add(rows, (const char *const[COLUMNS]){__VA_ARGS__})

static const char *text_of(struct sql_parser *parser, struct span text)
{
    return (const char *)sql_printf(parser->arena, "%.*s", SPAN_ARG(text)).at;
}

static const char *number_of(struct sql_parser *parser, uint32_t number)
{
    return (const char *)sql_printf(parser->arena, "%" PRIu32, number).at;
}

/* A name that is read or written, and what is behind it. */
static void add_relation(struct answer_rows *rows, const char *kind, struct span schema,
                         struct span name)
{
    struct sql_parser *parser = rows->parser;
    bool view = span_is(name, "seen"), other = view && path_is_other(parser->session);
    const struct model_table *table =
        find_shared(parser->session->model, view ? SPAN("reg_a") : name);
    if (schema.size > 0 && !span_is(schema, view && other ? "other" : "public"))
        table = NULL;
    if (table == NULL) {
        ADD(rows, "missing", kind, NULL, text_of(parser, name), NULL, NULL);
        return;
    }
    const char *oid = number_of(parser, table->oid);
    ADD(rows, "rel", kind, oid, table->name, "public", "rp");
    if (view)
        ADD(rows, "rel", kind, number_of(parser, OID_SEEN + other), "seen",
            other ? "other" : "public", "vp");
    rows->view |= view;
    rows->relations += 1 + view;
    rows->keyed = strcmp(kind, "r") == 0 ? span_text(table->name) : SPAN_NONE;
    rows->keyed_oid = table->oid;
}

/* The operators = of pg_catalog that are not immutable. */
static void add_equals(struct answer_rows *rows)
{
    ADD(rows, "call", "os", "2529", "timestamptz_eq_timestamp", "pg_catalog",
        "timestamptz,timestamp");
    ADD(rows, "call", "os", "2353", "date_eq_timestamptz", "pg_catalog", "date,timestamptz");
    ADD(rows, "call", "os", "2379", "timestamptz_eq_date", "pg_catalog", "timestamptz,date");
    ADD(rows, "call", "os", "2522", "timestamp_eq_timestamptz", "pg_catalog",
        "timestamp,timestamptz");
}

/* The expressions of the view. */
static void add_view(struct answer_rows *rows)
{
    static const char *const nodes[] = {
        "{FROMEXPR", "{TARGETENTRY", "{SQLVALUEFUNCTION :op 10", "{QUERY",  "{ALIAS", "{CONST",
        "{FUNCEXPR", "{RANGETBLREF", "{RANGETBLENTRY",           "{OPEXPR", "{VAR"};
    ADD(rows, "call", "ns", "1770", "to_char", "pg_catalog", "timestamptz,text");
    for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
        ADD(rows, "node", "r", NULL, nodes[i], NULL, NULL);
    ADD(rows, "type", "v", "18", "char", "pg_catalog", "b");
    ADD(rows, "type", "v", "19", "name", "pg_catalog", "b");
    ADD(rows, "type", "v", "1184", "timestamptz", "pg_catalog", "b");
}

static void add_rest(struct answer_rows *rows)
{
    if (rows->equals)
        add_equals(rows);
    if (rows->view)
        add_view(rows);
    if (rows->relations > 0) {
        ADD(rows, "type", "v", "25", "text", "pg_catalog", "b");
        ADD(rows, "type", "v", "23", "int4", "pg_catalog", "b");
    }
    if (rows->casts)
        ADD(rows, "type", "k", "23", "int4", "pg_catalog", "b");
    if (rows->relations == 1 && rows->keyed.size > 0)
        ADD(rows, "key", "1", number_of(rows->parser, rows->keyed_oid), "k", "int4", "d");
    ADD(rows, "end", NULL, NULL, NULL, NULL, NULL);
}

/* --- the question ----------------------------------------------------------------------------- */

static const char *const catalog_words[] = {"with", "recursive", "ask"};

bool model_asks_catalog(const struct sql_parser *parser)
{
    for (size_t i = 0; i < ARRAY_SIZE(catalog_words); i++)
        if (parser->at[i].kind == SQL_END || !span_is_nocase(parser->at[i].raw, catalog_words[i]))
            return false;
    return true;
}

/* A function's arguments are not looked at; the pooler's own are not many. */
static bool function_exists(struct span name)
{
    static const char *const names[] = {"max", "min", "count", "sum", "length", "upper", "repeat"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (span_is(name, names[i]))
            return true;
    return false;
}

static void add_name(struct answer_rows *rows, struct span kind, struct span schema,
                     struct span name)
{
    const char *what = text_of(rows->parser, kind);
    if (what[0] == 't' && span_is(name, "int4"))
        rows->casts = true; /* a type; the tables of TRUNCATE have the same letter */
    else if (memchr("riutm", what[0], 5) != NULL)
        add_relation(rows, what, schema, name);
    else if (what[0] == 'o')
        rows->equals |= span_is(name, "=");
    else if (what[0] == 'f' && !function_exists(name))
        ADD(rows, "missing", what, NULL, text_of(rows->parser, name), NULL, NULL);
}

/* ('r', 0, NULL, 'reg_a', 0, false): the first row is of NULLs. */
static fault read_name(struct sql_parser *parser, struct answer_rows *rows)
{
    struct span cells[COLUMNS];
    TRY(sql_expect_sign(parser, "("));
    for (size_t i = 0; i < COLUMNS; i++) {
        cells[i] = parser->at->kind == SQL_STRING ? parser->at->value : SPAN_NONE;
        while (!sql_is_sign(parser, ",") && !sql_is_sign(parser, ")")) {
            if (parser->at->kind == SQL_END)
                return sql_syntax_error(parser);
            parser->at += 1;
        }
        TRY(sql_expect_sign(parser, i + 1 == COLUMNS ? ")" : ","));
    }
    if (cells[0].size > 0)
        add_name(rows, cells[0], cells[2], cells[3]);
    return OK;
}

static fault read_instead(struct sql_parser *parser, struct span query, struct sql_stmt *stmt)
{
    while (parser->at->kind != SQL_END && !sql_is_sign(parser, ";"))
        parser->at += 1;
    struct sql_parser inner = {parser->session, parser->arena, sql_lex(parser->arena, query), 0};
    return sql_read_query(&inner, stmt);
}

fault model_read_catalog(struct sql_parser *parser, struct sql_stmt *stmt)
{
    struct answer_rows rows = {.parser = parser};
    const struct model_session *session = parser->session;
    struct sql_arena *arena = parser->arena;
    ADD(&rows, "session", "150020", NULL, "UTF8", model_guc_value(session, "client_encoding"),
        model_guc_value(session, "standard_conforming_strings"));
    ADD(&rows, "settings",
        (const char *)sql_printf(arena, "%" PRId64, model_settings_digest(session)).at, NULL, NULL,
        NULL, NULL);
    while (!sql_accept_word(parser, "values")) {
        if (parser->at->kind == SQL_END)
            return sql_syntax_error(parser);
        parser->at += 1;
    }
    do
        TRY(read_name(parser, &rows));
    while (sql_accept_sign(parser, ","));
    add_rest(&rows);
    struct span query = SPAN("SELECT ");
    for (size_t i = 0; i < COLUMNS; i++)
        query = sql_printf(arena, "%.*s%smodel_pick('%.*s',n)", SPAN_ARG(query), i == 0 ? "" : ",",
                           SPAN_ARG(rows.columns[i]));
    query = sql_printf(arena, "%.*s FROM generate_series(1,%" PRIu32 ") AS n", SPAN_ARG(query),
                       rows.count);
    return read_instead(parser, query, stmt);
}

fault model_call_pick(const struct sql_scope *scope UNUSED, const struct sql_value *args,
                      struct sql_value *ret)
{
    struct span rest = args[0].text;
    for (int64_t left = args[1].number; left > 0; left--) {
        const uint8_t *bar = memchr(rest.at, '|', rest.size);
        invariant(bar != NULL);
        ret->text = span_of(rest.at, (size_t)(bar - rest.at));
        rest = span_skip(rest, ret->text.size + 1);
    }
    ret->null = span_is(ret->text, NOTHING);
    return OK;
}

/* --- what the server is ----------------------------------------------------------------------- */

int64_t model_settings_digest(const struct model_session *session)
{
    static const char *const names[] = {"session_authorization", "role",        "search_path",
                                        "client_encoding",       "TimeZone",    "DateStyle",
                                        "IntervalStyle",         "row_security"};
    uint64_t digest = 1;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const char *value = model_guc_value(session, names[i]);
        digest = hash_data(value, strlen(value), digest);
    }
    return (int64_t)digest;
}

/* A column is the fact of the first word among its own; the order counts. */
static const struct {
    const char *word;
    const char *fact;
} parts[] = {
    {"pg_event_trigger", "yes"},
    {"feed_digest", "digest"},
    {"pg_conf_load_time", "conf"},
    {"pg_current_wal_insert_lsn", "inserted"},
    {"pg_current_wal_flush_lsn", "flushed"},
    {"pg_current_snapshot", "snapshot"},
    {"pg_current_xact_id", "mark"},
    {"system_identifier", "system"},
    {"bit(32)", "timeline_number"},
    {"server_version_num", "version"},
    {"wal_level", "yes"},
    {"wal_segment_size", "segment"},
    {"wal_block_size", "page"},
    {"pg_walfile_name", "timeline"},
    {"pg_postmaster_start_time", "started"},
    {"pg_backend_pid", "pid"},
    {"pg_my_temp_schema", "temporary"},
    {"hashtextextended", "settings"},
    {"transaction_isolation", "serializable"},
};

static const char *fact_of(struct span column)
{
    if (span_is(column, "r")) /* of the question what the server is */
        return "standby";
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        if (memmem(column.at, column.size, parts[i].word, strlen(parts[i].word)) != NULL)
            return parts[i].fact;
    return NULL;
}

/* First words of these questions: of flight/flight_check.c and of flight/feed_query.c. */
static const char *const first_words[][6] = {
    {"select", "(", "select", "c", ".", "system_identifier"},
    {"select", "r", ",", "(", "select", "system_identifier"},
    {"select", "pg_wal_lsn_diff", "(", "pg_current_wal_insert_lsn"},
    {"select", "pg_current_snapshot"},
    {"select", "pg_current_xact_id"},
    {"select", "(", "select", "count", "(", "*"},
};

static bool begins_by(const struct sql_parser *parser, const char *const words[6])
{
    for (size_t i = 0; i < 6 && words[i] != NULL; i++)
        if (parser->at[i].kind == SQL_END || !span_is_nocase(parser->at[i].raw, words[i]))
            return false;
    return true;
}

bool model_asks_facts(const struct sql_parser *parser)
{
    for (size_t i = 0; i < ARRAY_SIZE(first_words); i++)
        if (begins_by(parser, first_words[i]))
            return true;
    return false;
}

/* The raw text of the next column, up to a comma outside of parentheses, or the end. */
static struct span next_column(struct sql_parser *parser)
{
    const struct sql_token *first = parser->at;
    for (int depth = 0; parser->at->kind != SQL_END && !sql_is_sign(parser, ";");) {
        depth += sql_is_sign(parser, "(") - sql_is_sign(parser, ")");
        if (depth == 0 && sql_is_sign(parser, ","))
            break;
        parser->at += 1;
    }
    const struct sql_token *last = parser->at - 1;
    return span_of(first->raw.at, (size_t)(last->raw.at + last->raw.size - first->raw.at));
}

fault model_read_facts(struct sql_parser *parser, struct sql_stmt *stmt)
{
    struct span query = SPAN_NONE;
    (void)sql_accept_word(parser, "select");
    do {
        const char *fact = fact_of(next_column(parser));
        if (fact == NULL)
            return sql_syntax_error(parser);
        bool compares = strcmp(fact, "digest") == 0;
        query = sql_printf(parser->arena,
                           compares ? "%.*s%s model_digest($1)" : "%.*s%s model_fact('%s')",
                           SPAN_ARG(query), query.size == 0 ? "SELECT" : ",", fact);
    } while (sql_accept_sign(parser, ","));
    return read_instead(parser, query, stmt);
}

/* Commits a message with the transaction, which gets an id. */
static uint64_t mark(struct model_session *session)
{
    model_xact_write(session);
    model_log_tell(session, "message: transactional: 1 prefix: trunkline.marker, sz: 0 content:");
    return session->tx.xid;
}

/* The event trigger tells of it. */
static void replace_view(struct model_session *session)
{
    model_xact_write(session);
    session->tx.defines = true;
    model_log_tell(session,
                   "message: transactional: 1 prefix: trunkline.ddl, sz: 10 content:ALTER VIEW");
}

static struct span yes_or_no(bool is)
{
    return is ? SPAN("t") : SPAN("f");
}

static struct span number_text(struct sql_arena *arena, uint64_t number)
{
    return sql_printf(arena, "%" PRIu64, number);
}

fault model_call_fact(const struct sql_scope *scope, const struct sql_value *args,
                      struct sql_value *ret)
{
    struct model_session *session = scope->session;
    struct model *model = session->model;
    struct sql_arena *arena = scope->arena;
    struct span fact = args[0].text;
    const char *isolation = model_guc_value(session, "transaction_isolation");
    if (span_is(fact, "system"))
        ret->text = SPAN(MODEL_SYSTEM);
    else if (span_is(fact, "timeline"))
        ret->text = sql_printf(arena, "%08X", model_timeline(session));
    else if (span_is(fact, "timeline_number"))
        ret->text = number_text(arena, model_timeline(session));
    else if (span_is(fact, "started"))
        ret->text = number_text(arena, model_started(session));
    else if (span_is(fact, "pid"))
        ret->text = number_text(arena, session->pid);
    else if (span_is(fact, "settings"))
        ret->text = sql_printf(arena, "%" PRId64, model_settings_digest(session));
    else if (span_is(fact, "temporary"))
        ret->text = yes_or_no(session->temporary.count > 0);
    else if (span_is(fact, "serializable"))
        ret->text = yes_or_no(strcmp(isolation, "serializable") == 0);
    else if (span_is(fact, "standby"))
        ret->text = yes_or_no(model_is_standby(session));
    else if (span_is(fact, "yes"))
        ret->text = SPAN("t");
    else if (span_is(fact, "version"))
        ret->text = SPAN("150020");
    else if (span_is(fact, "segment"))
        ret->text = SPAN("16777216");
    else if (span_is(fact, "page"))
        ret->text = SPAN("8192");
    else if (span_is(fact, "inserted"))
        ret->text = number_text(arena, model_log_inserted(model));
    else if (span_is(fact, "flushed"))
        ret->text = number_text(arena, model_log_flushed(model));
    else if (span_is(fact, "snapshot"))
        ret->text = model_log_snapshot(session, arena);
    else if (span_is(fact, "conf"))
        ret->text = SPAN("1000");
    else if (span_is(fact, "replace"))
        replace_view(session);
    else if (span_is(fact, "mark"))
        ret->text = number_text(arena, mark(session));
    return OK;
}

/* That of an equal snapshot is empty. */
fault model_call_digest(const struct sql_scope *scope, const struct sql_value *args,
                        struct sql_value *ret)
{
    struct span snapshot = model_log_snapshot(scope->session, scope->arena);
    if (span_equal(snapshot, args[0].text))
        ret->text = SPAN("");
    else
        ret->text = sql_printf(scope->arena, "r%" PRIu32, scope->session->model->roles);
    return OK;
}

/* --- the view --------------------------------------------------------------------------------- */

static const char *const view_words[] = {"select", "v", "from", "seen"};

bool model_reads_view(const struct sql_parser *parser)
{
    for (size_t i = 0; i < ARRAY_SIZE(view_words); i++)
        if (parser->at[i].kind == SQL_END || !span_is_nocase(parser->at[i].raw, view_words[i]))
            return false;
    return true;
}

fault model_read_view(struct sql_parser *parser, struct sql_stmt *stmt)
{
    parser->at += ARRAY_SIZE(view_words);
    struct span rest = parser->at->kind == SQL_END ? SPAN_NONE : next_column(parser);
    struct span query = sql_printf(
        parser->arena, "SELECT v || model_context() AS v FROM reg_a %.*s", SPAN_ARG(rest));
    return read_instead(parser, query, stmt);
}

/* The hour there of noon in UTC, in winter. */
static const char *hour_of(const char *zone)
{
    if (strcmp(zone, "Europe/Berlin") == 0)
        return "13";
    return strcmp(zone, "Asia/Tokyo") == 0 ? "21" : "12";
}

fault model_call_context(const struct sql_scope *scope, const struct sql_value *args UNUSED,
                         struct sql_value *ret)
{
    const struct model_session *session = scope->session;
    const char *role = model_guc_value(session, "role");
    bool none = strcmp(role, "none") == 0;
    ret->text = sql_printf(scope->arena, " %s %s %s", path_is_other(session) ? "other" : "public",
                           none ? model_guc_value(session, "session_authorization") : role,
                           hour_of(model_guc_value(session, "TimeZone")));
    if (model_context(session->model) > 0)
        ret->text = sql_printf(scope->arena, "%.*s %" PRIu32, SPAN_ARG(ret->text),
                               model_context(session->model));
    return OK;
}

/* By a transaction of another database, which is visible at once. */
void model_change_role(struct model *model)
{
    model->xid += 1;
    model->completed = model->xid;
    model->roles += 1;
}

uint32_t model_context(const struct model *model)
{
    return model->roles + model->definition;
}
