/* The first byte says which message the rest is the body of. */
#include "fuzz.h"
#include "wire/messages.h"

static bool inside(struct span part, struct span whole)
{
    return part.size == 0 || (part.at >= whole.at && part.at + part.size <= whole.at + whole.size);
}

static void read_from_client(uint8_t type, struct span body)
{
    struct wire_parse parse;
    struct wire_bind_names names;
    struct wire_target target;
    struct wire_execute execute;
    struct span text;
    switch (type) {
    case WIRE_PARSE:
        if (wire_read_parse(body, &parse) == OK)
            invariant(parse.oids.size == 4u * parse.types && inside(parse.oids, body) &&
                      inside(parse.statement, body) && inside(parse.query, body));
        break;
    case WIRE_BIND:
        if (wire_read_bind_names(body, &names) == OK)
            invariant(names.portal.size + names.statement.size + 2 <= body.size);
        break;
    case WIRE_DESCRIBE:
        if (wire_read_target(body, &target) == OK)
            invariant((target.kind == 'S' || target.kind == 'P') &&
                      target.name.size == body.size - 2);
        break;
    case WIRE_EXECUTE:
        if (wire_read_execute(body, &execute) == OK)
            invariant(execute.portal.size == body.size - 5 && execute.rows <= INT32_MAX);
        break;
    case WIRE_QUERY:
        if (wire_read_query(body, &text) == OK)
            invariant(text.size == body.size - 1);
        break;
    default:
        break;
    }
}

/* Texts of ours from texts of a server's: whatever those are, ours can be read. */
static void report_again(const struct wire_error *found)
{
    char state[64] = {0}, message[64] = {0};
    memcpy(state, found->sqlstate.at == NULL ? (const uint8_t *)"" : found->sqlstate.at,
           MIN_OF(found->sqlstate.size, sizeof(state) - 1));
    memcpy(message, found->message.at == NULL ? (const uint8_t *)"" : found->message.at,
           MIN_OF(found->message.size, sizeof(message) - 1));
    struct wire_report report = {"ERROR", state, message, message, NULL};
    struct buffer out = BUFFER_INIT(4096);
    struct wire_frame frame;
    struct wire_error again;
    wire_put_report(&out, &report);
    struct span rest = buffer_span(&out);
    invariant(wire_next_frame(&rest, 4096, &frame) == OK && frame.type == WIRE_ERROR);
    invariant(wire_read_error(frame.body, &again) == OK && again.sqlstate.size == 5);
    invariant(span_is(again.message, message) && span_is(again.detail, message));
    buffer_fini(&out);
}

static void read_from_server(uint8_t type, struct span body)
{
    struct wire_error found;
    struct wire_parameter parameter;
    struct wire_key key;
    struct wire_negotiate negotiate;
    struct wire_auth_request request;
    switch (type) {
    case 'e':
        if (wire_read_error(body, &found) == OK) {
            invariant(inside(found.severity, body) && inside(found.sqlstate, body) &&
                      inside(found.message, body));
            report_again(&found);
        }
        break;
    case 's':
        if (wire_read_parameter_status(body, &parameter) == OK)
            invariant(parameter.name.size + parameter.value.size + 2 == body.size);
        break;
    case 'k':
        if (wire_read_backend_key(body, &key) == OK)
            invariant(key.secret.size + 4 == body.size && inside(key.secret, body));
        break;
    case 'v':
        if (wire_read_negotiate(body, &negotiate) == OK)
            invariant(negotiate.names.size + 8 == body.size && inside(negotiate.names, body));
        break;
    case 'r':
        if (wire_read_authentication(body, &request) == OK && request.kind == WIRE_AUTH_SASL)
            (void)wire_sasl_offers(request.rest, "SCRAM-SHA-256");
        break;
    default:
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct span body = span_of(data + 1, size - 1);
    read_from_client(data[0], body);
    read_from_server(data[0], body);
    return 0;
}
