#include "cli/cli_takeover_parts.h"

#include "link/link.h"
#include "machine/clock.h"
#include "machine/dns.h"
#include "machine/machine.h"

#include <stdio.h>
#include <stdlib.h>

#define TAKEOVER_TIME ms(15000)
#define ANSWER_MAX    65536u
#define PORT_USUAL    5432

static const char question[] = "SELECT rolpassword FROM pg_catalog.pg_authid WHERE rolname = $1";

struct asking {
    const struct takeover *takeover;
    struct buffer *secret;
    fault result;
    char detail[FAULT_STORY_MAX];
};

/* --- where ------------------------------------------------------------------------------------ */

/* Splits "host:port"; removes brackets around an IPv6 address. */
static fault split_server(const char *server, char *host, size_t size, uint16_t *port)
{
    const char *end = strrchr(server, ']'), *colon = strrchr(server, ':');
    bool bracketed = server[0] == '[' && end != NULL;
    bool has_port = colon != NULL && (bracketed ? colon == end + 1 : strchr(server, ':') == colon);
    size_t length = has_port ? (size_t)(colon - server) : strlen(server);
    *port = PORT_USUAL;
    if (has_port) {
        char *rest;
        unsigned long number = strtoul(colon + 1, &rest, 10);
        if (*rest != '\0' || number == 0 || number > UINT16_MAX)
            return fault_raise(FAULT_NAME, "found port %s; accepted: 1 to 65535", colon + 1);
        *port = (uint16_t)number;
    }
    if (bracketed) {
        server += 1;
        length = (size_t)(end - server);
    }
    if (length == 0 || length >= size)
        return fault_raise(FAULT_NAME, "found server %s; accepted: host or host:port", server);
    memcpy(host, server, length);
    host[length] = '\0';
    return OK;
}

/* --- the query -------------------------------------------------------------------------------- */

static fault send_question(struct stream *stream, const char *user, deadline by)
{
    struct buffer out = BUFFER_INIT(4096);
    size_t start = wire_begin(&out, WIRE_PARSE);
    wire_put_text(&out, "");
    wire_put_text(&out, question);
    wire_put_u16(&out, 0);
    wire_end(&out, start);
    start = wire_begin(&out, WIRE_BIND);
    wire_put_text(&out, "");
    wire_put_text(&out, "");
    wire_put_u16(&out, 0);
    wire_put_u16(&out, 1);
    wire_put_u32(&out, (uint32_t)strlen(user));
    wire_put_bytes(&out, span_text(user));
    wire_put_u16(&out, 0);
    wire_end(&out, start);
    start = wire_begin(&out, WIRE_EXECUTE);
    wire_put_text(&out, "");
    wire_put_u32(&out, 0);
    wire_end(&out, start);
    wire_put_empty(&out, WIRE_SYNC);
    fault sent = link_send(stream, &out, by);
    buffer_fini(&out);
    return sent;
}

/* Copies the only column of the only row. */
static fault keep_row(struct span body, struct buffer *secret)
{
    struct wire_reader in = {.at = body.at, .end = body.at + body.size};
    uint16_t columns = wire_get_u16(&in);
    uint32_t size = wire_get_u32(&in);
    if (columns == 1 && size == UINT32_MAX)
        return OK; /* NULL: no secret */
    struct span text = wire_get_bytes(&in, size);
    if (columns != 1 || in.failed)
        return fault_raise(FAULT_PROTOCOL, "the server sent a malformed row");
    buffer_append_span(secret, text);
    return buffer_fault(secret);
}

static fault refusal(struct span body)
{
    struct wire_error error = {0};
    if (wire_read_error(body, &error) != OK)
        return fault_raise(FAULT_UPSTREAM, "the server rejected the query");
    return fault_raise(FAULT_UPSTREAM, "the server rejected the query: %.*s",
                       SPAN_ARG(error.message));
}

static fault read_answer(struct stream *stream, struct buffer *secret, deadline by)
{
    struct buffer bytes = BUFFER_INIT(ANSWER_MAX);
    struct wire_frame frame = {.type = 0};
    fault result = OK;
    while (result == OK && frame.type != WIRE_READY) {
        result = link_read_message(stream, &bytes, ANSWER_MAX, &frame, by);
        if (result == OK && frame.type == WIRE_DATA_ROW)
            result = keep_row(frame.body, secret);
        else if (result == OK && frame.type == WIRE_ERROR)
            result = refusal(frame.body);
    }
    buffer_fini(&bytes);
    return result;
}

static fault ask_at(const struct address *address, const char *host, struct asking *asking,
                    deadline by)
{
    const struct takeover *takeover = asking->takeover;
    struct tls_context *tls = NULL;
    TRY(tls_context_new(&(struct tls_settings){.mode = TLS_MODE_PREFER}, &tls));
    struct link_target target = {
        .address = *address, .host = host, .tls_mode = TLS_MODE_PREFER, .tls = tls};
    struct link_secret secret = {.password = takeover->password};
    struct link_login login = {.target = &target,
                               .user = span_text(takeover->admin),
                               .database = SPAN("postgres"),
                               .secret = &secret};
    struct link_reported reported = {.parameters = BUFFER_INIT(ANSWER_MAX)};
    struct stream stream = STREAM_INIT;
    fault result = link_login(&stream, &login, &reported, by);
    if (result == OK)
        result = send_question(&stream, takeover->user, by);
    if (result == OK)
        result = read_answer(&stream, asking->secret, by);
    stream_close(&stream);
    buffer_fini(&reported.parameters);
    explicit_bzero(&secret, sizeof(secret));
    tls_context_unref(&tls);
    return result;
}

static fault ask(struct asking *asking)
{
    char host[DNS_NAME_SIZE];
    uint16_t port;
    struct dns_answer found;
    deadline by = after(TAKEOVER_TIME);
    TRY(split_server(asking->takeover->server, host, sizeof(host), &port));
    TRY(dns_resolve(host, port, &found, by));
    fault result = FAULT_NAME;
    for (size_t i = 0; i < found.count && result != OK; i++) {
        result = ask_at(&found.addresses[i], host, asking, by);
        if (result != FAULT_REFUSED)
            break;
    }
    TRY(result);
    if (asking->secret->size == 0)
        return fault_raise(FAULT_AUTH, "the server has no secret for user %s",
                           asking->takeover->user);
    return OK;
}

static void ask_main(void *argument)
{
    struct asking *asking = argument;
    asking->result = ask(asking);
    snprintf(asking->detail, sizeof(asking->detail), "%s", fault_detail(asking->result));
    machine_stop();
}

fault cli_take_over(const struct takeover *takeover, struct buffer *secret)
{
    struct asking asking = {.takeover = takeover, .secret = secret, .result = FAULT_SYSTEM};
    TRY(machine_run("secret", ask_main, &asking));
    return asking.result == OK ? OK : fault_raise(asking.result, "%s", asking.detail);
}
