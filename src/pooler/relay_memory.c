/*
 * relay_memory.c - who goes when a relay has no memory left.
 *
 * A relay's part of memory_limit is in its chunk store: chunks that are lent, and long messages,
 * which are held whole on the heap.  Who asks for more than is left is refused, unless somebody
 * else holds more than it would have: then the largest goes, of equals the newest, and who asked
 * goes on in its place.  Either is told (53200), logged and counted.
 */
#include "machine/clock.h"
#include "machine/ids.h"
#include "machine/log.h"
#include "pooler/turn/turn.h"

#include <inttypes.h>
#include <stdlib.h>

/* How long who asks waits for the largest to go; nothing of that waits for anybody else. */
#define SHED_PAUSE ms(1)
#define SHED_TRIES 1000

static uint64_t client_holds(const struct client *client)
{
    if (client->state == CLIENT_QUEUED)
        return client->stash_size;
    if (client->state != CLIENT_TURN || client->co == NULL || client->turn == NULL)
        return 0;
    const struct turn *turn = client->turn;
    return (turn->held != NULL ? turn->held_most : 0) + (uint64_t)turn->up.out.held;
}

/* What a walk over the clients found. */
struct shedding {
    struct client *largest; /* NULL: nobody holds more than who asks */
    uint64_t holds;
    uint64_t coming; /* by those that were told to go, and have not gone yet */
};

static struct shedding relay_largest(const struct relay *relay, const struct client *asking,
                                     uint64_t wanted)
{
    struct shedding found = {.holds = wanted + client_holds(asking)};
    LIST_EACH (&relay->clients, it) {
        struct client *client = LIST_ENTRY(it, struct client, node);
        uint64_t holds = client_holds(client);
        if (client->shed) {
            found.coming += holds;
        } else if (client != asking && holds > 0 &&
                   (holds > found.holds || (found.largest != NULL && holds == found.holds &&
                                            client->serial > found.largest->serial))) {
            found.largest = client;
            found.holds = holds;
        }
    }
    return found;
}

static void memory_log(const struct client *client, uint64_t bytes)
{
    char id[UUID_TEXT_SIZE];
    const struct relay *relay = client->relay;
    log_event(LOG_WARNING, "memory.shed",
              "client=%s database=%s user=%s bytes=%" PRIu64 " relay=%u in_use=%" PRIu64
              " memory_limit=%zu",
              uuid_text(&client->id, id), client->share->database, client->share->user, bytes,
              relay->index, chunk_store_bytes(&relay->chunks), relay->config->memory_most);
}

enum relay_relief relay_relieve(struct relay *relay, struct client *asking, uint64_t wanted)
{
    struct shedding found = relay_largest(relay, asking, wanted);
    if (found.coming >= wanted)
        return RELIEF_SOON;
    struct client *victim = found.largest != NULL ? found.largest : asking;
    relay->told.shed += 1;
    memory_log(victim, found.holds);
    if (victim == asking)
        return RELIEF_NONE;
    victim->shed = true;
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
                       wanted, turn->relay->config->memory_most);
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
    turn->held_most = size;
    return OK;
}

void turn_drop_held(struct turn *turn)
{
    if (turn->held == NULL)
        return;
    free(turn->held);
    turn->held = NULL;
    chunk_unhold(&turn->relay->chunks, turn->held_most);
}

void turn_send_held(struct turn *turn, size_t size)
{
    outbox_take_heap(&turn->up.out, TAKE(turn->held), size);
    turn->up.out.held = turn->held_most;
}
