#pragma once
/*
 * client.h - one connection of the load generator: connects, logs in, asks, checks the answer.
 *
 * Non-blocking, driven by client_ready() for every edge.  It tells its owner by the result what has
 * been reached; anything unexpected ends the program with a message: a benchmark that got a wrong
 * answer has measured nothing.
 */
#include <openssl/ssl.h>

#include "wire/scram.h"

struct login_target {
    const char *host; /* an IPv4 address */
    uint16_t port;
    const char *user;
    const char *database;
    const char *password; /* "": trust only */
    SSL_CTX *tls;         /* NULL: plain */
    bool spread;          /* from many source addresses: many short connections */
};

/* Bytes of a buffer: more than any of them takes. */
#define CLIENT_BUFFER_MAX ((size_t)1 << 30)

/* What a client sends and what has to come back.  Shared by all clients. */
struct request {
    struct buffer prepare; /* once after the login; empty: nothing */
    struct buffer bytes;
    unsigned readies;   /* ReadyForQuery per request */
    unsigned completes; /* CommandComplete per request: the queries in it */
    uint64_t rows;      /* per request; UINT64_MAX: any */
    uint64_t data;      /* least bytes of values per request */
    const char *value;  /* of every row, or NULL */
};

enum client_state {
    CLIENT_CLOSED,
    CLIENT_CONNECTING,
    CLIENT_TLS_ANSWER,
    CLIENT_TLS_HANDSHAKE,
    CLIENT_LOGIN,
    CLIENT_PREPARING,
    CLIENT_IDLE,
    CLIENT_BUSY,
};

enum client_news { CLIENT_NOTHING, CLIENT_LOGGED_IN, CLIENT_ANSWERED };

struct client {
    int fd;
    SSL *ssl;
    int64_t since; /* when the request (or the connection) began; ns */
    uint32_t left; /* bytes of a large row still to be skipped */
    uint8_t state;
    uint8_t news;
    unsigned readies;
    unsigned completes;
    uint64_t rows;
    uint64_t data;
    struct buffer stash; /* the beginning of a message */
    struct scram_client *scram;
};

void client_open(struct client *client, const struct login_target *target, int epoll);
/** An edge was seen. */
enum client_news client_ready(struct client *client, const struct login_target *target,
                              const struct request *request);
void client_ask(struct client *client, const struct request *request);
/** Says Terminate and closes. */
void client_close(struct client *client);
void client_die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
