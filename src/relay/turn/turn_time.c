/*
 * turn_time.c - timeouts of queries, transactions and idle clients.
 *
 * Nothing is measured where no timeout is set.  Where one is, the turn looks at the clock only when
 * it waits.  What it waits for, and since when, decides which timeouts run.  The deadline goes to
 * the coroutine's own timer, whose entry moves lazily, so that a query that ends in time costs a
 * few stores.
 */
#include "machine/clock.h"
#include "relay/turn/turn.h"

#include <inttypes.h>

/* The timeout that passes first, and what its error says. */
struct due {
    deadline by;
    const char *sqlstate;
    const char *setting;
    duration limit;
};

static void due_at(struct due *due, moment since, duration limit, const char *sqlstate,
                   const char *setting)
{
    deadline by = later(since, limit);
    if (limit.us == INT64_MAX || by.us >= due->by.us)
        return;
    *due = (struct due){by, sqlstate, setting, limit};
}

static void due_in_transaction(struct due *due, const struct client *client, moment silent)
{
    const struct local_pool_times *times = &client->pool->times;
    due_at(due, silent, times->idle_transaction, "25P03", "idle_transaction_timeout");
    if (client->began.us != 0)
        due_at(due, client->began, times->transaction, "25P04", "transaction_timeout");
}

static fault due_raise(const struct due *due)
{
    invariant(due->sqlstate != NULL);
    bool query = strcmp(due->sqlstate, "57014") == 0;
    return fault_raise_state(FAULT_TIMEOUT, due->sqlstate,
                             query ? "canceling statement due to %s (%" PRId64 " ms)"
                                   : "terminating connection due to %s (%" PRId64 " ms)",
                             due->setting, due->limit.us / 1000);
}

/* --- while a turn is under way ---------------------------------------------------------------- */

/* Notes what the turn waits for now.  Keeps the time since when if that is unchanged. */
static void turn_note_phase(struct turn *turn, enum turn_phase phase)
{
    const struct server *server = turn->server;
    if (turn->times.phase == phase && turn->times.mark.us == server->used.us)
        return;
    turn->times.phase = phase;
    turn->times.mark = server->used;
    turn->times.since = now();
    if (turn->client->began.us == 0)
        turn->client->began = now();
}

fault turn_wait_timed(struct turn *turn)
{
    const struct server *server = turn->server;
    struct due due = {.by = NEVER};
    if (server == NULL || turn->client->internal) /* those that wait for it have their own limits */
        return turn_wait(turn, NEVER);
    const struct local_pool_times *times = &turn->client->pool->times;
    if (ledger_quiet(&server->session.ledger)) {
        turn_note_phase(turn, PHASE_SILENT);
        due_in_transaction(&due, turn->client, turn->times.since);
    } else {
        turn_note_phase(turn, PHASE_ASKING);
        due_at(&due, turn->times.since, times->query, "57014", "query_timeout");
        due_at(&due, turn->client->began, times->transaction, "25P04", "transaction_timeout");
    }
    if (due.by.us <= now().us)
        return due_raise(&due);
    fault waited = turn->bulk.gathers ? turn_bulk_wait(turn) : turn_wait(turn, due.by);
    return waited == FAULT_TIMEOUT ? due_raise(&due) : waited;
}

/* --- while the client is parked --------------------------------------------------------------- */

static struct due client_due(const struct client *client, moment since)
{
    struct due due = {.by = NEVER};
    if (client->server != NULL && client->server->session.transaction != WIRE_TX_IDLE)
        due_in_transaction(&due, client, since);
    else
        due_at(&due, since, client->pool->times.client_idle, "57P05", "client_idle_timeout");
    return due;
}

void client_arm_idle(struct client *client)
{
    if (client->pool == NULL || !client->pool->times.any || client->internal)
        return;
    if (client->silent.us == 0)
        client->silent = now();
    timer_set(&client->timer, client_due(client, client->silent).by);
}

void client_arm_idle_again(struct client *client)
{
    timer_set(&client->timer, client_due(client, client->silent).by);
}

fault client_overdue(const struct client *client)
{
    struct due due = client_due(client, client->silent);
    return due.by.us <= now().us ? due_raise(&due) : OK;
}

void client_arm_all(struct local_pool *pool, bool was)
{
    LIST_EACH (&local_pool_relay(pool)->clients, it) {
        struct client *client = LIST_ENTRY(it, struct client, node);
        if (client->pool != pool || client->state != CLIENT_PARKED)
            continue;
        if (!was)
            client->silent = now(); /* not measured until now */
        /* Input that waits for the timer, as after a login: no event reports it again. */
        deadline idle = pool->times.any ? client_due(client, client->silent).by : NEVER;
        timer_set(&client->timer, client_has_more(client) ? now() : idle);
    }
}
