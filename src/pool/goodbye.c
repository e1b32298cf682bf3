/*
 * goodbye.c - a server that was told to end keeps its slot until its process has let go.
 *
 * PostgreSQL counts a backend until its process is gone, and closes the connection last.  Whoever
 * logs in as soon as Terminate was sent meets "too many clients" at a server, role or database that
 * is at its limit.
 */
#include "machine/clock.h"
#include "pool/pool.h"
#include "pool/server.h"

#include <stdlib.h>

/* One that has not ended by then is given up: it is PostgreSQL's alone. */
#define GOODBYE_MOST sec(1)

struct goodbye {
    struct node node; /* in router->goodbyes */
    struct router *router;
    struct lease *lease;
    struct waker waker; /* of its stream */
    struct waker timer_waker;
    struct timer timer;
};

static struct lease *goodbye_free(struct goodbye *goodbye)
{
    struct lease *lease = goodbye->lease;
    timer_disarm(&goodbye->timer);
    list_remove(&goodbye->router->goodbyes, &goodbye->node);
    lease->pool->ending -= 1;
    server_discard(&lease->server);
    free(goodbye);
    return lease;
}

static void goodbye_timer_fired(struct waker *waker)
{
    lease_end(goodbye_free(CONTAINER_OF(waker, struct goodbye, timer_waker)));
}

/* What it still says is nobody's any more. */
static void goodbye_event(struct waker *waker)
{
    struct goodbye *goodbye = CONTAINER_OF(waker, struct goodbye, waker);
    struct stream *stream = &goodbye->lease->server->stream;
    uint8_t bytes[2048];
    size_t size;
    fault read = OK;
    while (read == OK && (stream_may_read(stream) || stream_hung_up(stream)))
        read = stream_read_some(stream, bytes, sizeof(bytes), &size);
    if (read != OK && read != FAULT_AGAIN)
        lease_end(goodbye_free(goodbye));
}

void goodbye_begin(struct router *router, struct lease *lease)
{
    struct goodbye *goodbye = calloc(1, sizeof(*goodbye));
    bool waits =
        goodbye != NULL && !router->env->stopping && stream_attach(&lease->server->stream) == OK;
    if (!waits) {
        free(goodbye);
        server_discard(&lease->server);
        lease_end(lease);
        return;
    }
    *goodbye = (struct goodbye){.router = router,
                                .lease = lease,
                                .waker = {goodbye_event},
                                .timer_waker = {goodbye_timer_fired}};
    goodbye->timer = TIMER_INIT(&goodbye->timer_waker);
    timer_set(&goodbye->timer, after(GOODBYE_MOST));
    list_push(&router->goodbyes, &goodbye->node);
    lease->pool->ending += 1;
    lease->server->stream.waker = &goodbye->waker;
    goodbye_event(&goodbye->waker);
}

void goodbye_end_all(struct router *router)
{
    for (struct node *node; (node = list_first(&router->goodbyes)) != NULL;)
        lease_end(goodbye_free(LIST_ENTRY(node, struct goodbye, node)));
}
