#include "query/scan.h"

void query_scan_init(struct query_scan *scan, struct span text)
{
    const uint8_t *nul = text.size == 0 ? NULL : memchr(text.at, '\0', text.size);
    scan->at = text.at;
    scan->end = nul != NULL ? nul : text.at + text.size;
    scan->unsure = false;
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

/* Behind the opening quote of an identifier, or of a string in which a backslash is a byte like any
 * other: to the closing one. */
static void skip_plain(struct query_scan *scan, uint8_t quote)
{
    while (scan->at < scan->end) {
        if (*scan->at == quote && peek(scan, 1) == quote)
            scan->at += 1;
        else if (*scan->at == quote)
            return;
        scan->at += 1;
    }
}

/* The same where a backslash takes the next byte with it.  Behind a byte of a multibyte character
 * it may be the second half of that: in SJIS, BIG5, GBK, UHC, JOHAB and GB18030. */
static void skip_escaped(struct query_scan *scan)
{
    for (; scan->at < scan->end; scan->at += 1) {
        if (*scan->at == '\\') {
            scan->unsure = scan->unsure || scan->at[-1] >= 0x80;
            scan->at += scan->at + 1 < scan->end;
        } else if (*scan->at == '\'') {
            if (peek(scan, 1) != '\'')
                return;
            scan->at += 1;
        }
    }
}

/* Behind the closing quote of a string: a further quote on a later line, with nothing but space and
 * comments of that line in between, continues it; then behind that quote. */
static bool skip_to_continuation(struct query_scan *scan)
{
    struct query_scan ahead = *scan;
    bool newline = false;
    while (ahead.at < ahead.end) {
        if (is_space(*ahead.at)) {
            newline = newline || *ahead.at == '\n' || *ahead.at == '\r';
            ahead.at += 1;
        } else if (*ahead.at == '-' && peek(&ahead, 1) == '-') {
            skip_line(&ahead);
        } else {
            break;
        }
    }
    if (!newline || peek(&ahead, 0) != '\'')
        return false;
    scan->at = ahead.at + 1;
    return true;
}

/* How a string reads its backslashes. */
enum escapes {
    ESCAPES_NEVER,
    ESCAPES_ALWAYS,
    ESCAPES_MAYBE, /* if standard_conforming_strings is off */
};

/* Whether backslashes in front of the closing quote at `at` would make it one that does not close.
 */
static bool quote_is_unsure(const uint8_t *begin, const uint8_t *at)
{
    size_t backslashes = 0;
    while (at > begin && at[-1] == '\\') {
        backslashes += 1;
        at -= 1;
    }
    return backslashes % 2 != 0;
}

/* Whether the text reads in another way where backslashes escape.  A quote that is doubled may be
 * one that is escaped and one that closes. */
static bool string_is_unsure(const uint8_t *begin, const uint8_t *close)
{
    for (const uint8_t *at = begin; at <= close; at++) {
        at = memchr(at, '\'', (size_t)(close - at) + 1);
        if (at == NULL)
            return false;
        if (quote_is_unsure(begin, at))
            return true;
    }
    return false;
}

/* Behind the opening quote of a string: all of it, with its continuations. */
static struct span take_string(struct query_scan *scan, enum escapes escapes)
{
    const uint8_t *begin = scan->at;
    struct span text;
    do {
        const uint8_t *part = scan->at;
        if (escapes == ESCAPES_ALWAYS)
            skip_escaped(scan);
        else
            skip_plain(scan, '\'');
        text = span_of(begin, (size_t)(scan->at - begin));
        if (scan->at == scan->end)
            return text;
        if (escapes == ESCAPES_MAYBE && string_is_unsure(part, scan->at))
            scan->unsure = true;
        scan->at += 1;
    } while (skip_to_continuation(scan));
    return text;
}

static struct span take_identifier(struct query_scan *scan)
{
    const uint8_t *begin = scan->at;
    skip_plain(scan, '"');
    struct span text = span_of(begin, (size_t)(scan->at - begin));
    scan->at += scan->at < scan->end;
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

/* U&"name": as good as any other, until an escape is in it. */
static struct query_token take_unicode(struct query_scan *scan)
{
    uint8_t quote = peek(scan, 2);
    scan->at += 3;
    if (quote == '\'')
        return token_of(QUERY_TOKEN_STRING, take_string(scan, ESCAPES_NEVER));
    struct span text = take_identifier(scan);
    if (text.size > 0 && memchr(text.at, '\\', text.size) != NULL)
        scan->unsure = true;
    return token_of(QUERY_TOKEN_QUOTED, text);
}

/* A word, or a string with a letter in front: E'', B'', X'', N'', U&'', U&"". */
static struct query_token word_or_prefixed(struct query_scan *scan)
{
    uint8_t letter = *scan->at | 0x20;
    if (peek(scan, 1) == '\'' && strchr("ebxn", letter) != NULL) {
        scan->at += 2;
        return token_of(QUERY_TOKEN_STRING, take_string(scan, letter == 'e'   ? ESCAPES_ALWAYS
                                                              : letter == 'n' ? ESCAPES_MAYBE
                                                                              : ESCAPES_NEVER));
    }
    if (letter == 'u' && peek(scan, 1) == '&' && (peek(scan, 2) == '\'' || peek(scan, 2) == '"'))
        return take_unicode(scan);
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
    if (c == '"') {
        scan->at += 1;
        return token_of(QUERY_TOKEN_QUOTED, take_identifier(scan));
    }
    if (c == '\'') {
        scan->at += 1;
        return token_of(QUERY_TOKEN_STRING, take_string(scan, ESCAPES_MAYBE));
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
