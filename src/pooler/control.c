#include "pooler/control.h"

#include "machine/clock.h"
#include "machine/log.h"
#include "pool/local_pool.h"
#include "pool/router.h"
#include "pooler/pooler.h"
#include "relay/client.h"
#include "relay/move.h"
#include "relay/relay.h"

#include <stdlib.h>

/* The work of a walk over a relay's clients before other events of the relay are handled. */
#define WALK_STEP 1024u
/* Clients that are disconnected in one step; each is more work than a client passed by. */
#define ENDED_AT_A_TIME 32u
#define WALK_ENDS       UINT32_MAX

/* --- orders to all relays --------------------------------------------------------------------- */

struct order {
    struct pooler *pooler;
    const char *database; /* NULL: all */
    uint32_t set;
    uint32_t clear;
    fault result;
    bool doom;
    bool to_close;
    uint64_t count;
    uint64_t serial; /* of the relay's last client that the walk has passed */
    const struct uuid *id;
    const char *why; /* the reason why the client was not moved */
};

/* Calls `each` for a relay's clients, which are listed in the order of their serials.  `each`
 * returns its work, in clients passed by, or WALK_ENDS.  True: the step is over and clients are
 * left. */
static bool walk(struct relay *relay, struct order *order,
                 uint32_t (*each)(struct order *order, struct client *client))
{
    uint32_t done = 0;
    LIST_EACH_SAFE (&relay->clients, it) {
        struct client *client = LIST_ENTRY(it, struct client, node);
        if (client->serial <= order->serial)
            continue;
        if (done >= WALK_STEP)
            return true;
        order->serial = client->serial;
        uint32_t effort = each(order, client);
        if (effort == WALK_ENDS)
            break;
        done += effort;
    }
    order->serial = 0;
    return false;
}

static bool order_is_for(const struct order *order, const char *database)
{
    return order->database == NULL || strcmp(order->database, database) == 0;
}

/* Pauses and resumes the relay's local pools by its copy of the orders. */
static void relay_hold(struct relay *relay)
{
    LIST_EACH_SAFE (&relay->pools.all, it) {
        struct local_pool *pool = LIST_ENTRY(it, struct local_pool, node);
        local_pool_hold(pool, orders_hold(&relay->pools.orders, pool->database));
    }
}

static void visit_mark(struct relay *relay, void *argument)
{
    struct order *order = argument;
    if (relay == NULL) {
        if (order->doom)
            router_doom(pooler_router(order->pooler), order->database);
        return;
    }
    if (order->database == NULL) {
        relay->pools.orders.paused =
            (order->set & ORDER_PAUSED) != 0 ||
            (relay->pools.orders.paused && (order->clear & ORDER_PAUSED) == 0);
    } else {
        fault marked = orders_mark(&relay->pools.orders, order->database, order->set, order->clear);
        order->result = order->result == OK ? marked : order->result;
    }
    relay_hold(relay);
}

fault control_mark(struct pooler *pooler, const char *database, uint32_t set, uint32_t clear)
{
    struct order order = {.pooler = pooler,
                          .database = database,
                          .set = set,
                          .clear = clear,
                          .doom = (set & ORDER_PAUSED) != 0};
    invariant(database != NULL || ((set | clear) & ORDER_DISABLED) == 0);
    pooler_look(pooler, visit_mark, &order);
    log_event(LOG_NOTICE, "control.marked", log_text("database", database == NULL ? "*" : database),
              log_number("set", set), log_number("clear", clear));
    if (order.result == FAULT_LIMIT)
        return fault_raise(FAULT_LIMIT, "more than %u databases are paused or disabled",
                           ORDER_MARKS_MAX);
    return order.result;
}

static void visit_doom(struct relay *relay, void *argument)
{
    const struct order *order = argument;
    if (relay == NULL)
        router_doom(pooler_router(order->pooler), order->database);
}

void control_reconnect(struct pooler *pooler, const char *database)
{
    struct order order = {.pooler = pooler, .database = database};
    pooler_look(pooler, visit_doom, &order);
    log_event(LOG_NOTICE, "control.reconnect",
              log_text("database", database == NULL ? "*" : database));
}

/* --- backends --------------------------------------------------------------------------------- */

struct drain {
    struct pooler *pooler;
    const char *backend;
    uint32_t (*mark)(struct router *router, const char *backend);
    uint32_t count;
};

static void visit_drain(struct relay *relay, void *argument)
{
    struct drain *drain = argument;
    if (relay == NULL)
        drain->count = drain->mark(pooler_router(drain->pooler), drain->backend);
}

uint32_t control_drain(struct pooler *pooler, const char *backend)
{
    struct drain drain = {.pooler = pooler, .backend = backend, .mark = router_drain};
    pooler_look(pooler, visit_drain, &drain);
    log_event(LOG_NOTICE, "control.drain", log_text("backend", backend),
              log_number("backends", drain.count));
    return drain.count;
}

uint32_t control_undrain(struct pooler *pooler, const char *backend)
{
    struct drain drain = {.pooler = pooler, .backend = backend, .mark = router_undrain};
    pooler_look(pooler, visit_drain, &drain);
    log_event(LOG_NOTICE, "control.undrain", log_text("backend", backend),
              log_number("backends", drain.count));
    return drain.count;
}

/* --- disconnecting clients -------------------------------------------------------------------- */

static bool kill_wants(const struct order *order, const struct client *client)
{
    if (order->id != NULL)
        return memcmp(order->id->bytes, client->id.bytes, sizeof(client->id.bytes)) == 0;
    return client->pool != NULL && order_is_for(order, client->pool->database);
}

static uint32_t walk_kill(struct order *order, struct client *client)
{
    if (!kill_wants(order, client))
        return 1;
    order->count += 1;
    client_kill(client);
    return WALK_STEP / ENDED_AT_A_TIME;
}

static bool visit_kill(struct relay *relay, void *argument)
{
    return relay != NULL && walk(relay, argument, walk_kill);
}

static void visit_still(struct relay *relay, void *argument)
{
    const int *more = argument;
    if (relay != NULL)
        relay->pools.orders.still += (uint32_t)*more;
}

/* Walks over the clients of all relays while none can move to another relay: a moving client would
 * be met twice or not at all.  Clients that moved off before the first round have arrived before
 * the second one. */
static void control_walk(struct pooler *pooler, struct order *order)
{
    int one = 1, less = -1;
    pooler_look(pooler, visit_still, &one);
    pooler_look_on(pooler, visit_kill, order);
    pooler_look(pooler, visit_still, &less);
}

fault control_kill(struct pooler *pooler, const char *database)
{
    struct order order = {.pooler = pooler, .database = database};
    TRY(control_mark(pooler, database, ORDER_PAUSED, 0));
    control_walk(pooler, &order);
    return OK;
}

bool control_kill_client(struct pooler *pooler, const struct uuid *id)
{
    struct order order = {.pooler = pooler, .id = id};
    control_walk(pooler, &order);
    return order.count > 0;
}

/* --- moving one client ------------------------------------------------------------------------ */

/* Returns the relay with the fewest clients, except `own`; NULL: there is no other. */
static struct relay *move_target(struct pooler *pooler, const struct relay *own)
{
    struct relay *best = NULL;
    for (uint32_t i = 0; i < pooler_relays(pooler); i++) {
        struct relay *relay = pooler_relay(pooler, i);
        if (relay == own)
            continue;
        if (best == NULL || hint_read(&relay->hints.clients) < hint_read(&best->hints.clients))
            best = relay;
    }
    return best;
}

static void order_move(struct order *order, struct client *client)
{
    struct relay *to = move_target(order->pooler, client->relay);
    order->count = 1;
    order->why = to == NULL ? "there is one relay only" : move_hindrance(client);
    if (order->why == NULL && move_client(client, to) != OK)
        order->why = "its state is too large to transfer";
}

static uint32_t walk_move(struct order *order, struct client *client)
{
    if (!kill_wants(order, client))
        return 1;
    order_move(order, client);
    return WALK_ENDS;
}

static bool visit_move(struct relay *relay, void *argument)
{
    const struct order *order = argument;
    return relay != NULL && order->count == 0 && walk(relay, argument, walk_move);
}

static void visit_nothing(struct relay *relay UNUSED, void *argument UNUSED)
{
}

fault control_move_client(struct pooler *pooler, const struct uuid *id)
{
    struct order order = {.pooler = pooler, .id = id};
    pooler_look_on(pooler, visit_move, &order);
    if (order.count == 0)
        return FAULT_ROUTE;
    if (order.why != NULL)
        return fault_raise_state(FAULT_AGAIN, "55000", "the client can't be moved now: %s",
                                 order.why);
    pooler_look(pooler, visit_nothing, NULL); /* the client arrives before this round visits */
    return OK;
}

/* --- SUSPEND and shutdown --------------------------------------------------------------------- */

static uint32_t walk_suspend(struct order *order, struct client *client)
{
    if (client->pool != NULL || client->state == CLIENT_LOGIN)
        client_hold(client, order->set != 0);
    return 1;
}

/* Suspends or continues the clients of one relay.  Clients that come later are suspended from their
 * first byte on. */
static bool visit_suspend(struct relay *relay, void *argument)
{
    const struct order *order = argument;
    if (relay == NULL)
        return false;
    relay->pools.orders.suspended = order->set != 0;
    return walk(relay, argument, walk_suspend);
}

void control_suspend(struct pooler *pooler, bool suspended)
{
    struct order order = {.pooler = pooler, .set = suspended};
    pooler_look_on(pooler, visit_suspend, &order);
    log_event(LOG_NOTICE, suspended ? "control.suspended" : "control.continued",
              log_text("clients", "all"));
}

struct held {
    bool paused;
    bool suspended;
    bool closing;
};

static void visit_held(struct relay *relay, void *argument)
{
    struct held *held = argument;
    if (relay == NULL)
        return;
    held->paused = held->paused || relay->pools.orders.paused;
    held->suspended = held->suspended || relay->pools.orders.suspended;
    held->closing = held->closing || relay->pools.orders.closing;
}

fault control_resume(struct pooler *pooler)
{
    struct held held = {.paused = false};
    pooler_look(pooler, visit_held, &held);
    if (held.closing)
        return fault_raise_state(FAULT_SHUTDOWN, "55000", "the pooler is shutting down");
    if (!held.paused && !held.suspended)
        return fault_raise_state(FAULT_AGAIN, "55000",
                                 "the pooler is neither paused nor suspended");
    if (held.suspended)
        control_suspend(pooler, false);
    return control_mark(pooler, NULL, 0, ORDER_PAUSED);
}

static uint64_t local_pool_busy(const struct local_pool *pool)
{
    uint64_t busy = pool->held ? 0 : pool->claims.count;
    LIST_EACH (&pool->busy, it) {
        const struct server *server = LIST_ENTRY(it, struct server, node);
        const struct client *client = server->client;
        busy +=
            server->state == SERVER_CLEANING || (client != NULL && client->state == CLIENT_TURN);
    }
    return busy;
}

static void visit_busy(struct relay *relay, void *argument)
{
    struct order *order = argument;
    if (relay == NULL)
        return;
    LIST_EACH (&relay->pools.all, it)
        order->count += local_pool_busy(LIST_ENTRY(it, struct local_pool, node));
}

uint64_t control_busy(struct pooler *pooler)
{
    struct order order = {.pooler = pooler};
    pooler_look(pooler, visit_busy, &order);
    return order.count;
}

static void visit_close(struct relay *relay, void *argument)
{
    if (relay != NULL)
        relay->pools.orders.closing = true;
}

void control_close(struct pooler *pooler)
{
    pooler_look(pooler, visit_close, NULL);
}

/* --- counting servers ------------------------------------------------------------------------- */

static void visit_servers(struct relay *relay, void *argument)
{
    struct order *order = argument;
    if (relay == NULL)
        order->count =
            router_servers(pooler_router(order->pooler), order->database, order->to_close);
}

uint64_t control_servers(struct pooler *pooler, const char *database, bool to_close)
{
    struct order order = {.pooler = pooler, .database = database, .to_close = to_close};
    pooler_look(pooler, visit_servers, &order);
    return order.count;
}
