/* turn_reads.c - reads at a replica: what must be known in front of them and behind them. */
#include "relay/turn/turn_reads.h"

#include "machine/clock.h"
#include "wire/messages.h"

#include <stdlib.h>

/* Between two questions of a read that waits for its replica. */
#define READS_PAUSE ms(5)

static const struct reads_config *settings_of(const struct turn *turn)
{
    return &turn->client->pool->route->reads;
}

/* --- where the server's log is ---------------------------------------------------------------- */

/* Sends the question; the reply is swallowed. */
static bool put_question(struct turn *turn)
{
    struct server *server = turn->server;
    const struct session *session = &server->session;
    const char *sql =
        session->position.at != 0 && !session->replica ? wal_position_again_sql : wal_position_sql;
    size_t size = WIRE_HEADER + strlen(sql) + 1;
    if (!ledger_has_room(&server->session.ledger, 2))
        return false;
    uint8_t *at = outbox_make(&turn->up.out, &turn->relay->chunks, size);
    if (at == NULL)
        return false;
    at[0] = WIRE_QUERY;
    wire_store_u32(at + 1, (uint32_t)size - 1);
    memcpy(at + WIRE_HEADER, sql, size - WIRE_HEADER);
    server->session.unnamed.of = 0; /* a simple query destroys it */
    ledger_owe(&server->session.ledger,
               (struct owed){.kind = OWED_QUERY, .fate = FATE_SWALLOW, .about = ABOUT_POSITION});
    return true;
}

void turn_reads_told(struct turn *turn, struct span row)
{
    struct session *session = &turn->server->session;
    struct wal_position told;
    bool replica;
    if (!wal_position_read(row, &session->position, &replica, &told))
        return;
    session->position = told;
    session->replica = replica;
    turn->server->standby = turn->server->standby && replica;
    turn->reads.told = turn->client != NULL && turn->reads.asked;
}

/* Whether what the client has seen is to be asked for. */
static bool must_ask(const struct turn *turn)
{
    return settings_of(turn)->consistency == READS_SESSION &&
           (turn->reads.away || turn->client->pool->route->aside != NULL) &&
           turn->server_end == SERVER_OPEN && turn->state == TURN_SERVING &&
           !turn->client->leaving && turn->client->reads->writes.unknown;
}

bool turn_reads_asks(struct turn *turn)
{
    struct session *session = &turn->server->session;
    if (turn->reads.asked) {
        session->unnamed.of = 0; /* as the question did behind what was settled since */
        if (turn->reads.told)
            own_writes_told(&turn->client->reads->writes, &session->position);
        return false;
    }
    if (!must_ask(turn) || !put_question(turn))
        return false; /* what the client has seen stays unknown: it reads from the primary */
    turn->reads.asked = turn->reads.stopped = true;
    bool moved = false;
    (void)!turn_send_up(turn, &moved); /* what it can't send it leaves */
    return true;
}

void turn_reads_look(struct turn *turn)
{
    const struct direction *up = &turn->up;
    const struct session *session = &turn->server->session;
    bool begins = up->passing == 0 && up->dropping == 0 && turn->held == NULL;
    turn->reads.with =
        begins && session->ledger.doubt == 0 && session->pin == NULL && !turn->resets.any &&
        must_ask(turn) &&
        turn_reads_is_last(turn->client, up->chunk->bytes + up->begin, up->end - up->begin,
                           session->transaction != WIRE_TX_IDLE);
}

/* Sends the question in one piece with the statement that was walked just now, if nothing has come
 * up meanwhile that it must not get into. */
static void ask_with(struct turn *turn)
{
    const struct session *session = &turn->server->session;
    turn->reads.with = false;
    if (turn->reads.asked || session->pin != NULL || turn->resets.any || turn->client->skipping ||
        turn->up.begin != turn->up.end || !put_question(turn))
        return;
    turn->reads.asked = turn->reads.stopped = true;
}

void turn_reads_runs(struct turn *turn)
{
    turn->reads.unrun = false;
    own_writes_begin(&turn->client->reads->writes);
}

/* Whether a probe has found the replica past what the client has seen. */
static bool is_sampled_within(const struct turn *turn)
{
    struct wal_position found;
    return server_sampled(turn->server, &found) &&
           own_writes_within(&turn->client->reads->writes, &found);
}

/* Asks a replica until it has what the client has seen, or until read_wait has passed. */
static fault await_position(struct turn *turn, bool *ret_within)
{
    const struct own_writes *writes = &turn->client->reads->writes;
    const struct session *session = &turn->server->session;
    duration wait = settings_of(turn)->wait;
    deadline by = after(wait);
    *ret_within = own_writes_within(writes, &session->position) || is_sampled_within(turn);
    while (!*ret_within) {
        if (!put_question(turn))
            return OK;
        TRY(turn_drain(turn, after(turn->relay->pools.config->reset_timeout)));
        TRY(turn->state_fault);
        *ret_within = own_writes_within(writes, &session->position);
        if (*ret_within || wait.us == 0 || now().us >= by.us)
            return OK;
        fault waited = turn_wait(turn, earlier_of(by, after(READS_PAUSE)));
        if (waited != OK && waited != FAULT_TIMEOUT)
            return waited;
        if (stream_hung_up(&turn->client->stream))
            return FAULT_CLOSED;
    }
    return OK;
}

/* --- getting a server, losing it -------------------------------------------------------------- */

/* Makes a server of the pool for reads ready for the client, after its parameters.  OK without a
 * server: the read goes to the primary, or was refused. */
static fault prepare_away(struct turn *turn, fault adopted)
{
    struct client_reads *reads = turn->client->reads;
    bool within = true;
    fault ready = adopted;
    if (turn->server == NULL)
        return ready;
    if (ready == OK && settings_of(turn)->consistency == READS_SESSION)
        ready = await_position(turn, &within);
    if ((ready == FAULT_UPSTREAM || ready == FAULT_TIMEOUT) && turn_reads_survives(turn))
        return OK;
    turn->reads.checking = false;
    if (ready != OK || within)
        return ready;
    hint_add(&reads->home->reads.behind, 1);
    reads->stays = true;
    turn_detach_server(turn);
    return OK;
}

void turn_reads_attach(struct turn *turn)
{
    const struct client_reads *reads = turn->client->reads;
    bool away = reads->home != NULL;
    bool session = settings_of(turn)->consistency == READS_SESSION;
    turn->reads = (struct turn_reads){.away = away, .checking = away, .watched = away || session};
}

fault turn_reads_attached(struct turn *turn, fault adopted)
{
    struct client_reads *reads = turn->client->reads;
    struct direction *up = &turn->up;
    TRY(turn->reads.away ? prepare_away(turn, adopted) : adopted);
    if (turn->server == NULL)
        return OK;
    turn->reads.unrun = !turn->reads.away && up->chunk != NULL && up->begin != up->end &&
                        turn_reads_runs_nothing(up->chunk->bytes + up->begin, up->end - up->begin);
    if (!turn->reads.unrun)
        own_writes_begin(&reads->writes);
    if (up->chunk != NULL && up->begin != up->end)
        turn_reads_look(turn);
    if (!turn->reads.away)
        return OK;
    hint_add(&reads->home->reads.sent, 1);
    turn->reads.undecided = !reads->begins && up->chunk != NULL && up->begin != up->end;
    if (turn->reads.undecided) {
        up->keeps = true;
        up->kept = up->begin;
    }
    return OK;
}

void turn_reads_detached(struct turn *turn)
{
    struct client_reads *reads = turn->client->reads;
    struct direction *up = &turn->up;
    if (turn->reads.again && up->keeps) { /* else the client has disconnected */
        invariant(up->kept <= up->begin && up->begin <= up->end);
        up->begin = up->kept;
        turn->message.starved = false;
        reads->stays = true;
        hint_add(&reads->home->reads.again, 1);
    }
    if (turn->reads.away) {
        up->keeps = false;
        direction_settle(up, &turn->relay->chunks);
    }
    turn->reads = (struct turn_reads){0};
    turn_reads_home(turn->client);
}

/* Whether nothing of the client's is lost with the server: it owes the position, or a read that can
 * be sent again.  What a primary was sent can't: a view may hide a write, which may be committed.
 */
static bool nothing_is_lost(const struct turn *turn)
{
    const struct ledger *ledger = &turn->server->session.ledger;
    const struct owed *head = ledger_head(ledger);
    if (turn->reads.again || turn->reads.checking)
        return true;
    if (turn->reads.undecided && (turn->server->standby || turn->up.begin == turn->up.kept))
        return true;
    return ledger->count == 1 && head->about == ABOUT_POSITION;
}

bool turn_reads_survives(struct turn *turn)
{
    struct server *server = turn->server;
    struct direction *down = &turn->down;
    if (server == NULL || turn->client == NULL || turn->client->reads == NULL ||
        turn->state != TURN_SERVING || !nothing_is_lost(turn) || !direction_sent(down))
        return false;
    turn->reads.again =
        turn->reads.again || (turn->reads.undecided && turn->up.begin > turn->up.kept);
    turn->client->reads->stays =
        turn->client->reads->stays || turn->reads.undecided || turn->reads.checking;
    outbox_drop(&turn->up.out, &turn->relay->chunks);
    turn->up.flushing = false;
    down->begin = down->end;
    down->passing = 0;
    direction_settle(down, &turn->relay->chunks);
    turn->reply = (struct turn_reply){0};
    turn->message.awaits = false;
    turn->state_fault = OK;
    ledger_fini(&server->session.ledger);
    server_free_pin(server);
    server->broken = true;
    turn_detach_server(turn);
    return true;
}

bool turn_reads_goes_home(struct turn *turn)
{
    struct client_reads *reads = turn->client->reads;
    bool again = reads->home != NULL && reads->home->route->reads.where == READS_PREFER_REPLICA;
    turn_reads_home(turn->client);
    reads->stays = again;
    return again;
}

/* --- the client's messages -------------------------------------------------------------------- */

/* The client keeps its server, since a transaction that reads is open, or state of its session
 * pins it: what it does from now on is behind the position that was told. */
static void goes_on(struct turn *turn)
{
    if (turn->reads.asked)
        turn->server->session.unnamed.of = 0;
    turn->reads.stopped = turn->reads.asked = turn->reads.told = false;
}

bool turn_reads_stops(struct turn *turn)
{
    const struct session *session = &turn->server->session;
    if (turn->reads.stopped && ledger_empty(&session->ledger) &&
        (turn->reads.asked || (turn->reads.away && session->transaction != WIRE_TX_IDLE)))
        goes_on(turn);
    return turn->reads.stopped;
}

void turn_reads_sent(struct turn *turn, uint8_t type)
{
    if (type != WIRE_QUERY && type != WIRE_SYNC && type != WIRE_FUNCTION_CALL)
        return;
    if (turn->reads.with)
        ask_with(turn);
    turn->reads.stopped = turn->reads.stopped || turn->reads.away;
}

/* --- the replica's replies -------------------------------------------------------------------- */

/* Errors that the primary would not give: it may write, has the feature, is not behind, and cancels
 * nothing for what it replays.  The last three are of a replica that lacks an object still. */
static bool is_of_replica(struct span sqlstate)
{
    static const char *const states[] = {"25006", "0A000", "55000", "40001", "40P01", "57P04",
                                         "57P01", "57P02", "42P01", "42703", "42883"};
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        if (span_is(sqlstate, states[i]))
            return true;
    return false;
}

/* Whether another run would fail in the same way. */
static bool is_lasting(struct span sqlstate)
{
    return span_is(sqlstate, "25006") || span_is(sqlstate, "0A000") || span_is(sqlstate, "55000");
}

/* Ends the batch at the server if its Sync was not sent yet, and leaves the rest of it out: all of
 * it is sent again. */
static bool end_unit(struct turn *turn)
{
    struct ledger *ledger = &turn->server->session.ledger;
    if (!ledger->extended && !ledger->skipping)
        return true;
    return turn_make_sync(turn);
}

/* Takes an error of the replica in place of the read's result.  True: it is held back, because the
 * server closes. */
static bool take_error(struct turn *turn, struct span body)
{
    struct client_reads *reads = turn->client->reads;
    struct wire_error error;
    if (wire_read_error(body, &error) != OK || !is_of_replica(error.sqlstate) ||
        turn->state != TURN_SERVING || !turn->up.keeps) {
        turn->reads.undecided = false;
        return false;
    }
    if (is_lasting(error.sqlstate))
        local_pool_read_failed(reads->home, reads->fingerprint);
    if (span_is(error.severity, "FATAL")) {
        turn->reads.undecided = turn->server->standby;
        if (!turn->server->standby)
            return false; /* what it ran may be committed */
        turn_server_ends(turn, SERVER_CLOSED);
        return true;
    }
    turn->reads.undecided = false;
    if (!end_unit(turn))
        return false;
    turn->reads.again = turn->reads.stopped = true;
    ledger_swallow_all(&turn->server->session.ledger);
    return false;
}

/* Whether a message says nothing yet of how the read ends. */
static bool is_head(uint8_t type)
{
    return type == WIRE_PARSE_COMPLETE || type == WIRE_BIND_COMPLETE ||
           type == WIRE_ROW_DESCRIPTION || type == WIRE_NO_DATA || type == WIRE_NOTICE ||
           type == WIRE_PARAMETER_STATUS;
}

bool turn_reads_holds(struct turn *turn, uint32_t at)
{
    const struct direction *down = &turn->down;
    const struct owed *head = ledger_head(&turn->server->session.ledger);
    if (head == NULL)
        return false;
    bool own = head->fate == FATE_SWALLOW;
    while (down->end - at >= WIRE_HEADER) {
        uint8_t type = down->chunk->bytes[at];
        uint32_t length = wire_u32(down->chunk->bytes + at + 1);
        bool whole = length >= 4 && length < down->end - at;
        if (own && type != WIRE_ERROR)
            return false; /* a reply to a message of ours; the walk takes it */
        if (own && (head->about == ABOUT_STATE || head->about == ABOUT_POSITION))
            return false;
        if (whole && type == WIRE_ERROR)
            return take_error(turn, span_of(down->chunk->bytes + at + WIRE_HEADER, length - 4));
        if (!is_head(type) && type != WIRE_ERROR) {
            turn->reads.undecided = false;
            return false;
        }
        if (!whole)
            break;
        at += length + 1;
    }
    /* What does not fit into a chunk is not waited for. */
    turn->reads.undecided = down->end < down->chunk->size;
    return turn->reads.undecided;
}
