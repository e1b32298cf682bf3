/*
 * console_text.c - splits a console client's text into statements and words; formats times.
 */
#include "admin/console_parts.h"

#include <stdio.h>
#include <time.h>

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* Bytes of the comment that `text` begins with; 0: it begins with none. */
static fault comment_size(struct span text, size_t *ret)
{
    *ret = 0;
    if (span_starts(text, SPAN("--"))) {
        const uint8_t *end = memchr(text.at, '\n', text.size);
        *ret = end == NULL ? text.size : (size_t)(end - text.at) + 1;
    } else if (span_starts(text, SPAN("/*"))) {
        const uint8_t *end = memmem(text.at + 2, text.size - 2, "*/", 2);
        if (end == NULL)
            return fault_raise(FAULT_SYNTAX, "unterminated /* comment");
        *ret = (size_t)(end - text.at) + 2;
    }
    return OK;
}

/* Returns the bytes of the quoted text that `text` begins with, quotes included. */
static fault quoted_size(struct span text, size_t *ret)
{
    const uint8_t *end = memchr(text.at + 1, text.at[0], text.size - 1);
    if (end == NULL)
        return fault_raise(FAULT_SYNTAX, "unterminated quoted text");
    *ret = (size_t)(end - text.at) + 1;
    return OK;
}

/* Skips blanks and comments. */
static fault skip_nothing(struct span *text)
{
    for (;;) {
        size_t size;
        while (text->size > 0 && is_blank(text->at[0]))
            *text = span_skip(*text, 1);
        TRY(comment_size(*text, &size));
        if (size == 0)
            return OK;
        *text = span_skip(*text, size);
    }
}

/* Bytes up to the end of the piece that `text` begins with: a comment, a quoted text, or a byte. */
static fault piece_size(struct span text, size_t *ret)
{
    TRY(comment_size(text, ret));
    if (*ret > 0)
        return OK;
    if (text.at[0] == '\'' || text.at[0] == '"')
        return quoted_size(text, ret);
    *ret = 1;
    return OK;
}

fault console_next_statement(struct span *text, struct span *ret, bool *ret_any)
{
    *ret_any = false;
    TRY(skip_nothing(text));
    if (text->size == 0)
        return OK;
    struct span rest = *text;
    while (rest.size > 0 && rest.at[0] != ';') {
        size_t size;
        TRY(piece_size(rest, &size));
        rest = span_skip(rest, size);
    }
    *ret = span_of(text->at, text->size - rest.size);
    *text = span_skip(rest, 1);
    *ret_any = true;
    return OK;
}

static uint8_t upper(uint8_t byte)
{
    return byte >= 'a' && byte <= 'z' ? (uint8_t)(byte - 'a' + 'A') : byte;
}

fault console_words(struct span statement, char words[CONSOLE_WORDS_MAX])
{
    size_t used = 0;
    bool apart = false;
    TRY(skip_nothing(&statement));
    while (statement.size > 0) {
        size_t before = statement.size;
        TRY(skip_nothing(&statement));
        apart = apart || statement.size < before;
        if (statement.size == 0)
            break;
        size_t size;
        TRY(piece_size(statement, &size));
        if (used + apart + size + 1 > CONSOLE_WORDS_MAX)
            return fault_raise(FAULT_SYNTAX, "the command exceeds %u bytes", CONSOLE_WORDS_MAX);
        if (apart && used > 0)
            words[used++] = ' ';
        for (size_t i = 0; i < size; i++)
            words[used++] = (char)upper(statement.at[i]);
        statement = span_skip(statement, size);
        apart = false;
    }
    words[used] = '\0';
    return OK;
}

/* --- tokens ----------------------------------------------------------------------------------- */

static bool is_sign(uint8_t byte)
{
    return memchr("=<>!~(),;", byte, 9) != NULL;
}

static fault token_keep(struct console_token *token, size_t *used, uint8_t byte)
{
    if (*used + 1 == CONSOLE_TEXT_MAX)
        return fault_raise(FAULT_SYNTAX, "a name or value exceeds %u bytes", CONSOLE_TEXT_MAX - 1);
    token->text[(*used)++] = (char)byte;
    return OK;
}

/* A doubled quote stands for one. */
static fault token_quoted(struct span *rest, struct console_token *token, size_t *used)
{
    uint8_t quote = rest->at[0];
    token->kind = quote == '"' ? TOKEN_NAME : TOKEN_TEXT;
    for (*rest = span_skip(*rest, 1); rest->size > 0; *rest = span_skip(*rest, 1)) {
        bool ends = rest->at[0] == quote;
        if (ends && (rest->size == 1 || rest->at[1] != quote)) {
            *rest = span_skip(*rest, 1);
            return OK;
        }
        if (ends)
            *rest = span_skip(*rest, 1);
        TRY(token_keep(token, used, rest->at[0]));
    }
    return fault_raise(FAULT_SYNTAX, "unterminated quoted text");
}

static bool word_ends(struct span rest)
{
    uint8_t byte = rest.at[0];
    return is_blank(byte) || is_sign(byte) || byte == '\'' || byte == '"' ||
           span_starts(rest, SPAN("--")) || span_starts(rest, SPAN("/*"));
}

static fault token_read(struct span *rest, struct console_token *token, size_t *used)
{
    uint8_t first = rest->at[0];
    if (first == '\'' || first == '"')
        return token_quoted(rest, token, used);
    if (!is_sign(first)) {
        token->kind = TOKEN_WORD;
        for (; rest->size > 0 && !word_ends(*rest); *rest = span_skip(*rest, 1))
            TRY(token_keep(token, used, rest->at[0]));
        return OK;
    }
    token->kind = TOKEN_SIGN;
    TRY(token_keep(token, used, first));
    *rest = span_skip(*rest, 1);
    bool longer = rest->size > 0 && (rest->at[0] == '=' || (first == '<' && rest->at[0] == '>'));
    if (!longer || strchr("<>!", first) == NULL)
        return OK;
    TRY(token_keep(token, used, rest->at[0]));
    *rest = span_skip(*rest, 1);
    return OK;
}

fault console_token(struct span *rest, struct console_token *ret)
{
    size_t used = 0;
    ret->kind = TOKEN_END;
    ret->text[0] = '\0';
    TRY(skip_nothing(rest));
    if (rest->size == 0)
        return OK;
    TRY(token_read(rest, ret, &used));
    ret->text[used] = '\0';
    return OK;
}

bool console_token_is(const struct console_token *token, const char *word)
{
    return (token->kind == TOKEN_WORD || token->kind == TOKEN_SIGN) &&
           strcasecmp(token->text, word) == 0;
}

const char *console_time(int64_t us, char text[CONSOLE_TIME_SIZE])
{
    time_t seconds = (time_t)(us / 1000000);
    struct tm parts;
    if (gmtime_r(&seconds, &parts) == NULL ||
        strftime(text, CONSOLE_TIME_SIZE, "%Y-%m-%d %H:%M:%S UTC", &parts) == 0)
        text[0] = '\0';
    return text;
}
