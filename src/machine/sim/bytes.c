/* bytes.c - bytes on the way between two sockets of the simulation. */
#include "machine/sim/net_parts.h"

#include <errno.h>
#include <string.h>

/* Sending, arrival and reading of bytes. */

/* How long writes are blocked after a drawn short write, at most; us. */
#define BLOCKED_MAX 2000
#define RESEND      INT64_C(1000000) /* delay of a retransmission, us */

/* --- readiness -------------------------------------------------------------------------------- */

size_t sim_socket_space(const struct sim_socket *socket)
{
    return socket->ring_size - (size_t)(socket->sent - socket->taken);
}

static bool stream_readable(const struct sim_socket *socket)
{
    size_t ready = (size_t)(socket->visible - socket->taken);
    return socket->ended || ready >= MIN_OF(socket->low_water, socket->ring_size);
}

static uint32_t stream_state(const struct sim_socket *socket)
{
    uint32_t state = 0;
    if (socket->status == -EINPROGRESS)
        return 0;
    if (socket->status < 0 || socket->error < 0)
        return POLL_READ | POLL_WRITE | POLL_HANGUP;
    if (stream_readable(socket))
        state |= POLL_READ;
    if (socket->ended)
        state |= POLL_HANGUP;
    if (socket->other < 0 || socket->shut ||
        (!socket->blocked && sim_socket_space(sim_socket_at(socket->other)) > 0))
        state |= POLL_WRITE;
    return state;
}

uint32_t sim_socket_state(const struct sim_socket *socket)
{
    if (socket->kind == SOCKET_LISTENER && socket->origin >= 0)
        return sim_socket_state(sim_socket_at(socket->origin));
    if (socket->kind == SOCKET_LISTENER)
        return socket->queued > 0 && socket->queue[0].at <= sim_now() ? POLL_READ : 0;
    if (socket->kind == SOCKET_SIGNALS)
        return (sim_signals_waiting() & socket->signals) != 0 ? POLL_READ : 0;
    return stream_state(socket);
}

void sim_socket_edge(int handle)
{
    struct sim_socket *socket = sim_socket_at(handle);
    socket->edge = true;
    if (socket->poller >= 0)
        sim_poller_look(socket->poller, handle);
    if (socket->share_count > 0)
        sim_listener_tell(socket);
}

/* --- arrival ---------------------------------------------------------------------------------- */

/* Disconnects the ends: bytes that the other end still sends are lost and answered by a reset. */
static void stream_part(struct sim_socket *socket)
{
    int peer = socket->other;
    if (peer < 0)
        return;
    socket->other = -1;
    sim_socket_at(peer)->other = -1;
    sim_socket_at(peer)->unheard = socket->sent > socket->visible;
    if (sim_socket_at(peer)->starved)
        sim_socket_edge(peer);
}

static void stream_reset(int handle, struct sim_socket *socket, int error)
{
    socket->error = error;
    socket->ended = true;
    socket->reset_at = INT64_MAX;
    stream_part(socket);
    socket->sent = socket->visible;
    socket->piece_count = 0;
    socket->end_at = INT64_MAX;
    socket->shut = true;
    sim_note("reset", handle, error);
    sim_socket_edge(handle);
}

static void stream_deliver_pieces(int handle, struct sim_socket *socket)
{
    bool any = false;
    while (socket->piece_count > 0 && socket->pieces[socket->piece_first].at <= sim_now()) {
        socket->visible = socket->pieces[socket->piece_first].end;
        socket->piece_first = (socket->piece_first + 1) % SIM_PIECES_MAX;
        socket->piece_count -= 1;
        any = true;
    }
    if (any && stream_readable(socket))
        sim_socket_edge(handle);
}

static void stream_deliver(int handle, struct sim_socket *socket)
{
    if (socket->status == -EINPROGRESS && socket->decided <= sim_now()) {
        socket->status = socket->verdict;
        socket->dialling = false;
        sim_socket_edge(handle);
    }
    if (socket->held)
        return;
    stream_deliver_pieces(handle, socket);
    if (socket->reset_at <= sim_now()) {
        stream_reset(handle, socket, -ECONNRESET);
    } else if (!socket->ended && socket->end_at <= sim_now()) {
        socket->ended = true;
        sim_socket_edge(handle);
    }
}

static void socket_due(int64_t handle, int64_t generation)
{
    struct sim_socket *socket = sim_socket_of(handle, generation);
    if (socket == NULL)
        return;
    if (socket->kind == SOCKET_LISTENER)
        sim_socket_edge((int)handle);
    else
        stream_deliver((int)handle, socket);
}

void sim_socket_expect(int handle, int64_t at)
{
    sim_event_put(at, socket_due, handle, sim_socket_at(handle)->generation);
}

int64_t sim_socket_hour(struct sim_socket *to, size_t size)
{
    const struct sim_rates *rates = &sim_rates;
    int64_t start = MAX_OF(sim_now() + 1, to->busy);
    if (to->bandwidth > 0)
        to->busy = start = start + (int64_t)size * 1000000 / to->bandwidth;
    int64_t hour = start + to->latency;
    if (rates->jitter_max > 0)
        hour += (int64_t)sim_below(LOT_NET, rates->jitter_max + (uint64_t)1);
    if (sim_chance(LOT_NET, rates->late))
        hour += (int64_t)sim_between(LOT_NET, 1, rates->late_max);
    return MAX_OF(hour, to->last);
}

/* --- reading ---------------------------------------------------------------------------------- */

static void ring_copy_out(struct sim_socket *socket, void *bytes, size_t size)
{
    size_t at = (size_t)(socket->taken % socket->ring_size);
    size_t first = MIN_OF(size, socket->ring_size - at);
    memcpy(bytes, socket->ring + at, first);
    memcpy((uint8_t *)bytes + first, socket->ring, size - first);
    socket->taken += size;
}

/* Makes the peer writable after a short write, once a third of the ring is free. */
static void stream_make_room(struct sim_socket *socket)
{
    if (socket->other < 0 || sim_socket_space(socket) < socket->ring_size / 3)
        return;
    struct sim_socket *other = sim_socket_at(socket->other);
    if (!other->starved || other->blocked)
        return;
    other->starved = false;
    sim_socket_edge(socket->other);
}

static int64_t stream_nothing(int handle, struct sim_socket *socket)
{
    int error = socket->error;
    socket->error = 0;
    if (error < 0 || socket->ended)
        sim_note("recv", handle, error);
    return error < 0 ? error : socket->ended ? 0 : -EAGAIN;
}

int64_t sim_recv(int handle, void *bytes, size_t size)
{
    struct sim_socket *socket = sim_socket_own(handle);
    if (socket->status < 0)
        return socket->status == -EINPROGRESS ? -EAGAIN : socket->status;
    size_t ready = (size_t)(socket->visible - socket->taken);
    if (ready == 0)
        return stream_nothing(handle, socket);
    size_t count = MIN_OF(ready, size);
    /* Only on Unix sockets a read may be short before the socket is drained. */
    if (socket->is_unix && count > 1 && sim_chance(LOT_NET, sim_rates.short_reads))
        count = 1 + sim_below(LOT_NET, count);
    ring_copy_out(socket, bytes, count);
    stream_make_room(socket);
    sim_note("recv", handle, (int64_t)count);
    return (int64_t)count;
}

/* --- sending ---------------------------------------------------------------------------------- */

/* Adds a piece of `count` bytes; if the list is full, extends its last piece. */
static void stream_send_piece(int handle, struct sim_socket *to, size_t count)
{
    to->sent += count;
    to->sent_at = sim_now();
    to->last = sim_socket_hour(to, count);
    struct sim_piece piece = {to->sent, to->last};
    uint32_t place = (to->piece_first + to->piece_count) % SIM_PIECES_MAX;
    if (to->piece_count == SIM_PIECES_MAX)
        place = (place + SIM_PIECES_MAX - 1) % SIM_PIECES_MAX;
    else
        to->piece_count += 1;
    to->pieces[place] = piece;
    sim_socket_expect(handle, piece.at);
}

static size_t piece_size(size_t left)
{
    if (!sim_chance(LOT_NET, sim_rates.pieces))
        return left;
    return sim_chance(LOT_NET, sim_rates.single) ? 1 : 1 + sim_below(LOT_NET, left);
}

static size_t stream_fill(int handle, struct sim_socket *to, const uint8_t *bytes, size_t size)
{
    size_t count = MIN_OF(size, sim_socket_space(to));
    size_t at = (size_t)(to->sent % to->ring_size);
    size_t first = MIN_OF(count, to->ring_size - at);
    if (count == 0)
        return 0;
    memcpy(to->ring + at, bytes, first);
    memcpy(to->ring, bytes + first, count - first);
    for (size_t left = count; left > 0;) {
        size_t piece = piece_size(left);
        stream_send_piece(handle, to, piece);
        left -= piece;
    }
    return count;
}

/* The -errno of a send; 0: the socket can send. */
static int64_t stream_send_status(struct sim_socket *socket)
{
    int error = socket->error;
    if (socket->status < 0)
        return socket->status == -EINPROGRESS ? -EAGAIN : socket->status;
    socket->error = 0;
    if (error < 0)
        return error;
    if (socket->shut || (socket->other < 0 && socket->ended))
        return -EPIPE;
    return socket->blocked ? -EAGAIN : 0;
}

static void stream_unblock(int64_t handle, int64_t generation)
{
    struct sim_socket *socket = sim_socket_of(handle, generation);
    if (socket == NULL || !socket->blocked)
        return;
    socket->blocked = false;
    if (socket->other >= 0 && sim_socket_space(sim_socket_at(socket->other)) == 0)
        return;
    socket->starved = false;
    sim_socket_edge((int)handle);
}

/* Draws how many of `size` bytes a send accepts: sometimes fewer, although there is room. */
static size_t stream_taken(int handle, struct sim_socket *socket, size_t size)
{
    if (size < 2 || !sim_chance(LOT_NET, sim_rates.short_writes))
        return size;
    socket->blocked = true;
    int64_t until = sim_now() + 1 + (int64_t)sim_below(LOT_NET, BLOCKED_MAX);
    sim_event_put(until, stream_unblock, handle, socket->generation);
    return 1 + sim_below(LOT_NET, size - 1);
}

/* Draws the network faults of a send, after its bytes were sent. */
static void stream_suffer(int handle, struct sim_socket *socket)
{
    const struct sim_rates *rates = &sim_rates;
    if (socket->other < 0)
        return;
    if (sim_chance(LOT_FAULT, rates->reset))
        sim_socket_reset_both(handle);
    else if (sim_chance(LOT_FAULT, rates->silenced))
        sim_socket_hold(handle);
    else if (sim_chance(LOT_FAULT, rates->ended))
        sim_socket_send_end(handle);
    if (sim_socket_at(socket->other)->held)
        sim_socket_despair(handle);
}

int64_t sim_send(int handle, const void *bytes, size_t size)
{
    struct iovec part = {(void *)(uintptr_t)bytes, size};
    return sim_send_vector(handle, &part, 1);
}

static size_t vector_size(const struct iovec *parts, int count)
{
    size_t size = 0;
    for (int i = 0; i < count; i++)
        size += parts[i].iov_len;
    return size;
}

/* Sends to a peer that has closed, before its end has arrived here: the bytes are lost, and the
 * peer answers by a reset. */
static int64_t stream_send_lost(int handle, struct sim_socket *socket, size_t size)
{
    if (socket->reset_at == INT64_MAX) {
        socket->reset_at = sim_socket_hour(socket, 0) + socket->latency;
        sim_socket_expect(handle, socket->reset_at);
    }
    sim_note("send", handle, (int64_t)size);
    return (int64_t)size;
}

int64_t sim_send_vector(int handle, const struct iovec *parts, int count)
{
    struct sim_socket *socket = sim_socket_own(handle);
    int64_t status = stream_send_status(socket);
    if (status < 0)
        return status;
    size_t size = vector_size(parts, count), sent = 0;
    if (socket->other < 0)
        return stream_send_lost(handle, socket, size);
    struct sim_socket *to = sim_socket_at(socket->other);
    size_t max = stream_taken(handle, socket, size);
    for (int i = 0; i < count && sent < max; i++) {
        size_t wanted = MIN_OF(parts[i].iov_len, max - sent);
        size_t put = stream_fill(socket->other, to, parts[i].iov_base, wanted);
        sim_note_bytes("send", handle, parts[i].iov_base, put);
        sent += put;
        if (put < wanted)
            break;
    }
    socket->starved |= sent < size;
    if (sent > 0)
        stream_suffer(handle, socket);
    return sent == 0 && size > 0 ? -EAGAIN : (int64_t)sent;
}

/* --- ends and resets -------------------------------------------------------------------------- */

void sim_socket_send_end(int handle)
{
    struct sim_socket *socket = sim_socket_at(handle);
    if (socket->shut || socket->other < 0)
        return;
    struct sim_socket *to = sim_socket_at(socket->other);
    if (to->end_at != INT64_MAX)
        return;
    to->last = sim_socket_hour(to, 0);
    to->end_at = to->last;
    sim_socket_expect(socket->other, to->end_at);
}

void sim_socket_send_reset(int handle)
{
    const struct sim_socket *socket = sim_socket_at(handle);
    if (socket->other < 0)
        return;
    struct sim_socket *to = sim_socket_at(socket->other);
    bool overtakes = sim_chance(LOT_FAULT, sim_rates.reset_overtakes);
    int64_t at = overtakes ? sim_now() + 1 + to->latency : sim_socket_hour(to, 0);
    to->reset_at = MIN_OF(to->reset_at, at);
    to->last = MAX_OF(to->last, at);
    sim_socket_expect(socket->other, to->reset_at);
}

void sim_socket_reset_both(int handle)
{
    struct sim_socket *socket = sim_socket_at(handle);
    int other = socket->other;
    if (other < 0)
        return;
    sim_socket_send_reset(handle);
    sim_socket_send_reset(other);
}

void sim_shut(int handle)
{
    struct sim_socket *socket = sim_socket_own(handle);
    sim_socket_send_end(handle);
    socket->shut = true;
    sim_note("shut", handle, 0);
}

/* --- held connections ------------------------------------------------------------------------- */

static void stream_die(int64_t handle, int64_t generation)
{
    struct sim_socket *socket = sim_socket_of(handle, generation);
    if (socket != NULL && socket->held && socket->dies_at <= sim_now())
        stream_reset((int)handle, socket, -ETIMEDOUT);
}

void sim_socket_despair(int handle)
{
    struct sim_socket *socket = sim_socket_at(handle);
    if (socket->other < 0)
        return;
    const struct sim_socket *peer = sim_socket_at(socket->other);
    int64_t limit = peer->sent > peer->visible ? socket->patience : socket->keepalive;
    if (limit == INT64_MAX || sim_now() + limit >= socket->dies_at)
        return;
    socket->dies_at = sim_now() + limit;
    sim_event_put(socket->dies_at, stream_die, handle, socket->generation);
}

void sim_socket_hold(int handle)
{
    struct sim_socket *socket = sim_socket_at(handle);
    int other = socket->other;
    if (socket->held)
        return;
    sim_note("silence", handle, other);
    socket->held = true;
    if (other >= 0)
        sim_socket_at(other)->held = true;
    sim_socket_despair(handle);
    if (other >= 0)
        sim_socket_despair(other);
}

/* Handles a peer that timed out while the connection was held: the next keepalive probe or
 * retransmission gets a reset. */
static void stream_release_alone(struct sim_socket *socket)
{
    int64_t next = socket->unheard ? RESEND : socket->keepalive;
    if (socket->other < 0 && !socket->ended && socket->end_at == INT64_MAX &&
        socket->reset_at == INT64_MAX && next != INT64_MAX)
        socket->reset_at = sim_now() + next;
}

void sim_socket_release(int handle)
{
    struct sim_socket *socket = sim_socket_at(handle);
    int64_t at = sim_now() + 1 + socket->latency;
    if (!socket->held)
        return;
    socket->held = false;
    socket->dies_at = INT64_MAX;
    stream_release_alone(socket);
    for (uint32_t i = 0; i < socket->piece_count; i++) {
        struct sim_piece *piece = &socket->pieces[(socket->piece_first + i) % SIM_PIECES_MAX];
        piece->at = at = MAX_OF(piece->at, at);
        sim_socket_expect(handle, at);
    }
    if (socket->end_at != INT64_MAX)
        socket->end_at = at = MAX_OF(socket->end_at, at);
    if (socket->reset_at != INT64_MAX)
        socket->reset_at = at = MAX_OF(socket->reset_at, at);
    socket->last = MAX_OF(socket->last, at);
    sim_socket_expect(handle, at);
}
