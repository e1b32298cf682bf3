#include "relay/turn/turn.h"
#include "base/probes.h"
#include "relay/client_log.h"
#include "relay/flight/flight_wait.h"
#include "relay/turn/turn_firewall.h"
#include "relay/turn/turn_reads.h"

#include "machine/clock.h"
#include "machine/log.h"
#include "pool/claim.h"
#include "relay/relay_calls.h"
#include "session/pin.h"

#include <inttypes.h>
#include <stdlib.h>

/* Rounds without a wait after which a turn yields to other coroutines. */
#define ROUNDS_AT_ONCE 16

#define TO(state) (1u << (state))

/* --- claiming a server, releasing it ---------------------------------------------------------- */

static void turn_attach(struct turn *turn)
{
    struct client *client = turn->client;
    struct server *server = client->claim.server;
    invariant(server != NULL && server->client == client && server->state == SERVER_ACTIVE);
    moment at = now();
    int64_t waited = between(client->claim.since, at).us;
    hint_add(&client->pool->stats.wait_us, (uint64_t)waited);
    histogram_add(&client->pool->log.times->wait, waited);
    turn->waited_us = waited;
    claim_done(&client->claim);
    client->server = server;
    client->since = at;
    invariant(turn->server == NULL && turn->server_end == SERVER_OPEN);
    turn->server = server;
    server->stream.waker = co_waker(client->co);
    if (UNLIKELY(log_wants(LOG_DEBUG)))
        client_log_assigned(client, server);
}

/* Whether a message is on its way in either direction, or has arrived only in part. */
static bool turn_midway(const struct turn *turn)
{
    return !direction_sent(&turn->up) || turn->up.passing > 0 || turn->held != NULL ||
           turn->down.passing > 0 || turn->down.begin != turn->down.end;
}

static bool turn_unfinished(const struct turn *turn)
{
    const struct server *server = turn->server;
    return !ledger_quiet(&server->session.ledger) || server->session.ledger.skipping ||
           server->session.ledger.extended || turn_midway(turn);
}

/* Whether messages of the client have arrived that were not walked yet. */
static bool turn_has_input(const struct turn *turn)
{
    return turn->up.begin != turn->up.end && !turn->message.starved && turn->state == TURN_SERVING;
}

/* Marks the server if it owes only Syncs that a COPY may have read.  The mark shows whether they
 * were answered, before another client may get the server. */
static fault turn_resolve_syncs(struct turn *turn)
{
    struct server *server = turn->server;
    if (!ledger_may_mark(&server->session.ledger) || ledger_empty(&server->session.ledger) ||
        server->session.transaction != WIRE_TX_IDLE || turn_midway(turn) || turn_has_input(turn) ||
        !direction_sent(&turn->down) || turn->client->pool->route->mode == POOL_SESSION ||
        pin_holds(&server->session))
        return OK;
    return turn_prove(turn);
}

void turn_release(struct turn *turn)
{
    struct server *server = turn->server;
    if (server == NULL || turn->client->pool->route->mode == POOL_SESSION)
        return;
    if (server->session.transaction != WIRE_TX_IDLE || turn_unfinished(turn) ||
        (turn_has_input(turn) && !turn->reads.stopped) || !ledger_empty(&server->session.ledger))
        return;
    if (UNLIKELY(server->session.pin != NULL) && pin_holds(&server->session))
        return;
    if (UNLIKELY(turn->client->reads != NULL) && turn_reads_asks(turn))
        return;
    turn_detach_server(turn);
}

void turn_detach_server(struct turn *turn)
{
    struct server *server = turn->server;
    struct client *client = turn->client;
    invariant(server->client == client && client->server == server);
    turn_bulk_end(turn);
    if (server->last_claim != &client->claim) {
        server_forget_owner(server);
        if (client->claim.last_server != NULL)
            server_forget_owner(client->claim.last_server);
        server->last_claim = &client->claim;
        client->claim.last_server = server;
    }
    server->client = NULL;
    client->server = NULL;
    turn->server = NULL;
    turn->server_end = SERVER_OPEN;
    turn->reply.fatal = false;
    if (UNLIKELY(client->reads != NULL))
        turn_reads_detached(turn);
    if (UNLIKELY(server->session.pin != NULL) && pin_is_dirty(&server->session)) {
        turn_clean_alone(server);
        return;
    }
    server_free_pin(server);
    if (UNLIKELY(server->session.params->acts)) {
        turn_clean_alone(server);
        return;
    }
    PROBE2(handle__returned, client->pool->database, server);
    local_pool_free(server->pool, server);
}

void turn_become(struct turn *turn, enum turn_state next)
{
    static const uint8_t permitted[TURN_STATES] = {
        [TURN_SERVING] = TO(TURN_CLOSING) | TO(TURN_CLEANING),
        [TURN_CLOSING] = TO(TURN_CLEANING),
        [TURN_CLEANING] = TO(TURN_ABANDONED),
        [TURN_ABANDONED] = 0,
    };
    invariant((permitted[turn->state] & TO(next)) != 0);
    if (next == TURN_CLEANING)
        turn->client = NULL;
    invariant((turn->client != NULL) == (next == TURN_CLOSING));
    turn->state = next;
}

void turn_server_ends(struct turn *turn, enum server_end how)
{
    invariant(turn->server != NULL && how != SERVER_OPEN);
    turn->server_end = MAX_OF(turn->server_end, how);
}

fault turn_wait(struct turn *turn, deadline by)
{
    turn->busy = 0;
    return co_wait(by);
}

static fault turn_tell_wait(struct turn *turn)
{
    struct client *client = turn->client;
    struct buffer notice = BUFFER_INIT(1024);
    bool moved = false;
    client->claim.tell = false;
    claim_put_notice(client->pool, &client->claim, &notice);
    TRY(turn_say(turn, &notice));
    return turn_send_down(turn, &moved);
}

/* Waits until the claim is granted or refused, or the client has disconnected. */
static fault turn_await_claim(struct turn *turn)
{
    struct client *client = turn->client;
    while (client->claim.state == CLAIM_WAITING) {
        bool moved = false;
        /* Earlier replies, such as the refusal of an earlier claim, are sent without waiting. */
        fault waited = turn_send_down(turn, &moved);
        if (waited == OK)
            waited = co_wait(NEVER);
        bool gone = stream_hung_up(&client->stream);
        if (waited == OK && !gone && client->claim.tell)
            waited = turn_tell_wait(turn);
        if (waited == OK && !gone)
            continue;
        claim_withdraw(&client->claim);
        return gone ? FAULT_CLOSED : waited;
    }
    return OK;
}

fault turn_claim(struct turn *turn)
{
    struct client *client = turn->client;
    if (UNLIKELY(client->pool->route->aside != NULL))
        turn_reads_choose(client, turn->up.chunk->bytes + turn->up.begin,
                          turn->up.end - turn->up.begin);
    if (!client_claim(client, co_waker(client->co)))
        TRY(turn_await_claim(turn));
    return turn_settle_claim(turn);
}

/* Tells the client why its claim was refused, unless the claim was for a read, which then goes to
 * the primary. */
static COLD fault settle_refused(struct turn *turn)
{
    struct claim *claim = &turn->client->claim;
    invariant(claim->state == CLAIM_REFUSED);
    struct refusal *refusal = TAKE(claim->refusal);
    claim_done(&turn->client->claim);
    if (UNLIKELY(turn->client->reads != NULL) && turn_reads_goes_home(turn)) {
        refusal_unref(&refusal);
        return OK;
    }
    fault said = refusal == NULL ? turn_refuse(turn, "53200", "out of memory")
                                 : turn_refuse(turn, refusal->sqlstate, refusal->text);
    refusal_unref(&refusal);
    return said;
}

fault turn_settle_claim(struct turn *turn)
{
    const struct claim *claim = &turn->client->claim;
    if (UNLIKELY(claim->state != CLAIM_GRANTED))
        return settle_refused(turn);
    if (UNLIKELY(claim->server->fenced))
        return turn_claim_again(turn);
    turn_attach(turn);
    if (UNLIKELY(turn->client->reads != NULL))
        turn_reads_attach(turn);
    fault adopted = turn_adopt_parameters(turn);
    return LIKELY(turn->client->reads == NULL) ? adopted : turn_reads_attached(turn, adopted);
}

/* --- the coroutine ---------------------------------------------------------------------------- */

static bool turn_over(const struct turn *turn)
{
    if (turn->state == TURN_CLOSING && direction_sent(&turn->down)) /* turn_clean does the rest */
        return turn->server == NULL || ledger_awaits_sync(&turn->server->session.ledger) ||
               turn->server->session.ledger
                   .copy_in || /* the server waits for data that will not come */
               turn->server->session.ledger.unsure ||
               turn->server->session.ledger.murky || /* or may wait */
               (ledger_quiet(&turn->server->session.ledger) && direction_sent(&turn->up));
    if (!direction_sent(&turn->down) || turn->up.dropping > 0 || turn_has_input(turn) ||
        turn->held != NULL)
        return false;
    if (turn->server == NULL)
        return true;
    if (turn->client->pool->route->mode != POOL_SESSION &&
        (turn->server->session.transaction != WIRE_TX_IDLE || !pin_holds(&turn->server->session)))
        return false;
    return !turn_unfinished(turn);
}

/* Whether nothing is left to read or to walk, so that another round would move nothing. */
static bool turn_is_quiet(const struct turn *turn)
{
    const struct server *server = turn->server;
    return server != NULL && turn->state == TURN_SERVING && turn->server_end == SERVER_OPEN &&
           !turn->reply.blocked && turn->up.begin == turn->up.end &&
           !stream_may_read(&turn->client->stream) && !stream_hung_up(&turn->client->stream) &&
           !stream_may_read(&server->stream) && !stream_hung_up(&server->stream) &&
           !ledger_empty(&server->session.ledger);
}

/* Waits for a server on which a COPY has failed among Syncs.  Messages that were sent behind the
 * Syncs may have been skipped, so a late reply can't be told from one that never comes.  So the
 * client keeps the server at most for reset_timeout, as long as cleaning it may take. */
static fault turn_wait_murky(struct turn *turn)
{
    duration max = turn->relay->pools.config->reset_timeout;
    fault waited = turn_wait(turn, after(max));
    if (waited != FAULT_TIMEOUT)
        return waited;
    return fault_raise_state(FAULT_TIMEOUT, "08006",
                             "a COPY has failed, and the server has not answered what was sent "
                             "among its data for %" PRId64 " ms",
                             max.us / 1000);
}

static inline fault turn_pause(struct turn *turn)
{
    if (turn->server != NULL && UNLIKELY(turn->server->session.ledger.murky))
        return turn_wait_murky(turn);
    if (UNLIKELY(turn->times.set))
        return turn_wait_timed(turn);
    return turn->bulk.gathers ? turn_bulk_wait(turn) : turn_wait(turn, NEVER);
}

static fault turn_run(struct turn *turn)
{
    for (;;) {
        bool moved = false;
        TRY(turn_up(turn, &moved));
        fault went = turn_down(turn, &moved);
        if (UNLIKELY(went != OK)) {
            if (went != FAULT_UPSTREAM || !turn_reads_survives(turn))
                return went;
            moved = true;
        }
        if (turn->server != NULL && UNLIKELY(turn->server->session.ledger.doubt != 0))
            TRY(turn_resolve_syncs(turn));
        turn_release(turn);
        if (turn_over(turn))
            return turn->state == TURN_CLOSING ? FAULT_CLOSED : OK;
        if (!moved || turn_is_quiet(turn)) {
            TRY(turn_pause(turn));
        } else if (++turn->busy % ROUNDS_AT_ONCE == 0) {
            co_yield ();
        }
        if (co_cancelled())
            return FAULT_CANCELLED;
    }
}

/* Leaves the parts of the outboxes and the refusal's text as they are: they are most of a turn and
 * are written before they are read.  Zeroing them would cost a query more than its ledger does. */
void turn_init(struct turn *turn, struct relay *relay, struct client *client, struct server *server)
{
    memset(turn, 0, offsetof(struct turn, up));
    memset(&turn->up, 0, offsetof(struct direction, out.parts));
    memset(&turn->down, 0, offsetof(struct direction, out.parts));
    turn->refused_state[0] = turn->refused_text[0] = '\0';
    turn->relay = relay;
    turn->client = client;
    turn->server = server;
    turn->state = client != NULL ? TURN_SERVING : TURN_CLEANING;
}

static void turn_begin(struct turn *turn, struct client *client)
{
    turn_init(turn, client->relay, client, client->server);
    client->turn = turn;
    turn->times.set = client->pool->times.any;
    turn->looks = client->pool->looks;
    if (turn->times.set &&
        (client->server == NULL || client->server->session.transaction == WIRE_TX_IDLE))
        client->began = (moment){0};
    PROBE3(turn__start, client->pool->database, client->pool->user, client);
    client_become(client, CLIENT_TURN);
    client->co = co_self();
    client->stream.waker = co_waker(client->co);
    timer_set(&client->timer, NEVER);
    if (client->server != NULL)
        client->server->stream.waker = co_waker(client->co);
}

/* Loads the bytes that were read before the coroutine began: from the chunk handed over, or from
 * the stash. */
static fault turn_load(struct turn *turn)
{
    struct relay *relay = turn->relay;
    struct client *client = turn->client;
    if (relay->arrival.client == client) {
        turn->up.chunk = TAKE(relay->arrival.chunk);
        turn->up.end = relay->arrival.size;
        relay->arrival.client = NULL;
    }
    /* The server may have sent something while the stash holds the beginning of a message. */
    if (turn->up.chunk != NULL || client->stash == NULL)
        return OK;
    TRY(turn_lend(turn, &turn->up.chunk));
    invariant(client->stash_size <= turn->up.chunk->size);
    memcpy(turn->up.chunk->bytes, client->stash, client->stash_size);
    turn->up.end = client->stash_size;
    client_drop_stash(client);
    return OK;
}

/* Parks the client, keeping the first bytes of its next message.  Returns true if the turn goes on
 * at once. */
static bool turn_park(struct turn *turn)
{
    struct direction *up = &turn->up;
    struct client *client = turn->client;
    if (client->leaving &&
        (client->server == NULL || client->server->session.transaction == WIRE_TX_IDLE)) {
        turn_fail(turn, fault_raise(FAULT_SHUTDOWN,
                                    "terminating connection: the pooler is shutting down"));
        return false;
    }
    bool more = stream_may_read(&client->stream) || stream_hung_up(&client->stream);
    if (more && !client_held(client))
        return true;
    if (up->begin != up->end &&
        client_stash(client, up->chunk->bytes + up->begin, up->end - up->begin) != OK) {
        turn_fail(turn, FAULT_MEMORY);
        return false;
    }
    up->begin = up->end = 0;
    PROBE1(turn__done, client);
    if (turn->bulk.gathers)
        turn_bulk_end(turn);
    direction_settle(up, &turn->relay->chunks);
    direction_settle(&turn->down, &turn->relay->chunks);
    if (!client_park(client))
        return false;
    turn_begin(turn, client);
    if (turn_load(turn) == OK)
        return true;
    turn_fail(turn, FAULT_MEMORY);
    return false;
}

static void turn_goes_on(struct turn *turn, fault so_far)
{
    fault ended = so_far;
    for (;;) {
        if (ended == OK)
            ended = turn_run(turn);
        if (ended != OK) {
            turn_fail(turn, ended);
            return;
        }
        if (!turn_park(turn))
            return;
    }
}

static void turn_main(void *argument)
{
    struct client *client = argument;
    struct turn turn;
    turn_begin(&turn, client);
    fault ended = turn_load(&turn);
    if (ended == OK && client->claim.state != CLAIM_NONE) /* ended since the claim was decided? */
        ended = client->leaving ? FAULT_CANCELLED : turn_settle_claim(&turn);
    turn_goes_on(&turn, ended);
}

/* The unsent part of a notice to a queued client; lives until the turn first suspends. */
struct unsent_notice {
    struct client *client;
    struct buffer *rest;
};

/* Runs the turn of a queued client that is sent a notice.  Its message stays stashed until the
 * claim is granted or refused. */
static void turn_main_notice(void *argument)
{
    const struct unsent_notice *unsent = argument;
    struct client *client = unsent->client;
    struct turn turn;
    turn_begin(&turn, client);
    client->claim.waker = co_waker(client->co);
    outbox_take_heap(&turn.down.out, unsent->rest->at, unsent->rest->size);
    turn.down.flushing = true;
    fault ended = turn_await_claim(&turn);
    if (ended == OK)
        ended = turn_load(&turn);
    if (ended == OK)
        ended = turn_settle_claim(&turn);
    turn_goes_on(&turn, ended);
}

/* --- a parked client's bytes arrive: on the loop's stack -------------------------------------- */

static void arrival_end(struct client *client, struct chunk *chunk, const char *sqlstate,
                        const char *text)
{
    chunk_return(&client->relay->chunks, &chunk);
    if (client->server != NULL)
        turn_end_session(client, sqlstate, text);
    else if (sqlstate != NULL)
        client_farewell(&client, sqlstate, text);
    else
        client_close(&client, text);
}

static void arrival_run(struct client *client, struct chunk *chunk, uint32_t size)
{
    struct relay *relay = client->relay;
    invariant(relay->arrival.client == NULL);
    relay->arrival.client = client;
    relay->arrival.chunk = chunk;
    relay->arrival.size = size;
    if (co_run_now(turn_main, client, CO_SMALL) == OK)
        return;
    relay->arrival.client = NULL;
    if (client->claim.state != CLAIM_NONE)
        claim_withdraw(&client->claim);
    arrival_end(client, chunk, "53200", "no memory for a coroutine");
}

/* Whether enough of the first message has arrived to claim a server: all of it, or a full chunk. */
static bool arrival_complete(const struct chunk *chunk, uint32_t size)
{
    if (size < WIRE_HEADER)
        return false;
    return size == chunk->size || size - 1 >= wire_u32(chunk->bytes + 1);
}

static bool arrival_needs_server(const struct client *client, const struct chunk *chunk)
{
    return client->server == NULL && !client->skipping && turn_needs_server(chunk->bytes[0]);
}

/* Whether the header is one that no client may send: the turn refuses it without a server. */
static bool arrival_bad(const struct chunk *chunk, uint32_t size)
{
    return size >= WIRE_HEADER && turn_check_header(chunk->bytes) != OK;
}

/* Stashes the bytes; another client that holds more memory may be ended for them. */
static fault arrival_stash(struct client *client, const struct chunk *chunk, uint32_t size)
{
    fault stashed = client_stash(client, chunk->bytes, size);
    if (stashed != OK && relay_relieve(client->relay, client, size) == RELIEF_SOON)
        stashed = client_stash(client, chunk->bytes, size);
    return stashed;
}

/* Shares the answer to a whole statement, or chooses the pool in which it is executed.  *ret_claims
 * false: the turn has to judge the message before it claims a server. */
static COLD enum flight_taken arrival_examine(struct client *client, const struct chunk *chunk,
                                              uint32_t size, bool *ret_claims)
{
    const struct route_config *route = client->pool->route;
    *ret_claims = !turn_firewall_on(client) || turn_firewall_passes(client, chunk->bytes, size);
    if (!*ret_claims)
        return FLIGHT_PASSES;
    if (route->cache.rule_count > 0) {
        enum flight_taken taken = flight_take(client, chunk->bytes, size);
        if (taken != FLIGHT_PASSES)
            return taken;
    }
    if (route->aside != NULL)
        turn_reads_choose(client, chunk->bytes, size);
    client->judged = turn_firewall_on(client);
    return FLIGHT_PASSES;
}

/* Stashes an incomplete message, queues for a server, or runs the turn.  Returns true if the client
 * is still parked. */
static bool arrival_decide(struct client *client, struct chunk *chunk, uint32_t size)
{
    struct relay *relay = client->relay;
    bool bad = arrival_bad(chunk, size);
    bool complete = bad || arrival_complete(chunk, size);
    bool needs = complete && !bad && arrival_needs_server(client, chunk);
    bool claims = needs;
    if (needs && UNLIKELY(client->pool->route->is_examined)) {
        enum flight_taken taken = arrival_examine(client, chunk, size, &claims);
        if (taken != FLIGHT_PASSES) {
            chunk_return(&relay->chunks, &chunk);
            return taken == FLIGHT_SERVED;
        }
    }
    if (complete && (!claims || client_claim(client, &client->waker))) {
        arrival_run(client, chunk, size);
        return false;
    }
    if (arrival_stash(client, chunk, size) != OK) {
        if (client->claim.state != CLAIM_NONE)
            claim_withdraw(&client->claim);
        arrival_end(client, chunk, "53200", "no memory to wait in: memory_limit is in use");
        return false;
    }
    chunk_return(&client->relay->chunks, &chunk);
    if (!needs)
        return true;
    client_become(client, CLIENT_QUEUED);
    timer_set(&client->timer, NEVER);
    return false;
}

/* Handles the want of a chunk to read into: tries again in 1 ms if a client that holds more is
 * being ended, else ends this client. */
static void arrival_starve(struct client *client)
{
    if (relay_relieve(client->relay, client, client->relay->chunks.size) == RELIEF_SOON)
        timer_set(&client->timer, after(ms(1)));
    else
        arrival_end(client, NULL, "53200", "no buffer is free: memory_limit is in use");
}

/* Reads once.  Returns true if the client is still parked, with the beginning of a message. */
static bool arrival_read(struct client *client)
{
    invariant(client->state == CLIENT_PARKED);
    if (client->server != NULL && !stream_may_read(&client->stream) &&
        !stream_hung_up(&client->stream)) {
        arrival_run(client, NULL, 0);
        return false;
    }
    struct chunk *chunk = chunk_lend(&client->relay->chunks);
    if (chunk == NULL) {
        arrival_starve(client);
        return false;
    }
    uint32_t size = client->stash_size;
    size_t more = 0;
    invariant(size < chunk->size);
    if (size > 0)
        memcpy(chunk->bytes, client->stash, size);
    if (client->ahead) {
        client->ahead = false;
        client_drop_stash(client);
        return arrival_decide(client, chunk, size);
    }
    fault read = stream_read_some(&client->stream, chunk->bytes + size, chunk->size - size, &more);
    if (read == FAULT_AGAIN) {
        chunk_return(&client->relay->chunks, &chunk);
        return false;
    }
    if (read != OK) {
        arrival_end(client, chunk, NULL,
                    read == FAULT_CLOSED ? "closed by the client" : fault_detail(read));
        return false;
    }
    hint_add(&client->pool->stats.received, more);
    client_drop_stash(client);
    return arrival_decide(client, chunk, size + (uint32_t)more);
}

void turn_arrive(struct client *client)
{
    /* The client may have disconnected with its last bytes: no further event reports that. */
    while (arrival_read(client) &&
           (stream_may_read(&client->stream) || stream_hung_up(&client->stream)))
        continue;
}

void turn_start_granted(struct client *client)
{
    invariant(client->state == CLIENT_QUEUED && client->claim.state != CLAIM_WAITING);
    client_become(client, CLIENT_TURN); /* until it runs, further events are for the coroutine */
    if (co_start(turn_main, client, CO_SMALL) == OK)
        return;
    claim_withdraw(&client->claim);
    client_farewell(&client, "53200", "no memory for a coroutine");
}

void turn_start_notice(struct client *client, struct buffer *take_rest)
{
    struct unsent_notice unsent = {client, take_rest};
    invariant(client->state == CLIENT_QUEUED && client->claim.state == CLAIM_WAITING);
    if (co_run_now(turn_main_notice, &unsent, CO_SMALL) == OK)
        return;
    buffer_fini(take_rest);
    claim_withdraw(&client->claim);
    client_close(&client, "no memory for a coroutine");
}
