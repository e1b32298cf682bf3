/*
 * instant.c - a backend that answers at once, so that what stands in front of it is measured.
 *
 * usage: instant [PORT]        one thread, 127.0.0.1; prints "listening PORT"
 *
 * Protocol 3.0, trust, no TLS.  Understands `SELECT 1`, `SELECT big N` (N bytes in rows of 1 KiB),
 * BEGIN, COMMIT, ROLLBACK, SET, RESET, DISCARD, DEALLOCATE, the empty query; simple and extended.
 * A descriptor is registered once, edge-triggered; all that one read brought is answered by one
 * send: two system calls per query and a local pool of one epoll_wait.
 */
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "wire/message.h"

/* Bytes of a buffer: the largest result with the heads of its rows. */
#define BUFFER_MAX ((size_t)2 * BIG_MAX)

enum {
    READ_MAX = 1 << 18,
    ROW_BYTES = 1024,
    BIG_MAX = 1 << 30,
    BLOBS = 8,
    EVENTS = 512,
    PARAMETERS = 13,
    STATEMENTS_MAX = 4096,
};

enum command_kind {
    COMMAND_EMPTY,
    COMMAND_SELECT,
    COMMAND_BIG,
    COMMAND_BEGIN,
    COMMAND_COMMIT,
    COMMAND_ROLLBACK,
    COMMAND_SET,
    COMMAND_RESET,
    COMMAND_DISCARD,
    COMMAND_DEALLOCATE,
    COMMAND_UNKNOWN,
};

struct command {
    enum command_kind kind;
    uint32_t size; /* of COMMAND_BIG */
};

struct statement {
    char *name;
    struct command command;
};

/* The rows of `SELECT big N`, built once per N and never freed while connections may send them. */
struct blob {
    uint32_t size;
    uint32_t rows;
    struct buffer bytes;
};

struct connection {
    struct connection *next;  /* of all that are open */
    struct connection **self; /* what points at this one */
    int fd;
    bool started;
    bool failed;   /* extended protocol: skip to Sync */
    bool readable; /* an edge was seen and not yet drained */
    bool hung_up;
    char status; /* I T E */
    struct buffer in;
    struct buffer head; /* to send: head, then the blob, then tail */
    struct buffer tail;
    const struct blob *blob;
    size_t blob_sent;
    struct command portal;
    struct statement *statements; /* [0] is the unnamed one once it was parsed */
    size_t statement_count;
};

struct parameter {
    const char *name;
    const char *value;
};

static const struct parameter parameters[PARAMETERS] = {
    {"application_name", ""},
    {"client_encoding", "UTF8"},
    {"DateStyle", "ISO, MDY"},
    {"default_transaction_read_only", "off"},
    {"in_hot_standby", "off"},
    {"integer_datetimes", "on"},
    {"IntervalStyle", "postgres"},
    {"is_superuser", "off"},
    {"server_encoding", "UTF8"},
    {"server_version", "15.8 (instant)"},
    {"session_authorization", "bench"},
    {"standard_conforming_strings", "on"},
    {"TimeZone", "Etc/UTC"},
};

static struct {
    int epoll;
    int listener;
    uint32_t served; /* connections, for the key's PID */
    struct connection *open;
    struct blob blobs[BLOBS];
    char buffer[READ_MAX];
} backend;

static volatile sig_atomic_t stopping;

static void on_signal(int number)
{
    stopping = 1;
}

__attribute__((noreturn)) static void die(const char *what)
{
    fprintf(stderr, "instant: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* What is added now goes out behind the blob, if one waits. */
static struct buffer *output(struct connection *connection)
{
    return connection->blob != NULL ? &connection->tail : &connection->head;
}

static const struct blob *blob_of(uint32_t size)
{
    struct blob *blob = backend.blobs;
    while (blob < backend.blobs + BLOBS && blob->rows != 0 && blob->size != size)
        blob++;
    if (blob == backend.blobs + BLOBS)
        return NULL;
    if (blob->rows != 0)
        return blob;
    blob->size = size;
    blob->bytes = BUFFER_INIT(BUFFER_MAX);
    char row[ROW_BYTES];
    memset(row, 'x', sizeof(row));
    for (uint32_t left = size; left > 0 || blob->rows == 0; blob->rows++) {
        uint32_t part = left < ROW_BYTES ? left : ROW_BYTES;
        size_t start = wire_begin(&blob->bytes, 'D');
        wire_put_u16(&blob->bytes, 1);
        wire_put_u32(&blob->bytes, part);
        buffer_append(&blob->bytes, row, part);
        wire_end(&blob->bytes, start);
        left -= part;
    }
    return blob;
}

static void put_status(struct buffer *out, const char *name, const char *value)
{
    size_t start = wire_begin(out, 'S');
    wire_put_text(out, name);
    wire_put_text(out, value);
    wire_end(out, start);
}

static void put_ready(struct connection *connection)
{
    char ready[6] = {'Z', 0, 0, 0, 5, connection->status};
    buffer_append(output(connection), ready, sizeof(ready));
}

static void put_complete(struct connection *connection, const char *tag)
{
    struct buffer *out = output(connection);
    size_t start = wire_begin(out, 'C');
    wire_put_text(out, tag);
    wire_end(out, start);
}

static void put_error(struct connection *connection, const char *state, const char *text)
{
    struct buffer *out = output(connection);
    size_t start = wire_begin(out, 'E');
    wire_put_text(out, "SERROR");
    wire_put_text(out, "VERROR");
    wire_put_u8(out, 'C');
    wire_put_text(out, state);
    wire_put_u8(out, 'M');
    wire_put_text(out, text);
    wire_put_u8(out, 0);
    wire_end(out, start);
    if (connection->status == 'T')
        connection->status = 'E';
}

static void put_description(struct connection *connection, struct command command)
{
    struct buffer *out = output(connection);
    if (command.kind != COMMAND_SELECT && command.kind != COMMAND_BIG) {
        buffer_append(out, "n\0\0\0\4", 5);
        return;
    }
    bool number = command.kind == COMMAND_SELECT;
    size_t start = wire_begin(out, 'T');
    wire_put_u16(out, 1);
    wire_put_text(out, "?column?");
    wire_put_u32(out, 0);
    wire_put_u16(out, 0);
    wire_put_u32(out, number ? 23 : 25);
    wire_put_u16(out, number ? 4 : 0xffff);
    wire_put_u32(out, UINT32_MAX);
    wire_put_u16(out, 0);
    wire_end(out, start);
}

static bool starts(const char *text, size_t length, const char *word)
{
    size_t size = strlen(word);
    return length >= size && strncasecmp(text, word, size) == 0 &&
           (length == size || !isalnum((unsigned char)text[size]));
}

static struct command command_of(const char *text, size_t length)
{
    static const struct {
        const char *word;
        enum command_kind kind;
    } words[] = {
        {"begin", COMMAND_BEGIN},       {"start transaction", COMMAND_BEGIN},
        {"commit", COMMAND_COMMIT},     {"end", COMMAND_COMMIT},
        {"rollback", COMMAND_ROLLBACK}, {"abort", COMMAND_ROLLBACK},
        {"set", COMMAND_SET},           {"reset", COMMAND_RESET},
        {"discard", COMMAND_DISCARD},   {"deallocate", COMMAND_DEALLOCATE},
    };
    while (length > 0 && isspace((unsigned char)*text)) {
        text++;
        length--;
    }
    if (length == 0)
        return (struct command){.kind = COMMAND_EMPTY};
    if (starts(text, length, "select 1"))
        return (struct command){.kind = COMMAND_SELECT};
    if (starts(text, length, "select big")) {
        long size = strtol(text + 10, NULL, 10);
        if (size >= 0 && size <= BIG_MAX)
            return (struct command){.kind = COMMAND_BIG, .size = (uint32_t)size};
    }
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (starts(text, length, words[i].word))
            return (struct command){.kind = words[i].kind};
    return (struct command){.kind = COMMAND_UNKNOWN};
}

static bool put_rows(struct connection *connection, struct command command)
{
    if (command.kind == COMMAND_SELECT) {
        buffer_append(output(connection),
                      "D\0\0\0\x0b\0\1\0\0\0\1"
                      "1",
                      12);
        put_complete(connection, "SELECT 1");
        return true;
    }
    const struct blob *blob = connection->blob == NULL ? blob_of(command.size) : NULL;
    if (blob == NULL) {
        put_error(connection, "54000", "too many big results");
        return false;
    }
    char tag[32];
    snprintf(tag, sizeof(tag), "SELECT %u", blob->rows);
    connection->blob = blob;
    connection->blob_sent = 0;
    put_complete(connection, tag);
    return true;
}

/* False: the answer was an error. */
static bool execute(struct connection *connection, struct command command)
{
    static const char *const tags[] = {
        [COMMAND_BEGIN] = "BEGIN",           [COMMAND_COMMIT] = "COMMIT",
        [COMMAND_ROLLBACK] = "ROLLBACK",     [COMMAND_SET] = "SET",
        [COMMAND_RESET] = "RESET",           [COMMAND_DISCARD] = "DISCARD ALL",
        [COMMAND_DEALLOCATE] = "DEALLOCATE",
    };
    bool ends = command.kind == COMMAND_ROLLBACK || command.kind == COMMAND_COMMIT;
    if (connection->status == 'E' && !ends) {
        put_error(connection, "25P02", "current transaction is aborted");
        return false;
    }
    switch (command.kind) {
    case COMMAND_EMPTY:
        buffer_append(output(connection), "I\0\0\0\4", 5);
        return true;
    case COMMAND_SELECT:
    case COMMAND_BIG:
        return put_rows(connection, command);
    case COMMAND_UNKNOWN:
        put_error(connection, "42601", "the instant backend does not know this statement");
        return false;
    default:
        put_complete(connection, connection->status == 'E' ? "ROLLBACK" : tags[command.kind]);
        if (command.kind == COMMAND_BEGIN)
            connection->status = 'T';
        if (ends)
            connection->status = 'I';
        return true;
    }
}

/* `SET name TO value` of a reported parameter is reported, as PostgreSQL does. */
static void report_setting(struct connection *connection, const char *text, size_t length)
{
    char copy[256];
    char name[64];
    char value[128];
    snprintf(copy, sizeof(copy), "%.*s", (int)length, text);
    if (sscanf(copy, " %*s %63[A-Za-z_] %*[TOto=] %127[^;]", name, value) != 2 &&
        sscanf(copy, " %*s %63[A-Za-z_]=%127[^;]", name, value) != 2)
        return;
    size_t size = strlen(value);
    while (size > 0 && isspace((unsigned char)value[size - 1]))
        value[--size] = 0;
    bool quoted = size >= 2 && value[0] == '\'' && value[size - 1] == '\'';
    if (quoted)
        value[size - 1] = 0;
    for (size_t i = 0; i < PARAMETERS; i++)
        if (strcasecmp(parameters[i].name, name) == 0)
            put_status(output(connection), parameters[i].name, value + (quoted ? 1 : 0));
}

/* Where the statement ends: at a semicolon outside quotes, or at the end. */
static size_t statement_length(const char *text, size_t length)
{
    bool quoted = false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\'')
            quoted = !quoted;
        if (text[i] == ';' && !quoted)
            return i;
    }
    return length;
}

static void simple_query(struct connection *connection, const char *text, size_t length)
{
    bool any = false;
    while (length > 0) {
        size_t part = statement_length(text, length);
        struct command command = command_of(text, part);
        if (command.kind == COMMAND_SELECT || command.kind == COMMAND_BIG)
            put_description(connection, command);
        if (command.kind != COMMAND_EMPTY) {
            any = true;
            if (!execute(connection, command))
                break;
        }
        if (command.kind == COMMAND_SET)
            report_setting(connection, text, part);
        part += part < length;
        text += part;
        length -= part;
    }
    if (!any)
        execute(connection, (struct command){.kind = COMMAND_EMPTY});
    put_ready(connection);
}

static struct statement *statement_find(struct connection *connection, const char *name)
{
    for (size_t i = 0; i < connection->statement_count; i++)
        if (strcmp(connection->statements[i].name, name) == 0)
            return &connection->statements[i];
    return NULL;
}

static void fail(struct connection *connection, const char *state, const char *text)
{
    put_error(connection, state, text);
    connection->failed = true;
}

static void extended_parse(struct connection *connection, const char *name, const char *text)
{
    struct statement *statement = statement_find(connection, name);
    if (statement != NULL && *name != 0) {
        fail(connection, "42P05", "prepared statement already exists");
        return;
    }
    if (statement == NULL) {
        if (connection->statement_count == STATEMENTS_MAX) {
            fail(connection, "54000", "too many prepared statements");
            return;
        }
        size_t count = connection->statement_count + 1;
        struct statement *grown = realloc(connection->statements, count * sizeof(*grown));
        char *copy = strdup(name);
        if (grown == NULL || copy == NULL)
            die("prepared statement");
        connection->statements = grown;
        connection->statement_count = count;
        statement = &grown[count - 1];
        statement->name = copy;
    }
    statement->command = command_of(text, statement_length(text, strlen(text)));
    buffer_append(output(connection), "1\0\0\0\4", 5);
}

static void extended_close(struct connection *connection, char what, const char *name)
{
    struct statement *statement = what == 'S' ? statement_find(connection, name) : NULL;
    if (statement != NULL) {
        free(statement->name);
        *statement = connection->statements[--connection->statement_count];
    }
    buffer_append(output(connection), "3\0\0\0\4", 5);
}

static void extended_describe(struct connection *connection, char what, const char *name)
{
    struct command command = connection->portal;
    if (what == 'S') {
        struct statement *statement = statement_find(connection, name);
        if (statement == NULL) {
            fail(connection, "26000", "prepared statement does not exist");
            return;
        }
        command = statement->command;
        buffer_append(output(connection), "t\0\0\0\6\0\0", 7);
    }
    put_description(connection, command);
}

static void extended_bind(struct connection *connection, const char *name)
{
    struct statement *statement = statement_find(connection, name);
    if (statement == NULL) {
        fail(connection, "26000", "prepared statement does not exist");
        return;
    }
    connection->portal = statement->command;
    buffer_append(output(connection), "2\0\0\0\4", 5);
}

static void extended(struct connection *connection, char type, const char *body)
{
    if (connection->failed)
        return;
    switch (type) {
    case 'P':
        extended_parse(connection, body, body + strlen(body) + 1);
        break;
    case 'B':
        extended_bind(connection, body + strlen(body) + 1);
        break;
    case 'D':
        extended_describe(connection, body[0], body + 1);
        break;
    case 'C':
        extended_close(connection, body[0], body + 1);
        break;
    default:
        connection->failed = !execute(connection, connection->portal);
    }
}

/* False: the connection is to be closed. */
static bool message(struct connection *connection, char type, const char *body, size_t length)
{
    switch (type) {
    case 'Q':
        simple_query(connection, body, strnlen(body, length));
        return true;
    case 'P':
    case 'B':
    case 'D':
    case 'E':
    case 'C':
        extended(connection, type, body);
        return true;
    case 'S':
        connection->failed = false;
        put_ready(connection);
        return true;
    case 'H':
        return true;
    default:
        return false;
    }
}

static void greet(struct connection *connection, const char *at, const char *end)
{
    const char *values[PARAMETERS];
    for (size_t i = 0; i < PARAMETERS; i++)
        values[i] = parameters[i].value;
    while (at < end && *at != 0) {
        const char *value = at + strnlen(at, (size_t)(end - at)) + 1;
        if (value >= end)
            break;
        for (size_t i = 0; i < PARAMETERS; i++) {
            bool owner =
                strcmp(at, "user") == 0 && strcmp(parameters[i].name, "session_authorization") == 0;
            if (owner || strcasecmp(parameters[i].name, at) == 0)
                values[i] = value;
        }
        at = value + strnlen(value, (size_t)(end - value)) + 1;
    }
    struct buffer *out = output(connection);
    buffer_append(out, "R\0\0\0\x08\0\0\0\0", 9);
    for (size_t i = 0; i < PARAMETERS; i++)
        put_status(out, parameters[i].name, values[i]);
    size_t start = wire_begin(out, 'K');
    wire_put_u32(out, ++backend.served);
    wire_put_u32(out, 0x5eed0000u ^ backend.served);
    wire_end(out, start);
    put_ready(connection);
}

static bool startup(struct connection *connection, const char *packet, size_t length)
{
    uint32_t code = wire_u32((const uint8_t *)(packet + 4));
    if (code == 80877103 || code == 80877104) {
        wire_put_u8(output(connection), 'N');
        return true;
    }
    if (code >> 16 != 3 || packet[length - 1] != 0)
        return false;
    if ((code & 0xffff) != 0) {
        size_t start = wire_begin(output(connection), 'v');
        wire_put_u32(output(connection), 3 << 16);
        wire_put_u32(output(connection), 0);
        wire_end(output(connection), start);
    }
    greet(connection, packet + 8, packet + length);
    connection->started = true;
    return true;
}

/* Answers whole messages; returns the bytes used, or -1 to close.  Stops at a second big result. */
static ssize_t answer(struct connection *connection, const char *at, size_t length)
{
    size_t used = 0;
    while (connection->blob == NULL) {
        size_t head = connection->started ? 1 : 0;
        if (length - used < head + 4)
            break;
        size_t size = wire_u32((const uint8_t *)(at + used + head));
        if (size < 4 || size > READ_MAX / 2 || (head == 0 && size < 8))
            return -1;
        if (length - used < head + size)
            break;
        const char *start = at + used;
        bool alive = head == 0 ? startup(connection, start, size)
                               : message(connection, start[0], start + 5, size - 4);
        if (!alive)
            return -1;
        used += head + size;
    }
    return (ssize_t)used;
}

/* False: broken.  What could not be sent stays for the next edge. */
static bool flush(struct connection *connection)
{
    for (;;) {
        struct iovec parts[3];
        int count = 0;
        size_t total = 0;
        const struct blob *blob = connection->blob;
        if (buffer_fault(&connection->head) != OK || buffer_fault(&connection->tail) != OK ||
            (blob != NULL && buffer_fault(&blob->bytes) != OK)) {
            errno = ENOMEM;
            die("buffer");
        }
        if (connection->head.size > 0)
            parts[count++] = (struct iovec){connection->head.at, connection->head.size};
        if (blob != NULL)
            parts[count++] = (struct iovec){blob->bytes.at + connection->blob_sent,
                                            blob->bytes.size - connection->blob_sent};
        if (connection->tail.size > 0)
            parts[count++] = (struct iovec){connection->tail.at, connection->tail.size};
        if (count == 0)
            return true;
        for (int i = 0; i < count; i++)
            total += parts[i].iov_len;
        struct msghdr request = {.msg_iov = parts, .msg_iovlen = (size_t)count};
        ssize_t sent = sendmsg(connection->fd, &request, MSG_NOSIGNAL);
        if (sent < 0)
            return errno == EAGAIN;
        size_t left = (size_t)sent;
        size_t part = left < connection->head.size ? left : connection->head.size;
        buffer_consume(&connection->head, part);
        left -= part;
        if (blob != NULL) {
            part = blob->bytes.size - connection->blob_sent;
            part = left < part ? left : part;
            connection->blob_sent += part;
            left -= part;
            if (connection->blob_sent == blob->bytes.size)
                connection->blob = NULL;
        }
        buffer_consume(&connection->tail, left);
        if ((size_t)sent == total)
            return true;
    }
}

static bool pending(const struct connection *connection)
{
    return connection->head.size > 0 || connection->blob != NULL || connection->tail.size > 0;
}

/* What one read brought, behind what was kept; -1: the peer is gone. */
static ssize_t gather(struct connection *connection)
{
    size_t kept = connection->in.size;
    if (kept > 0)
        memcpy(backend.buffer, connection->in.at, kept);
    connection->in.size = 0;
    if (!connection->readable)
        return (ssize_t)kept;
    ssize_t got = recv(connection->fd, backend.buffer + kept, READ_MAX - kept, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN))
        return -1;
    if (got < 0 || (!connection->hung_up && (size_t)got < READ_MAX - kept))
        connection->readable = false;
    return (ssize_t)kept + (got > 0 ? got : 0);
}

/* Reads and answers until nothing is left or the peer does not take the answers. */
static bool serve(struct connection *connection)
{
    if (!flush(connection))
        return false;
    while (!pending(connection)) {
        ssize_t length = gather(connection);
        if (length <= 0)
            return length == 0;
        ssize_t used = answer(connection, backend.buffer, (size_t)length);
        if (used < 0)
            return false;
        buffer_append(&connection->in, backend.buffer + used, (size_t)(length - used));
        if (!flush(connection))
            return false;
        if (!connection->readable && (used == 0 || connection->in.size == 0))
            return true;
    }
    return true;
}

static void connection_free(struct connection *connection)
{
    *connection->self = connection->next;
    if (connection->next != NULL)
        connection->next->self = connection->self;
    close(connection->fd);
    buffer_fini(&connection->in);
    buffer_fini(&connection->head);
    buffer_fini(&connection->tail);
    for (size_t i = 0; i < connection->statement_count; i++)
        free(connection->statements[i].name);
    free(connection->statements);
    free(connection);
}

static void accept_all(void)
{
    for (;;) {
        int fd = accept4(backend.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        struct connection *connection = calloc(1, sizeof(*connection));
        if (connection == NULL)
            die("connection");
        *connection = (struct connection){.fd = fd,
                                          .status = 'I',
                                          .in = BUFFER_INIT(BUFFER_MAX),
                                          .head = BUFFER_INIT(BUFFER_MAX),
                                          .tail = BUFFER_INIT(BUFFER_MAX),
                                          .next = backend.open,
                                          .self = &backend.open};
        if (backend.open != NULL)
            backend.open->self = &connection->next;
        backend.open = connection;
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                    .data.ptr = connection};
        if (epoll_ctl(backend.epoll, EPOLL_CTL_ADD, fd, &event) < 0)
            die("epoll_ctl");
    }
}

static void listen_on(uint16_t port)
{
    int one = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    backend.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(backend.listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(backend.listener, (struct sockaddr *)&address, size) < 0 ||
        listen(backend.listener, 4096) < 0 ||
        getsockname(backend.listener, (struct sockaddr *)&address, &size) < 0)
        die("listen");
    struct epoll_event event = {.events = EPOLLIN};
    epoll_ctl(backend.epoll, EPOLL_CTL_ADD, backend.listener, &event);
    printf("listening %u\n", ntohs(address.sin_port));
    fflush(stdout);
}

int main(int count, char **arguments)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    backend.epoll = epoll_create1(EPOLL_CLOEXEC);
    listen_on(count > 1 ? (uint16_t)strtoul(arguments[1], NULL, 10) : 0);
    static struct epoll_event events[EVENTS];
    while (!stopping) {
        int ready = epoll_wait(backend.epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            struct connection *connection = events[i].data.ptr;
            if (connection == NULL) {
                accept_all();
                continue;
            }
            if (events[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
                connection->readable = true;
            if (events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
                connection->hung_up = true;
            if (!serve(connection))
                connection_free(connection);
        }
    }
    for (struct connection *each; (each = backend.open) != NULL;) {
        backend.open = each->next;
        connection_free(each);
    }
    for (size_t i = 0; i < BLOBS; i++)
        buffer_fini(&backend.blobs[i].bytes);
    close(backend.listener);
    close(backend.epoll);
    return 0;
}
