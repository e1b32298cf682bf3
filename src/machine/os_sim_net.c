#include "base/check.h"
#include "machine/os_sim_inside.h"
#include "machine/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

/*
 * Sockets of memory, and pollers.  What is sent lies in the receiver's ring at once, but becomes
 * visible piece by piece, each at its hour; an end likewise, behind the bytes.  A ring that is full
 * makes short writes; the ring's size is drawn, so that they happen everywhere.
 */
#define SOCKETS_MOST 65536
#define POLLERS_MOST 256
#define PIECES_MOST  8
#define QUEUE_MOST   128
#define RING_LEAST   2048
#define RING_SPREAD  4 /* times doubled at most */
#define PORT_FIRST   40000

enum socket_kind { SOCKET_FREE, SOCKET_LISTENER, SOCKET_STREAM };

struct piece {
    uint64_t end; /* offset in the stream behind its last byte */
    int64_t at;   /* when it arrives */
};

struct sim_socket {
    enum socket_kind kind;
    bool is_unix;
    struct address local;
    int poller; /* -1: not registered */
    uint64_t tag;
    bool edge; /* something happened since the last event */

    /* Listeners: connections that wait, by arrival. */
    struct {
        int handle;
        int64_t at;
    } queue[QUEUE_MOST];
    int queued;
    int announced; /* of them, how many have made their edge */
    int backlog;

    /* Streams. */
    int other;   /* the peer's handle; -1: closed, or never there */
    int status;  /* of connecting: 0, -EINPROGRESS, or why not */
    int verdict; /* what `status` becomes at `decided` */
    int64_t decided;
    uint8_t *ring;
    size_t ring_size;
    uint64_t taken; /* offsets in the stream: taken <= visible <= sent */
    uint64_t visible;
    uint64_t sent;
    struct piece pieces[PIECES_MOST];
    int piece_count;
    int64_t last;   /* nothing arrives before this */
    int64_t end_at; /* the peer's end arrives; INT64_MAX: not sent */
    bool ended;     /* it has */
    bool shut;      /* we sent ours */
    bool starved;   /* a write was cut short */
};

struct sim_poller {
    bool taken;
    bool awake;
};

static struct sim_net {
    struct sim_socket **sockets;
    int count;
    struct sim_poller pollers[POLLERS_MOST];
    uint16_t port;
} net;

static int64_t net_hour(void)
{
    uint64_t late = sim_below(16) == 0 ? 5000 : 200;
    return sim_now() + 10 + (int64_t)sim_below(late);
}

/* The hour of what is sent next: never before what was sent earlier. */
static int64_t net_hour_behind(int64_t last)
{
    int64_t hour = net_hour();
    return MAX_OF(hour, last);
}

/* --- sockets ---------------------------------------------------------------------------------- */

static struct sim_socket *socket_at(int handle)
{
    invariant(handle >= 0 && handle < net.count && net.sockets[handle]->kind != SOCKET_FREE);
    return net.sockets[handle];
}

static int socket_slot(void)
{
    for (int i = 0; i < net.count; i++) {
        if (net.sockets[i]->kind == SOCKET_FREE)
            return i;
    }
    if (net.count == SOCKETS_MOST)
        return -EMFILE;
    struct sim_socket **grown =
        realloc(net.sockets, ((size_t)net.count + 1) * sizeof(struct sim_socket *));
    if (grown == NULL)
        return -ENOMEM;
    net.sockets = grown;
    net.sockets[net.count] = calloc(1, sizeof(struct sim_socket));
    return net.sockets[net.count] == NULL ? -ENOMEM : net.count++;
}

static int socket_make(enum socket_kind kind, const struct address *local)
{
    int handle = socket_slot();
    if (handle < 0)
        return handle;
    size_t size = (size_t)RING_LEAST << sim_below(RING_SPREAD);
    uint8_t *ring = kind == SOCKET_STREAM ? malloc(size) : NULL;
    if (kind == SOCKET_STREAM && ring == NULL)
        return -ENOMEM;
    *net.sockets[handle] = (struct sim_socket){
        .kind = kind,
        .is_unix = local->family == ADDRESS_UNIX,
        .local = *local,
        .poller = -1,
        .other = -1,
        .ring = ring,
        .ring_size = size,
        .end_at = INT64_MAX,
    };
    return handle;
}

static void socket_edge(struct sim_socket *socket)
{
    socket->edge = true;
}

/* Bytes that it can still be sent. */
static size_t socket_space(const struct sim_socket *socket)
{
    return socket->ring_size - (size_t)(socket->sent - socket->taken);
}

static bool listener_has(const struct sim_socket *socket)
{
    return socket->queued > 0 && socket->queue[0].at <= sim_now();
}

/* What an epoll would say now. */
static uint32_t socket_state(const struct sim_socket *socket)
{
    if (socket->kind == SOCKET_LISTENER)
        return listener_has(socket) ? POLL_READ : 0;
    if (socket->status == -EINPROGRESS)
        return 0;
    if (socket->status < 0)
        return POLL_READ | POLL_WRITE | POLL_HANGUP;
    uint32_t state = 0;
    if (socket->visible > socket->taken || socket->ended)
        state |= POLL_READ;
    if (socket->ended)
        state |= POLL_HANGUP;
    if (socket->other < 0 || socket_space(socket_at(socket->other)) > 0)
        state |= POLL_WRITE;
    return state;
}

/* --- arrival ---------------------------------------------------------------------------------- */

static int64_t socket_next(const struct sim_socket *socket)
{
    int64_t next = INT64_MAX;
    if (socket->kind == SOCKET_LISTENER)
        return socket->announced < socket->queued ? socket->queue[socket->announced].at : INT64_MAX;
    if (socket->status == -EINPROGRESS)
        next = socket->decided;
    if (socket->piece_count > 0 && socket->pieces[0].at < next)
        next = socket->pieces[0].at;
    if (!socket->ended && socket->end_at < next)
        next = socket->end_at;
    return next;
}

static void socket_deliver(struct sim_socket *socket)
{
    if (socket->kind == SOCKET_LISTENER) {
        while (socket->announced < socket->queued &&
               socket->queue[socket->announced].at <= sim_now()) {
            socket->announced += 1;
            socket_edge(socket);
        }
        return;
    }
    if (socket->status == -EINPROGRESS && socket->decided <= sim_now()) {
        socket->status = socket->verdict;
        socket_edge(socket);
    }
    while (socket->piece_count > 0 && socket->pieces[0].at <= sim_now()) {
        socket->visible = socket->pieces[0].end;
        socket->piece_count -= 1;
        memmove(socket->pieces, socket->pieces + 1,
                (size_t)socket->piece_count * sizeof(socket->pieces[0]));
        socket_edge(socket);
    }
    if (!socket->ended && socket->end_at <= sim_now()) {
        invariant(socket->visible == socket->sent);
        socket->ended = true;
        socket_edge(socket);
    }
}

void sim_net_deliver(void)
{
    for (int i = 0; i < net.count; i++) {
        if (net.sockets[i]->kind != SOCKET_FREE)
            socket_deliver(net.sockets[i]);
    }
}

int64_t sim_net_next(void)
{
    int64_t next = INT64_MAX;
    for (int i = 0; i < net.count; i++) {
        if (net.sockets[i]->kind != SOCKET_FREE)
            next = MIN_OF(next, socket_next(net.sockets[i]));
    }
    return next;
}

/* --- listening and connecting ----------------------------------------------------------------- */

static bool address_covers(const struct address *bound, const struct address *to)
{
    static const uint8_t any[16];
    if (address_equal(bound, to))
        return true;
    return bound->family == to->family && to->family != ADDRESS_UNIX && bound->port == to->port &&
           memcmp(bound->bytes, any, sizeof(any)) == 0;
}

static int listener_find(const struct address *to)
{
    for (int i = 0; i < net.count; i++) {
        if (net.sockets[i]->kind == SOCKET_LISTENER && address_covers(&net.sockets[i]->local, to))
            return i;
    }
    return -1;
}

static uint16_t port_next(void)
{
    return (uint16_t)(PORT_FIRST + net.port++ % (UINT16_MAX - PORT_FIRST));
}

int sim_listen(const struct address *at, int backlog, int unix_mode)
{
    struct address bound = *at;
    if (bound.family != ADDRESS_UNIX && bound.port == 0)
        bound.port = port_next();
    if (listener_find(&bound) >= 0)
        return -EADDRINUSE;
    int handle = socket_make(SOCKET_LISTENER, &bound);
    if (handle >= 0)
        net.sockets[handle]->backlog = MIN_OF(MAX_OF(backlog, 1), QUEUE_MOST);
    sim_note("listen", handle, bound.port);
    return handle;
}

int sim_accept(int listener, struct address *ret_peer)
{
    struct sim_socket *socket = socket_at(listener);
    if (!listener_has(socket))
        return -EAGAIN;
    int handle = socket->queue[0].handle;
    socket->queued -= 1;
    socket->announced -= socket->announced > 0;
    memmove(socket->queue, socket->queue + 1, (size_t)socket->queued * sizeof(socket->queue[0]));
    int other = socket_at(handle)->other;
    *ret_peer = other < 0 ? socket->local : socket_at(other)->local;
    sim_note("accept", listener, handle);
    return handle;
}

static void listener_enqueue(struct sim_socket *listener, int handle, int64_t at)
{
    if (listener->queued > 0)
        at = MAX_OF(at, listener->queue[listener->queued - 1].at);
    listener->queue[listener->queued].handle = handle;
    listener->queue[listener->queued].at = at;
    listener->queued += 1;
}

/* The two ends of a connection that `listener` will find; its own end, or -errno. */
static int connect_pair(int client, int listener)
{
    int server = socket_make(SOCKET_STREAM, &net.sockets[listener]->local);
    if (server < 0)
        return server;
    net.sockets[server]->other = client;
    net.sockets[client]->other = server;
    listener_enqueue(net.sockets[listener], server, net_hour());
    return server;
}

int sim_connect(const struct address *to)
{
    int listener = listener_find(to);
    bool full = listener >= 0 && net.sockets[listener]->queued == net.sockets[listener]->backlog;
    if (full && to->family == ADDRESS_UNIX)
        return -EAGAIN;
    struct address local = {.family = to->family};
    if (to->family != ADDRESS_UNIX) {
        memcpy(local.bytes, to->bytes, sizeof(local.bytes));
        local.port = port_next();
    }
    int client = socket_make(SOCKET_STREAM, &local);
    if (client < 0)
        return client;
    struct sim_socket *socket = net.sockets[client];
    socket->status = -EINPROGRESS;
    socket->decided = net_hour();
    socket->verdict = listener < 0 || full ? -ECONNREFUSED : 0;
    if (socket->verdict == 0 && connect_pair(client, listener) < 0)
        socket->verdict = -ENOBUFS;
    sim_note("connect", client, listener);
    return client;
}

int sim_connect_result(int handle)
{
    return socket_at(handle)->status;
}

/* More events than asked for are always allowed. */
int sim_set_low_water(int handle, int bytes)
{
    (void)handle;
    (void)bytes;
    return 0;
}

int sim_set_options(int handle, const struct socket_options *options)
{
    return 0;
}

int64_t sim_peer_user(int handle)
{
    (void)handle;
    return -ENOTSUP;
}

int sim_local_address(int handle, struct address *ret)
{
    *ret = socket_at(handle)->local;
    return 0;
}

/* --- bytes ------------------------------------------------------------------------------------ */

int64_t sim_recv(int handle, void *bytes, size_t size)
{
    struct sim_socket *socket = socket_at(handle);
    if (socket->status < 0)
        return socket->status == -EINPROGRESS ? -EAGAIN : socket->status;
    size_t ready = (size_t)(socket->visible - socket->taken);
    if (ready == 0)
        return socket->ended ? 0 : -EAGAIN;
    size_t count = MIN_OF(ready, size);
    /* Only there may a read stop where it likes. */
    if (socket->is_unix && count > 1 && sim_below(8) == 0)
        count = 1 + sim_below(count);
    for (size_t i = 0; i < count; i++)
        ((uint8_t *)bytes)[i] = socket->ring[(socket->taken + i) % socket->ring_size];
    socket->taken += count;
    struct sim_socket *other = socket->other < 0 ? NULL : socket_at(socket->other);
    if (other != NULL && other->starved && socket_space(socket) >= socket->ring_size / 3) {
        other->starved = false;
        socket_edge(other);
    }
    sim_note("recv", handle, (int64_t)count);
    return (int64_t)count;
}

/* `count` more bytes are on their way; the last piece takes what the list can't. */
static void socket_send_piece(struct sim_socket *to, size_t count)
{
    to->sent += count;
    to->last = net_hour_behind(to->last);
    if (to->piece_count == PIECES_MOST) {
        to->pieces[PIECES_MOST - 1] = (struct piece){to->sent, to->last};
        return;
    }
    to->pieces[to->piece_count++] = (struct piece){to->sent, to->last};
}

static size_t socket_fill(struct sim_socket *to, const uint8_t *bytes, size_t size)
{
    size_t count = MIN_OF(size, socket_space(to));
    for (size_t i = 0; i < count; i++)
        to->ring[(to->sent + i) % to->ring_size] = bytes[i];
    size_t left = count;
    while (left > 0) {
        size_t piece = sim_below(4) == 0 ? 1 + sim_below(left) : left;
        socket_send_piece(to, piece);
        left -= piece;
    }
    return count;
}

/* The other end's socket, or NULL with why nothing can be sent. */
static struct sim_socket *socket_target(struct sim_socket *socket, int64_t *ret)
{
    *ret = 0;
    if (socket->status < 0)
        *ret = socket->status == -EINPROGRESS ? -EAGAIN : socket->status;
    else if (socket->shut || (socket->other < 0 && socket->ended))
        *ret = -EPIPE;
    if (*ret < 0 || socket->other < 0)
        return NULL;
    return socket_at(socket->other);
}

int64_t sim_send(int handle, const void *bytes, size_t size)
{
    struct iovec part = {(void *)(uintptr_t)bytes, size};
    return sim_send_vector(handle, &part, 1);
}

int64_t sim_send_vector(int handle, const struct iovec *parts, int count)
{
    struct sim_socket *socket = socket_at(handle);
    int64_t status;
    struct sim_socket *to = socket_target(socket, &status);
    if (status < 0)
        return status;
    size_t sent = 0;
    bool cut = false;
    for (int i = 0; i < count && !cut; i++) {
        /* A peer that has closed, which we can't know yet, loses the bytes. */
        size_t put =
            to == NULL ? parts[i].iov_len : socket_fill(to, parts[i].iov_base, parts[i].iov_len);
        sent += put;
        cut = put < parts[i].iov_len;
    }
    socket->starved |= cut;
    sim_note("send", handle, (int64_t)sent);
    return sent == 0 && cut ? -EAGAIN : (int64_t)sent;
}

static void socket_send_end(struct sim_socket *socket)
{
    if (socket->shut || socket->other < 0)
        return;
    struct sim_socket *to = socket_at(socket->other);
    to->last = net_hour_behind(to->last);
    to->end_at = to->last;
}

void sim_shut(int handle)
{
    struct sim_socket *socket = socket_at(handle);
    socket_send_end(socket);
    socket->shut = true;
    socket->ended = true;
    socket_edge(socket);
    sim_note("shut", handle, 0);
}

void sim_close(int handle)
{
    struct sim_socket *socket = socket_at(handle);
    /* Those who were never accepted see the end too. */
    for (int i = 0; i < socket->queued; i++)
        sim_close(socket->queue[i].handle);
    if (socket->kind == SOCKET_STREAM)
        socket_send_end(socket);
    if (socket->other >= 0) {
        struct sim_socket *other = socket_at(socket->other);
        other->other = -1;
        socket_edge(other);
    }
    free(socket->ring);
    *socket = (struct sim_socket){.kind = SOCKET_FREE};
    sim_note("close", handle, 0);
}

/* --- pollers ---------------------------------------------------------------------------------- */

static struct sim_poller *sim_poller_at(int poller)
{
    invariant(poller >= 0 && poller < POLLERS_MOST && net.pollers[poller].taken);
    return &net.pollers[poller];
}

int sim_poll_new(void)
{
    for (int i = 0; i < POLLERS_MOST; i++) {
        if (net.pollers[i].taken)
            continue;
        net.pollers[i] = (struct sim_poller){.taken = true};
        return i;
    }
    return -EMFILE;
}

void sim_poll_free(int poller)
{
    sim_poller_at(poller)->taken = false;
}

int sim_poll_add(int poller, int handle, uint64_t tag)
{
    struct sim_socket *socket = socket_at(handle);
    if (socket->poller >= 0)
        return -EEXIST;
    socket->poller = poller;
    socket->tag = tag;
    socket_edge(socket);
    return 0;
}

int sim_poll_del(int poller, int handle)
{
    struct sim_socket *socket = socket_at(handle);
    if (socket->poller != poller)
        return -ENOENT;
    socket->poller = -1;
    return 0;
}

void sim_poll_wake(int poller)
{
    sim_poller_at(poller)->awake = true;
}

static bool socket_has_event(const struct sim_socket *socket, int poller)
{
    return socket->kind != SOCKET_FREE && socket->poller == poller && socket->edge &&
           socket_state(socket) != 0;
}

bool sim_poller_ready(int poller)
{
    if (sim_poller_at(poller)->awake)
        return true;
    for (int i = 0; i < net.count; i++) {
        if (socket_has_event(net.sockets[i], poller))
            return true;
    }
    return false;
}

int sim_poller_take(int poller, struct poll_event *events, int most)
{
    sim_poller_at(poller)->awake = false;
    int count = 0;
    int start = net.count == 0 ? 0 : (int)sim_below((uint64_t)net.count);
    for (int i = 0; i < net.count && count < most; i++) {
        struct sim_socket *socket = net.sockets[(start + i) % net.count];
        if (!socket_has_event(socket, poller))
            continue;
        /* Some come with the next wait. */
        if (count > 0 && sim_below(4) == 0)
            continue;
        socket->edge = false;
        events[count++] = (struct poll_event){socket->tag, socket_state(socket)};
    }
    return count;
}

void sim_net_reset(void)
{
    for (int i = 0; i < net.count; i++) {
        invariant(net.sockets[i]->kind == SOCKET_FREE);
        free(net.sockets[i]);
    }
    free(net.sockets);
    net = (struct sim_net){0};
}
