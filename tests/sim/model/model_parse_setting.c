/* model_parse_setting.c - settings and transactions: SET, RESET, SHOW, BEGIN and their like. */
#include "model_inside.h"

static const char *const first_words[] = {"set",   "reset",     "show",   "begin",
                                          "start", "commit",    "end",    "rollback",
                                          "abort", "savepoint", "release"};

bool sql_is_setting(const struct sql_parser *parser)
{
    for (size_t i = 0; i < ARRAY_SIZE(first_words); i++)
        if (sql_is_word(parser, first_words[i]))
            return true;
    return false;
}

/* --- transactions ----------------------------------------------------------------------------- */

static fault read_isolation(struct sql_parser *parser, struct sql_modes *modes)
{
    TRY(sql_expect_word(parser, "level"));
    if (sql_accept_word(parser, "serializable")) {
        modes->isolation = "serializable";
    } else if (sql_accept_word(parser, "repeatable")) {
        TRY(sql_expect_word(parser, "read"));
        modes->isolation = "repeatable read";
    } else {
        TRY(sql_expect_word(parser, "read"));
        modes->isolation = sql_is_word(parser, "committed") ? "read committed" : "read uncommitted";
        if (!sql_accept_word(parser, "committed"))
            TRY(sql_expect_word(parser, "uncommitted"));
    }
    return OK;
}

/* False: there is none. */
static fault read_mode(struct sql_parser *parser, struct sql_modes *modes, bool *found)
{
    *found = true;
    if (sql_accept_word(parser, "isolation"))
        return read_isolation(parser, modes);
    if (sql_accept_word(parser, "read")) {
        modes->read_only = sql_is_word(parser, "only");
        return sql_accept_word(parser, "only") ? OK : sql_expect_word(parser, "write");
    }
    *found = false;
    return OK;
}

static fault read_modes(struct sql_parser *parser, struct sql_modes *modes, bool needed)
{
    bool found = false, comma = false;
    for (bool first = true;; first = false) {
        TRY(read_mode(parser, modes, &found));
        if (!found)
            return (first && needed) || comma ? sql_syntax_error(parser) : OK;
        comma = sql_accept_sign(parser, ",");
    }
}

static void skip_work(struct sql_parser *parser)
{
    if (!sql_accept_word(parser, "work"))
        (void)sql_accept_word(parser, "transaction");
}

/* AND [NO] CHAIN */
static fault read_chain(struct sql_parser *parser, struct sql_stmt *stmt)
{
    if (!sql_accept_word(parser, "and"))
        return OK;
    stmt->chain = !sql_accept_word(parser, "no");
    return sql_expect_word(parser, "chain");
}

static fault read_rollback(struct sql_parser *parser, struct sql_stmt *stmt)
{
    stmt->kind = SQL_ROLLBACK;
    skip_work(parser);
    if (!sql_accept_word(parser, "to"))
        return read_chain(parser, stmt);
    stmt->kind = SQL_ROLLBACK_TO;
    (void)sql_accept_word(parser, "savepoint");
    return sql_read_name(parser, &stmt->name);
}

static fault read_release(struct sql_parser *parser, struct sql_stmt *stmt)
{
    stmt->kind = SQL_RELEASE;
    (void)sql_accept_word(parser, "savepoint");
    return sql_read_name(parser, &stmt->name);
}

static fault read_begin(struct sql_parser *parser, struct sql_stmt *stmt, bool start)
{
    stmt->kind = SQL_BEGIN;
    stmt->all = start; /* its tag is another */
    if (start)
        TRY(sql_expect_word(parser, "transaction"));
    else
        skip_work(parser);
    return read_modes(parser, &stmt->modes, false);
}

static fault read_commit(struct sql_parser *parser, struct sql_stmt *stmt)
{
    stmt->kind = SQL_COMMIT;
    skip_work(parser);
    return read_chain(parser, stmt);
}

/* --- settings --------------------------------------------------------------------------------- */

/* name, or name.name */
static fault read_setting_name(struct sql_parser *parser, struct span *ret)
{
    TRY(sql_read_name(parser, ret));
    while (sql_accept_sign(parser, ".")) {
        struct span more = SPAN_NONE;
        TRY(sql_read_name(parser, &more));
        *ret = sql_printf(parser->arena, "%.*s.%.*s", SPAN_ARG(*ret), SPAN_ARG(more));
    }
    return OK;
}

/* A word, a string, a number with its sign. */
static fault read_setting_value(struct sql_parser *parser, struct span *ret)
{
    bool negative = sql_accept_sign(parser, "-");
    const struct sql_token *at = parser->at;
    bool number = at->kind == SQL_INTEGER || at->kind == SQL_DECIMAL;
    bool word = at->kind == SQL_STRING || at->kind == SQL_QUOTED || at->kind == SQL_WORD;
    if (!number && (negative || !word))
        return sql_syntax_error(parser);
    if (at->kind == SQL_WORD && !sql_is_word(parser, "true") && !sql_is_word(parser, "false") &&
        !sql_is_word(parser, "on"))
        return sql_read_name(parser, ret);
    *ret = sql_printf(parser->arena, "%s%.*s", negative ? "-" : "", SPAN_ARG(at->value));
    parser->at += 1;
    return OK;
}

/* A list of names is kept as such: what is no plain name is quoted. */
static struct span quoted(struct sql_parser *parser, struct span name)
{
    bool plain = name.size > 0 && !(name.at[0] >= '0' && name.at[0] <= '9');
    for (size_t i = 0; i < name.size; i++)
        plain = plain && ((name.at[i] >= 'a' && name.at[i] <= 'z') || name.at[i] == '_' ||
                          (name.at[i] >= '0' && name.at[i] <= '9'));
    return plain ? name : sql_printf(parser->arena, "\"%.*s\"", SPAN_ARG(name));
}

static fault read_setting_values(struct sql_parser *parser, struct sql_stmt *stmt)
{
    if (sql_accept_word(parser, "default")) {
        stmt->is_default = true;
        return OK;
    }
    bool names = span_is(stmt->name, "search_path");
    TRY(read_setting_value(parser, &stmt->value));
    if (names)
        stmt->value = quoted(parser, stmt->value);
    while (sql_accept_sign(parser, ",")) {
        struct span more = SPAN_NONE;
        TRY(read_setting_value(parser, &more));
        if (names)
            more = quoted(parser, more);
        stmt->value =
            sql_printf(parser->arena, "%.*s, %.*s", SPAN_ARG(stmt->value), SPAN_ARG(more));
        stmt->is_list = true;
    }
    return OK;
}

/* What SET has in its own words instead of name = value. */
static fault read_set_words(struct sql_parser *parser, struct sql_stmt *stmt, bool *found)
{
    *found = true;
    if (sql_accept_word(parser, "time")) {
        TRY(sql_expect_word(parser, "zone"));
        stmt->name = SPAN("timezone");
        stmt->is_default = sql_is_word(parser, "local");
        if (sql_accept_word(parser, "local"))
            return OK;
        return read_setting_values(parser, stmt);
    }
    if (sql_accept_word(parser, "names")) {
        stmt->name = SPAN("client_encoding");
        return read_setting_values(parser, stmt);
    }
    if (sql_is_word(parser, "role") || sql_is_word(parser, "authorization")) {
        bool role = sql_is_word(parser, "role");
        parser->at += 1;
        stmt->name = role ? SPAN("role") : SPAN("session_authorization");
        if (role && (sql_accept_sign(parser, "=") || sql_accept_word(parser, "to")))
            return read_setting_values(parser, stmt);
        return read_setting_values(parser, stmt);
    }
    *found = false;
    return OK;
}

static fault read_set(struct sql_parser *parser, struct sql_stmt *stmt)
{
    bool found = false;
    stmt->kind = SQL_SET;
    bool session = sql_accept_word(parser, "session");
    stmt->local = !session && sql_accept_word(parser, "local");
    if (session && sql_accept_word(parser, "characteristics")) {
        stmt->kind = SQL_SET_TRANSACTION;
        stmt->all = true;
        TRY(sql_expect_word(parser, "as"));
        TRY(sql_expect_word(parser, "transaction"));
        return read_modes(parser, &stmt->modes, true);
    }
    if (sql_accept_word(parser, "transaction")) {
        stmt->kind = SQL_SET_TRANSACTION;
        return read_modes(parser, &stmt->modes, true);
    }
    if (sql_is_word(parser, "session") && span_is(parser->at[1].value, "authorization"))
        parser->at += 1; /* SET LOCAL SESSION AUTHORIZATION */
    TRY(read_set_words(parser, stmt, &found));
    if (found)
        return OK;
    TRY(read_setting_name(parser, &stmt->name));
    if (!sql_accept_sign(parser, "="))
        TRY(sql_expect_word(parser, "to"));
    return read_setting_values(parser, stmt);
}

/* RESET and SHOW */
static fault read_reset(struct sql_parser *parser, struct sql_stmt *stmt, enum sql_kind kind)
{
    stmt->kind = kind;
    stmt->all = sql_accept_word(parser, "all");
    if (stmt->all)
        return OK;
    if (sql_accept_word(parser, "time")) {
        stmt->name = SPAN("timezone");
        return sql_expect_word(parser, "zone");
    }
    if (sql_accept_word(parser, "session")) {
        stmt->name = SPAN("session_authorization");
        return sql_expect_word(parser, "authorization");
    }
    if (sql_accept_word(parser, "transaction")) {
        stmt->name = SPAN("transaction_isolation");
        TRY(sql_expect_word(parser, "isolation"));
        return sql_expect_word(parser, "level");
    }
    return read_setting_name(parser, &stmt->name);
}

fault sql_read_setting(struct sql_parser *parser, struct sql_stmt *stmt)
{
    struct span word = parser->at->value;
    parser->at += 1;
    if (span_is(word, "set"))
        return read_set(parser, stmt);
    if (span_is(word, "reset"))
        return read_reset(parser, stmt, SQL_RESET);
    if (span_is(word, "show"))
        return read_reset(parser, stmt, SQL_SHOW);
    if (span_is(word, "begin") || span_is(word, "start"))
        return read_begin(parser, stmt, span_is(word, "start"));
    if (span_is(word, "commit") || span_is(word, "end"))
        return read_commit(parser, stmt);
    if (span_is(word, "rollback") || span_is(word, "abort"))
        return read_rollback(parser, stmt);
    if (span_is(word, "release"))
        return read_release(parser, stmt);
    stmt->kind = SQL_SAVEPOINT;
    return sql_read_name(parser, &stmt->name);
}
