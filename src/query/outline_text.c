/*
 * outline_text.c - a SQL text without its constants.
 *
 * libpg_query replaces the constants of the statements whose parts it knows; of all others, such as
 * ALTER ROLE ... PASSWORD, only the command is shown.  What it returns is read token by token once
 * more, so that comments go and a string that was left over is not shown either.
 */
#include "query/analysis_parts.h"
#include "query/outline_parts.h"
#include "query/scan_parts.h"

#include <pg_query.h>
#include <stdlib.h>

/* Statements whose commands are shown. */
#define COMMANDS_MAX 16u

#define PLAIN_VERBS                                                                                \
    (UINT64_C(1) << QUERY_VERB_SELECT | UINT64_C(1) << QUERY_VERB_INSERT |                         \
     UINT64_C(1) << QUERY_VERB_UPDATE | UINT64_C(1) << QUERY_VERB_DELETE |                         \
     UINT64_C(1) << QUERY_VERB_MERGE)

/* --- other statements ------------------------------------------------------------------------- */

static void append_upper(struct buffer *ret, struct span word)
{
    for (size_t i = 0; i < word.size; i++) {
        uint8_t c = word.at[i];
        buffer_append_byte(ret, c >= 'a' && c <= 'z' ? (uint8_t)(c - 32) : c);
    }
}

/* The first word of each statement is a keyword. */
static void show_commands(struct span text, struct buffer *ret)
{
    struct query_scan scan;
    bool first = true;
    uint32_t shown = 0;
    query_scan_init(&scan, text);
    for (;;) {
        struct query_token token = query_scan_next(&scan);
        if (token.kind == QUERY_TOKEN_END || scan.unsure || shown == COMMANDS_MAX)
            return;
        if (token.kind == QUERY_TOKEN_PUNCT && token.text.at[0] == ';')
            first = true;
        if (token.kind != QUERY_TOKEN_WORD || !first)
            continue;
        if (shown++ > 0)
            buffer_append_text(ret, "; ");
        append_upper(ret, token.text);
        first = false;
    }
}

/* --- statements of rows ----------------------------------------------------------------------- */

/* Appends a token; false: there was no room for it. */
static bool show_token(struct buffer *ret, struct query_token token)
{
    bool quoted = token.kind == QUERY_TOKEN_QUOTED;
    if (ret->size + token.text.size + 3 > ret->max)
        return false;
    if (token.kind == QUERY_TOKEN_STRING || token.kind == QUERY_TOKEN_DOLLAR) {
        buffer_append_byte(ret, '?');
        return true;
    }
    if (quoted)
        buffer_append_byte(ret, '"');
    buffer_append_span(ret, token.text);
    if (quoted)
        buffer_append_byte(ret, '"');
    return true;
}

static const uint8_t *start_of(struct query_token token)
{
    return token.kind == QUERY_TOKEN_QUOTED ? token.text.at - 1 : token.text.at;
}

/* Copies the tokens of a text; one blank stands for blanks and comments. */
static void show_tokens(struct span text, struct buffer *ret)
{
    struct query_scan scan;
    query_scan_init(&scan, text);
    const uint8_t *end = scan.at;
    for (;;) {
        struct query_token token = query_scan_next(&scan);
        if (token.kind == QUERY_TOKEN_END || scan.unsure)
            return;
        if (ret->size > 0 && start_of(token) > end)
            buffer_append_byte(ret, ' ');
        if (!show_token(ret, token))
            return;
        end = scan.at;
    }
}

static fault show_rows(struct span text, struct buffer *ret)
{
    char *copy = malloc(text.size + 1);
    if (copy == NULL)
        return FAULT_MEMORY;
    memcpy(copy, text.at, text.size);
    copy[text.size] = '\0';
    analysis_library();
    PgQueryNormalizeResult result = pg_query_normalize(copy);
    if (result.error == NULL)
        show_tokens(span_text(result.normalized_query), ret);
    pg_query_free_normalize_result(result);
    free(copy);
    return OK;
}

/* --- interface -------------------------------------------------------------------------------- */

fault query_show_text(struct span text, const struct query_analysis *analysis, struct buffer *ret)
{
    if (analysis->statement == QUERY_STATEMENT_UNPARSED || analysis->verbs == 0)
        return OK;
    if ((analysis->verbs & ~PLAIN_VERBS) != 0)
        show_commands(text, ret);
    else
        TRY(show_rows(text, ret));
    return buffer_fault(ret) == FAULT_MEMORY ? FAULT_MEMORY : OK;
}
