/*
 * relay_memory.c - which client is disconnected when a relay has no memory left.
 *
 * The relay's chunk store counts its part of memory_limit: lent chunks, long messages held whole on
 * the heap, and all other memory whose amount clients determine (counted.h).  Caches (answers of
 * auth_query, accepted parameter values) are emptied first.  Then a client that wants more memory
 * than is left is refused, unless another client holds more than this one would have.  In that case
 * the client that holds most is disconnected ("shed"), of equals the newest, and the first client
 * goes on.  With very many clients only a part is looked at in one go, and the next look begins
 * where the last one ended.  The client that is refused or shed gets an error (53200) and is logged
 * and counted.
 */
#include "auth/auth_query.h"
#include "machine/clock.h"
#include "machine/ids.h"
#include "machine/log.h"
#include "relay/turn/turn.h"
#include "session/accepted.h"
#include "session/counted.h"
#include "session/pin.h"

#include <inttypes.h>
#include <stdlib.h>

/* How long a client waits for memory: pause between checks, and number of checks.  The end of the
 * client that is shed waits for no other client. */
#define SHED_PAUSE ms(1)
#define SHED_TRIES 1000
/* Clients looked at in one go, before the relay goes on with other work. */
#define LOOKED_AT_A_TIME 4096u
/* Prepared statements and ledger entries of these clients, together. */
#define ENTRIES_AT_A_TIME 65536u
/* Age below which a client that is not authenticated is not disconnected. */
#define UNAUTHENTICATED_MIN sec(1)

/* --- what a client holds ---------------------------------------------------------------------- */

/* Returns the bytes of a set of parameters, divided by those who share it. */
static uint64_t params_hold(const struct params *params)
{
    return params == NULL ? 0 : params->size / params->references;
}

/* Returns the bytes of a name and its parameters, and its part of a shared text. */
static uint64_t name_holds(const struct client_statement *named)
{
    const struct statement *statement = named->statement;
    return sizeof(*named) + named->size + params_hold(named->params) +
           (sizeof(*statement) + statement->size) / statement->references;
}

static uint64_t names_hold(const struct client *client, uint32_t *entries)
{
    const struct map *names = &client->statements;
    uint64_t bytes = 0;
    *entries += names->count;
    if (names->count == 0)
        return 0;
    for (struct map_link *link = map_next(names, NULL); link != NULL; link = map_next(names, link))
        bytes += name_holds(MAP_ENTRY(link, const struct client_statement, link));
    return bytes;
}

/* Returns the bytes that a ledger entry holds.  A name that was closed is held until the Close is
 * answered. */
static uint64_t owed_holds(const struct owed *owed)
{
    switch ((enum owed_about)owed->about) {
    case ABOUT_CLOSE: {
        const struct client_statement *named = owed->what;
        return named->current ? 0 : name_holds(named);
    }
    case ABOUT_EFFECTS:
    case ABOUT_DEALLOCATE:
    case ABOUT_REFUSED:
        return sizeof(struct query_effects); /* an estimate */
    default:
        return 0;
    }
}

static uint64_t ledger_holds(const struct ledger *ledger, uint32_t *entries)
{
    uint64_t bytes = ledger_ring_bytes(ledger);
    *entries += ledger->count;
    for (uint32_t i = 0; i < ledger->count; i++)
        bytes += owed_holds(&ledger->ring[(ledger->head + i) & ledger->mask]);
    return bytes;
}

static uint64_t turn_holds(const struct client *client)
{
    if (client->state != CLIENT_TURN || client->co == NULL || client->turn == NULL)
        return 0;
    const struct turn *turn = client->turn;
    return (turn->held != NULL ? turn->held_max : 0) + (uint64_t)turn->up.out.held;
}

/* Returns the bytes that a client holds.  `*entries` grows by the number of names and ledger
 * entries that were counted. */
static uint64_t client_holds(const struct client *client, uint32_t *entries)
{
    uint64_t bytes = client->stash_size + client->unnamed_room + turn_holds(client) +
                     params_hold(client->params) + params_hold(client->given) +
                     params_hold(client->unnamed_params);
    if (client->server != NULL)
        bytes += ledger_holds(&client->server->session.ledger, entries);
    return bytes + names_hold(client, entries);
}

/* Returns the next client, or the first behind the last. */
static struct node *client_after(const struct list *clients, struct node *node)
{
    return node->next == &clients->head ? clients->head.next : node->next;
}

void relay_drop_client(struct relay *relay, struct client *client)
{
    if (relay->shedding.at == &client->node)
        relay->shedding.at =
            relay->clients.count > 1 ? client_after(&relay->clients, &client->node) : NULL;
    if (client->shed)
        relay->shedding.under_way -= 1;
    list_remove(&relay->clients, &client->node);
    hint_write(&relay->hints.clients, relay->clients.count);
}

/* Looks at the next clients, all of them if they are few enough, and returns the one that holds
 * most, if it holds more than `asking` with `wanted`; NULL: none does.  *ret_holds: the bytes of
 * the largest, or of `asking`. */
static struct client *relay_largest(struct relay *relay, const struct client *asking,
                                    uint64_t wanted, uint64_t *ret_holds)
{
    struct client *largest = NULL;
    uint32_t looks = MIN_OF(relay->clients.count, LOOKED_AT_A_TIME);
    struct node *it = relay->shedding.at != NULL ? relay->shedding.at : list_first(&relay->clients);
    uint32_t entries = 0, looked = 0;
    *ret_holds = wanted + client_holds(asking, &entries);
    for (; looked < looks && entries < ENTRIES_AT_A_TIME;
         looked++, it = client_after(&relay->clients, it)) {
        struct client *client = LIST_ENTRY(it, struct client, node);
        uint64_t holds = client_holds(client, &entries);
        if (client == asking || client->shed || holds == 0 || holds < *ret_holds ||
            (holds == *ret_holds && (largest == NULL || client->serial < largest->serial)))
            continue;
        largest = client;
        *ret_holds = holds;
    }
    relay->shedding.at = it;
    relay->shedding.looked = largest != NULL ? 0 : relay->shedding.looked + looked;
    return largest;
}

static void memory_log(const struct client *client, uint64_t bytes)
{
    const struct relay *relay = client->relay;
    const struct local_pool *pool = client->pool;
    log_event(LOG_WARNING, "memory.shed", log_id("client", &client->id),
              log_text("database", pool == NULL ? "" : pool->database),
              log_text("user", pool == NULL ? "" : pool->user), log_number("bytes", bytes),
              log_number("relay", relay->index),
              log_number("in_use", chunk_store_bytes(&relay->chunks)),
              log_number("memory_limit", relay->pools.config->memory_max));
}

/* Empties the relay's caches; returns whether that freed memory. */
static bool relay_forget(struct relay *relay)
{
    uint64_t before = relay->chunks.held;
    auth_cache_clear(relay->auth.cache);
    LIST_EACH (&relay->pools.all, it)
        accepted_clear(&LIST_ENTRY(it, struct local_pool, node)->accepted);
    return relay->chunks.held < before;
}

/* Returns the oldest client that is not authenticated, to be shed if no client holds more than
 * `asking`: such clients must not keep others out.  NULL: none. */
static struct client *relay_oldest_preauth(const struct relay *relay, const struct client *asking)
{
    uint32_t looks = LOOKED_AT_A_TIME;
    LIST_EACH (&relay->clients, it) {
        struct client *client = LIST_ENTRY(it, struct client, node);
        if (looks-- == 0 || later(client->connected, UNAUTHENTICATED_MIN).us > now().us)
            return NULL; /* the others are younger */
        if (client->preauth != NULL && client != asking && !client->shed && !client->crowded)
            return client;
    }
    return NULL;
}

enum relay_relief relay_relieve(struct relay *relay, struct client *asking, uint64_t wanted)
{
    uint64_t holds;
    if (relay->shedding.under_way > 0 || relay_forget(relay))
        return RELIEF_SOON;
    struct client *victim = relay_largest(relay, asking, wanted, &holds);
    if (victim == NULL && relay->shedding.looked < relay->clients.count)
        return RELIEF_SOON; /* a client not looked at yet may hold more */
    relay->shedding.looked = 0;
    if (victim == NULL) {
        victim = relay_oldest_preauth(relay, asking);
        if (victim != NULL)
            victim->crowded = true;
    }
    hint_add(&relay->hints.shed, 1);
    memory_log(victim != NULL ? victim : asking, holds);
    if (victim == NULL)
        return RELIEF_NONE;
    victim->shed = true;
    relay->shedding.under_way += 1;
    client_end(victim);
    return RELIEF_SOON;
}

static fault turn_relieve(struct turn *turn, uint64_t wanted, uint32_t *tries)
{
    if (*tries < SHED_TRIES && relay_relieve(turn->relay, turn->client, wanted) == RELIEF_SOON) {
        *tries += 1;
        return co_sleep(SHED_PAUSE);
    }
    return fault_raise(FAULT_MEMORY,
                       "no memory for %" PRIu64 " bytes: memory_limit=%zu is in use, and nobody "
                       "holds more",
                       wanted, turn->relay->pools.config->memory_max);
}

fault client_room(struct client *client, uint64_t wanted)
{
    struct relay *relay = client->relay;
    for (uint32_t tries = 0; !chunk_has_room(&relay->chunks, wanted); tries++) {
        if (tries == SHED_TRIES || relay_relieve(relay, client, wanted) != RELIEF_SOON)
            return FAULT_MEMORY;
        TRY(co_sleep(SHED_PAUSE));
    }
    return OK;
}

fault turn_intern(struct turn *turn, struct span body, struct statement **ret)
{
    uint32_t tries = 0;
    fault interned;
    while ((interned = statement_intern(&turn->relay->statements, body, ret)) == FAULT_MEMORY)
        TRY(turn_relieve(turn, sizeof(struct statement) + body.size, &tries));
    if (interned == FAULT_LIMIT)
        return fault_raise_state(
            FAULT_LIMIT, "53200",
            "no more than %u different texts of statements are known at a time",
            turn->relay->statements.max);
    return interned;
}

fault turn_effects_of(struct turn *turn, struct span body, struct query_effects **ret)
{
    uint32_t tries = 0;
    fault read;
    while ((read = effects_of_text(body, ret)) == FAULT_MEMORY)
        TRY(turn_relieve(turn, sizeof(struct query_effects), &tries));
    return read;
}

uint8_t *turn_make_long(struct turn *turn, size_t size)
{
    uint8_t *at = counted_alloc(size);
    if (at == NULL)
        return NULL;
    outbox_take_heap(&turn->up.out, at, size);
    turn->up.out.held = size;
    return at;
}

fault turn_lend_late(struct turn *turn, struct chunk **ret)
{
    struct chunk_store *store = &turn->relay->chunks;
    uint32_t tries = 0;
    while ((*ret = chunk_lend(store)) == NULL) {
        if (turn->client == NULL)
            return FAULT_MEMORY;
        TRY(turn_relieve(turn, store->size, &tries));
    }
    return OK;
}

fault turn_hold(struct turn *turn, uint32_t size)
{
    struct chunk_store *store = &turn->relay->chunks;
    uint32_t tries = 0;
    while (!chunk_hold(store, size))
        TRY(turn_relieve(turn, size, &tries));
    turn->held = malloc(size);
    if (turn->held == NULL) {
        chunk_unhold(store, size);
        return FAULT_MEMORY;
    }
    turn->held_size = 0;
    turn->held_max = size;
    return OK;
}

void turn_drop_held(struct turn *turn)
{
    if (turn->held == NULL)
        return;
    free(turn->held);
    turn->held = NULL;
    chunk_unhold(&turn->relay->chunks, turn->held_max);
}

void turn_send_held(struct turn *turn, size_t size)
{
    outbox_take_heap(&turn->up.out, TAKE(turn->held), size);
    turn->up.out.held = turn->held_max;
}
