/*
 * model_parse_asking.c - queries of the pooler's own.
 *
 * Which parameters have been reset: it reads pg_settings, which the model does not have.  What it
 * would do is written as calls of set_config(), and read in its place.
 *
 * What a server is, PROBE_QUERY of pool/probe.h: the answer is written as constants.
 *
 * What answers from memory need: model_catalog.c.
 *
 * Where the log is, wal_position_sql and wal_position_again_sql of session/own_writes.h: the same.
 */
#include "model_inside.h"

#include <inttypes.h>

static const char *const replace_words[] = {"alter", "view", "seen"};

static const char *const idle_words[] = {"select", "set_config", "(", "name"};

static const char *const first_words[] = {"select", "pg_catalog", ".", "set_config",
                                          "(",      "g",          ".", "name"};

static const char *const probe_words[] = {"select", "r", ",", "current_setting"};

static const char *const position_words[] = {"select", "(", "pg_catalog", ".", "pg_control_system"};
static const char *const again_words[] = {"select",     "null", ",",
                                          "pg_catalog", ".",    "pg_current_wal_insert_lsn"};

static bool begins_by(const struct sql_parser *parser, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (parser->at[i].kind == SQL_END || !span_is_nocase(parser->at[i].raw, words[i]))
            return false;
    return true;
}

bool sql_is_asking(const struct sql_parser *parser)
{
    return begins_by(parser, first_words, ARRAY_SIZE(first_words)) ||
           begins_by(parser, probe_words, ARRAY_SIZE(probe_words)) ||
           begins_by(parser, position_words, ARRAY_SIZE(position_words)) ||
           begins_by(parser, again_words, ARRAY_SIZE(again_words)) ||
           begins_by(parser, replace_words, ARRAY_SIZE(replace_words)) ||
           begins_by(parser, idle_words, ARRAY_SIZE(idle_words)) || model_asks_catalog(parser) ||
           model_asks_facts(parser) || model_reads_view(parser);
}

static fault read_instead(struct sql_parser *parser, struct span query, struct sql_stmt *stmt)
{
    while (parser->at->kind != SQL_END && !sql_is_sign(parser, ";"))
        parser->at += 1;
    struct sql_parser inner = {parser->session, parser->arena, sql_lex(parser->arena, query), 0};
    return sql_read_query(&inner, stmt);
}

static fault read_probe(struct sql_parser *parser, struct sql_stmt *stmt)
{
    const struct model_session *session = parser->session;
    struct span answer = sql_printf(parser->arena,
                                    "SELECT pg_is_in_recovery(), 'off', '%s', '%" PRIu32
                                    "', '%" PRIu64 "', '%" PRIu32 "', '%" PRIu64 "'",
                                    MODEL_SYSTEM, model_timeline(session), model_place(session),
                                    model_started(session), model_place(session));
    return read_instead(parser, answer, stmt);
}

static fault read_position(struct sql_parser *parser, struct sql_stmt *stmt)
{
    const struct model_session *session = parser->session;
    uint64_t place = model_place(session);
    uint32_t line = model_timeline(session);
    const char *format = model_is_standby(session) ? "SELECT '%s', '%X/%X', NULL, '%u', '%u'"
                                                   : "SELECT '%s', '%X/%X', '%08X', NULL, NULL";
    struct span answer = sql_printf(parser->arena, format, MODEL_SYSTEM, (uint32_t)(place >> 32),
                                    (uint32_t)place, line, model_started(session));
    return read_instead(parser, answer, stmt);
}

static fault read_literal(struct sql_parser *parser, struct sql_token *ret)
{
    if (parser->at->kind != SQL_STRING)
        return sql_syntax_error(parser);
    *ret = *parser->at++;
    return OK;
}

/* ('name','value') */
static fault read_pair(struct sql_parser *parser, struct span *calls)
{
    struct sql_token name = {0}, value = {0};
    TRY(sql_expect_sign(parser, "("));
    TRY(read_literal(parser, &name));
    TRY(sql_expect_sign(parser, ","));
    TRY(read_literal(parser, &value));
    if (!model_guc_is_set(parser->session, name.value))
        *calls = sql_printf(parser->arena, "%.*s,pg_catalog.set_config(%.*s,%.*s,false)",
                            SPAN_ARG(*calls), SPAN_ARG(name.raw), SPAN_ARG(value.raw));
    return sql_expect_sign(parser, ")");
}

fault sql_read_asking(struct sql_parser *parser, struct sql_stmt *stmt)
{
    struct span calls = SPAN("SELECT 1");
    if (begins_by(parser, probe_words, ARRAY_SIZE(probe_words)))
        return read_probe(parser, stmt);
    if (begins_by(parser, position_words, ARRAY_SIZE(position_words)) ||
        begins_by(parser, again_words, ARRAY_SIZE(again_words)))
        return read_position(parser, stmt);
    if (begins_by(parser, replace_words, ARRAY_SIZE(replace_words)))
        return read_instead(parser, SPAN("SELECT model_fact('replace')"), stmt);
    if (begins_by(parser, idle_words, ARRAY_SIZE(idle_words)))
        return read_instead(parser, SPAN("SELECT set_config('idle_session_timeout', '0', false)"),
                            stmt);
    if (model_asks_catalog(parser))
        return model_read_catalog(parser, stmt);
    if (model_asks_facts(parser))
        return model_read_facts(parser, stmt);
    if (model_reads_view(parser))
        return model_read_view(parser, stmt);
    while (!sql_accept_word(parser, "values"))
        parser->at += 1;
    do
        TRY(read_pair(parser, &calls));
    while (sql_accept_sign(parser, ","));
    return read_instead(parser, calls, stmt);
}
