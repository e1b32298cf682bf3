/*
 * verdict_key.c - the canonical text of a value of a primary key: what PostgreSQL's output function
 * writes for it.
 *
 * A value is taken only in a form that certainly has the meaning which is assumed here.
 */
#include "flight/verdict.h"

#include "base/check.h"
#include "wire/message.h"

/* Types as Parse has them. */
enum oid {
    OID_UNSPECIFIED = 0,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_TEXT = 25,
    OID_UNKNOWN = 705,
    OID_VARCHAR = 1043,
    OID_UUID = 2950,
};

/* --- integers --------------------------------------------------------------------------------- */

static bool is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct span without_blanks(struct span text)
{
    while (text.size > 0 && is_blank(text.at[0]))
        text = span_skip(text, 1);
    while (text.size > 0 && is_blank(text.at[text.size - 1]))
        text.size -= 1;
    return text;
}

/* Reads digits with a sign.  Other spellings (1e3, 0x10, 1_000) are left out. */
static bool read_integer(struct span text, int64_t *ret)
{
    bool negative = text.size > 0 && text.at[0] == '-';
    uint64_t limit = (uint64_t)INT64_MAX + (negative ? 1 : 0), number = 0;
    if (text.size > 0 && (text.at[0] == '-' || text.at[0] == '+'))
        text = span_skip(text, 1);
    if (text.size == 0)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        uint64_t digit = (uint64_t)text.at[i] - '0';
        if (text.at[i] < '0' || text.at[i] > '9' || number > (limit - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    *ret = (int64_t)(negative ? 0 - number : number);
    return true;
}

static bool read_binary_integer(struct span bytes, uint32_t type, int64_t *ret)
{
    if ((type == OID_INT2 && bytes.size != 2) || (type == OID_INT4 && bytes.size != 4) ||
        (type == OID_INT8 && bytes.size != 8))
        return false;
    if (bytes.size == 2)
        *ret = (int16_t)(bytes.at[0] << 8 | bytes.at[1]);
    else if (bytes.size == 4)
        *ret = (int32_t)wire_u32(bytes.at);
    else if (bytes.size == 8)
        *ret = (int64_t)((uint64_t)wire_u32(bytes.at) << 32 | wire_u32(bytes.at + 4));
    else
        return false;
    return true;
}

static bool integer_text(const struct verdict_value *value, struct buffer *ret)
{
    int64_t number;
    if (value->type != OID_UNSPECIFIED && value->type != OID_INT2 && value->type != OID_INT4 &&
        value->type != OID_INT8)
        return false;
    if (value->binary ? !read_binary_integer(value->bytes, value->type, &number)
                      : !read_integer(without_blanks(value->bytes), &number))
        return false;
    buffer_printf(ret, "%lld", (long long)number);
    return true;
}

/* --- uuid ------------------------------------------------------------------------------------- */

static int digit_of(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    uint8_t small = c | 0x20;
    return small >= 'a' && small <= 'f' ? small - 'a' + 10 : -1;
}

/* Reads 32 digits, with hyphens between groups of four, in braces or not. */
static bool read_uuid(struct span text, uint8_t bytes[16])
{
    if (text.size >= 2 && text.at[0] == '{' && text.at[text.size - 1] == '}')
        text = span_of(text.at + 1, text.size - 2);
    size_t digits = 0;
    for (size_t i = 0; i < text.size; i++) {
        int digit = digit_of(text.at[i]);
        if (text.at[i] == '-' && digits > 0 && digits % 4 == 0 && digits < 32)
            continue;
        if (digit < 0 || digits == 32)
            return false;
        uint8_t *byte = &bytes[digits / 2];
        *byte = (uint8_t)(digits % 2 == 0 ? digit << 4 : *byte | digit);
        digits += 1;
    }
    return digits == 32;
}

static bool uuid_text(const struct verdict_value *value, struct buffer *ret)
{
    uint8_t bytes[16] = {0};
    if (value->type != OID_UNSPECIFIED && value->type != OID_UUID)
        return false;
    if (value->binary && value->bytes.size != sizeof(bytes))
        return false;
    if (value->binary)
        memcpy(bytes, value->bytes.at, sizeof(bytes));
    else if (!read_uuid(value->bytes, bytes))
        return false;
    for (size_t i = 0; i < sizeof(bytes); i++)
        buffer_printf(ret, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", bytes[i]);
    return true;
}

/* --- parameters ------------------------------------------------------------------------------- */

bool verdict_parameter_type(uint32_t type)
{
    static const uint32_t types[] = {
#define PARAMETER(oid, array, name) oid, array,
#include "flight/verdict_types.def"
#undef PARAMETER
    };
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        if (types[i] == type)
            return true;
    return false;
}

/* --- any -------------------------------------------------------------------------------------- */

/* Bytes above 127 depend on client_encoding. */
static bool plain_text(const struct verdict_value *value, struct buffer *ret)
{
    if (value->type != OID_UNSPECIFIED && value->type != OID_TEXT && value->type != OID_UNKNOWN &&
        value->type != OID_VARCHAR)
        return false;
    for (size_t i = 0; i < value->bytes.size; i++)
        if (value->bytes.at[i] >= 0x80)
            return false;
    buffer_append_span(ret, value->bytes);
    return true;
}

bool verdict_key_text(enum verdict_key_type type, const struct verdict_value *value,
                      struct buffer *ret)
{
    if (value->null)
        return false;
    switch (type) {
    case VERDICT_KEY_INTEGER:
        return integer_text(value, ret);
    case VERDICT_KEY_UUID:
        return uuid_text(value, ret);
    case VERDICT_KEY_TEXT:
        return plain_text(value, ret);
    }
    return false;
}

/* A parameter has the type of its column if it stands there only, and if Parse gives it none. */
static bool type_is_known(const struct verdict_key *key, const struct verdict_value *value)
{
    return !key->repeated || (value->type != OID_UNSPECIFIED && value->type != OID_UNKNOWN);
}

static bool append_key(const struct verdict_key *key, const struct verdict_value *values,
                       uint32_t count, struct buffer *ret)
{
    size_t start = ret->size;
    if (buffer_room(ret, sizeof(uint32_t)) == NULL || key->parameter > count)
        return false;
    ret->size += sizeof(uint32_t);
    if (key->parameter == 0)
        buffer_append_span(ret, key->literal);
    else if (!type_is_known(key, &values[key->parameter - 1]) ||
             !verdict_key_text(key->type, &values[key->parameter - 1], ret))
        return false;
    if (buffer_fault(ret) != OK)
        return false;
    uint32_t size = (uint32_t)(ret->size - start - sizeof(uint32_t));
    memcpy(ret->at + start, &size, sizeof(size));
    return true;
}

bool verdict_key_bytes(const struct verdict *verdict, const struct verdict_value *values,
                       uint32_t count, struct buffer *ret)
{
    size_t start = ret->size;
    for (uint16_t i = 0; i < verdict->keys_count; i++) {
        if (append_key(&verdict->keys[i], values, count, ret))
            continue;
        ret->size = start;
        return false;
    }
    return verdict->keys_count > 0;
}
