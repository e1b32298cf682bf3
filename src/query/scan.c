#include "query/scan.h"

void query_scan_init(struct query_scan *scan, struct span text)
{
    const uint8_t *nul = text.size == 0 ? NULL : memchr(text.at, '\0', text.size);
    scan->at = text.at;
    scan->end = nul != NULL ? nul : text.at + text.size;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_word_start(uint8_t c)
{
    return (uint8_t)((c | 0x20) - 'a') < 26 || c == '_' || c >= 0x80;
}

static bool is_digit(uint8_t c)
{
    return (uint8_t)(c - '0') < 10;
}

static uint8_t peek(const struct query_scan *scan, size_t ahead)
{
    return (size_t)(scan->end - scan->at) > ahead ? scan->at[ahead] : '\0';
}

static void skip_line(struct query_scan *scan)
{
    while (scan->at != scan->end && *scan->at != '\n' && *scan->at != '\r')
        scan->at += 1;
}

/* Comments of this kind nest. */
static void skip_block(struct query_scan *scan)
{
    unsigned depth = 0;
    do {
        if (peek(scan, 0) == '/' && peek(scan, 1) == '*') {
            depth += 1;
            scan->at += 2;
        } else if (peek(scan, 0) == '*' && peek(scan, 1) == '/') {
            depth -= 1;
            scan->at += 2;
        } else {
            scan->at += 1;
        }
    } while (depth > 0 && scan->at < scan->end);
}

static void skip_blank(struct query_scan *scan)
{
    while (scan->at < scan->end) {
        if (is_space(*scan->at))
            scan->at += 1;
        else if (*scan->at == '-' && peek(scan, 1) == '-')
            skip_line(scan);
        else if (*scan->at == '/' && peek(scan, 1) == '*')
            skip_block(scan);
        else
            return;
    }
}

/* Behind the opening quote.  `escapes`: a backslash takes the next byte with it. */
static struct span take_quoted(struct query_scan *scan, uint8_t quote, bool escapes)
{
    const uint8_t *begin = scan->at;
    while (scan->at < scan->end) {
        if (escapes && *scan->at == '\\' && scan->at + 1 < scan->end)
            scan->at += 1;
        else if (*scan->at == quote && peek(scan, 1) == quote)
            scan->at += 1;
        else if (*scan->at == quote)
            break;
        scan->at += 1;
    }
    struct span text = span_of(begin, (size_t)(scan->at - begin));
    if (scan->at < scan->end)
        scan->at += 1;
    return text;
}

/* At a '$': whether a dollar quote begins here; its tag's size with both signs. */
static size_t dollar_tag(const struct query_scan *scan)
{
    size_t size = 1;
    if (is_digit(peek(scan, 1)))
        return 0;
    while (is_word_start(peek(scan, size)) || is_digit(peek(scan, size)))
        size += 1;
    return peek(scan, size) == '$' ? size + 1 : 0;
}

static struct span take_dollar(struct query_scan *scan, size_t tag)
{
    struct span quote = span_of(scan->at, tag);
    const uint8_t *begin = scan->at + tag;
    const uint8_t *close = memmem(begin, (size_t)(scan->end - begin), quote.at, quote.size);
    struct span text = span_of(begin, (size_t)((close != NULL ? close : scan->end) - begin));
    scan->at = close != NULL ? close + tag : scan->end;
    return text;
}

static struct span take_word(struct query_scan *scan)
{
    const uint8_t *begin = scan->at;
    while (scan->at < scan->end &&
           (is_word_start(*scan->at) || is_digit(*scan->at) || *scan->at == '$'))
        scan->at += 1;
    return span_of(begin, (size_t)(scan->at - begin));
}

static struct query_token token_of(enum query_token_kind kind, struct span text)
{
    return (struct query_token){kind, text};
}

/* A word, or a string with a letter in front: E'', B'', X'', N'', U&'', U&"". */
static struct query_token word_or_prefixed(struct query_scan *scan)
{
    uint8_t letter = *scan->at | 0x20;
    if (peek(scan, 1) == '\'' && strchr("ebxn", letter) != NULL) {
        scan->at += 2;
        return token_of(QUERY_TOKEN_STRING, take_quoted(scan, '\'', letter == 'e'));
    }
    if (letter == 'u' && peek(scan, 1) == '&' && (peek(scan, 2) == '\'' || peek(scan, 2) == '"')) {
        uint8_t quote = peek(scan, 2);
        scan->at += 3;
        return token_of(quote == '"' ? QUERY_TOKEN_QUOTED : QUERY_TOKEN_STRING,
                        take_quoted(scan, quote, false));
    }
    return token_of(QUERY_TOKEN_WORD, take_word(scan));
}

struct query_token query_scan_next(struct query_scan *scan)
{
    skip_blank(scan);
    if (scan->at >= scan->end) {
        scan->at = scan->end;
        return token_of(QUERY_TOKEN_END, SPAN_NONE);
    }
    uint8_t c = *scan->at;
    if (is_word_start(c))
        return word_or_prefixed(scan);
    if (c == '\'' || c == '"') {
        scan->at += 1;
        return token_of(c == '"' ? QUERY_TOKEN_QUOTED : QUERY_TOKEN_STRING,
                        take_quoted(scan, c, false));
    }
    size_t tag = c == '$' ? dollar_tag(scan) : 0;
    if (tag > 0)
        return token_of(QUERY_TOKEN_DOLLAR, take_dollar(scan, tag));
    scan->at += 1;
    if (!is_digit(c) && !(c == '$' && is_digit(peek(scan, 0))))
        return token_of(QUERY_TOKEN_PUNCT, span_of(scan->at - 1, 1));
    const uint8_t *begin = scan->at - 1;
    while (is_digit(peek(scan, 0)) || peek(scan, 0) == '.')
        scan->at += 1;
    return token_of(QUERY_TOKEN_NUMBER, span_of(begin, (size_t)(scan->at - begin)));
}
