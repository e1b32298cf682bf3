#include "link/dial_parts.h"

#define DIAL_REQUEST_MAX 8      /* bytes of an SSLRequest */
#define DIAL_ERROR_MAX   65536u /* bytes of an ErrorResponse to the SSLRequest */

/* internal_error, for servers that send no SQLSTATE. */
#define SQLSTATE_NONE "XX000"

fault link_refused(fault what, const struct link_target *target)
{
    if (what != FAULT_CLOSED)
        return what;
    char text[ADDRESS_TEXT_SIZE];
    return fault_raise(FAULT_REFUSED, "%s closed the connection during the login",
                       address_text(&target->address, text, sizeof(text)));
}

static bool dial_is_sqlstate(struct span text)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.at[i];
        if (!((byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z')))
            return false;
    }
    return text.size == 5;
}

fault link_raise_upstream(struct span error_body)
{
    struct wire_error error;
    char sqlstate[6] = SQLSTATE_NONE;
    if (wire_read_error(error_body, &error) != OK)
        return fault_raise_state(FAULT_UPSTREAM, sqlstate, "the server sent an unreadable error");
    if (dial_is_sqlstate(error.sqlstate))
        memcpy(sqlstate, error.sqlstate.at, 5);
    if (error.message.size == 0)
        error.message = SPAN("the server sent an error without a message");
    return fault_raise_state(FAULT_UPSTREAM, sqlstate, "%.*s", SPAN_ARG(error.message));
}

/* Reads the rest of an ErrorResponse, after its 'E': the length and the fields. */
static fault dial_read_error(struct stream *stream, deadline by)
{
    uint8_t length_bytes[4];
    TRY(stream_read_all(stream, length_bytes, sizeof(length_bytes), by));
    uint32_t length = wire_u32(length_bytes);
    if (length < 4 || length > DIAL_ERROR_MAX)
        return fault_raise(FAULT_PROTOCOL,
                           "error of %u bytes in answer to an SSLRequest, the limit is %u", length,
                           DIAL_ERROR_MAX);
    struct buffer body = BUFFER_INIT(DIAL_ERROR_MAX);
    uint8_t *room = buffer_room(&body, length - 4);
    fault what = room == NULL ? buffer_fault(&body) : stream_read_all(stream, room, length - 4, by);
    if (what == OK)
        what = link_raise_upstream(span_of(room, length - 4));
    buffer_fini(&body);
    return what;
}

/* Negotiates TLS with an SSLRequest.  Reads only the one byte of the answer: bytes that an attacker
 * put after it would later pass for decrypted (CVE-2021-23222). */
static fault dial_tls(struct stream *stream, const struct link_target *target, deadline by)
{
    uint8_t answer;
    struct buffer request = BUFFER_INIT(DIAL_REQUEST_MAX);
    wire_put_ssl_request(&request);
    fault sent = link_send(stream, &request, by);
    buffer_fini(&request);
    TRY(sent);
    TRY(stream_read_all(stream, &answer, 1, by));
    switch (answer) {
    case 'S':
        TRY(link_check_silence(stream, "the server's answer to an SSLRequest"));
        return stream_tls_connect(stream, target->tls, target->host, by);
    case 'N':
        if (target->tls_mode == TLS_MODE_PREFER)
            return OK;
        return fault_raise(FAULT_TLS, "the server does not support TLS, which is required");
    case 'E':
        return dial_read_error(stream, by);
    default:
        return fault_raise(FAULT_PROTOCOL, "byte 0x%02x in answer to an SSLRequest", answer);
    }
}

/* Starts TLS without an SSLRequest.  A server that accepts the handshake without ALPN is not a
 * PostgreSQL with direct TLS. */
static fault dial_direct_tls(struct stream *stream, const struct link_target *target, deadline by)
{
    TRY(stream_tls_connect(stream, target->tls, target->host, by));
    if (!stream_tls_agreed(stream))
        return fault_raise(FAULT_TLS, "the server took direct TLS without ALPN: it is older than "
                                      "PostgreSQL 17, or none");
    return OK;
}

static fault dial_once(struct stream *stream, const struct link_target *target, enum dial_kind kind,
                       deadline by)
{
    fault what = stream_connect(stream, &target->address, &target->socket, by);
    if (what == FAULT_REFUSED) {
        char text[ADDRESS_TEXT_SIZE];
        return fault_raise(what, "%s: %s", address_text(&target->address, text, sizeof(text)),
                           fault_detail(what));
    }
    TRY(what);
    bool plain = kind == DIAL_PLAIN || target->tls_mode == TLS_MODE_DISABLE || stream->is_unix;
    if (plain)
        return OK;
    invariant(target->tls != NULL && stream->tls == NULL);
    if (target->tls_direct)
        return dial_direct_tls(stream, target, by);
    return dial_tls(stream, target, by);
}

fault link_dial(struct stream *stream, const struct link_target *target, enum dial_kind kind,
                deadline by)
{
    fault what = dial_once(stream, target, kind, by);
    bool again = kind == DIAL_AS_CONFIGURED && target->tls_mode == TLS_MODE_PREFER;
    if (again && (what == FAULT_TLS || what == FAULT_CLOSED)) {
        stream_close(stream);
        what = dial_once(stream, target, DIAL_PLAIN, by);
    }
    if (what != OK)
        stream_close(stream);
    invariant(what != OK || stream->tls != NULL || stream->is_unix || kind == DIAL_PLAIN ||
              target->tls_mode <= TLS_MODE_PREFER);
    return link_refused(what, target);
}
