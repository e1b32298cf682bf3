#include "relay/relay_accept.h"

#include "machine/acceptor.h"
#include "machine/clock.h"
#include "relay/preauth.h"
#include "relay/relay.h"
#include "wire/messages.h"

#include <stdlib.h>
#include <sys/uio.h>

/* How often a connection that waits for room looks for it. */
#define ROOM_PAUSE ms(2)

/* A listener that the relay accepts from. */
struct relay_listener {
    struct node node; /* in relay->listeners */
    struct relay *relay;
    const struct listener *listener; /* the pooler's; identifies it */
    struct acceptor acceptor;
    uint32_t number;
    int held; /* an accepted handle that waits for room; -1: none */
    struct address held_peer;
    struct timer timer; /* armed while it waits */
    struct waker waker;
};

/* --- to the relay with the fewest clients ----------------------------------------------------- */

static uint64_t relay_load(const struct relay *relay)
{
    uint64_t came = hint_read(&relay->hints.assigned) + hint_read(&relay->hints.came);
    uint64_t gone = hint_read(&relay->hints.gone);
    return came > gone ? came - gone : 0; /* one of the hints may be old */
}

/* Chooses the relay of a new connection: this one, unless it has a sixteenth more clients than the
 * one with the fewest. */
static struct relay *relay_choose(struct relay *relay)
{
    const struct pooler_env *env = relay->pools.env;
    uint64_t own = relay_load(relay), fewest = own;
    struct relay *best = relay;
    for (uint32_t i = 1; i < env->relay_count; i++) {
        struct relay *other = env->relays[(relay->index + i) % env->relay_count];
        uint64_t load = relay_load(other);
        if (load < fewest) {
            fewest = load;
            best = other;
        }
    }
    return own > fewest + fewest / 16 ? best : relay;
}

/* Closes a connection after one attempt to send the reason; waits for nothing. */
static void arrival_refuse(int handle, const struct address *peer, fault why)
{
    struct stream stream = STREAM_INIT;
    struct buffer out = BUFFER_INIT(1024);
    struct wire_report report = {
        .severity = "FATAL", .sqlstate = fault_detail_sqlstate(why), .message = fault_detail(why)};
    size_t sent;
    if (stream_adopt(&stream, handle, peer->family == ADDRESS_UNIX) != OK)
        return;
    wire_put_report(&out, &report);
    struct iovec part = {out.at, out.size};
    if (buffer_fault(&out) == OK)
        (void)!stream_write_some(&stream, &part, 1, &sent);
    buffer_fini(&out);
    stream_close(&stream);
}

/* Admits a connection and hands it to its relay.  AGAIN: there is no room yet, try again; other
 * faults: refuse it. */
static fault arrival_admit(struct relay_listener *at, int handle, const struct address *peer)
{
    struct relay *relay = at->relay;
    /* A client that connects after a reload has ended belongs to its version. */
    relay_take_config(relay);
    const struct config *config = relay->pools.config;
    const struct listen_config *listen = config_listen(config, at->number);
    bool is_proxy = listen != NULL && listen_from_proxy(listen, peer);
    struct relay *to = relay_choose(relay);
    struct preauth *preauth = NULL;
    TRY(preauths_admit(relay->pools.env->preauths, config, peer, is_proxy, to, &preauth));
    __atomic_fetch_add(&to->hints.assigned, 1, __ATOMIC_RELAXED);
    if (to == relay) {
        client_accept(relay, handle, peer, at->number, preauth);
        return OK;
    }
    fault fed = relay_feed(to, handle, peer, at->number, preauth);
    if (fed == OK)
        return OK;
    __atomic_fetch_sub(&to->hints.assigned, 1, __ATOMIC_RELAXED);
    preauths_closed(relay->pools.env->preauths);
    preauth_end(&preauth);
    return fed;
}

static void arrival_try(struct relay_listener *at, int handle, const struct address *peer)
{
    fault admitted = arrival_admit(at, handle, peer);
    if (admitted == FAULT_AGAIN) {
        at->held = handle;
        at->held_peer = *peer;
        acceptor_pause(&at->acceptor);
        timer_set(&at->timer, after(ROOM_PAUSE));
    } else if (admitted != OK) {
        arrival_refuse(handle, peer, admitted);
    }
}

/* --- events ----------------------------------------------------------------------------------- */

static void arrival_came(struct acceptor *acceptor, int handle, const struct address *peer)
{
    arrival_try(CONTAINER_OF(acceptor, struct relay_listener, acceptor), handle, peer);
}

static void arrival_due(struct waker *waker)
{
    struct relay_listener *at = CONTAINER_OF(waker, struct relay_listener, waker);
    struct address peer = at->held_peer;
    int handle = at->held;
    at->held = -1;
    arrival_try(at, handle, &peer);
    if (at->held < 0)
        acceptor_resume(&at->acceptor);
}

/* --- opening and closing ---------------------------------------------------------------------- */

static struct relay_listener *listener_of(const struct relay *relay, const struct listener *wanted)
{
    LIST_EACH (&relay->listeners, it) {
        struct relay_listener *at = LIST_ENTRY(it, struct relay_listener, node);
        if (at->listener == wanted)
            return at;
    }
    return NULL;
}

fault relay_listen(struct relay *relay, const struct listener *listener, uint32_t number)
{
    struct relay_listener *at = listener_of(relay, listener);
    if (at != NULL) {
        at->number = number;
        return OK;
    }
    at = calloc(1, sizeof(*at));
    if (at == NULL)
        return FAULT_MEMORY;
    at->relay = relay;
    at->listener = listener;
    at->number = number;
    at->held = -1;
    at->waker.wake = arrival_due;
    at->timer = TIMER_INIT(&at->waker);
    fault opened = acceptor_open(&at->acceptor, listener, arrival_came);
    if (opened == OK)
        list_push(&relay->listeners, &at->node);
    else
        free(at);
    return opened;
}

void relay_unlisten(struct relay *relay, const struct listener *listener)
{
    struct relay_listener *at = listener_of(relay, listener);
    if (at == NULL)
        return;
    acceptor_close(&at->acceptor);
    timer_disarm(&at->timer);
    if (at->held >= 0)
        os->close(at->held);
    list_remove(&relay->listeners, &at->node);
    free(at);
}
