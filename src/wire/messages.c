#include "wire/messages.h"

fault wire_read_parse(struct span body, struct wire_parse *ret)
{
    struct wire_reader in = wire_reader_over(body);
    struct wire_parse parse = {0};
    parse.statement = wire_get_string(&in);
    parse.query = wire_get_string(&in);
    parse.types = wire_get_u16(&in);
    parse.oids = wire_get_bytes(&in, (size_t)parse.types * 4);
    TRY(wire_done(&in));
    *ret = parse;
    return OK;
}

fault wire_read_bind_names(struct span body, struct wire_bind_names *ret)
{
    struct wire_reader in = wire_reader_over(body);
    struct wire_bind_names names = {0};
    names.portal = wire_get_string(&in);
    names.statement = wire_get_string(&in);
    if (in.failed)
        return FAULT_AGAIN;
    *ret = names;
    return OK;
}

fault wire_read_target(struct span body, struct wire_target *ret)
{
    struct wire_reader in = wire_reader_over(body);
    struct wire_target target = {0};
    target.kind = wire_get_u8(&in);
    target.name = wire_get_string(&in);
    TRY(wire_done(&in));
    if (target.kind != 'S' && target.kind != 'P')
        return FAULT_PROTOCOL;
    *ret = target;
    return OK;
}

fault wire_read_execute(struct span body, struct wire_execute *ret)
{
    struct wire_reader in = wire_reader_over(body);
    struct wire_execute execute = {0};
    execute.portal = wire_get_string(&in);
    execute.rows = wire_get_u32(&in);
    TRY(wire_done(&in));
    /* PostgreSQL reads the number as signed and takes a negative number for "all". */
    if (execute.rows > INT32_MAX)
        execute.rows = 0;
    *ret = execute;
    return OK;
}

fault wire_read_query(struct span body, struct span *ret)
{
    struct wire_reader in = wire_reader_over(body);
    struct span text = wire_get_string(&in);
    TRY(wire_done(&in));
    *ret = text;
    return OK;
}

fault wire_read_parameter_status(struct span body, struct wire_parameter *ret)
{
    struct wire_reader in = wire_reader_over(body);
    struct wire_parameter parameter = {0};
    parameter.name = wire_get_string(&in);
    parameter.value = wire_get_string(&in);
    TRY(wire_done(&in));
    *ret = parameter;
    return OK;
}

fault wire_read_backend_key(struct span body, struct wire_key *ret)
{
    struct wire_reader in = wire_reader_over(body);
    struct wire_key key = {0};
    key.pid = wire_get_u32(&in);
    key.secret = wire_get_rest(&in);
    TRY(wire_done(&in));
    if (key.secret.size < WIRE_SECRET_MIN || key.secret.size > WIRE_SECRET_MAX)
        return FAULT_PROTOCOL;
    *ret = key;
    return OK;
}

fault wire_read_negotiate(struct span body, struct wire_negotiate *ret)
{
    struct wire_reader in = wire_reader_over(body);
    struct wire_negotiate negotiate = {0};
    negotiate.version = wire_get_u32(&in);
    negotiate.count = wire_get_u32(&in);
    const uint8_t *names = in.at;
    for (uint32_t i = 0; i < negotiate.count && !in.failed; i++)
        (void)wire_get_string(&in);
    TRY(wire_done(&in));
    negotiate.names = span_of(names, (size_t)(in.at - names));
    *ret = negotiate;
    return OK;
}

/* Returns where to store an error field of this type.  NULL: a severity, or a field that Trunkline
 * does not read. */
static struct span *wire_error_field(struct wire_error *into, uint8_t type)
{
    switch (type) {
    case 'C':
        return &into->sqlstate;
    case 'M':
        return &into->message;
    case 'D':
        return &into->detail;
    case 'H':
        return &into->hint;
    case 'R':
        return &into->routine;
    default:
        return NULL;
    }
}

fault wire_read_error(struct span body, struct wire_error *ret)
{
    struct wire_reader in = wire_reader_over(body);
    struct wire_error found = {0};
    struct span translated = SPAN_NONE;
    for (uint8_t type = wire_get_u8(&in); type != 0; type = wire_get_u8(&in)) {
        struct span value = wire_get_string(&in);
        struct span *field = wire_error_field(&found, type);
        if (type == 'V')
            found.severity = value;
        else if (type == 'S')
            translated = value;
        else if (field != NULL)
            *field = value;
    }
    TRY(wire_done(&in));
    if (found.severity.size == 0)
        found.severity = translated;
    *ret = found;
    return OK;
}

static void wire_put_field(struct buffer *out, uint8_t type, const char *text)
{
    if (text == NULL)
        return;
    wire_put_u8(out, type);
    wire_put_text(out, text);
}

void wire_put_report(struct buffer *out, const struct wire_report *report)
{
    invariant(report->severity != NULL && report->message != NULL);
    static const char *const errors[] = {"ERROR", "FATAL", "PANIC"};
    uint8_t type = WIRE_NOTICE;
    for (size_t i = 0; i < ARRAY_SIZE(errors); i++)
        if (strcmp(report->severity, errors[i]) == 0)
            type = WIRE_ERROR;
    /* Drivers index into the five characters.  A missing or short SQLSTATE becomes XX000,
     * internal_error. */
    bool complete = report->sqlstate != NULL && strlen(report->sqlstate) == 5;
    size_t start = wire_begin(out, type);
    wire_put_field(out, 'S', report->severity);
    wire_put_field(out, 'V', report->severity);
    wire_put_field(out, 'C', complete ? report->sqlstate : "XX000");
    wire_put_field(out, 'M', report->message);
    wire_put_field(out, 'D', report->detail);
    wire_put_field(out, 'H', report->hint);
    wire_put_u8(out, 0);
    wire_end(out, start);
}

/* Returns whether `rest` may have this size.  Unknown kinds may have any size. */
static bool wire_auth_size_fits(uint32_t kind, size_t size)
{
    switch (kind) {
    case WIRE_AUTH_OK:
    case WIRE_AUTH_PASSWORD:
        return size == 0;
    case WIRE_AUTH_MD5:
        return size == 4;
    default:
        return true;
    }
}

fault wire_read_authentication(struct span body, struct wire_auth_request *ret)
{
    struct wire_reader in = wire_reader_over(body);
    struct wire_auth_request request = {0};
    request.kind = wire_get_u32(&in);
    request.rest = wire_get_rest(&in);
    TRY(wire_done(&in));
    if (!wire_auth_size_fits(request.kind, request.rest.size))
        return FAULT_PROTOCOL;
    *ret = request;
    return OK;
}

bool wire_sasl_offers(struct span mechanisms, const char *mechanism)
{
    struct wire_reader in = wire_reader_over(mechanisms);
    for (;;) {
        struct span name = wire_get_string(&in);
        if (in.failed || name.size == 0)
            return false;
        if (span_is(name, mechanism))
            return true;
    }
}
