#include "pool/patroni_parts.h"

#include "machine/clock.h"
#include "machine/stream.h"
#include "wire/http.h"

#include <inttypes.h>
#include <stdio.h>

#define STATUS_YES 200u
#define STATUS_NO  503u

#define REQUEST_MAX 1024u
#define PATH_SIZE   64u

bool patroni_governs(const struct patroni_config *settings, const struct address *server)
{
    return settings->port != 0 && server->family != ADDRESS_UNIX;
}

/* --- the request ------------------------------------------------------------------------------ */

static const char *question_path(const struct patroni_question *question, char *text, size_t size)
{
    if (question->about == RULING_PRIMARY)
        return "/primary";
    if (question->settings->lag_max == 0)
        return "/replica";
    (void)snprintf(text, size, "/replica?lag=%" PRIu64, question->settings->lag_max);
    return text;
}

/* Whether the host is a name that may stand in a request as it is. */
static bool host_is_plain(const char *host)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    return host[0] != '\0' && host[strspn(host, plain)] == '\0';
}

/* HTTP/1.0: the answer is not in chunks, and the connection ends behind it. */
static void request_put(const struct patroni_question *question, const struct address *at,
                        struct buffer *out)
{
    char path[PATH_SIZE], text[ADDRESS_TEXT_SIZE];
    buffer_printf(out, "GET %s HTTP/1.0\r\nHost: ", question_path(question, path, sizeof(path)));
    if (host_is_plain(question->host))
        buffer_printf(out, "%s:%u", question->host, at->port);
    else
        buffer_printf(out, "%s", address_text(at, text, sizeof(text)));
    buffer_printf(out, "\r\nUser-Agent: trunkline\r\nConnection: close\r\n\r\n");
}

static fault request_send(struct stream *stream, const struct patroni_question *question,
                          const struct address *at, deadline by)
{
    struct buffer out = BUFFER_INIT(REQUEST_MAX);
    request_put(question, at, &out);
    fault sent = buffer_fault(&out);
    if (sent == OK)
        sent = stream_write(stream, buffer_span(&out), by);
    buffer_fini(&out);
    return sent;
}

/* --- the answer ------------------------------------------------------------------------------- */

/* Reads up to the end of the head.  Bytes of the body that came with it are counted in *ret_size.
 */
static fault head_read(struct stream *stream, uint32_t *ret_status, size_t *ret_size, deadline by)
{
    uint8_t head[PATRONI_HEAD_MAX];
    size_t have = 0;
    while (have < sizeof(head)) {
        size_t got;
        fault read = stream_read(stream, head + have, sizeof(head) - have, &got, by);
        if (read == FAULT_CLOSED)
            return fault_raise(FAULT_PROTOCOL,
                               "the connection was closed within the answer's head");
        TRY(read);
        have += got;
        fault found = wire_read_http_status(span_of(head, have), ret_status);
        if (found == FAULT_PROTOCOL)
            return fault_raise(FAULT_PROTOCOL, "the answer is no HTTP");
        if (found == OK) {
            *ret_size = have;
            return OK;
        }
    }
    return fault_raise(FAULT_LIMIT, "the answer's head has more than %u bytes", PATRONI_HEAD_MAX);
}

/* Reads the body to its end, so that Patroni can send it all.  What it says is not used. */
static fault body_skip(struct stream *stream, size_t have, deadline by)
{
    uint8_t body[4096];
    while (have <= PATRONI_ANSWER_MAX) {
        size_t got;
        fault read = stream_read(stream, body, sizeof(body), &got, by);
        if (read == FAULT_CLOSED)
            return OK;
        TRY(read);
        have += got;
    }
    return fault_raise(FAULT_LIMIT, "the answer has more than %u bytes", PATRONI_ANSWER_MAX);
}

static fault answer_read(struct stream *stream, const struct patroni_question *question, bool *ret,
                         deadline by)
{
    uint32_t status = 0;
    size_t size = 0;
    char path[PATH_SIZE];
    TRY(head_read(stream, &status, &size, by));
    if (status != STATUS_YES && status != STATUS_NO)
        return fault_raise(FAULT_PROTOCOL, "the answer to GET %s has status %u, not %u or %u",
                           question_path(question, path, sizeof(path)), status, STATUS_YES,
                           STATUS_NO);
    TRY(body_skip(stream, size, by));
    *ret = status == STATUS_YES;
    return OK;
}

/* --- one question ----------------------------------------------------------------------------- */

static fault question_put(struct stream *stream, const struct patroni_question *question, bool *ret,
                          deadline by)
{
    const struct tls_config *tls = &question->settings->tls;
    struct address at = question->server;
    at.port = question->settings->port;
    TRY(stream_connect(stream, &at, &question->socket, by));
    if (tls->mode != TLS_MODE_DISABLE)
        TRY(stream_tls_connect(stream, tls->context, question->host, by));
    TRY(request_send(stream, question, &at, by));
    return answer_read(stream, question, ret, by);
}

fault patroni_ask(const struct patroni_question *question, struct backend_ruling *ret, deadline by)
{
    struct stream stream = STREAM_INIT;
    moment asked = now();
    bool yes = false;
    fault result = question_put(&stream, question, &yes, by);
    stream_close(&stream);
    if (result == OK)
        *ret = (struct backend_ruling){.asked = asked, .question = question->about, .yes = yes};
    return result;
}
