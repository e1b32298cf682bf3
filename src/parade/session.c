#include "parade/session_parts.h"

#include "link/link.h"
#include "machine/clock.h"
#include "machine/dns.h"

#include <stdlib.h>

/* A page of a feed is one row. */
#define MESSAGE_MAX PARADE_ROWS_MAX
#define READ_SIZE   ((size_t)65536)
#define NOTICES_MAX 4096u

/* --- opening ---------------------------------------------------------------------------------- */

static enum tls_mode mode_of(const struct parade_target *target)
{
    struct span mode = span_text(target->sslmode);
    if (address_host_is_unix(target->host) || span_is(mode, "disable"))
        return TLS_MODE_DISABLE;
    if (span_is(mode, "require"))
        return TLS_MODE_REQUIRE;
    if (span_is(mode, "verify-ca"))
        return TLS_MODE_VERIFY_CA;
    return span_is(mode, "verify-full") ? TLS_MODE_VERIFY_FULL : TLS_MODE_PREFER;
}

static fault log_in(struct stream *stream, const struct parade_target *target,
                    const struct address *address, const char *name, deadline by)
{
    struct tls_settings settings = {
        .mode = mode_of(target),
        .authorities = target->authorities[0] != '\0' ? target->authorities : NULL};
    struct tls_context *tls = NULL;
    if (settings.mode != TLS_MODE_DISABLE)
        TRY(tls_context_new(&settings, &tls));
    struct link_target to = {
        .address = *address, .host = target->host, .tls_mode = settings.mode, .tls = tls};
    struct link_secret secret = {.password = span_text(target->password)};
    struct buffer parameters = BUFFER_INIT(512);
    buffer_append(&parameters, "application_name", sizeof("application_name"));
    buffer_append(&parameters, name, strlen(name) + 1);
    static const char more[] =
        "client_encoding\0UTF8\0datestyle\0ISO, YMD\0extra_float_digits\0003";
    buffer_append(&parameters, more, sizeof(more));
    struct link_login login = {.target = &to,
                               .user = span_text(target->user),
                               .database = span_text(target->database),
                               .parameters = buffer_span(&parameters),
                               .secret = &secret};
    struct link_reported reported = {.parameters = BUFFER_INIT(READ_SIZE)};
    fault result = link_login(stream, &login, &reported, by);
    buffer_fini(&reported.parameters);
    buffer_fini(&parameters);
    explicit_bzero(&secret, sizeof(secret));
    tls_context_unref(&tls);
    return result;
}

static fault connect_any(struct stream *stream, const struct parade_target *target,
                         const char *name, deadline by)
{
    struct dns_answer found = {.count = 1};
    fault result = FAULT_NAME;
    if (!address_parse(target->host, target->port, &found.addresses[0]))
        TRY(dns_resolve(target->host, target->port, &found, by));
    for (size_t i = 0; i < found.count; i++) {
        result = log_in(stream, target, &found.addresses[i], name, by);
        if (result != FAULT_REFUSED)
            break;
    }
    return result;
}

fault parade_session_open(const struct parade_target *target, const char *name,
                          struct parade_session **ret, deadline by)
{
    struct parade_session *session = calloc(1, sizeof(*session));
    if (session == NULL)
        return fault_raise(FAULT_MEMORY, "no memory for a connection");
    session->stream = STREAM_INIT;
    session->in = BUFFER_INIT(MESSAGE_MAX + READ_SIZE);
    session->out = BUFFER_INIT(MESSAGE_MAX);
    session->bytes = BUFFER_INIT(PARADE_ROWS_MAX);
    session->cells = BUFFER_INIT(PARADE_ROWS_MAX);
    session->notices = BUFFER_INIT(NOTICES_MAX);
    fault result = connect_any(&session->stream, target, name, by);
    if (result != OK) {
        parade_session_close(&session);
        return result;
    }
    session->usable = true;
    *ret = session;
    return OK;
}

void parade_session_close(struct parade_session **session)
{
    struct parade_session *it = *session;
    if (it == NULL)
        return;
    struct fault_detail detail = fault_detail_save();
    stream_close(&it->stream);
    fault_detail_restore(&detail);
    struct buffer *buffers[] = {&it->in, &it->out, &it->bytes, &it->cells, &it->notices};
    for (size_t i = 0; i < ARRAY_SIZE(buffers); i++)
        buffer_fini(buffers[i]);
    free(it);
    *session = NULL;
}

/* --- messages --------------------------------------------------------------------------------- */

static fault fill(struct parade_session *session, deadline by)
{
    buffer_consume(&session->in, session->taken);
    session->taken = 0;
    uint8_t *room = buffer_room(&session->in, READ_SIZE);
    if (room == NULL)
        return fault_raise(buffer_fault(&session->in), "no memory for a message");
    size_t got = 0;
    TRY(stream_read(&session->stream, room, READ_SIZE, &got, by));
    session->in.size += got;
    return OK;
}

static fault next_message(struct parade_session *session, struct wire_frame *ret, deadline by)
{
    for (;;) {
        struct span rest = span_skip(buffer_span(&session->in), session->taken);
        fault what = wire_next_frame(&rest, (uint32_t)MESSAGE_MAX, ret);
        if (what == OK) {
            session->taken = session->in.size - rest.size;
            return OK;
        }
        if (what != FAULT_AGAIN)
            return fault_raise(what, "malformed message, or one of more than %zu bytes",
                               MESSAGE_MAX);
        TRY(fill(session, by));
    }
}

/* Reads all that a statement answers.  The first fault of it is returned; after a fault of the
 * server, and after rows that are too large, the connection is in order. */
static fault read_answer(struct parade_session *session, deadline by)
{
    struct wire_frame frame = {.type = 0};
    fault result = OK;
    struct fault_detail detail = {0};
    while (frame.type != WIRE_READY) {
        fault what = next_message(session, &frame, by);
        if (what != OK) {
            session->usable = false;
            return what;
        }
        if (frame.type == WIRE_DATA_ROW && result == OK)
            what = parade_session_keep(session, frame.body);
        else if (frame.type == WIRE_ERROR)
            what = parade_session_reject(session, frame.body);
        else if (frame.type == WIRE_NOTICE)
            parade_session_notice(session, frame.body);
        if (what != OK && result == OK) {
            result = what;
            detail = fault_detail_save();
        }
    }
    if (result != OK)
        fault_detail_restore(&detail);
    return result;
}

static fault exchange(struct parade_session *session, deadline by)
{
    parade_session_clear(session);
    if (buffer_fault(&session->out) != OK) {
        buffer_clear(&session->out);
        return fault_raise(FAULT_LIMIT, "a statement of more than %zu bytes", MESSAGE_MAX);
    }
    fault sent = link_send(&session->stream, &session->out, by);
    if (sent != OK)
        session->usable = false;
    return sent != OK ? sent : read_answer(session, by);
}

/* --- statements ------------------------------------------------------------------------------- */

fault parade_session_run(struct parade_session *session, struct span sql, deadline by)
{
    wire_put_query(&session->out, sql);
    return exchange(session, by);
}

static void put_bind(struct buffer *out, const struct span *values, size_t count)
{
    size_t start = wire_begin(out, WIRE_BIND);
    wire_put_text(out, "");
    wire_put_text(out, "");
    wire_put_u16(out, 0);
    wire_put_u16(out, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        wire_put_u32(out, values[i].at == NULL ? UINT32_MAX : (uint32_t)values[i].size);
        wire_put_bytes(out, values[i]);
    }
    wire_put_u16(out, 0);
    wire_end(out, start);
}

fault parade_session_ask(struct parade_session *session, const char *sql, const struct span *values,
                         size_t count, deadline by)
{
    struct buffer *out = &session->out;
    size_t start = wire_begin(out, WIRE_PARSE);
    wire_put_text(out, "");
    wire_put_text(out, sql);
    wire_put_u16(out, 0);
    wire_end(out, start);
    put_bind(out, values, count);
    start = wire_begin(out, WIRE_EXECUTE);
    wire_put_text(out, "");
    wire_put_u32(out, 0);
    wire_end(out, start);
    wire_put_empty(out, WIRE_SYNC);
    return exchange(session, by);
}
