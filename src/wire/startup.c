#include "wire/startup.h"

#define STARTUP_MIN      8u /* the length, then a version or a request code */
#define CANCEL_MIN       (STARTUP_MIN + 4 + WIRE_SECRET_MIN)
#define CANCEL_MAX       (STARTUP_MIN + 4 + WIRE_SECRET_MAX)
#define NEGOTIATE_PREFIX SPAN("_pq_.")

uint32_t wire_startup_length(const uint8_t bytes[4])
{
    uint32_t length = wire_u32(bytes);
    return length < STARTUP_MIN || length > WIRE_STARTUP_MAX ? 0 : length;
}

/* Reads pairs of strings.  The NUL after the last pair must be the packet's last byte. */
static fault startup_read_parameters(struct span body, struct span *ret)
{
    struct wire_reader in = wire_reader_over(body);
    while (wire_get_string(&in).size > 0)
        (void)wire_get_string(&in);
    TRY(wire_done(&in));
    invariant(body.size >= 1);
    *ret = span_of(body.at, body.size - 1);
    return OK;
}

static fault startup_read_cancel(struct span packet, struct wire_cancel *ret)
{
    if (packet.size < CANCEL_MIN || packet.size > CANCEL_MAX)
        return FAULT_PROTOCOL;
    ret->pid = wire_u32(packet.at + STARTUP_MIN);
    ret->secret = span_skip(packet, STARTUP_MIN + 4);
    return OK;
}

static enum wire_startup_kind startup_kind(uint32_t code)
{
    switch (code) {
    case WIRE_SSL_REQUEST:
        return WIRE_STARTUP_SSL;
    case WIRE_GSS_REQUEST:
        return WIRE_STARTUP_GSS;
    case WIRE_CANCEL_REQUEST:
        return WIRE_STARTUP_CANCEL;
    default:
        return WIRE_STARTUP;
    }
}

fault wire_read_startup(struct span packet, struct wire_startup *ret)
{
    if (packet.size < STARTUP_MIN || wire_startup_length(packet.at) != packet.size)
        return FAULT_PROTOCOL;
    uint32_t code = wire_u32(packet.at + 4);
    struct wire_startup startup = {.kind = startup_kind(code)};
    switch (startup.kind) {
    case WIRE_STARTUP_SSL:
    case WIRE_STARTUP_GSS:
        if (packet.size != STARTUP_MIN)
            return FAULT_PROTOCOL;
        break;
    case WIRE_STARTUP_CANCEL:
        TRY(startup_read_cancel(packet, &startup.cancel));
        break;
    case WIRE_STARTUP:
        startup.version = code;
        if (code >> 16 != 3) {
            *ret = startup;
            return FAULT_UNSUPPORTED;
        }
        TRY(startup_read_parameters(span_skip(packet, STARTUP_MIN), &startup.parameters));
        break;
    }
    *ret = startup;
    return OK;
}

bool wire_next_parameter(struct span *rest, struct span *name, struct span *value)
{
    struct wire_reader in = wire_reader_over(*rest);
    struct span first = wire_get_string(&in);
    struct span second = wire_get_string(&in);
    if (in.failed || first.size == 0)
        return false;
    *name = first;
    *value = second;
    *rest = wire_get_rest(&in);
    return true;
}

struct span wire_find_parameter(struct span parameters, const char *name)
{
    struct span found = SPAN_NONE;
    struct span key, value;
    while (wire_next_parameter(&parameters, &key, &value))
        if (span_is(key, name))
            found = value;
    return found;
}

/* --- replication ------------------------------------------------------------------------------ */

/* Returns whether `value` is the beginning of `word`, `min` letters or more, in any case, as
 * parse_bool() accepts it. */
static bool startup_abbreviates(struct span value, const char *word, size_t min)
{
    return value.size >= min && value.size <= strlen(word) &&
           strncasecmp((const char *)value.at, word, value.size) == 0;
}

fault wire_read_replication(struct span value, enum wire_replication *ret)
{
    bool on = startup_abbreviates(value, "true", 1) || startup_abbreviates(value, "yes", 1) ||
              startup_abbreviates(value, "on", 2) || span_is(value, "1");
    bool off = startup_abbreviates(value, "false", 1) || startup_abbreviates(value, "no", 1) ||
               startup_abbreviates(value, "off", 2) || span_is(value, "0");
    if (span_is(value, "database"))
        *ret = WIRE_REPLICATION_LOGICAL;
    else if (on || off)
        *ret = on ? WIRE_REPLICATION_PHYSICAL : WIRE_REPLICATION_NONE;
    else
        return FAULT_PROTOCOL;
    return OK;
}

/* --- building --------------------------------------------------------------------------------- */

void wire_put_startup_begin(struct buffer *out, uint32_t version, size_t *ret_start)
{
    *ret_start = out->size;
    wire_put_u32(out, 0);
    wire_put_u32(out, version);
}

void wire_put_startup_parameter(struct buffer *out, struct span name, struct span value)
{
    wire_put_string(out, name);
    wire_put_string(out, value);
}

void wire_put_startup_end(struct buffer *out, size_t start)
{
    wire_put_u8(out, 0);
    if (buffer_fault(out) != OK)
        return;
    invariant(start + STARTUP_MIN < out->size);
    if (out->size - start > INT32_MAX) {
        out->failed = FAULT_LIMIT;
        return;
    }
    wire_store_u32(out->at + start, (uint32_t)(out->size - start));
}

void wire_put_ssl_request(struct buffer *out)
{
    wire_put_u32(out, STARTUP_MIN);
    wire_put_u32(out, WIRE_SSL_REQUEST);
}

void wire_put_cancel(struct buffer *out, uint32_t pid, struct span secret)
{
    wire_put_u32(out, (uint32_t)(STARTUP_MIN + 4 + secret.size));
    wire_put_u32(out, WIRE_CANCEL_REQUEST);
    wire_put_u32(out, pid);
    wire_put_bytes(out, secret);
}

void wire_put_negotiate(struct buffer *out, uint32_t version, struct span parameters)
{
    struct span name, value;
    struct span rest = parameters;
    uint32_t unknown = 0;
    while (wire_next_parameter(&rest, &name, &value))
        unknown += span_starts(name, NEGOTIATE_PREFIX);
    if (version <= WIRE_PROTOCOL_3_2 && unknown == 0)
        return;
    size_t start = wire_begin(out, WIRE_NEGOTIATE);
    /* The manual says "minor version"; PostgreSQL sends, and libpq reads, major and minor. */
    wire_put_u32(out, MIN_OF(version, WIRE_PROTOCOL_3_2));
    wire_put_u32(out, unknown);
    for (rest = parameters; wire_next_parameter(&rest, &name, &value);)
        if (span_starts(name, NEGOTIATE_PREFIX))
            wire_put_string(out, name);
    wire_end(out, start);
}
