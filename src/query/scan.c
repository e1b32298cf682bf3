#include "query/scan_parts.h"

void query_scan_init(struct query_scan *scan, struct span text)
{
    const uint8_t *nul = text.size == 0 ? NULL : memchr(text.at, '\0', text.size);
    scan->at = text.at;
    scan->end = nul != NULL ? nul : text.at + text.size;
    scan->unsure = false;
    invariant(scan->end - scan->at >= 0 && (size_t)(scan->end - scan->at) <= text.size);
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

/* Skips a block comment.  Block comments nest. */
static void skip_block(struct query_scan *scan)
{
    unsigned depth = 0;
    invariant(peek(scan, 0) == '/' && peek(scan, 1) == '*');
    do {
        if (peek(scan, 0) == '/' && peek(scan, 1) == '*') {
            depth += 1;
            scan->at += 2;
        } else if (peek(scan, 0) == '*' && peek(scan, 1) == '/') {
            invariant(depth > 0);
            depth -= 1;
            scan->at += 2;
        } else {
            scan->at += 1;
        }
    } while (depth > 0 && scan->at < scan->end);
    invariant(scan->at <= scan->end);
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

/* Skips to the closing quote of an identifier, or of a string in which a backslash is an ordinary
 * byte.  Called after the opening quote. */
static void skip_plain(struct query_scan *scan, uint8_t quote)
{
    while (scan->at < scan->end) {
        if (*scan->at == quote && peek(scan, 1) == quote)
            scan->at += 1;
        else if (*scan->at == quote)
            return;
        scan->at += 1;
    }
    invariant(scan->at == scan->end);
}

/* Skips to the closing quote of a string in which a backslash escapes the next byte.  After a byte
 * of a multibyte character the backslash may be that character's second byte: in SJIS, BIG5, GBK,
 * UHC, JOHAB and GB18030. */
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
    invariant(scan->at == scan->end);
}

/* Skips to a string's continuation: a quote on a later line, with only space and line comments in
 * between.  Called after the closing quote; then the position is after the new opening quote. */
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
    invariant(ahead.at > scan->at && ahead.at < ahead.end);
    scan->at = ahead.at + 1;
    return true;
}

/* Whether a backslash in a string is an escape. */
enum escapes {
    ESCAPES_NEVER,
    ESCAPES_ALWAYS,
    ESCAPES_MAYBE, /* if standard_conforming_strings is off */
};

/* Returns whether the closing quote at `at` would not close if backslashes were escapes. */
static bool quote_is_unsure(const uint8_t *begin, const uint8_t *at)
{
    size_t backslashes = 0;
    while (at > begin && at[-1] == '\\') {
        backslashes += 1;
        at -= 1;
    }
    return backslashes % 2 != 0;
}

/* Returns whether a string would end elsewhere if backslashes were escapes.  Of a doubled quote,
 * the first may be escaped and the second may close. */
static bool string_is_unsure(const uint8_t *begin, const uint8_t *close)
{
    invariant(begin <= close && *close == '\'');
    for (const uint8_t *at = begin; at <= close; at++) {
        at = memchr(at, '\'', (size_t)(close - at) + 1);
        if (at == NULL)
            return false;
        if (quote_is_unsure(begin, at))
            return true;
    }
    return false;
}

/* Consumes a string with its continuations.  Called after the opening quote. */
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
        invariant(*scan->at == '\'');
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
    invariant(scan->at == scan->end || *scan->at == '"');
    scan->at += scan->at < scan->end;
    return text;
}

/* Returns the size of the dollar quote that begins at a '$', both signs included; 0: none begins
 * here. */
static size_t dollar_tag(const struct query_scan *scan)
{
    size_t size = 1;
    invariant(peek(scan, 0) == '$');
    if (is_digit(peek(scan, 1)))
        return 0;
    while (is_word_start(peek(scan, size)) || is_digit(peek(scan, size)))
        size += 1;
    return peek(scan, size) == '$' ? size + 1 : 0;
}

static struct span take_dollar(struct query_scan *scan, size_t tag)
{
    invariant(tag >= 2 && tag <= (size_t)(scan->end - scan->at));
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
    invariant(scan->at > begin); /* else the text would never end */
    return span_of(begin, (size_t)(scan->at - begin));
}

static struct query_token token_of(enum query_token_kind kind, struct span text)
{
    return (struct query_token){kind, text};
}

/* Consumes U&"name" or U&'text'.  A name is an ordinary name unless it has an escape. */
static struct query_token take_unicode(struct query_scan *scan)
{
    uint8_t quote = peek(scan, 2);
    invariant(quote == '\'' || quote == '"');
    scan->at += 3;
    if (quote == '\'')
        return token_of(QUERY_TOKEN_STRING, take_string(scan, ESCAPES_NEVER));
    struct span text = take_identifier(scan);
    if (text.size > 0 && memchr(text.at, '\\', text.size) != NULL)
        scan->unsure = true;
    return token_of(QUERY_TOKEN_QUOTED, text);
}

/* Consumes a word, or a string or name with a prefix: E'', B'', X'', N'', U&'', U&"". */
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
