/* patroni.c - Patroni's REST interface at each server: which of them holds the leader's lock. */
#include "machine/clock.h"
#include "machine/sim/world.h"
#include "oracle/fencing.h"
#include "scenario/nodes.h"
#include "scenario/scenario.h"

#include <stdlib.h>
#include <string.h>

#define REQUEST_MAX 512

static struct patroni {
    bool there;
    uint32_t leader; /* its number */
    struct listener listeners[NODES];
    struct co_group group;
} patroni;

struct asked {
    struct stream stream;
    uint32_t number;
};

static bool patroni_answer(uint32_t number, const char *request)
{
    if (strncmp(request, "GET /primary ", 13) == 0)
        return number == patroni.leader;
    CHECK(strncmp(request, "GET /replica ", 13) == 0, "Patroni is asked: %s", request);
    return node_at(number)->is_standby;
}

static void asked_main(void *argument)
{
    static const char yes[] = "HTTP/1.0 200 OK\r\nServer: sim\r\n\r\n{}";
    static const char no[] = "HTTP/1.0 503 Service Unavailable\r\nServer: sim\r\n\r\n{}";
    struct asked *asked = argument;
    char request[REQUEST_MAX] = "";
    size_t have = 0, got;
    deadline by = after(sec(10));
    while (strstr(request, "\r\n\r\n") == NULL) {
        CHECK(have < sizeof(request) - 1);
        if (stream_read(&asked->stream, request + have, sizeof(request) - 1 - have, &got, by) != OK)
            break;
        have += got;
        request[have] = '\0';
    }
    if (strstr(request, "\r\n\r\n") != NULL)
        (void)!stream_write(&asked->stream,
                            span_text(patroni_answer(asked->number, request) ? yes : no), by);
    stream_close(&asked->stream);
    free(asked);
}

static void patroni_main(void *argument)
{
    struct listener *listener = argument;
    struct address from;
    int handle;
    while (listener_accept(listener, &handle, &from, NEVER) == OK) {
        struct asked *asked = calloc(1, sizeof(*asked));
        CHECK(asked != NULL);
        asked->number = (uint32_t)(listener - patroni.listeners);
        asked->stream = STREAM_INIT;
        CHECK(stream_adopt(&asked->stream, handle, false) == OK);
        CHECK(co_group_start(&patroni.group, asked_main, asked, CO_SMALL) == OK);
    }
}

void patroni_lead(uint32_t number)
{
    patroni.leader = number;
    fencing_led(number);
}

void patroni_begin(void)
{
    patroni = (struct patroni){.there = nodes_ask_patroni()};
    co_group_init(&patroni.group);
    for (uint32_t i = 0; patroni.there && i < NODES; i++) {
        struct address at = node_at(i)->address;
        at.port = SCENARIO_PATRONI_PORT;
        CHECK(listener_open(&patroni.listeners[i], &at, 64, 0) == OK);
        CHECK(co_group_start(&patroni.group, patroni_main, &patroni.listeners[i], CO_SMALL) == OK);
    }
}

void patroni_end(void)
{
    co_group_cancel(&patroni.group);
    co_group_join(&patroni.group);
    for (uint32_t i = 0; patroni.there && i < NODES; i++)
        listener_close(&patroni.listeners[i]);
}
