/* model_types.c - the types of values, and values as texts. */
#include "model_inside.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

const struct sql_type_row sql_types[SQL_TYPES] = {
    [SQL_UNKNOWN] = {"unknown", "unknown", 25, -1},
    [SQL_BOOL] = {"boolean", "bool", 16, 1},
    [SQL_INT4] = {"integer", "int4", 23, 4},
    [SQL_INT8] = {"bigint", "int8", 20, 8},
    [SQL_TEXT] = {"text", "text", 25, -1},
    [SQL_NAME] = {"name", "name", 19, 64},
    [SQL_VOID] = {"void", "void", 2278, 4},
    [SQL_NUMERIC] = {"numeric", "numeric", 1700, -1},
    [SQL_FLOAT8] = {"double precision", "float8", 701, 8},
};

enum sql_type sql_type_by_oid(uint32_t oid)
{
    for (int type = SQL_BOOL; type < SQL_TYPES; type++)
        if (sql_types[type].oid == oid)
            return (enum sql_type)type;
    return SQL_TYPES;
}

enum sql_type sql_type_by_name(struct span name)
{
    static const struct {
        const char *name;
        enum sql_type type;
    } words[] = {{"int", SQL_INT4},
                 {"integer", SQL_INT4},
                 {"bigint", SQL_INT8},
                 {"boolean", SQL_BOOL},
                 {"double", SQL_FLOAT8}};
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (span_is(name, words[i].name))
            return words[i].type;
    for (int type = SQL_BOOL; type < SQL_TYPES; type++)
        if (span_is(name, sql_types[type].word))
            return (enum sql_type)type;
    return SQL_TYPES;
}

struct span sql_value_text(struct sql_arena *arena, enum sql_type type,
                           const struct sql_value *value)
{
    switch (type) {
    case SQL_BOOL:
        return value->number ? SPAN("t") : SPAN("f");
    case SQL_INT4:
    case SQL_INT8:
        return sql_printf(arena, "%" PRId64, value->number);
    case SQL_FLOAT8:
        return sql_printf(arena, "%.15g", value->real);
    case SQL_VOID:
        return SPAN("");
    default:
        return value->text;
    }
}

static struct span trimmed(struct span text)
{
    while (text.size > 0 && isspace(text.at[0]))
        text = span_skip(text, 1);
    while (text.size > 0 && isspace(text.at[text.size - 1]))
        text.size -= 1;
    return text;
}

static fault read_integer(struct model_session *session, enum sql_type type, struct span text,
                          int64_t *ret)
{
    struct span bare = trimmed(text);
    char copy[32];
    char *end;
    size_t digits = bare.size > 0 && (bare.at[0] == '-' || bare.at[0] == '+') ? 1 : 0;
    bool good = bare.size > digits;
    for (size_t i = digits; i < bare.size; i++)
        good = good && isdigit(bare.at[i]);
    if (!good)
        return model_raise(session, "22P02", "invalid input syntax for type %s: \"%.*s\"",
                           sql_types[type].name, SPAN_ARG(text));
    errno = 0;
    memcpy(copy, bare.at, MIN_OF(bare.size, sizeof(copy) - 1));
    copy[MIN_OF(bare.size, sizeof(copy) - 1)] = '\0';
    *ret = strtoll(copy, &end, 10);
    if (errno != 0 || bare.size >= sizeof(copy) ||
        (type == SQL_INT4 && (*ret > INT32_MAX || *ret < INT32_MIN)))
        return model_raise(session, "22003", "value \"%.*s\" is out of range for type %s",
                           SPAN_ARG(text), sql_types[type].name);
    return OK;
}

static fault read_bool(struct model_session *session, struct span text, int64_t *ret)
{
    static const char *const words[] = {"true", "false", "yes", "no", "1", "0"};
    struct span bare = trimmed(text);
    for (size_t i = 0; i < ARRAY_SIZE(words) && bare.size > 0; i++) {
        if (bare.size > strlen(words[i]) ||
            strncasecmp((const char *)bare.at, words[i], bare.size) != 0)
            continue;
        *ret = i % 2 == 0;
        return OK;
    }
    if (span_is_nocase(bare, "on") || span_is_nocase(bare, "of") || span_is_nocase(bare, "off")) {
        *ret = span_is_nocase(bare, "on");
        return OK;
    }
    return model_raise(session, "22P02", "invalid input syntax for type boolean: \"%.*s\"",
                       SPAN_ARG(text));
}

static fault read_real(struct model_session *session, enum sql_type type, struct span text,
                       double *ret)
{
    char copy[64], *end;
    struct span bare = trimmed(text);
    size_t size = MIN_OF(bare.size, sizeof(copy) - 1);
    if (size > 0)
        memcpy(copy, bare.at, size);
    copy[size] = '\0';
    *ret = strtod(copy, &end);
    if (size > 0 && *end == '\0')
        return OK;
    return model_raise(session, "22P02", "invalid input syntax for type %s: \"%.*s\"",
                       sql_types[type].name, SPAN_ARG(text));
}

fault sql_value_read(struct model_session *session, enum sql_type type, struct span text,
                     struct sql_value *ret)
{
    *ret = (struct sql_value){.text = text};
    switch (type) {
    case SQL_INT4:
    case SQL_INT8:
        return read_integer(session, type, text, &ret->number);
    case SQL_BOOL:
        return read_bool(session, text, &ret->number);
    case SQL_FLOAT8:
    case SQL_NUMERIC:
        return read_real(session, type, text, &ret->real);
    default:
        return OK;
    }
}

bool sql_value_receive(enum sql_type type, struct span bytes, struct sql_value *ret)
{
    *ret = (struct sql_value){.text = bytes};
    switch (type) {
    case SQL_INT4:
        ret->number = bytes.size == 4 ? (int32_t)wire_u32(bytes.at) : 0;
        return bytes.size == 4;
    case SQL_INT8:
        if (bytes.size == 8)
            ret->number = (int64_t)((uint64_t)wire_u32(bytes.at) << 32 | wire_u32(bytes.at + 4));
        return bytes.size == 8;
    case SQL_BOOL:
        ret->number = bytes.size == 1 && bytes.at[0] != 0;
        return bytes.size == 1;
    case SQL_FLOAT8:
    case SQL_NUMERIC:
        return false;
    default:
        return true;
    }
}

fault sql_value_cast(struct model_session *session, struct sql_arena *arena,
                     const enum sql_type types[2], struct sql_value *value)
{
    enum sql_type from = types[0], to = types[1];
    bool from_text = from == SQL_TEXT || from == SQL_NAME || from == SQL_UNKNOWN;
    if (value->null || from == to)
        return OK;
    if (from_text)
        return sql_value_read(session, to, value->text, value);
    if (to == SQL_TEXT || to == SQL_NAME) {
        value->text = from == SQL_BOOL ? (value->number ? SPAN("true") : SPAN("false"))
                                       : sql_value_text(arena, from, value);
        return OK;
    }
    if (to == SQL_INT4 && from == SQL_INT8 &&
        (value->number > INT32_MAX || value->number < INT32_MIN))
        return model_raise(session, "22003", "integer out of range");
    if ((to == SQL_FLOAT8 || to == SQL_NUMERIC) && (from == SQL_INT4 || from == SQL_INT8)) {
        value->real = (double)value->number;
        value->text = sql_printf(arena, "%" PRId64, value->number);
    }
    if (to == SQL_BOOL)
        value->number = value->number != 0;
    return OK;
}

/* --- UTF-8 ------------------------------------------------------------------------------------ */

/* Bytes of the character that begins here; 0: none does. */
static size_t character_size(struct span text)
{
    static const uint8_t leads[][3] = {
        {0x80, 0x00, 1}, {0xe0, 0xc0, 2}, {0xf0, 0xe0, 3}, {0xf8, 0xf0, 4}};
    uint8_t first = text.at[0];
    for (size_t i = 0; i < ARRAY_SIZE(leads); i++) {
        if ((first & leads[i][0]) != leads[i][1])
            continue;
        size_t size = leads[i][2];
        bool good = first != 0 && first != 0xc0 && first != 0xc1 && size <= text.size;
        for (size_t j = 1; j < size && good; j++)
            good = (text.at[j] & 0xc0) == 0x80;
        return good ? size : 0;
    }
    return 0;
}

size_t model_text_good(struct span text)
{
    size_t size = text.size, more;
    while (text.size > 0 && (more = character_size(text)) > 0)
        text = span_skip(text, more);
    return size - text.size;
}

fault model_check_text(struct model_session *session, struct span text)
{
    while (text.size > 0) {
        size_t size = character_size(text);
        if (size == 0) {
            uint8_t first = text.at[0];
            size_t max = first < 0xc0 || first >= 0xf8 ? 1
                         : first < 0xe0                ? 2
                         : first < 0xf0                ? 3
                                                       : 4;
            char bytes[32] = "";
            size_t at = 0;
            for (size_t i = 0; i < MIN_OF(max, text.size); i++)
                at += (size_t)snprintf(bytes + at, sizeof(bytes) - at, "%s0x%02x", i > 0 ? " " : "",
                                       text.at[i]);
            return model_raise(session, "22021", "invalid byte sequence for encoding \"UTF8\": %s",
                               bytes);
        }
        text = span_skip(text, size);
    }
    return OK;
}
