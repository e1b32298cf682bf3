#include "query/hint.h"

#include "query/scan_parts.h"

#define MARK "trunkline:"

static bool is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct span skip_blanks(struct span text)
{
    while (text.size > 0 && is_blank(text.at[0]))
        text = span_skip(text, 1);
    return text;
}

static bool begins(struct span text, const char *with)
{
    return span_starts(text, span_text(with));
}

/* --- comments --------------------------------------------------------------------------------- */

/* Takes a comment of dashes off the text; *body is what stands behind them. */
static void take_line(struct span *text, struct span *body)
{
    struct span rest = span_skip(*text, 2);
    size_t size = 0;
    while (size < rest.size && rest.at[size] != '\n' && rest.at[size] != '\r')
        size++;
    *body = span_of(rest.at, size);
    *text = span_skip(rest, size);
}

/* Takes a comment with an end off the text; those within it belong to it.  One without its end goes
 * on to the end of the text. */
static void take_block(struct span *text, struct span *body)
{
    struct span rest = span_skip(*text, 2);
    const uint8_t *start = rest.at;
    size_t depth = 1, closed = 0;
    while (rest.size > 0 && depth > 0) {
        bool opens = begins(rest, "/*"), closes = begins(rest, "*/");
        depth += opens;
        depth -= closes;
        closed = depth == 0 ? 2 : 0;
        rest = span_skip(rest, opens || closes ? 2 : 1);
    }
    *body = span_of(start, (size_t)(rest.at - start) - closed);
    *text = rest;
}

/* Finds the hints among the blanks, comments and semicolons at the beginning of the text. */
static size_t find(struct span text, struct span *ret, size_t count)
{
    while (count < QUERY_HINTS_MAX) {
        struct span body;
        text = skip_blanks(text);
        if (begins(text, ";")) {
            text = span_skip(text, 1);
            continue;
        }
        if (begins(text, "--"))
            take_line(&text, &body);
        else if (begins(text, "/*"))
            take_block(&text, &body);
        else
            return count;
        body = skip_blanks(body);
        if (begins(body, MARK))
            ret[count++] = span_skip(body, strlen(MARK));
    }
    return count;
}

/* Returns what stands behind the last token that is no semicolon. */
static struct span behind(struct span text)
{
    struct query_scan scan;
    query_scan_init(&scan, text);
    const uint8_t *end = text.at;
    for (;;) {
        struct query_token token = query_scan_next(&scan);
        if (token.kind == QUERY_TOKEN_END)
            return span_of(end, (size_t)(text.at + text.size - end));
        if (token.kind != QUERY_TOKEN_PUNCT || token.text.at[0] != ';')
            end = scan.at;
    }
}

size_t query_hints(struct span text, struct span ret[QUERY_HINTS_MAX])
{
    if (text.size == 0)
        return 0;
    text.size = strnlen((const char *)text.at, text.size);
    if (memmem(text.at, text.size, MARK, strlen(MARK)) == NULL)
        return 0;
    size_t count = find(text, ret, 0);
    struct span rest = behind(text);
    return rest.at == text.at ? count : find(rest, ret, count);
}

/* --- words ------------------------------------------------------------------------------------ */

static bool is_between(uint8_t c)
{
    return is_blank(c) || c == ',';
}

bool query_hint_word(struct span *hint, struct span *ret)
{
    size_t size = 0;
    while (hint->size > 0 && is_between(hint->at[0]))
        *hint = span_skip(*hint, 1);
    while (size < hint->size && !is_between(hint->at[size]))
        size++;
    *ret = span_of(hint->at, size);
    *hint = span_skip(*hint, size);
    return size > 0;
}
