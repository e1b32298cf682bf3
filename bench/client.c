#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"

enum { READ_MAX = 1 << 18, WHOLE_MAX = 4096, KEYS_KEPT = 8 };

static char buffer[READ_MAX];

void client_die(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    fprintf(stderr, "load: ");
    vfprintf(stderr, format, list);
    fprintf(stderr, "\n");
    va_end(list);
    exit(1);
}

/* Requests are small against a socket buffer: a send that does not fit is a finding, not a case. */
static void put(struct client *client, const struct buffer *bytes)
{
    if (buffer_fault(bytes) != OK)
        client_die("out of memory");
    ssize_t sent = client->ssl != NULL ? SSL_write(client->ssl, bytes->at, (int)bytes->size)
                                       : send(client->fd, bytes->at, bytes->size, MSG_NOSIGNAL);
    if (sent != (ssize_t)bytes->size)
        client_die("could not send %zu bytes: %s", bytes->size,
                   sent < 0 ? strerror(errno) : "peer takes no more");
}

void client_open(struct client *client, const struct login_target *target, int epoll)
{
    static uint32_t turn;
    int one = 1;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->fd < 0)
        client_die("socket: %s", strerror(errno));
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (target->spread) {
        struct sockaddr_in from = {.sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + turn++ % 200)};
        setsockopt(client->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
        if (bind(client->fd, (struct sockaddr *)&from, sizeof(from)) < 0)
            client_die("bind: %s", strerror(errno));
    }
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(target->port)};
    if (inet_pton(AF_INET, target->host, &to.sin_addr) != 1)
        client_die("not an IPv4 address: %s", target->host);
    if (connect(client->fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS)
        client_die("connect: %s", strerror(errno));
    client->state = CLIENT_CONNECTING;
    client->stash = BUFFER_INIT(CLIENT_BUFFER_MAX);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = client};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, client->fd, &event) < 0)
        client_die("epoll_ctl: %s", strerror(errno));
}

void client_close(struct client *client)
{
    if (client->state == CLIENT_CLOSED)
        return;
    if (client->state >= CLIENT_IDLE) {
        struct buffer bye = {.at = (uint8_t[]){'X', 0, 0, 0, 4}, .size = 5};
        put(client, &bye);
    }
    SSL_free(client->ssl);
    close(client->fd);
    buffer_fini(&client->stash);
    free(client->scram);
    *client = (struct client){.state = CLIENT_CLOSED};
}

void client_ask(struct client *client, const struct request *request)
{
    client->state = CLIENT_BUSY;
    client->readies = 0;
    client->completes = 0;
    client->rows = 0;
    client->data = 0;
    put(client, &request->bytes);
}

static void hello(struct client *client, const struct login_target *target)
{
    struct buffer out = BUFFER_INIT(CLIENT_BUFFER_MAX);
    wire_put_u32(&out, 0); /* the length: this message has no type */
    wire_put_u32(&out, 3 << 16);
    wire_put_text(&out, "user");
    wire_put_text(&out, target->user);
    wire_put_text(&out, "database");
    wire_put_text(&out, target->database);
    wire_put_text(&out, "client_encoding");
    wire_put_text(&out, "UTF8");
    wire_put_u8(&out, 0);
    if (buffer_fault(&out) == OK)
        wire_store_u32(out.at, (uint32_t)out.size);
    put(client, &out);
    buffer_fini(&out);
    client->state = CLIENT_LOGIN;
}

/* The keys of a password: derived once and kept, as drivers do that cache them.  A login then costs
 * the generator three hashes instead of 4,096. */
static const struct scram_keys *keys_of(const struct scram_client *scram, const char *password)
{
    static struct scram_keys kept[KEYS_KEPT];
    static size_t next;
    for (size_t i = 0; i < KEYS_KEPT; i++)
        if (scram_keys_fit(&kept[i], scram->salt, scram->salt_size, scram->iterations))
            return &kept[i];
    struct scram_keys *keys = &kept[next++ % KEYS_KEPT];
    scram_derive(span_text(password), scram->salt, scram->salt_size, scram->iterations, keys);
    return keys;
}

static void scram_first(struct client *client, struct buffer *out)
{
    uint8_t random[SCRAM_NONCE];
    struct buffer first = BUFFER_INIT(SCRAM_MESSAGE_MAX);
    RAND_bytes(random, sizeof(random));
    free(client->scram);
    client->scram = calloc(1, sizeof(*client->scram));
    if (client->scram == NULL)
        client_die("out of memory");
    scram_client_first(client->scram, random, &first);
    size_t start = wire_begin(out, 'p');
    wire_put_text(out, "SCRAM-SHA-256");
    wire_put_u32(out, (uint32_t)first.size);
    wire_put_bytes(out, buffer_span(&first));
    wire_end(out, start);
    buffer_fini(&first);
}

static fault scram_continue(struct client *client, const char *password, struct span challenge,
                            struct buffer *out)
{
    TRY(scram_client_challenge(client->scram, challenge));
    size_t start = wire_begin(out, 'p');
    TRY(scram_client_final(client->scram, keys_of(client->scram, password), out));
    wire_end(out, start);
    return OK;
}

static void authenticate(struct client *client, const struct login_target *target, const char *body,
                         size_t length)
{
    struct buffer out = BUFFER_INIT(CLIENT_BUFFER_MAX);
    struct wire_reader in = wire_reader_over(span_of(body, length));
    uint32_t method = wire_get_u32(&in);
    struct span rest = wire_get_rest(&in);
    fault done = length >= 4 ? OK : FAULT_PROTOCOL;
    if (method == 10)
        scram_first(client, &out);
    else if (method == 11 && client->scram != NULL)
        done = scram_continue(client, target->password, rest, &out);
    else if (method == 12 && client->scram != NULL)
        done = scram_client_check(client->scram, rest);
    else if (method != 0)
        done = FAULT_UNSUPPORTED;
    if (done != OK)
        client_die("authentication method %u failed or is not known", method);
    if (out.size > 0)
        put(client, &out);
    buffer_fini(&out);
}

static void complain(const char *body, size_t length)
{
    char state[16] = "?";
    char text[256] = "?";
    for (size_t i = 0; i < length && body[i] != 0; i += strnlen(body + i, length - i) + 1) {
        if (body[i] == 'C')
            snprintf(state, sizeof(state), "%s", body + i + 1);
        if (body[i] == 'M')
            snprintf(text, sizeof(text), "%s", body + i + 1);
    }
    client_die("error %s: %s", state, text);
}

static void check_answer(struct client *client, const struct request *request)
{
    if (client->completes != request->completes ||
        (request->rows != UINT64_MAX && client->rows != request->rows) ||
        client->data < request->data)
        client_die("wrong answer: %u completions, %llu rows, %llu bytes", client->completes,
                   (unsigned long long)client->rows, (unsigned long long)client->data);
    client->state = CLIENT_IDLE;
    client->news = CLIENT_ANSWERED;
}

static void on_ready(struct client *client, const struct request *request)
{
    if (client->state == CLIENT_LOGIN && request->prepare.size > 0) {
        put(client, &request->prepare);
        client->state = CLIENT_PREPARING;
    } else if (client->state == CLIENT_LOGIN || client->state == CLIENT_PREPARING) {
        free(client->scram);
        client->scram = NULL;
        client->state = CLIENT_IDLE;
        client->news = CLIENT_LOGGED_IN;
    } else if (client->state == CLIENT_BUSY) {
        client->readies++;
        if (client->readies == request->readies)
            check_answer(client, request);
    } else {
        client_die("a ReadyForQuery that nobody asked for");
    }
}

static void on_row(struct client *client, const struct request *request, const char *body,
                   size_t have, size_t length)
{
    client->rows++;
    client->data += length >= 6 ? length - 6 : 0;
    if (request->value == NULL)
        return;
    size_t size = strlen(request->value);
    if (have < 6 + size || wire_u32((const uint8_t *)(body + 2)) != size ||
        memcmp(body + 6, request->value, size) != 0)
        client_die("a row with another value than '%s'", request->value);
}

static void on_message(struct client *client, const struct login_target *target,
                       const struct request *request, const char *message, size_t length)
{
    switch (message[0]) {
    case 'D':
        on_row(client, request, message + 5, length - 5, length - 5);
        break;
    case 'C':
        client->completes++;
        break;
    case 'Z':
        on_ready(client, request);
        break;
    case 'R':
        authenticate(client, target, message + 5, length - 5);
        break;
    case 'E':
        complain(message + 5, length - 5);
        break;
    default: /* T 1 2 S K N ...: counted by what they surround */
        break;
    }
}

/* Walks messages in place; keeps the beginning of one, skips through rows that are large. */
static size_t walk(struct client *client, const struct login_target *target,
                   const struct request *request, const char *at, size_t length)
{
    size_t used = 0;
    while (used < length) {
        size_t have = length - used;
        if (client->left > 0) {
            uint32_t part = have < client->left ? (uint32_t)have : client->left;
            client->left -= part;
            used += part;
            continue;
        }
        if (have < 5)
            break;
        size_t size = (size_t)wire_u32((const uint8_t *)(at + used + 1)) + 1;
        if (have >= size) {
            on_message(client, target, request, at + used, size);
            used += size;
        } else if (size > WHOLE_MAX && at[used] == 'D') {
            if (have < 11)
                break;
            on_row(client, request, at + used + 5, have - 5, size - 5);
            client->left = (uint32_t)(size - have);
            used = length;
        } else {
            break;
        }
    }
    return used;
}

static void feed(struct client *client, const struct login_target *target,
                 const struct request *request, size_t length)
{
    if (client->stash.size == 0) {
        size_t used = walk(client, target, request, buffer, length);
        buffer_append(&client->stash, buffer + used, length - used);
        return;
    }
    buffer_append(&client->stash, buffer, length);
    struct buffer whole = client->stash;
    client->stash = BUFFER_INIT(CLIENT_BUFFER_MAX);
    size_t used = walk(client, target, request, (const char *)whole.at, whole.size);
    buffer_append(&client->stash, whole.at + used, whole.size - used);
    buffer_fini(&whole);
}

static ssize_t get(struct client *client)
{
    if (client->ssl == NULL)
        return recv(client->fd, buffer, sizeof(buffer), 0);
    ERR_clear_error();
    int got = SSL_read(client->ssl, buffer, sizeof(buffer));
    if (got > 0)
        return got;
    int error = SSL_get_error(client->ssl, got);
    errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN : EPIPE;
    return error == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

static void read_all(struct client *client, const struct login_target *target,
                     const struct request *request)
{
    for (;;) {
        ssize_t got = get(client);
        if (got == 0 || (got < 0 && errno != EAGAIN))
            client_die("the peer closed the connection in state %u", client->state);
        if (got < 0)
            return;
        feed(client, target, request, (size_t)got);
        if (client->ssl == NULL && (size_t)got < sizeof(buffer))
            return;
    }
}

/* False: not yet logged far enough to read messages. */
static bool establish(struct client *client, const struct login_target *target)
{
    if (client->state == CLIENT_CONNECTING) {
        int error = 0;
        socklen_t size = sizeof(error);
        getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error != 0)
            client_die("connect: %s", strerror(error));
        if (target->tls == NULL) {
            hello(client, target);
            return false;
        }
        struct buffer wish = {.at = (uint8_t[]){0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f}, .size = 8};
        put(client, &wish);
        client->state = CLIENT_TLS_ANSWER;
        return false;
    }
    if (client->state == CLIENT_TLS_ANSWER) {
        char answer;
        ssize_t got = recv(client->fd, &answer, 1, 0);
        if (got < 0 && errno == EAGAIN)
            return false;
        if (got != 1 || answer != 'S')
            client_die("TLS was refused");
        client->ssl = SSL_new(target->tls);
        if (client->ssl == NULL || SSL_set_fd(client->ssl, client->fd) != 1)
            client_die("TLS: out of memory");
        SSL_set_connect_state(client->ssl);
        client->state = CLIENT_TLS_HANDSHAKE;
    }
    int done = SSL_do_handshake(client->ssl);
    if (done == 1) {
        hello(client, target);
        return true;
    }
    int error = SSL_get_error(client->ssl, done);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
        client_die("TLS handshake failed: %s", ERR_reason_error_string(ERR_peek_error()));
    return false;
}

enum client_news client_ready(struct client *client, const struct login_target *target,
                              const struct request *request)
{
    client->news = CLIENT_NOTHING;
    if (client->state == CLIENT_CLOSED)
        return CLIENT_NOTHING;
    if (client->state < CLIENT_LOGIN && !establish(client, target))
        return CLIENT_NOTHING;
    read_all(client, target, request);
    return client->news;
}
