#include "machine/sim/net_parts.h"

#include "machine/stream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Handles, listening, connecting, closing. */
#define SOCKETS_MAX 65536
#define PORT_FIRST  32768
#define PORT_LAST   60999
/* Linux' timeouts of a connect without answer, and of sent bytes without acknowledgement, us. */
#define CONNECT_PATIENCE INT64_C(127000000)
#define SEND_PATIENCE    INT64_C(924000000)
/* Handles in the channel of handle_give; and the table of a handle that no thread may use: it is in
 * the channel, or of a connection that was not accepted yet. */
#define GIVEN_MAX  64
#define TABLE_NONE UINT32_MAX

static struct sim_net {
    struct sim_socket **sockets;
    int count;
    int first_free; /* no lower handle is free */
    int *listeners;
    int listener_count;
    uint32_t port;
    uint32_t user;
    int given[GIVEN_MAX]; /* handles in the channel of handle_give, oldest first */
    int given_count;
    struct address from; /* source of connects; NONE: the host that they connect to */
} net;

/* --- handles ---------------------------------------------------------------------------------- */

struct sim_socket *sim_socket_at(int handle)
{
    invariant(handle >= 0 && handle < net.count && net.sockets[handle]->kind != SOCKET_FREE);
    return net.sockets[handle];
}

struct sim_socket *sim_socket_own(int handle)
{
    struct sim_socket *socket = sim_socket_at(handle);
    invariant(socket->table == sim_table());
    return socket;
}

struct sim_socket *sim_socket_any(int handle)
{
    struct sim_socket *socket = net.sockets[handle];
    return socket->kind == SOCKET_FREE ? NULL : socket;
}

struct sim_socket *sim_socket_of(int64_t handle, int64_t generation)
{
    struct sim_socket *socket = net.sockets[handle];
    return socket->kind != SOCKET_FREE && socket->generation == generation ? socket : NULL;
}

int sim_sockets_end(void)
{
    return net.count;
}

static int socket_slot(void)
{
    while (net.first_free < net.count && net.sockets[net.first_free]->kind != SOCKET_FREE)
        net.first_free += 1;
    if (net.first_free < net.count)
        return net.first_free;
    if (net.count == SOCKETS_MAX)
        return -EMFILE;
    net.sockets = reallocarray(net.sockets, (size_t)net.count + 1, sizeof(*net.sockets));
    invariant(net.sockets != NULL);
    net.sockets[net.count] = calloc(1, sizeof(struct sim_socket));
    invariant(net.sockets[net.count] != NULL);
    return net.count++;
}

static void stream_init(struct sim_socket *socket)
{
    const struct sim_rates *rates = &sim_rates;
    size_t min = rates->ring_min > 0 ? rates->ring_min : 65536;
    socket->ring_size = sim_between(LOT_NET, min, rates->ring_max);
    socket->ring = malloc(socket->ring_size);
    invariant(socket->ring != NULL);
    socket->latency = (int64_t)sim_between(LOT_NET, rates->latency_min, rates->latency_max);
    socket->bandwidth = (int64_t)sim_between(LOT_NET, rates->bandwidth_min, rates->bandwidth_max);
}

int sim_socket_make(enum socket_kind kind, const struct address *local)
{
    int handle = socket_slot();
    if (handle < 0)
        return handle;
    struct sim_socket *socket = net.sockets[handle];
    *socket = (struct sim_socket){
        .kind = kind,
        .generation = socket->generation + 1,
        .table = sim_table(),
        .is_unix = local->family == ADDRESS_UNIX,
        .local = *local,
        .poller = -1,
        .other = -1,
        .origin = -1,
        .end_at = INT64_MAX,
        .reset_at = INT64_MAX,
        .dies_at = INT64_MAX,
        .patience = SEND_PATIENCE,
        .keepalive = INT64_MAX,
        .low_water = 1,
    };
    if (kind == SOCKET_STREAM)
        stream_init(socket);
    return handle;
}

/* --- listening -------------------------------------------------------------------------------- */

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
    for (int i = 0; i < net.listener_count; i++) {
        if (address_covers(&net.sockets[net.listeners[i]]->local, to))
            return net.listeners[i];
    }
    return -1;
}

/* The next port for a connect: one without a listener, in rotation. */
static uint16_t port_next(void)
{
    struct address at = {.family = ADDRESS_IPV4};
    do {
        at.port = (uint16_t)(PORT_FIRST + net.port++ % (PORT_LAST - PORT_FIRST));
    } while (listener_find(&at) >= 0);
    return at.port;
}

static void listener_add(int handle, int backlog)
{
    struct sim_socket *socket = net.sockets[handle];
    socket->backlog = MIN_OF(MAX_OF(backlog, 1), SIM_QUEUE_MAX);
    socket->queue = calloc(SIM_QUEUE_MAX, sizeof(*socket->queue));
    net.listeners =
        reallocarray(net.listeners, (size_t)net.listener_count + 1, sizeof(*net.listeners));
    invariant(socket->queue != NULL && net.listeners != NULL);
    net.listeners[net.listener_count++] = handle;
}

int sim_listen(const struct address *at, int backlog, int unix_mode)
{
    struct address bound = *at;
    if (bound.family != ADDRESS_UNIX && bound.port == 0)
        bound.port = port_next();
    if (listener_find(&bound) >= 0)
        return -EADDRINUSE;
    if (bound.family == ADDRESS_UNIX && !sim_file_socket(bound.path, (uint32_t)unix_mode))
        return -EADDRINUSE;
    int handle = sim_socket_make(SOCKET_LISTENER, &bound);
    if (handle >= 0)
        listener_add(handle, backlog);
    sim_note("listen", handle, bound.port);
    return handle;
}

/* Makes another handle of a listener, for the channel. */
static int listener_share(int handle)
{
    struct address local = sim_socket_own(handle)->local;
    int shared = sim_socket_make(SOCKET_LISTENER, &local);
    if (shared < 0)
        return shared;
    struct sim_socket *from = sim_socket_at(handle);
    invariant(from->kind == SOCKET_LISTENER && from->origin < 0);
    from->shares = reallocarray(from->shares, (size_t)from->share_count + 1, sizeof(*from->shares));
    invariant(from->shares != NULL);
    from->shares[from->share_count++] = shared;
    sim_socket_at(shared)->origin = handle;
    sim_socket_at(shared)->table = TABLE_NONE;
    sim_note("share", handle, shared);
    return shared;
}

int sim_handle_give(int handle)
{
    invariant(net.given_count < GIVEN_MAX);
    int shared = listener_share(handle);
    if (shared >= 0)
        net.given[net.given_count++] = shared;
    return MIN_OF(shared, 0);
}

int sim_handle_take(void)
{
    if (net.given_count == 0)
        return -EAGAIN;
    int oldest = net.given[0];
    memmove(net.given, net.given + 1, (size_t)--net.given_count * sizeof(net.given[0]));
    sim_socket_at(oldest)->table = sim_table();
    return oldest;
}

static void listener_unshare(int handle)
{
    struct sim_socket *from = sim_socket_at(sim_socket_at(handle)->origin);
    for (int i = 0; i < from->share_count; i++)
        if (from->shares[i] == handle)
            from->shares[i] = from->shares[--from->share_count];
}

/* Tells one of the pollers that share a listener about a connection; sometimes all of them, as
 * Linux does when none of them waits. */
void sim_listener_tell(const struct sim_socket *socket)
{
    if (socket->share_count == 0)
        return;
    int one = (int)sim_below(LOT_ORDER, (uint64_t)socket->share_count);
    bool all = sim_below(LOT_ORDER, 4) == 0;
    for (int i = 0; i < socket->share_count; i++) {
        /* A handle that is not registered hears of it when it is: skip to the next. */
        const struct sim_socket *share = net.sockets[socket->shares[one]];
        if (share->poller >= 0) {
            sim_socket_edge(socket->shares[one]);
            if (!all)
                return;
        }
        one = (one + 1) % socket->share_count;
    }
}

int sim_listen_again(int handle, const struct address *at, int backlog, int unix_mode)
{
    struct sim_socket *socket = sim_socket_own(handle);
    invariant(socket->kind == SOCKET_LISTENER);
    socket->backlog = MIN_OF(MAX_OF(backlog, 1), SIM_QUEUE_MAX);
    if (socket->is_unix && unix_mode >= 0)
        sim_file_socket(at->path, (uint32_t)unix_mode);
    return 0;
}

int sim_listen_tune(int handle, const struct address *at, int64_t group, int defer)
{
    (void)at;
    sim_note("tune", group, defer);
    invariant(sim_socket_own(handle)->kind == SOCKET_LISTENER);
    return 0;
}

static bool listener_has(const struct sim_socket *socket)
{
    return socket->queued > 0 && socket->queue[0].at <= sim_now();
}

int sim_accept(int listener, struct address *ret_peer)
{
    struct sim_socket *socket = sim_socket_own(listener);
    if (socket->origin >= 0)
        socket = sim_socket_at(socket->origin);
    if (!listener_has(socket))
        return -EAGAIN;
    int handle = socket->queue[0].handle;
    socket->queued -= 1;
    memmove(socket->queue, socket->queue + 1, (size_t)socket->queued * sizeof(socket->queue[0]));
    sim_socket_at(handle)->table = sim_table();
    int other = sim_socket_at(handle)->other;
    *ret_peer = other < 0 ? socket->local : sim_socket_at(other)->local;
    sim_note("accept", listener, handle);
    if (listener_has(socket))
        sim_listener_tell(socket);
    return handle;
}

static void listener_enqueue(int listener, int handle, int64_t at)
{
    struct sim_socket *socket = net.sockets[listener];
    if (socket->queued > 0)
        at = MAX_OF(at, socket->queue[socket->queued - 1].at);
    socket->queue[socket->queued++] = (struct sim_arrival){handle, at};
    sim_socket_expect(listener, at);
}

/* --- connecting ------------------------------------------------------------------------------- */

/* Makes the listener's end of a connection and joins the two; false: no socket is free. */
static bool connect_pair(int client, int listener, int64_t at)
{
    int server = sim_socket_make(SOCKET_STREAM, &net.sockets[client]->service);
    if (server < 0)
        return false;
    struct sim_socket *here = net.sockets[client], *there = net.sockets[server];
    there->table = TABLE_NONE;
    there->service = here->service;
    there->patience = net.sockets[listener]->patience;
    there->keepalive = net.sockets[listener]->keepalive;
    there->other = client;
    there->user = net.user;
    /* The link is symmetric. */
    there->latency = here->latency;
    there->bandwidth = here->bandwidth;
    here->other = server;
    listener_enqueue(listener, server, at);
    return true;
}

static int connect_verdict(int client, int listener)
{
    struct sim_socket *socket = net.sockets[client];
    if (listener < 0 || sim_fate_of(&socket->service) == FATE_REFUSED ||
        sim_chance(LOT_FAULT, sim_rates.refused))
        return -ECONNREFUSED;
    int64_t at = sim_now() + 1 + socket->latency;
    return connect_pair(client, listener, at) ? 0 : -ENOBUFS;
}

/* Connects by TCP: decides the result and when it arrives, or that no answer comes. */
static void connect_dial(int client)
{
    struct sim_socket *socket = net.sockets[client];
    int listener = listener_find(&socket->service);
    bool full = listener >= 0 && net.sockets[listener]->queued >= net.sockets[listener]->backlog;
    socket->status = -EINPROGRESS;
    socket->dialling = full || sim_fate_of(&socket->service) == FATE_BLACK ||
                       sim_chance(LOT_FAULT, sim_rates.unanswered);
    if (socket->dialling) {
        socket->verdict = -ETIMEDOUT;
        socket->decided = sim_now() + CONNECT_PATIENCE;
    } else {
        socket->verdict = connect_verdict(client, listener);
        socket->decided = sim_socket_hour(socket, 0) + socket->latency;
        socket->last = socket->decided;
    }
    sim_socket_expect(client, socket->decided);
}

/* Connects to a Unix socket: the result is known at once. */
static int connect_unix(int client)
{
    const struct address *to = &net.sockets[client]->service;
    int listener = listener_find(to);
    int status = -ECONNREFUSED;
    if (listener < 0)
        status = sim_file_exists(to->path) ? -ECONNREFUSED : -ENOENT;
    else if (net.sockets[listener]->queued >= net.sockets[listener]->backlog)
        status = -EAGAIN;
    else if (sim_fate_of(to) != FATE_REFUSED && !sim_chance(LOT_FAULT, sim_rates.refused))
        status = connect_pair(client, listener, sim_now()) ? 0 : -ENOBUFS;
    if (status == 0)
        return client;
    sim_close(client);
    return status;
}

int sim_connect(const struct address *to)
{
    struct address local = {.family = to->family};
    if (to->family != ADDRESS_UNIX) {
        memcpy(local.bytes, net.from.family == to->family ? net.from.bytes : to->bytes,
               sizeof(local.bytes));
        local.port = port_next();
    }
    int client = sim_socket_make(SOCKET_STREAM, &local);
    if (client < 0)
        return client;
    net.sockets[client]->service = *to;
    sim_note("connect", client, to->port);
    sim_note_link(client, &local, to);
    if (to->family == ADDRESS_UNIX)
        return connect_unix(client);
    connect_dial(client);
    return client;
}

/* Retries a connect without answer, as the kernel does. */
static void connect_retry(int64_t handle, int64_t generation)
{
    struct sim_socket *socket = sim_socket_of(handle, generation);
    if (socket == NULL || !socket->dialling || socket->status != -EINPROGRESS)
        return;
    socket->dialling = false;
    connect_dial((int)handle);
}

void sim_connect_again(int handle)
{
    const struct sim_socket *socket = net.sockets[handle];
    int64_t at = sim_now() + 1000 + (int64_t)sim_below(LOT_NET, 1000000);
    sim_event_put(at, connect_retry, handle, socket->generation);
}

int sim_pair(int ret_handles[2])
{
    const struct address unnamed = {.family = ADDRESS_UNIX};
    int one = sim_socket_make(SOCKET_STREAM, &unnamed);
    int other = one < 0 ? one : sim_socket_make(SOCKET_STREAM, &unnamed);
    if (other < 0) {
        if (one >= 0)
            sim_close(one);
        return other;
    }
    net.sockets[one]->other = other;
    net.sockets[other]->other = one;
    net.sockets[one]->service = net.sockets[other]->service = unnamed;
    sim_note("pair", one, other);
    ret_handles[0] = one;
    ret_handles[1] = other;
    return 0;
}

int sim_connect_result(int handle)
{
    struct sim_socket *socket = sim_socket_own(handle);
    int error = socket->error;
    socket->error = 0;
    return error < 0 ? error : socket->status;
}

/* --- options and properties ------------------------------------------------------------------- */

int sim_set_options(int handle, const struct socket_options *options)
{
    struct sim_socket *socket = sim_socket_own(handle);
    int64_t idle = options->keep_idle > 0 ? options->keep_idle : 7200;
    int64_t interval = options->keep_interval > 0 ? options->keep_interval : 75;
    int64_t count = options->keep_count > 0 ? options->keep_count : 9;
    int64_t probed = (idle + interval * count) * 1000000;
    socket->keepalive = options->keepalive ? probed : INT64_MAX;
    if (options->user_timeout > 0)
        socket->patience = (int64_t)options->user_timeout * 1000;
    else if (options->keepalive && options->keep_idle > 0)
        socket->patience = probed;
    sim_note("options", handle, options->nodelay);
    return 0;
}

int sim_set_low_water(int handle, int bytes)
{
    struct sim_socket *socket = sim_socket_own(handle);
    if (socket->is_unix)
        return -EOPNOTSUPP;
    socket->low_water = (size_t)MAX_OF(bytes, 1);
    sim_note("lowat", handle, bytes);
    if ((sim_socket_state(socket) & POLL_READ) != 0)
        sim_socket_edge(handle);
    return 0;
}

int sim_local_address(int handle, struct address *ret)
{
    *ret = sim_socket_own(handle)->local;
    return 0;
}

int64_t sim_peer_user(int handle)
{
    const struct sim_socket *socket = sim_socket_own(handle);
    return socket->is_unix ? (int64_t)socket->user : -ENOTSUP;
}

void sim_net_user(uint32_t user)
{
    net.user = user;
}

void sim_net_from(const struct address *host)
{
    net.from = *host;
}

int sim_interfaces(struct os_interface *ret, int max)
{
    if (max < 1)
        return 0;
    *ret = (struct os_interface){.address = {.family = ADDRESS_IPV4, .bytes = {127, 0, 0, 1}},
                                 .mask = {255}};
    return 1;
}

/* --- closing ---------------------------------------------------------------------------------- */

static void socket_close(int handle);

static void listener_drop(struct sim_socket *socket, int handle)
{
    int at = 0;
    invariant(socket->share_count == 0); /* else Linux would go on listening */
    while (net.listeners[at] != handle)
        at += 1;
    memmove(net.listeners + at, net.listeners + at + 1,
            (size_t)(--net.listener_count - at) * sizeof(*net.listeners));
    /* Connections that were not accepted are reset. */
    for (int i = 0; i < socket->queued; i++) {
        sim_socket_at(socket->queue[i].handle)->linger = true;
        socket_close(socket->queue[i].handle);
    }
}

/* Sends the peer an end, or a reset if unread bytes are discarded, as TCP does. */
static void stream_drop(struct sim_socket *socket, int handle)
{
    bool unread = !socket->is_unix && socket->visible > socket->taken;
    if (socket->linger || unread)
        sim_socket_send_reset(handle);
    else
        sim_socket_send_end(handle);
    if (socket->other < 0)
        return;
    struct sim_socket *other = sim_socket_at(socket->other);
    other->other = -1;
    if (other->starved)
        sim_socket_edge(socket->other);
}

static void socket_close(int handle)
{
    struct sim_socket *socket = sim_socket_at(handle);
    sim_note("close", handle, 0);
    if (socket->kind == SOCKET_LISTENER && socket->origin >= 0)
        listener_unshare(handle);
    else if (socket->kind == SOCKET_LISTENER)
        listener_drop(socket, handle);
    if (socket->kind == SOCKET_STREAM)
        stream_drop(socket, handle);
    free(socket->ring);
    free(socket->queue);
    free(socket->shares);
    *socket = (struct sim_socket){.kind = SOCKET_FREE, .generation = socket->generation};
    net.first_free = MIN_OF(net.first_free, handle);
}

void sim_close(int handle)
{
    (void)sim_socket_own(handle);
    socket_close(handle);
}

/* --- start and finish ------------------------------------------------------------------------- */

void sim_net_start(void)
{
    net = (struct sim_net){.user = 1000};
}

uint32_t sim_net_leaks(void (*each)(void *argument, const char *what), void *argument)
{
    uint32_t count = 0;
    for (int i = 0; i < net.count; i++) {
        char text[256], at[ADDRESS_TEXT_SIZE], to[ADDRESS_TEXT_SIZE];
        const struct sim_socket *socket = net.sockets[i];
        if (socket->kind == SOCKET_FREE)
            continue;
        snprintf(text, sizeof(text), "%s %d at %s, dialled as %s",
                 socket->kind == SOCKET_STREAM ? "stream" : "listener or signals", i,
                 address_text(&socket->local, at, sizeof(at)),
                 address_text(&socket->service, to, sizeof(to)));
        each(argument, text);
        count += 1;
    }
    return count;
}

void sim_net_finish(void)
{
    for (int i = 0; i < net.count; i++)
        free(net.sockets[i]);
    free(net.sockets);
    free(net.listeners);
    net = (struct sim_net){0};
}
