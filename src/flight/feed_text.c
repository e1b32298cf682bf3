#include "flight/feed_text.h"

#include <ctype.h>

/* The places in a text where a function stands; it moves on only if the function succeeds. */
struct feed_cursor {
    const uint8_t *at;
    const uint8_t *end;
};

static struct feed_cursor cursor_over(struct span text)
{
    return (struct feed_cursor){text.at, text.at + text.size};
}

static size_t left(const struct feed_cursor *in)
{
    return (size_t)(in->end - in->at);
}

static bool at_end(const struct feed_cursor *in)
{
    return in->at == in->end;
}

static bool next_is(const struct feed_cursor *in, const char *text)
{
    return span_starts(span_of(in->at, left(in)), span_text(text));
}

static bool take(struct feed_cursor *in, const char *text)
{
    if (!next_is(in, text))
        return false;
    in->at += strlen(text);
    return true;
}

static bool take_number(struct feed_cursor *in, uint64_t max, uint64_t *ret)
{
    const uint8_t *at = in->at;
    uint64_t number = 0;
    for (; at < in->end && isdigit(*at); at++) {
        unsigned digit = (unsigned)(*at - '0');
        if (digit > max || number > (max - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    if (at == in->at || (*in->at == '0' && at - in->at > 1))
        return false;
    in->at = at;
    *ret = number;
    return true;
}

static bool take_xid(struct feed_cursor *in, uint32_t *ret)
{
    uint64_t number;
    if (!take_number(in, UINT32_MAX, &number) || number == 0)
        return false;
    *ret = (uint32_t)number;
    return true;
}

/* --- names ------------------------------------------------------------------------------------ */

static bool name_append(struct feed_name *name, uint8_t byte)
{
    if (name->size == FEED_NAME_MAX || byte == '\0')
        return false;
    name->at[name->size++] = (char)byte;
    return true;
}

static bool take_quoted_name(struct feed_cursor *in, struct feed_name *ret)
{
    for (in->at++; in->at < in->end; in->at++) {
        if (*in->at == '"') {
            if (in->at + 1 == in->end || in->at[1] != '"') {
                in->at++;
                return ret->size > 0;
            }
            in->at++;
        }
        if (!name_append(ret, *in->at))
            return false;
    }
    return false;
}

/* As quote_identifier() writes it, with or without quote_all_identifiers. */
static bool take_name(struct feed_cursor *in, struct feed_name *ret)
{
    ret->size = 0;
    if (next_is(in, "\""))
        return take_quoted_name(in, ret);
    for (; in->at < in->end; in->at++) {
        bool letter = (*in->at >= 'a' && *in->at <= 'z') || *in->at == '_';
        if (!letter && (ret->size == 0 || !isdigit(*in->at)))
            break;
        if (!name_append(ret, *in->at))
            return false;
    }
    return ret->size > 0;
}

static bool take_table(struct feed_cursor *in, struct feed_table *ret)
{
    return take_name(in, &ret->schema) && take(in, ".") && take_name(in, &ret->name);
}

bool feed_next_table(struct span *tables, struct feed_table *ret)
{
    if (tables->size == 0)
        return false;
    struct feed_cursor in = cursor_over(*tables);
    bool taken = take_table(&in, ret);
    invariant(taken && (at_end(&in) || next_is(&in, ", ")));
    take(&in, ", ");
    *tables = span_of(in.at, left(&in));
    return true;
}

/* --- columns ---------------------------------------------------------------------------------- */

/* Quoted by ' or ", where the quote itself is doubled. */
static bool take_quoted(struct feed_cursor *in)
{
    uint8_t quote = *in->at;
    for (in->at++; in->at < in->end && *in->at != '\0'; in->at++) {
        if (*in->at != quote)
            continue;
        if (in->at + 1 == in->end || in->at[1] != quote) {
            in->at++;
            return true;
        }
        in->at++;
    }
    return false;
}

/* Up to the ']' behind a type.  A type has brackets only in quotes and as "[]". */
static bool take_type(struct feed_cursor *in, struct span *ret)
{
    const uint8_t *from = in->at;
    while (in->at < in->end && *in->at != ']') {
        if (*in->at == '\0')
            return false;
        if (*in->at == '"') {
            if (!take_quoted(in))
                return false;
        } else if (*in->at == '[') {
            if (!take(in, "[]"))
                return false;
        } else {
            in->at++;
        }
    }
    *ret = span_of(from, (size_t)(in->at - from));
    return ret->size > 0 && take(in, "]");
}

static bool take_digits(struct feed_cursor *in)
{
    const uint8_t *from = in->at;
    while (in->at < in->end && isdigit(*in->at))
        in->at++;
    return in->at > from;
}

/* Values of the types that the plugin doesn't quote, and what stands for a value. */
static bool take_bare(struct feed_cursor *in)
{
    static const char *const words[] = {
        "null", "unchanged-toast-datum", "true", "false", "NaN", "Infinity", "-Infinity"};
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (take(in, words[i]))
            return true;
    take(in, "-");
    if (!take_digits(in) || (take(in, ".") && !take_digits(in)))
        return false;
    if (!take(in, "e"))
        return true;
    return (take(in, "+") || take(in, "-")) && take_digits(in);
}

static bool take_value(struct feed_cursor *in, struct feed_column *ret)
{
    const uint8_t *from = in->at;
    take(in, "B"); /* of bit strings */
    bool taken = next_is(in, "'") ? take_quoted(in) : in->at == from && take_bare(in);
    if (!taken || !(at_end(in) || next_is(in, " ")))
        return false;
    ret->literal = span_of(from, (size_t)(in->at - from));
    ret->value = FEED_VALUE;
    if (span_is(ret->literal, "null"))
        ret->value = FEED_NULL;
    else if (span_is(ret->literal, "unchanged-toast-datum"))
        ret->value = FEED_UNCHANGED;
    if (ret->value != FEED_VALUE)
        ret->literal = SPAN_NONE;
    return true;
}

static bool take_column(struct feed_cursor *in, struct feed_column *ret)
{
    return take(in, " ") && take_name(in, &ret->name) && take(in, "[") &&
           take_type(in, &ret->type) && take(in, ":") && take_value(in, ret);
}

bool feed_next_column(struct span *columns, struct feed_column *ret)
{
    if (columns->size == 0)
        return false;
    struct feed_cursor in = cursor_over(*columns);
    bool taken = take_column(&in, ret);
    invariant(taken);
    *columns = span_of(in.at, left(&in));
    return true;
}

bool feed_find_columns(struct feed_row row, const struct span *names, size_t count,
                       struct feed_column *ret)
{
    invariant(count > 0 && count <= FEED_COLUMNS_MAX);
    struct feed_column column;
    uint64_t missing = (UINT64_C(1) << count) - 1;
    while (row.told && feed_next_column(&row.columns, &column)) {
        for (size_t i = 0; i < count; i++) {
            if (!span_equal(feed_name_span(&column.name), names[i]))
                continue;
            if (column.value != FEED_VALUE)
                return false;
            ret[i] = column;
            missing &= ~(UINT64_C(1) << i);
        }
    }
    return missing == 0;
}

void feed_put_literal(struct buffer *out, struct span literal)
{
    struct feed_cursor in = cursor_over(literal);
    bool escapes = take(&in, "E'");
    if (!escapes && !take(&in, "'") && !take(&in, "B'")) {
        buffer_append_span(out, literal);
        return;
    }
    invariant(!at_end(&in) && in.end[-1] == '\'');
    for (in.end--; in.at < in.end; in.at++) {
        if (*in.at == '\'' || (escapes && *in.at == '\\'))
            in.at++; /* the second of two */
        buffer_append_byte(out, *in.at);
    }
}

/* --- changes ---------------------------------------------------------------------------------- */

/* All columns up to the end, or up to `before`. */
static bool take_row(struct feed_cursor *in, const char *before, struct feed_row *ret)
{
    const uint8_t *from = in->at;
    struct feed_column column;
    while (!at_end(in) && (before == NULL || !next_is(in, before)))
        if (!take_column(in, &column))
            return false;
    *ret = (struct feed_row){true, span_of(from, (size_t)(in->at - from))};
    return before == NULL || take(in, before);
}

static bool take_last_row(struct feed_cursor *in, struct feed_row *ret)
{
    if (take(in, " (no-tuple-data)"))
        return true; /* it isn't told */
    return take_row(in, NULL, ret);
}

static bool take_truncate(struct feed_cursor *in)
{
    if (take(in, " (no-flags)"))
        return true;
    bool restart = take(in, " restart_seqs");
    bool cascade = take(in, " cascade");
    return restart || cascade;
}

static bool take_change(struct feed_cursor *in, struct feed_text *ret)
{
    const uint8_t *from = in->at;
    struct feed_table more;
    bool one = true;
    if (!take_table(in, &ret->table))
        return false;
    for (; take(in, ", "); one = false)
        if (!take_table(in, &more))
            return false;
    ret->tables = span_of(from, (size_t)(in->at - from));
    if (take(in, ": TRUNCATE:")) {
        ret->kind = FEED_TRUNCATE;
        return take_truncate(in);
    }
    if (!one)
        return false;
    if (take(in, ": INSERT:")) {
        ret->kind = FEED_INSERT;
        return take_last_row(in, &ret->new_row);
    }
    if (take(in, ": DELETE:")) {
        ret->kind = FEED_DELETE;
        return take_last_row(in, &ret->old_row);
    }
    ret->kind = FEED_UPDATE;
    if (!take(in, ": UPDATE:") ||
        (take(in, " old-key:") && !take_row(in, " new-tuple:", &ret->old_row)))
        return false;
    return take_last_row(in, &ret->new_row);
}

/* --- messages --------------------------------------------------------------------------------- */

/* The prefix is written as it is and may look like what follows it.  The first place is taken whose
 * size is that of all the rest: a prefix without ", sz: " is always read as it was given. */
static bool take_message(struct feed_cursor *in, struct feed_text *ret)
{
    static const char behind[] = ", sz: ";
    const uint8_t *from = in->at;
    uint64_t size;
    while ((in->at = memmem(in->at, left(in), behind, strlen(behind))) != NULL) {
        ret->prefix = span_of(from, (size_t)(in->at - from));
        take(in, behind);
        struct feed_cursor rest = *in;
        if (take_number(&rest, SIZE_MAX, &size) && take(&rest, " content:") &&
            size == left(&rest)) {
            ret->content = span_of(rest.at, left(&rest));
            in->at = in->end;
            return memchr(ret->prefix.at, '\0', ret->prefix.size) == NULL;
        }
    }
    in->at = in->end;
    return false;
}

static bool take_message_head(struct feed_cursor *in, struct feed_text *ret)
{
    uint64_t transactional;
    if (!take_number(in, 1, &transactional) || !take(in, " prefix: "))
        return false;
    ret->kind = FEED_MESSAGE;
    ret->transactional = transactional == 1;
    return take_message(in, ret);
}

/* --- transactions ----------------------------------------------------------------------------- */

/* The time of a commit, with the option include-timestamp. */
static bool take_time(struct feed_cursor *in)
{
    if (!take(in, " (at "))
        return true;
    const uint8_t *from = in->at;
    while (!at_end(in) && *in->at >= ' ' && *in->at != ')')
        in->at++;
    return in->at > from && take(in, ")");
}

static bool take_prepared(struct feed_cursor *in, struct feed_text *ret)
{
    const uint8_t *from = in->at;
    take(in, "E"); /* it has backslashes, each of them doubled */
    if (!next_is(in, "'") || !take_quoted(in))
        return false;
    ret->gid = span_of(from, (size_t)(in->at - from));
    return take(in, ", txid ") && take_xid(in, &ret->xid) && take_time(in);
}

static bool take_text(struct feed_cursor *in, struct feed_text *ret)
{
    static const struct {
        const char *head;
        enum feed_kind kind;
    } prepared[] = {
        {"PREPARE TRANSACTION ", FEED_PREPARE},
        {"COMMIT PREPARED ", FEED_COMMIT_PREPARED},
        {"ROLLBACK PREPARED ", FEED_ROLLBACK_PREPARED},
    };
    if (take(in, "table "))
        return take_change(in, ret);
    if (take(in, "message: transactional: "))
        return take_message_head(in, ret);
    for (size_t i = 0; i < ARRAY_SIZE(prepared); i++) {
        if (take(in, prepared[i].head)) {
            ret->kind = prepared[i].kind;
            return take_prepared(in, ret);
        }
    }
    ret->kind = FEED_BEGIN;
    if (take(in, "BEGIN "))
        return take_xid(in, &ret->xid);
    ret->kind = FEED_COMMIT;
    return take(in, "COMMIT ") && take_xid(in, &ret->xid) && take_time(in);
}

fault feed_read_text(struct span text, struct feed_text *ret)
{
    struct feed_cursor in = cursor_over(text);
    struct feed_text read = {0};
    if (!take_text(&in, &read) || !at_end(&in))
        return FAULT_PROTOCOL;
    *ret = read;
    return OK;
}
