/* login.c - logs in to a server. */
#include "link/dial_parts.h"

#include "link/attempt_parts.h"

#include <string.h>

#define LOGIN_MESSAGE_MAX    65536u /* bytes of one message from the server */
#define LOGIN_PARAMETERS_MAX 65536u /* bytes of all ParameterStatus in a login */
#define LOGIN_SEND_MAX       65536u /* bytes of a message to the server, e.g. the startup packet */
#define LOGIN_READ           4096u  /* bytes of room for each read */

/* The SQLSTATE with which pg_hba.conf rejects an encrypted connection. */
#define SQLSTATE_INVALID_AUTHORIZATION "28000"
/* The SQLSTATEs with which servers reject a protocol version if they can't negotiate. */
#define SQLSTATE_UNSUPPORTED "0A000"
#define SQLSTATE_VIOLATION   "08P01"

/* --- messages --------------------------------------------------------------------------------- */

/* Reads NegotiateProtocolVersion.  Trunkline asks for no options, so the server must name none. */
static fault attempt_negotiated(struct link_attempt *attempt, struct span body)
{
    struct wire_negotiate said;
    if (wire_read_negotiate(body, &said) != OK)
        return fault_raise(FAULT_PROTOCOL, "malformed negotiation of the protocol's version");
    if (said.version < WIRE_PROTOCOL_3_0 || said.version > attempt->version || said.count > 0)
        return fault_raise(FAULT_PROTOCOL,
                           "the server wants protocol %u.%u without %u options, when %u.%u was "
                           "asked for",
                           said.version >> 16, said.version & 0xffff, said.count,
                           attempt->version >> 16, attempt->version & 0xffff);
    attempt->reported.version = said.version;
    return OK;
}

/* Reads the next message of any kind.  Its spans are valid until the next call. */
static fault attempt_frame(struct link_attempt *attempt, struct wire_frame *ret)
{
    for (;;) {
        invariant(attempt->taken <= attempt->in.size);
        struct span rest = span_skip(buffer_span(&attempt->in), attempt->taken);
        fault what = wire_next_frame(&rest, LOGIN_MESSAGE_MAX, ret);
        if (what == FAULT_PROTOCOL)
            return fault_raise(what, "message of %u bytes in the login, the limit is %u",
                               wire_u32(rest.at + 1), LOGIN_MESSAGE_MAX);
        if (what == OK) {
            attempt->taken = attempt->in.size - rest.size;
            return OK;
        }
        buffer_consume(&attempt->in, attempt->taken);
        attempt->taken = 0;
        uint8_t *room = buffer_room(&attempt->in, LOGIN_READ);
        if (room == NULL)
            return buffer_fault(&attempt->in);
        size_t size = 0;
        TRY(stream_read(attempt->stream, room, LOGIN_READ, &size, attempt->by));
        invariant(size > 0 && size <= LOGIN_READ);
        attempt->in.size += size;
    }
}

/* Reads the next reply.  Skips notices, which may come at any time, and handles errors and version
 * negotiation. */
static fault attempt_next(struct link_attempt *attempt, struct wire_frame *ret)
{
    for (;;) {
        TRY(attempt_frame(attempt, ret));
        if (ret->type == WIRE_ERROR)
            return link_raise_upstream(ret->body);
        if (ret->type == WIRE_NEGOTIATE)
            TRY(attempt_negotiated(attempt, ret->body));
        else if (ret->type != WIRE_NOTICE)
            return OK;
    }
}

static fault attempt_send_startup(struct link_attempt *attempt)
{
    const struct link_login *what = attempt->what;
    struct span rest = what->parameters, name, value;
    size_t start;
    invariant(attempt->out.size == 0 && !attempt->asked);
    wire_put_startup_begin(&attempt->out, attempt->version, &start);
    wire_put_startup_parameter(&attempt->out, SPAN("user"), what->user);
    wire_put_startup_parameter(&attempt->out, SPAN("database"), what->database);
    while (wire_next_parameter(&rest, &name, &value))
        wire_put_startup_parameter(&attempt->out, name, value);
    wire_put_startup_end(&attempt->out, start);
    if (attempt->out.size > WIRE_STARTUP_MAX)
        return fault_raise(FAULT_LIMIT, "startup packet of %zu bytes, the limit is %u",
                           attempt->out.size, WIRE_STARTUP_MAX);
    return link_send(attempt->stream, &attempt->out, attempt->by);
}

/* --- from AuthenticationOk to ReadyForQuery --------------------------------------------------- */

static fault attempt_keep_parameter(struct link_attempt *attempt, struct span body)
{
    struct wire_parameter parameter;
    struct buffer *kept = &attempt->reported.parameters;
    TRY(wire_read_parameter_status(body, &parameter));
    wire_put_string(kept, parameter.name);
    wire_put_string(kept, parameter.value);
    if (buffer_fault(kept) == FAULT_LIMIT)
        return fault_raise(FAULT_LIMIT, "the server's parameters take more than %u bytes",
                           LOGIN_PARAMETERS_MAX);
    if (span_is(parameter.name, "in_hot_standby"))
        attempt->reported.in_hot_standby = span_is(parameter.value, "on");
    if (span_is(parameter.name, "default_transaction_read_only"))
        attempt->reported.read_only = span_is(parameter.value, "on");
    return buffer_fault(kept);
}

static fault attempt_keep_key(struct link_attempt *attempt, struct span body)
{
    struct wire_key key;
    TRY(wire_read_backend_key(body, &key));
    if (attempt->reported.version < WIRE_PROTOCOL_3_2 && key.secret.size != WIRE_SECRET_MIN)
        return FAULT_PROTOCOL;
    attempt->reported.pid = key.pid;
    wire_secret_keep(&attempt->reported.secret, key.secret);
    return OK;
}

/* Reads what is already there after ReadyForQuery.  Notices and new parameter values may come at
 * any time.  An error says that the server must end: CLOSED, as if it had closed during the login.
 * Other messages reply to nothing: PROTOCOL. */
static fault attempt_hear_rest(struct link_attempt *attempt)
{
    struct wire_frame frame;
    while (attempt->in.size > attempt->taken) {
        TRY(attempt_frame(attempt, &frame));
        if (frame.type == WIRE_ERROR)
            return FAULT_CLOSED;
        if (frame.type == WIRE_NOTICE)
            continue;
        if (frame.type != WIRE_PARAMETER_STATUS)
            return fault_raise(FAULT_PROTOCOL, "message of type 0x%02x after the end of the login",
                               frame.type);
        TRY(attempt_keep_parameter(attempt, frame.body));
    }
    return OK;
}

static fault attempt_check_ready(struct link_attempt *attempt, struct span body)
{
    if (body.size != 1 || body.at[0] != WIRE_TX_IDLE)
        return fault_raise(FAULT_PROTOCOL, "the login ended in a transaction");
    return attempt_hear_rest(attempt);
}

static fault attempt_reported_message(struct link_attempt *attempt, const struct wire_frame *frame)
{
    switch (frame->type) {
    case WIRE_PARAMETER_STATUS:
        return attempt_keep_parameter(attempt, frame->body);
    case WIRE_BACKEND_KEY:
        return attempt_keep_key(attempt, frame->body);
    default:
        return FAULT_PROTOCOL;
    }
}

static fault attempt_reported(struct link_attempt *attempt)
{
    struct wire_frame frame;
    invariant(attempt->asked); /* nothing is believed before AuthenticationOk */
    for (;;) {
        TRY(attempt_next(attempt, &frame));
        if (frame.type == WIRE_READY)
            return attempt_check_ready(attempt, frame.body);
        fault what = attempt_reported_message(attempt, &frame);
        if (what == FAULT_PROTOCOL)
            return fault_raise(what, "malformed or unexpected message of type 0x%02x in the login",
                               frame.type);
        TRY(what);
    }
}

/* --- one try ---------------------------------------------------------------------------------- */

static fault attempt_authenticate(struct link_attempt *attempt)
{
    struct wire_frame frame;
    struct wire_auth_request request;
    do {
        TRY(attempt_next(attempt, &frame));
        if (frame.type != WIRE_AUTHENTICATION)
            return fault_raise(FAULT_PROTOCOL, "message of type 0x%02x before the authentication",
                               frame.type);
        if (wire_read_authentication(frame.body, &request) != OK)
            return fault_raise(FAULT_PROTOCOL, "malformed authentication request");
        TRY(link_answer(attempt, &request));
        attempt->asked = true;
    } while (request.kind != WIRE_AUTH_OK);
    /* A server that began SCRAM has proven that it knows the password. */
    invariant(attempt->phase == LOGIN_SCRAM_NONE || attempt->phase == LOGIN_SCRAM_CHECKED);
    return OK;
}

static void attempt_init(struct link_attempt *attempt, struct stream *stream,
                         const struct link_login *what, deadline by)
{
    uint32_t version = what->version != 0 ? what->version : WIRE_PROTOCOL_3_0;
    *attempt = (struct link_attempt){
        .stream = stream,
        .what = what,
        .by = by,
        .in = BUFFER_INIT(LOGIN_MESSAGE_MAX + LOGIN_READ),
        .out = BUFFER_INIT(LOGIN_SEND_MAX),
        .version = version,
        .reported = {.version = version, .parameters = BUFFER_INIT(LOGIN_PARAMETERS_MAX)},
    };
}

static void attempt_fini(struct link_attempt *attempt)
{
    /* The buffer may have held a password. */
    if (attempt->out.at != NULL)
        explicit_bzero(attempt->out.at, attempt->out.capacity);
    buffer_fini(&attempt->out);
    buffer_fini(&attempt->in);
    buffer_fini(&attempt->reported.parameters);
    explicit_bzero(&attempt->scram, sizeof(attempt->scram));
}

static fault attempt_try(struct link_attempt *attempt, enum dial_kind kind)
{
    TRY(link_dial(attempt->stream, attempt->what->target, kind, attempt->by));
    TRY(attempt_send_startup(attempt));
    TRY(attempt_authenticate(attempt));
    return attempt_reported(attempt);
}

/* Returns whether to log in again without TLS, as libpq does for sslmode=prefer: pg_hba.conf may
 * accept unencrypted connections only. */
static bool attempt_may_go_plain(const struct link_attempt *attempt, fault what)
{
    return what == FAULT_UPSTREAM && !attempt->asked && attempt->stream->tls != NULL &&
           attempt->what->target->tls_mode == TLS_MODE_PREFER &&
           strcmp(fault_detail_sqlstate(what), SQLSTATE_INVALID_AUTHORIZATION) == 0;
}

/* Returns whether to log in again with protocol 3.0: servers without negotiation (PostgreSQL 9.2,
 * some poolers) reject a newer version. */
static bool attempt_may_go_back(const struct link_attempt *attempt, fault what)
{
    const char *state = fault_detail_sqlstate(what);
    return what == FAULT_UPSTREAM && !attempt->asked && attempt->version > WIRE_PROTOCOL_3_0 &&
           (strcmp(state, SQLSTATE_UNSUPPORTED) == 0 || strcmp(state, SQLSTATE_VIOLATION) == 0);
}

/* Logs in again on a new connection. */
static fault attempt_again(struct link_attempt *attempt, enum dial_kind kind, uint32_t version)
{
    struct stream *stream = attempt->stream;
    const struct link_login *what = attempt->what;
    deadline by = attempt->by;
    invariant(!attempt->asked); /* no answer to an authentication request is sent twice */
    stream_close(stream);
    attempt_fini(attempt);
    attempt_init(attempt, stream, what, by);
    attempt->version = attempt->reported.version = version;
    return attempt_try(attempt, kind);
}

fault link_login(struct stream *stream, const struct link_login *login, struct link_reported *ret,
                 deadline by)
{
    struct link_attempt attempt;
    attempt_init(&attempt, stream, login, by);
    enum dial_kind kind = DIAL_AS_CONFIGURED;
    fault what = attempt_try(&attempt, kind);
    if (attempt_may_go_plain(&attempt, what)) {
        kind = DIAL_PLAIN;
        what = attempt_again(&attempt, kind, attempt.version);
    }
    if (attempt_may_go_back(&attempt, what))
        what = attempt_again(&attempt, kind, WIRE_PROTOCOL_3_0);
    if (what == OK) {
        invariant(stream_open(stream) && attempt.reported.version <= attempt.version);
        *ret = attempt.reported;
        attempt.reported.parameters = BUFFER_INIT(0);
    } else {
        stream_close(stream);
    }
    attempt_fini(&attempt);
    return link_refused(what, login->target);
}
