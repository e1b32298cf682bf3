/*
 * echo.c - a TCP server that sends back what it receives: an example of libtrunkline-machine.
 *
 *     cc -std=gnu17 echo.c $(pkg-config --cflags --libs trunkline-machine) -o echo
 *     ./echo 7777
 *
 * One thread serves all connections, each in a coroutine of its own that reads top to bottom.
 * SIGINT and SIGTERM end the server when its last connection has ended or was cancelled.
 */
#include "base/span.h"
#include "machine/clock.h"
#include "machine/co.h"
#include "machine/os.h"
#include "machine/signals.h"
#include "machine/stream.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

/* A connection that sends nothing for so long is closed. */
#define IDLE_MAX sec(60)

struct server {
    uint16_t port;
    int status; /* of the process */
    struct listener listener;
    struct co_group group; /* the coroutine that accepts, and those of the connections */
};

/* What a connection's coroutine gets. */
struct connection {
    int handle;
};

static void serve(void *argument)
{
    struct connection *connection = argument;
    struct stream stream = STREAM_INIT;
    char bytes[4096];
    size_t size = 0;
    fault end = stream_adopt(&stream, connection->handle, false);
    free(connection);
    while (end == OK) {
        end = stream_read(&stream, bytes, sizeof(bytes), &size, after(IDLE_MAX));
        if (end == OK)
            end = stream_write(&stream, span_of(bytes, size), after(IDLE_MAX));
    }
    if (end != FAULT_CLOSED && end != FAULT_CANCELLED)
        fprintf(stderr, "echo: %s\n", fault_detail(end));
    stream_close(&stream);
}

/* Starts a coroutine for an accepted socket; closes the socket if there is no memory. */
static void start(struct server *server, int handle)
{
    struct connection *connection = malloc(sizeof(*connection));
    if (connection != NULL) {
        connection->handle = handle;
        if (co_group_start(&server->group, serve, connection, CO_SMALL) == OK)
            return;
    }
    fprintf(stderr, "echo: no memory for a connection\n");
    free(connection);
    os->close(handle);
}

static void accept_all(void *argument)
{
    struct server *server = argument;
    struct address peer;
    int handle = -1;
    for (;;) {
        fault end = listener_accept(&server->listener, &handle, &peer, NEVER);
        if (end == FAULT_CANCELLED)
            return;
        if (end == OK)
            start(server, handle);
        else
            fprintf(stderr, "echo: %s\n", fault_detail(end));
    }
}

static fault run(struct server *server)
{
    struct address at;
    struct signals signals;
    int number = 0;
    if (!address_parse("127.0.0.1", server->port, &at))
        return fault_raise(FAULT_SYSTEM, "127.0.0.1 is no address");
    TRY(signals_open(&signals, (const int[]){SIGINT, SIGTERM}, 2));
    TRY(listener_open(&server->listener, &at, 128, -1));
    printf("listening on port %u\n", (unsigned)server->listener.address.port);
    fflush(stdout);
    fault end = co_group_start(&server->group, accept_all, server, CO_LARGE);
    while (end == OK && number == 0)
        end = signals_next(&signals, &number, NEVER);
    co_group_cancel(&server->group);
    co_group_join(&server->group);
    listener_close(&server->listener);
    signals_close(&signals);
    return end;
}

/* The machine's first coroutine. */
static void entry(void *argument)
{
    struct server *server = argument;
    co_group_init(&server->group);
    fault end = run(server);
    if (end != OK) {
        fprintf(stderr, "echo: %s\n", fault_detail(end));
        server->status = EXIT_FAILURE;
    }
    machine_stop();
}

int main(int count, char **words)
{
    static struct server server;
    if (count != 2) {
        fprintf(stderr, "usage: echo PORT (0: any free one)\n");
        return 2;
    }
    server.port = (uint16_t)strtoul(words[1], NULL, 10);
    fault end = machine_run("echo", entry, &server);
    if (end != OK) {
        fprintf(stderr, "echo: %s\n", fault_detail(end));
        return EXIT_FAILURE;
    }
    return server.status;
}
