#include "link/dial.h"

#include "link/login.h"

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
static fault login_negotiated(struct login *login, struct span body)
{
    struct wire_negotiate said;
    if (wire_read_negotiate(body, &said) != OK)
        return fault_raise(FAULT_PROTOCOL, "malformed negotiation of the protocol's version");
    if (said.version < WIRE_PROTOCOL_3_0 || said.version > login->version || said.count > 0)
        return fault_raise(FAULT_PROTOCOL,
                           "the server wants protocol %u.%u without %u options, when %u.%u was "
                           "asked for",
                           said.version >> 16, said.version & 0xffff, said.count,
                           login->version >> 16, login->version & 0xffff);
    login->greeting.version = said.version;
    return OK;
}

/* Reads the next message of any kind.  Its spans are valid until the next call. */
static fault login_frame(struct login *login, struct wire_frame *ret)
{
    for (;;) {
        struct span rest = span_skip(buffer_span(&login->in), login->taken);
        fault what = wire_next_frame(&rest, LOGIN_MESSAGE_MAX, ret);
        if (what == FAULT_PROTOCOL)
            return fault_raise(what, "message of %u bytes in the login, the limit is %u",
                               wire_u32(rest.at + 1), LOGIN_MESSAGE_MAX);
        if (what == OK) {
            login->taken = login->in.size - rest.size;
            return OK;
        }
        buffer_consume(&login->in, login->taken);
        login->taken = 0;
        uint8_t *room = buffer_room(&login->in, LOGIN_READ);
        if (room == NULL)
            return buffer_fault(&login->in);
        size_t size = 0;
        TRY(stream_read(login->stream, room, LOGIN_READ, &size, login->by));
        login->in.size += size;
    }
}

/* Reads the next reply.  Skips notices, which may come at any time, and handles errors and version
 * negotiation. */
static fault login_next(struct login *login, struct wire_frame *ret)
{
    for (;;) {
        TRY(login_frame(login, ret));
        if (ret->type == WIRE_ERROR)
            return link_raise_upstream(ret->body);
        if (ret->type == WIRE_NEGOTIATE)
            TRY(login_negotiated(login, ret->body));
        else if (ret->type != WIRE_NOTICE)
            return OK;
    }
}

static fault login_send_startup(struct login *login)
{
    const struct link_login *what = login->what;
    struct span rest = what->parameters, name, value;
    size_t start;
    wire_put_startup_begin(&login->out, login->version, &start);
    wire_put_startup_parameter(&login->out, SPAN("user"), what->user);
    wire_put_startup_parameter(&login->out, SPAN("database"), what->database);
    while (wire_next_parameter(&rest, &name, &value))
        wire_put_startup_parameter(&login->out, name, value);
    wire_put_startup_end(&login->out, start);
    if (login->out.size > WIRE_STARTUP_MAX)
        return fault_raise(FAULT_LIMIT, "startup packet of %zu bytes, the limit is %u",
                           login->out.size, WIRE_STARTUP_MAX);
    return link_send(login->stream, &login->out, login->by);
}

/* --- from AuthenticationOk to ReadyForQuery --------------------------------------------------- */

static fault login_keep_parameter(struct login *login, struct span body)
{
    struct wire_parameter parameter;
    struct buffer *kept = &login->greeting.parameters;
    TRY(wire_read_parameter_status(body, &parameter));
    wire_put_string(kept, parameter.name);
    wire_put_string(kept, parameter.value);
    if (buffer_fault(kept) == FAULT_LIMIT)
        return fault_raise(FAULT_LIMIT, "the server's parameters take more than %u bytes",
                           LOGIN_PARAMETERS_MAX);
    if (span_is(parameter.name, "in_hot_standby"))
        login->greeting.in_hot_standby = span_is(parameter.value, "on");
    return buffer_fault(kept);
}

static fault login_keep_key(struct login *login, struct span body)
{
    struct wire_key key;
    TRY(wire_read_backend_key(body, &key));
    if (login->greeting.version < WIRE_PROTOCOL_3_2 && key.secret.size != WIRE_SECRET_MIN)
        return FAULT_PROTOCOL;
    login->greeting.pid = key.pid;
    wire_secret_keep(&login->greeting.secret, key.secret);
    return OK;
}

/* Reads what is already there after ReadyForQuery.  Notices and new parameter values may come at
 * any time.  An error says that the server must end: CLOSED, as if it had closed during the login.
 * Other messages reply to nothing: PROTOCOL. */
static fault login_hear_rest(struct login *login)
{
    struct wire_frame frame;
    while (login->in.size > login->taken) {
        TRY(login_frame(login, &frame));
        if (frame.type == WIRE_ERROR)
            return FAULT_CLOSED;
        if (frame.type == WIRE_NOTICE)
            continue;
        if (frame.type != WIRE_PARAMETER_STATUS)
            return fault_raise(FAULT_PROTOCOL, "message of type 0x%02x behind the login's end",
                               frame.type);
        TRY(login_keep_parameter(login, frame.body));
    }
    return OK;
}

static fault login_check_ready(struct login *login, struct span body)
{
    if (body.size != 1 || body.at[0] != WIRE_TX_IDLE)
        return fault_raise(FAULT_PROTOCOL, "the login ended in a transaction");
    return login_hear_rest(login);
}

static fault login_greeting_message(struct login *login, const struct wire_frame *frame)
{
    switch (frame->type) {
    case WIRE_PARAMETER_STATUS:
        return login_keep_parameter(login, frame->body);
    case WIRE_BACKEND_KEY:
        return login_keep_key(login, frame->body);
    default:
        return FAULT_PROTOCOL;
    }
}

static fault login_greeting(struct login *login)
{
    struct wire_frame frame;
    for (;;) {
        TRY(login_next(login, &frame));
        if (frame.type == WIRE_READY)
            return login_check_ready(login, frame.body);
        fault what = login_greeting_message(login, &frame);
        if (what == FAULT_PROTOCOL)
            return fault_raise(what, "malformed or unexpected message of type 0x%02x in the login",
                               frame.type);
        TRY(what);
    }
}

/* --- one try ---------------------------------------------------------------------------------- */

static fault login_authenticate(struct login *login)
{
    struct wire_frame frame;
    struct wire_auth_request request;
    do {
        TRY(login_next(login, &frame));
        if (frame.type != WIRE_AUTHENTICATION)
            return fault_raise(FAULT_PROTOCOL, "message of type 0x%02x before the authentication",
                               frame.type);
        if (wire_read_authentication(frame.body, &request) != OK)
            return fault_raise(FAULT_PROTOCOL, "malformed authentication request");
        TRY(link_answer(login, &request));
        login->asked = true;
    } while (request.kind != WIRE_AUTH_OK);
    return OK;
}

static void login_init(struct login *login, struct stream *stream, const struct link_login *what,
                       deadline by)
{
    uint32_t version = what->version != 0 ? what->version : WIRE_PROTOCOL_3_0;
    *login = (struct login){
        .stream = stream,
        .what = what,
        .by = by,
        .in = BUFFER_INIT(LOGIN_MESSAGE_MAX + LOGIN_READ),
        .out = BUFFER_INIT(LOGIN_SEND_MAX),
        .version = version,
        .greeting = {.version = version, .parameters = BUFFER_INIT(LOGIN_PARAMETERS_MAX)},
    };
}

static void login_fini(struct login *login)
{
    /* The buffer may have held a password. */
    if (login->out.at != NULL)
        explicit_bzero(login->out.at, login->out.capacity);
    buffer_fini(&login->out);
    buffer_fini(&login->in);
    buffer_fini(&login->greeting.parameters);
    explicit_bzero(&login->scram, sizeof(login->scram));
}

static fault login_try(struct login *login, enum dial_kind kind)
{
    TRY(link_dial(login->stream, login->what->target, kind, login->by));
    TRY(login_send_startup(login));
    TRY(login_authenticate(login));
    return login_greeting(login);
}

/* Returns whether to log in again without TLS, as libpq does for sslmode=prefer: pg_hba.conf may
 * accept unencrypted connections only. */
static bool login_may_go_plain(const struct login *login, fault what)
{
    return what == FAULT_UPSTREAM && !login->asked && login->stream->tls != NULL &&
           login->what->target->tls_mode == TLS_MODE_PREFER &&
           strcmp(fault_story_sqlstate(what), SQLSTATE_INVALID_AUTHORIZATION) == 0;
}

/* Returns whether to log in again with protocol 3.0: servers without negotiation (PostgreSQL 9.2,
 * some poolers) reject a newer version. */
static bool login_may_go_back(const struct login *login, fault what)
{
    const char *state = fault_story_sqlstate(what);
    return what == FAULT_UPSTREAM && !login->asked && login->version > WIRE_PROTOCOL_3_0 &&
           (strcmp(state, SQLSTATE_UNSUPPORTED) == 0 || strcmp(state, SQLSTATE_VIOLATION) == 0);
}

/* Logs in again on a new connection. */
static fault login_again(struct login *login, enum dial_kind kind, uint32_t version)
{
    struct stream *stream = login->stream;
    const struct link_login *what = login->what;
    deadline by = login->by;
    stream_close(stream);
    login_fini(login);
    login_init(login, stream, what, by);
    login->version = login->greeting.version = version;
    return login_try(login, kind);
}

fault link_login(struct stream *stream, const struct link_login *login, struct link_greeting *ret,
                 deadline by)
{
    struct login attempt;
    login_init(&attempt, stream, login, by);
    enum dial_kind kind = DIAL_AS_CONFIGURED;
    fault what = login_try(&attempt, kind);
    if (login_may_go_plain(&attempt, what)) {
        kind = DIAL_PLAIN;
        what = login_again(&attempt, kind, attempt.version);
    }
    if (login_may_go_back(&attempt, what))
        what = login_again(&attempt, kind, WIRE_PROTOCOL_3_0);
    if (what == OK) {
        *ret = attempt.greeting;
        attempt.greeting.parameters = BUFFER_INIT(0);
    } else {
        stream_close(stream);
    }
    login_fini(&attempt);
    return link_refused(what, login->target);
}
