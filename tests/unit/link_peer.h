#pragma once
/*
 * link_peer.h - the other end of a link under test: a scripted peer on a loopback socket.
 *
 * Both ends are coroutines of one machine.  A test is the machine's first coroutine, started by
 * BODY; a peer accepts connections one after the other and plays its script over each.
 */
#include "link/link.h"
#include "machine/clock.h"
#include "machine/co.h"
#include "machine_body.h"
#include "unit.h"

struct peer {
    struct listener listener;
    struct address address;
    int connections; /* to accept */
    int accepted;
    void (*script)(struct peer *peer);
    struct stream stream; /* the one at hand */
    struct buffer out;
    struct co_group group;
};

static inline deadline soon(void)
{
    return after(sec(20));
}

static inline void peer_main(void *argument)
{
    struct peer *peer = argument;
    while (peer->accepted < peer->connections) {
        int handle;
        struct address from;
        ck_assert_int_eq(listener_accept(&peer->listener, &handle, &from, soon()), OK);
        peer->accepted += 1;
        ck_assert_int_eq(stream_adopt(&peer->stream, handle, from.family == ADDRESS_UNIX), OK);
        peer->script(peer);
        stream_close(&peer->stream);
    }
}

static inline void peer_start_at(struct peer *peer, const struct address *at,
                                 void (*script)(struct peer *), int connections)
{
    *peer = (struct peer){.script = script,
                          .connections = connections,
                          .stream = STREAM_INIT,
                          .out = BUFFER_INIT(1 << 20)};
    ck_assert_int_eq(listener_open(&peer->listener, at, 16, 0600), OK);
    peer->address = peer->listener.address;
    co_group_init(&peer->group);
    ck_assert_int_eq(co_group_start(&peer->group, peer_main, peer, CO_LARGE), OK);
}

static inline void peer_start(struct peer *peer, void (*script)(struct peer *), int connections)
{
    struct address at = {.family = ADDRESS_IPV4, .bytes = {127, 0, 0, 1}};
    peer_start_at(peer, &at, script, connections);
}

/* Waits for the script's end; the machine ends after this. */
static inline void peer_finish(struct peer *peer)
{
    co_group_join(&peer->group);
    ck_assert_int_eq(peer->accepted, peer->connections);
    listener_close(&peer->listener);
    buffer_fini(&peer->out);
    machine_stop();
}

static inline void peer_send(struct peer *peer)
{
    ck_assert_int_eq(link_send(&peer->stream, &peer->out, soon()), OK);
}

static inline void peer_send_bytes(struct peer *peer, const void *bytes, size_t size)
{
    buffer_append(&peer->out, bytes, size);
    peer_send(peer);
}

/* The other end closes without another byte. */
static inline void peer_expect_end(struct peer *peer)
{
    uint8_t byte;
    size_t size;
    ck_assert_int_eq(stream_read(&peer->stream, &byte, 1, &size, soon()), FAULT_CLOSED);
}

/* Reads until the other end closes. */
static inline void peer_drain(struct peer *peer)
{
    uint8_t bytes[1000];
    size_t size;
    fault what;
    do
        what = stream_read(&peer->stream, bytes, sizeof(bytes), &size, soon());
    while (what == OK);
    ck_assert_int_eq(what, FAULT_CLOSED);
}
