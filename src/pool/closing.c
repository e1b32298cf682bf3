/*
 * closing.c - closes connections to servers, on the relay that has them.
 *
 * PostgreSQL counts a backend process until it has exited, and closes the connection last.  A login
 * right after Terminate would fail with "too many clients" where PostgreSQL, the role or the
 * database is at its limit.  So the router keeps the slot until the relay has seen the end.
 */
#include "pool/closing.h"

#include "machine/clock.h"
#include "pool/lease_parts.h"
#include "pool/pools.h"
#include "pool/server.h"

#include <stdlib.h>

/* How long a relay waits for the end of a server.  Then the slot is freed all the same. */
#define CLOSING_MAX sec(1)

struct closing {
    struct node node; /* in pools->closings */
    struct local_pools *pools;
    struct lease *lease; /* the router's; its mail `ended` is this relay's */
    struct server *server;
    struct waker waker; /* of its stream */
    struct waker timer_waker;
    struct timer timer;
};

static void closing_end(struct closing *closing)
{
    struct local_pools *pools = closing->pools;
    invariant(closing->server != NULL && closing->lease->server == NULL);
    timer_disarm(&closing->timer);
    list_remove(&pools->closings, &closing->node);
    server_discard(&closing->server);
    mail_send(pools->env->machine, &closing->lease->ended);
    free(closing);
}

static void closing_timer_fired(struct waker *waker)
{
    closing_end(CONTAINER_OF(waker, struct closing, timer_waker));
}

/* Discards what an ending server still sends.  Returns whether it has closed the connection. */
static bool closing_drain(struct stream *stream)
{
    uint8_t bytes[2048];
    size_t size;
    fault read = OK;
    while (read == OK && (stream_may_read(stream) || stream_hung_up(stream)))
        read = stream_read_some(stream, bytes, sizeof(bytes), &size);
    return read != OK && read != FAULT_AGAIN;
}

static void closing_event(struct waker *waker)
{
    struct closing *closing = CONTAINER_OF(waker, struct closing, waker);
    if (closing_drain(&closing->server->stream))
        closing_end(closing);
}

bool closing_begin(struct local_pools *pools, struct lease *lease, struct server *take_server)
{
    struct server *server = take_server;
    struct closing *closing = pools->stopping ? NULL : malloc(sizeof(*closing));
    invariant(lease->server == NULL && server->lease == NULL);
    if (closing == NULL || !stream_open(&server->stream) || closing_drain(&server->stream)) {
        free(closing);
        server_discard(&server);
        return false;
    }
    *closing = (struct closing){.pools = pools,
                                .lease = lease,
                                .server = server,
                                .waker = {closing_event},
                                .timer_waker = {closing_timer_fired}};
    closing->timer = TIMER_INIT(&closing->timer_waker);
    timer_set(&closing->timer, after(CLOSING_MAX));
    list_push(&pools->closings, &closing->node);
    server->stream.waker = &closing->waker;
    return true;
}

void closing_ordered(struct mail *mail)
{
    struct lease *lease = CONTAINER_OF(mail, struct lease, to_relay);
    struct local_pools *pools = lease->closer;
    struct server *server = TAKE(lease->server);
    if (stream_attach(&server->stream) == OK)
        server_part(server);
    if (!closing_begin(pools, lease, server))
        mail_send(pools->env->machine, &lease->ended);
}

void closing_end_all(struct local_pools *pools)
{
    invariant(pools->stopping);
    for (struct node *node; (node = list_first(&pools->closings)) != NULL;)
        closing_end(LIST_ENTRY(node, struct closing, node));
}
