/* model_parse.c - statements that are neither queries nor settings, and what all parsers share. */
#include "model_inside.h"

/* --- what is shared --------------------------------------------------------------------------- */

fault sql_syntax_error(struct sql_parser *parser)
{
    struct sql_token *at = parser->at;
    if (at->kind == SQL_END)
        return model_raise(parser->session, "42601", "syntax error at end of input");
    struct span what = at->kind == SQL_BAD ? at->value : SPAN("syntax error");
    return model_raise(parser->session, "42601", "%.*s at or near \"%.*s\"", SPAN_ARG(what),
                       SPAN_ARG(at->raw));
}

bool sql_is_word(const struct sql_parser *parser, const char *word)
{
    return parser->at->kind == SQL_WORD && span_is(parser->at->value, word);
}

bool sql_is_sign(const struct sql_parser *parser, const char *sign)
{
    return parser->at->kind == SQL_SIGN && span_is(parser->at->value, sign);
}

bool sql_accept_word(struct sql_parser *parser, const char *word)
{
    bool found = sql_is_word(parser, word);
    parser->at += found;
    return found;
}

bool sql_accept_sign(struct sql_parser *parser, const char *sign)
{
    bool found = sql_is_sign(parser, sign);
    parser->at += found;
    return found;
}

fault sql_expect_word(struct sql_parser *parser, const char *word)
{
    return sql_accept_word(parser, word) ? OK : sql_syntax_error(parser);
}

fault sql_expect_sign(struct sql_parser *parser, const char *sign)
{
    return sql_accept_sign(parser, sign) ? OK : sql_syntax_error(parser);
}

static bool is_reserved(struct span word)
{
    static const char *const words[] = {
        "all",       "analyze", "and",    "any",    "array",      "as",     "asc",     "both",
        "case",      "cast",    "check",  "column", "constraint", "create", "default", "desc",
        "distinct",  "do",      "else",   "end",    "except",     "false",  "fetch",   "for",
        "foreign",   "from",    "grant",  "group",  "having",     "in",     "into",    "limit",
        "not",       "null",    "offset", "on",     "only",       "or",     "order",   "primary",
        "returning", "select",  "some",   "table",  "then",       "to",     "true",    "union",
        "unique",    "user",    "using",  "when",   "where",      "window", "with",    "is",
        "like",      "left",    "join"};
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (span_is(word, words[i]))
            return true;
    return false;
}

fault sql_read_name(struct sql_parser *parser, struct span *ret)
{
    struct sql_token *at = parser->at;
    if (at->kind != SQL_QUOTED && (at->kind != SQL_WORD || is_reserved(at->value)))
        return sql_syntax_error(parser);
    *ret = at->value;
    parser->at += 1;
    return OK;
}

fault sql_read_relation(struct sql_parser *parser, struct span *ret)
{
    TRY(sql_read_name(parser, ret));
    if (!sql_accept_sign(parser, "."))
        return OK;
    struct span schema = *ret;
    TRY(sql_read_name(parser, ret));
    if (!span_is(schema, "public") && !span_is(schema, "pg_temp"))
        *ret = sql_printf(parser->arena, "%.*s.%.*s", SPAN_ARG(schema), SPAN_ARG(*ret));
    return OK;
}

fault sql_read_type(struct sql_parser *parser, enum sql_type *ret)
{
    struct span name = SPAN_NONE;
    TRY(sql_read_name(parser, &name));
    if (span_is(name, "pg_catalog") && sql_accept_sign(parser, "."))
        TRY(sql_read_name(parser, &name));
    if (span_is(name, "double"))
        TRY(sql_expect_word(parser, "precision"));
    *ret = sql_type_by_name(name);
    if (*ret != SQL_TYPES)
        return OK;
    return model_raise(parser->session, "42704", "type \"%.*s\" does not exist", SPAN_ARG(name));
}

/* --- statements ------------------------------------------------------------------------------- */

static fault read_prepare(struct sql_parser *parser, struct sql_stmt *stmt)
{
    stmt->kind = SQL_PREPARE;
    TRY(sql_read_name(parser, &stmt->name));
    if (sql_accept_sign(parser, "(")) {
        do {
            if (stmt->type_count == SQL_PARAMS_MAX)
                return sql_syntax_error(parser);
            TRY(sql_read_type(parser, &stmt->types[stmt->type_count++]));
        } while (sql_accept_sign(parser, ","));
        TRY(sql_expect_sign(parser, ")"));
    }
    TRY(sql_expect_word(parser, "as"));
    if (!sql_is_query(parser))
        return sql_syntax_error(parser);
    return sql_read_stmt(parser, &stmt->inner);
}

static fault read_execute(struct sql_parser *parser, struct sql_stmt *stmt)
{
    uint32_t count = 0;
    stmt->kind = SQL_EXECUTE;
    TRY(sql_read_name(parser, &stmt->name));
    if (!sql_accept_sign(parser, "("))
        return OK;
    TRY(sql_read_list(parser, &stmt->args, &count));
    return sql_expect_sign(parser, ")");
}

static fault read_deallocate(struct sql_parser *parser, struct sql_stmt *stmt)
{
    stmt->kind = SQL_DEALLOCATE;
    (void)sql_accept_word(parser, "prepare");
    stmt->all = sql_accept_word(parser, "all");
    return stmt->all ? OK : sql_read_name(parser, &stmt->name);
}

static fault read_discard(struct sql_parser *parser, struct sql_stmt *stmt)
{
    static const char *const words[] = {"all", "plans", "sequences", "temp", "temporary"};
    static const enum sql_discard kinds[] = {SQL_DISCARD_ALL, SQL_DISCARD_PLANS,
                                             SQL_DISCARD_SEQUENCES, SQL_DISCARD_TEMP,
                                             SQL_DISCARD_TEMP};
    stmt->kind = SQL_DISCARD;
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        if (sql_accept_word(parser, words[i])) {
            stmt->discard = kinds[i];
            return OK;
        }
    }
    return sql_syntax_error(parser);
}

static fault read_columns(struct sql_parser *parser, struct sql_stmt *stmt)
{
    struct sql_assignment **last = &stmt->columns;
    if (!sql_accept_sign(parser, "("))
        return OK;
    do {
        *last = sql_take(parser->arena, sizeof(**last));
        TRY(sql_read_name(parser, &(*last)->column));
        last = &(*last)->next;
    } while (sql_accept_sign(parser, ","));
    return sql_expect_sign(parser, ")");
}

static fault read_copy(struct sql_parser *parser, struct sql_stmt *stmt)
{
    stmt->kind = SQL_COPY;
    if (sql_accept_sign(parser, "(")) {
        if (!sql_is_query(parser))
            return sql_syntax_error(parser);
        TRY(sql_read_stmt(parser, &stmt->inner));
        TRY(sql_expect_sign(parser, ")"));
        TRY(sql_expect_word(parser, "to"));
        stmt->to_client = true;
        return sql_expect_word(parser, "stdout");
    }
    TRY(sql_read_relation(parser, &stmt->table));
    TRY(read_columns(parser, stmt));
    stmt->to_client = sql_accept_word(parser, "to");
    if (stmt->to_client)
        return sql_accept_word(parser, "stdin") ? OK : sql_expect_word(parser, "stdout");
    TRY(sql_expect_word(parser, "from"));
    return sql_accept_word(parser, "stdout") ? OK : sql_expect_word(parser, "stdin");
}

static fault read_channel(struct sql_parser *parser, struct sql_stmt *stmt, enum sql_kind kind)
{
    stmt->kind = kind;
    if (kind == SQL_UNLISTEN && sql_accept_sign(parser, "*")) {
        stmt->all = true;
        return OK;
    }
    TRY(sql_read_name(parser, &stmt->name));
    stmt->value = SPAN("");
    if (kind != SQL_NOTIFY || !sql_accept_sign(parser, ","))
        return OK;
    if (parser->at->kind != SQL_STRING)
        return sql_syntax_error(parser);
    stmt->value = parser->at->value;
    parser->at += 1;
    return OK;
}

static fault read_declare(struct sql_parser *parser, struct sql_stmt *stmt)
{
    stmt->kind = SQL_DECLARE;
    TRY(sql_read_name(parser, &stmt->name));
    (void)(sql_accept_word(parser, "no") && sql_accept_word(parser, "scroll"));
    TRY(sql_expect_word(parser, "cursor"));
    if (sql_accept_word(parser, "with")) {
        TRY(sql_expect_word(parser, "hold"));
        stmt->hold = true;
    } else if (sql_accept_word(parser, "without")) {
        TRY(sql_expect_word(parser, "hold"));
    }
    TRY(sql_expect_word(parser, "for"));
    if (!sql_is_word(parser, "select"))
        return sql_syntax_error(parser);
    return sql_read_stmt(parser, &stmt->inner);
}

/* FETCH [FORWARD] [n | ALL | NEXT] [FROM | IN] name */
static fault read_fetch(struct sql_parser *parser, struct sql_stmt *stmt, bool quietly)
{
    stmt->kind = SQL_FETCH;
    stmt->count = 1;
    stmt->quietly = quietly;
    (void)sql_accept_word(parser, "forward");
    if (parser->at->kind == SQL_INTEGER) {
        stmt->count = (int64_t)parser->at->number;
        parser->at += 1;
    } else if (sql_accept_word(parser, "all")) {
        stmt->count = INT64_MAX;
    } else {
        (void)sql_accept_word(parser, "next");
    }
    if (!sql_accept_word(parser, "from"))
        (void)sql_accept_word(parser, "in");
    return sql_read_name(parser, &stmt->name);
}

static fault read_close(struct sql_parser *parser, struct sql_stmt *stmt)
{
    stmt->kind = SQL_CLOSE;
    stmt->all = sql_accept_word(parser, "all");
    return stmt->all ? OK : sql_read_name(parser, &stmt->name);
}

/* create temp table NAME (k int [primary key], v text) */
static fault read_create(struct sql_parser *parser, struct sql_stmt *stmt)
{
    enum sql_type type = SQL_UNKNOWN;
    stmt->kind = SQL_CREATE;
    if (!sql_accept_word(parser, "temporary"))
        TRY(sql_expect_word(parser, "temp"));
    TRY(sql_expect_word(parser, "table"));
    if (sql_accept_word(parser, "if")) {
        TRY(sql_expect_word(parser, "not"));
        TRY(sql_expect_word(parser, "exists"));
        stmt->missing_ok = true;
    }
    TRY(sql_read_relation(parser, &stmt->table));
    TRY(sql_expect_sign(parser, "("));
    TRY(sql_expect_word(parser, "k"));
    TRY(sql_read_type(parser, &type));
    if (sql_accept_word(parser, "primary")) {
        TRY(sql_expect_word(parser, "key"));
        stmt->has_key = true;
    }
    TRY(sql_expect_sign(parser, ","));
    TRY(sql_expect_word(parser, "v"));
    TRY(sql_read_type(parser, &type));
    return sql_expect_sign(parser, ")");
}

static fault read_drop(struct sql_parser *parser, struct sql_stmt *stmt)
{
    stmt->kind = SQL_DROP;
    TRY(sql_expect_word(parser, "table"));
    if (sql_accept_word(parser, "if")) {
        TRY(sql_expect_word(parser, "exists"));
        stmt->missing_ok = true;
    }
    return sql_read_relation(parser, &stmt->table);
}

static fault read_truncate(struct sql_parser *parser, struct sql_stmt *stmt)
{
    stmt->kind = SQL_TRUNCATE;
    (void)sql_accept_word(parser, "table");
    return sql_read_relation(parser, &stmt->table);
}

static fault read_other(struct sql_parser *parser, struct sql_stmt *stmt)
{
    if (sql_accept_word(parser, "prepare"))
        return read_prepare(parser, stmt);
    if (sql_accept_word(parser, "execute"))
        return read_execute(parser, stmt);
    if (sql_accept_word(parser, "deallocate"))
        return read_deallocate(parser, stmt);
    if (sql_accept_word(parser, "discard"))
        return read_discard(parser, stmt);
    if (sql_accept_word(parser, "copy"))
        return read_copy(parser, stmt);
    if (sql_accept_word(parser, "listen"))
        return read_channel(parser, stmt, SQL_LISTEN);
    if (sql_accept_word(parser, "notify"))
        return read_channel(parser, stmt, SQL_NOTIFY);
    if (sql_accept_word(parser, "unlisten"))
        return read_channel(parser, stmt, SQL_UNLISTEN);
    if (sql_accept_word(parser, "declare"))
        return read_declare(parser, stmt);
    if (sql_is_word(parser, "fetch") || sql_is_word(parser, "move")) {
        bool quietly = sql_is_word(parser, "move");
        parser->at += 1;
        return read_fetch(parser, stmt, quietly);
    }
    if (sql_accept_word(parser, "close"))
        return read_close(parser, stmt);
    if (sql_accept_word(parser, "create"))
        return read_create(parser, stmt);
    if (sql_accept_word(parser, "drop"))
        return read_drop(parser, stmt);
    if (sql_accept_word(parser, "truncate"))
        return read_truncate(parser, stmt);
    return sql_syntax_error(parser);
}

fault sql_read_stmt(struct sql_parser *parser, struct sql_stmt **ret)
{
    struct sql_stmt *stmt = sql_take(parser->arena, sizeof(*stmt));
    const uint8_t *from = parser->at->raw.at;
    stmt->modes.read_only = -1;
    if (sql_is_asking(parser))
        TRY(sql_read_asking(parser, stmt));
    else if (sql_is_query(parser))
        TRY(sql_read_query(parser, stmt));
    else if (sql_is_setting(parser))
        TRY(sql_read_setting(parser, stmt));
    else
        TRY(read_other(parser, stmt));
    const struct sql_token *last = parser->at - 1;
    stmt->text = span_of(from, (size_t)(last->raw.at + last->raw.size - from));
    *ret = stmt;
    return OK;
}

fault sql_parse(struct model_session *session, struct sql_arena *arena, struct span text,
                struct sql_stmt **ret)
{
    struct sql_parser parser = {session, arena, sql_lex(arena, text), 0};
    struct sql_stmt *first = NULL, **last = &first;
    while (parser.at->kind != SQL_END) {
        if (sql_accept_sign(&parser, ";"))
            continue;
        TRY(sql_read_stmt(&parser, last));
        last = &(*last)->next;
        if (parser.at->kind != SQL_END && !sql_is_sign(&parser, ";"))
            return sql_syntax_error(&parser);
    }
    *ret = first;
    return OK;
}
