/*
 * closing.c - keeps the slot of a server that is ending until PostgreSQL has closed the connection.
 *
 * PostgreSQL counts a backend process until it has exited, and closes the connection last.  A login
 * right after Terminate would fail with "too many clients" where PostgreSQL, the role or the
 * database is at its limit.
 */
#include "machine/clock.h"
#include "pool/pool.h"
#include "pool/server.h"

#include <stdlib.h>

/* How long the router waits for the end of a server.  Then it frees the slot all the same. */
#define CLOSING_MAX sec(1)

struct closing {
    struct node node; /* in router->closings */
    struct router *router;
    struct lease *lease;
    struct waker waker; /* of its stream */
    struct waker timer_waker;
    struct timer timer;
};

static struct lease *closing_free(struct closing *closing)
{
    struct lease *lease = closing->lease;
    timer_disarm(&closing->timer);
    list_remove(&closing->router->closings, &closing->node);
    lease->pool->ending -= 1;
    server_discard(&lease->server);
    free(closing);
    return lease;
}

static void closing_timer_fired(struct waker *waker)
{
    lease_end(closing_free(CONTAINER_OF(waker, struct closing, timer_waker)));
}

/* Discards what an ending server still sends. */
static void closing_event(struct waker *waker)
{
    struct closing *closing = CONTAINER_OF(waker, struct closing, waker);
    struct stream *stream = &closing->lease->server->stream;
    uint8_t bytes[2048];
    size_t size;
    fault read = OK;
    while (read == OK && (stream_may_read(stream) || stream_hung_up(stream)))
        read = stream_read_some(stream, bytes, sizeof(bytes), &size);
    if (read != OK && read != FAULT_AGAIN)
        lease_end(closing_free(closing));
}

void closing_begin(struct router *router, struct lease *lease)
{
    struct closing *closing = calloc(1, sizeof(*closing));
    bool waits =
        closing != NULL && !router->env->stopping && stream_attach(&lease->server->stream) == OK;
    if (!waits) {
        free(closing);
        server_discard(&lease->server);
        lease_end(lease);
        return;
    }
    *closing = (struct closing){.router = router,
                                .lease = lease,
                                .waker = {closing_event},
                                .timer_waker = {closing_timer_fired}};
    closing->timer = TIMER_INIT(&closing->timer_waker);
    timer_set(&closing->timer, after(CLOSING_MAX));
    list_push(&router->closings, &closing->node);
    lease->pool->ending += 1;
    lease->server->stream.waker = &closing->waker;
    closing_event(&closing->waker);
}

void closing_end_all(struct router *router)
{
    for (struct node *node; (node = list_first(&router->closings)) != NULL;)
        lease_end(closing_free(LIST_ENTRY(node, struct closing, node)));
}
