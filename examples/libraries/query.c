/*
 * query.c - connects to PostgreSQL, runs one query and prints its rows: an example of
 * libtrunkline-wire.
 *
 *     cc -std=gnu17 query.c $(pkg-config --cflags --libs trunkline-wire) -o query
 *     PGPASSWORD=secret ./query 127.0.0.1 5432 alice app "select 1, 'two'"
 *
 * The library reads and builds messages and has the steps of SCRAM and md5.  The socket is this
 * program's own.
 */
#include "wire/message.h"
#include "wire/messages.h"
#include "wire/scram.h"
#include "wire/startup.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define MESSAGE_MAX (16u << 20) /* bytes of the largest message that is taken */

struct session {
    int socket;
    struct buffer in;  /* received; the messages before `used` were read */
    struct buffer out; /* to be sent */
    size_t used;
    struct span user, password;
    struct scram_client scram;
    bool proven; /* by SCRAM: the server knows the password, too */
    int status;  /* of the process */
};

NORETURN static void die(const char *what)
{
    fprintf(stderr, "query: %s\n", what);
    exit(EXIT_FAILURE);
}

static void must(fault code, const char *what)
{
    if (code == OK)
        return;
    fprintf(stderr, "query: %s: %s\n", what, fault_detail(code));
    exit(EXIT_FAILURE);
}

/* --- bytes ------------------------------------------------------------------------------------ */

static int dial(const char *host, const char *port)
{
    struct addrinfo wanted = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    if (getaddrinfo(host, port, &wanted, &found) != 0)
        die("no such host");
    int handle = socket(found->ai_family, found->ai_socktype, 0);
    if (handle < 0 || connect(handle, found->ai_addr, found->ai_addrlen) != 0)
        die("cannot connect");
    freeaddrinfo(found);
    return handle;
}

static void flush(struct session *session)
{
    must(buffer_fault(&session->out), "message");
    struct span rest = buffer_span(&session->out);
    while (rest.size > 0) {
        ssize_t sent = send(session->socket, rest.at, rest.size, MSG_NOSIGNAL);
        if (sent < 0)
            die("cannot send");
        rest = span_skip(rest, (size_t)sent);
    }
    buffer_clear(&session->out);
}

/* Returns the next message.  It is valid until the next call. */
static struct wire_frame next_message(struct session *session)
{
    struct wire_frame frame;
    buffer_consume(&session->in, session->used);
    session->used = 0;
    for (;;) {
        struct span rest = buffer_span(&session->in);
        fault code = wire_next_frame(&rest, MESSAGE_MAX, &frame);
        if (code == OK) {
            session->used = session->in.size - rest.size;
            return frame;
        }
        if (code != FAULT_AGAIN)
            must(code, "frame");
        uint8_t *room = buffer_room(&session->in, 8192);
        ssize_t got = room == NULL ? -1 : recv(session->socket, room, 8192, 0);
        if (got <= 0)
            die("the connection has ended");
        session->in.size += (size_t)got;
    }
}

/* --- authentication --------------------------------------------------------------------------- */

/* SASLInitialResponse: the mechanism, then the length of the data, then the data. */
static void answer_sasl(struct session *session, struct span mechanisms)
{
    uint8_t random[SCRAM_NONCE];
    struct buffer first = BUFFER_INIT(SCRAM_MESSAGE_MAX);
    if (!wire_sasl_offers(mechanisms, "SCRAM-SHA-256"))
        die("the server offers no SCRAM-SHA-256");
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        die("no random bytes");
    scram_client_first(&session->scram, random, &first);
    must(buffer_fault(&first), "SCRAM");
    size_t start = wire_begin(&session->out, WIRE_PASSWORD);
    wire_put_text(&session->out, "SCRAM-SHA-256");
    wire_put_u32(&session->out, (uint32_t)first.size);
    wire_put_bytes(&session->out, buffer_span(&first));
    wire_end(&session->out, start);
    buffer_fini(&first);
}

static void answer_challenge(struct session *session, struct span server_first)
{
    struct scram_client *scram = &session->scram;
    struct scram_keys keys;
    must(scram_client_challenge(scram, server_first), "SCRAM challenge");
    scram_derive(session->password, scram->salt, scram->salt_size, scram->iterations, &keys);
    size_t start = wire_begin(&session->out, WIRE_PASSWORD);
    must(scram_client_final(scram, &keys, &session->out), "SCRAM proof");
    wire_end(&session->out, start);
}

static void answer_md5(struct session *session, struct span salt)
{
    char secret[MD5_TEXT], answer[MD5_TEXT];
    if (salt.size != 4)
        die("a salt of another size than 4 bytes");
    md5_secret(session->password, session->user, secret);
    md5_answer(secret, salt.at, answer);
    size_t start = wire_begin(&session->out, WIRE_PASSWORD);
    wire_put_text(&session->out, answer);
    wire_end(&session->out, start);
}

static void authenticate(struct session *session, struct span body)
{
    struct wire_auth_request request;
    must(wire_read_authentication(body, &request), "authentication");
    switch (request.kind) {
    case WIRE_AUTH_OK:
        return;
    case WIRE_AUTH_MD5:
        answer_md5(session, request.rest);
        break;
    case WIRE_AUTH_SASL:
        answer_sasl(session, request.rest);
        break;
    case WIRE_AUTH_SASL_CONTINUE:
        answer_challenge(session, request.rest);
        break;
    case WIRE_AUTH_SASL_FINAL:
        must(scram_client_check(&session->scram, request.rest), "the server's signature");
        session->proven = true;
        break;
    default: /* a password in clear text among them: this connection is not encrypted */
        die("the server asks for an authentication that this program does not do");
    }
    flush(session);
}

/* --- results ---------------------------------------------------------------------------------- */

static void print_row(struct span body)
{
    struct wire_reader in = wire_reader_over(body);
    uint16_t columns = wire_get_u16(&in);
    for (uint16_t i = 0; i < columns; i++) {
        uint32_t size = wire_get_u32(&in);
        struct span value = size == UINT32_MAX ? SPAN("NULL") : wire_get_bytes(&in, size);
        printf("%s%.*s", i > 0 ? "\t" : "", SPAN_ARG(value));
    }
    printf("\n");
    must(wire_done(&in), "row");
}

static void print_error(struct session *session, struct span body)
{
    struct wire_error error;
    must(wire_read_error(body, &error), "error");
    fprintf(stderr, "query: %.*s %.*s: %.*s\n", SPAN_ARG(error.severity), SPAN_ARG(error.sqlstate),
            SPAN_ARG(error.message));
    session->status = EXIT_FAILURE;
}

/* Reads messages up to ReadyForQuery.  An error before the first of those ends the connection. */
static void read_until_ready(struct session *session, bool login)
{
    for (;;) {
        struct wire_frame frame = next_message(session);
        if (frame.type == WIRE_READY)
            return;
        if (frame.type == WIRE_AUTHENTICATION)
            authenticate(session, frame.body);
        else if (frame.type == WIRE_DATA_ROW)
            print_row(frame.body);
        else if (frame.type == WIRE_ERROR)
            print_error(session, frame.body);
        if (frame.type == WIRE_ERROR && login)
            exit(EXIT_FAILURE);
    }
}

int main(int count, char **words)
{
    static struct session session;
    size_t start = 0;
    if (count != 6) {
        fprintf(stderr, "usage: query HOST PORT USER DATABASE SQL (PGPASSWORD: the password)\n");
        return 2;
    }
    session.in = BUFFER_INIT(2 * MESSAGE_MAX);
    session.out = BUFFER_INIT(MESSAGE_MAX);
    session.user = span_text(words[3]);
    session.password = span_text(getenv("PGPASSWORD"));
    session.socket = dial(words[1], words[2]);
    wire_put_startup_begin(&session.out, WIRE_PROTOCOL_3_0, &start);
    wire_put_startup_parameter(&session.out, SPAN("user"), session.user);
    wire_put_startup_parameter(&session.out, SPAN("database"), span_text(words[4]));
    wire_put_startup_end(&session.out, start);
    flush(&session);
    read_until_ready(&session, true);
    fprintf(stderr, "query: %s\n",
            session.proven ? "the server has proven that it knows the password" : "connected");
    wire_put_query(&session.out, span_text(words[5]));
    flush(&session);
    read_until_ready(&session, false);
    wire_put_empty(&session.out, WIRE_TERMINATE);
    flush(&session);
    buffer_fini(&session.in);
    buffer_fini(&session.out);
    close(session.socket);
    return session.status;
}
