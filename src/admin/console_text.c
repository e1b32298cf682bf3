/*
 * Statements and words of what a console client sends; times as it reads them.
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

/* Bytes of the quoted text that `text` begins with, quotes included. */
static fault quoted_size(struct span text, size_t *ret)
{
    const uint8_t *end = memchr(text.at + 1, text.at[0], text.size - 1);
    if (end == NULL)
        return fault_raise(FAULT_SYNTAX, "unterminated quoted text");
    *ret = (size_t)(end - text.at) + 1;
    return OK;
}

/* Blanks and comments. */
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

fault console_words(struct span statement, char words[CONSOLE_WORDS_MOST])
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
        if (used + apart + size + 1 > CONSOLE_WORDS_MOST)
            return fault_raise(FAULT_SYNTAX, "a command of more than %u bytes", CONSOLE_WORDS_MOST);
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

const char *console_time(int64_t us, char text[CONSOLE_TIME_SIZE])
{
    time_t seconds = (time_t)(us / 1000000);
    struct tm parts;
    if (gmtime_r(&seconds, &parts) == NULL ||
        strftime(text, CONSOLE_TIME_SIZE, "%Y-%m-%d %H:%M:%S UTC", &parts) == 0)
        text[0] = '\0';
    return text;
}
