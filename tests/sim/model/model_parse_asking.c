/*
 * model_parse_asking.c - the pooler's question which parameters have been reset.
 *
 * It reads pg_settings, which the model does not have.  What it would do is written as calls of
 * set_config(), and read in its place.
 */
#include "model_inside.h"

static const char *const first_words[] = {"select", "pg_catalog", ".", "set_config",
                                          "(",      "g",          ".", "name"};

bool sql_is_asking(const struct sql_parser *parser)
{
    for (size_t i = 0; i < ARRAY_SIZE(first_words); i++)
        if (parser->at[i].kind == SQL_END || !span_is_nocase(parser->at[i].raw, first_words[i]))
            return false;
    return true;
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
    while (!sql_accept_word(parser, "values"))
        parser->at += 1;
    do
        TRY(read_pair(parser, &calls));
    while (sql_accept_sign(parser, ","));
    while (parser->at->kind != SQL_END && !sql_is_sign(parser, ";"))
        parser->at += 1;
    struct sql_parser inner = {parser->session, parser->arena, sql_lex(parser->arena, calls), 0};
    return sql_read_query(&inner, stmt);
}
