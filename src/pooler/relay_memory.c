/*
 * relay_memory.c - who goes when a relay has no memory left.
 *
 * A relay's part of memory_limit is in its chunk store: chunks that are lent, and long messages,
 * which are held whole on the heap.  Who asks for more than is left is refused, unless somebody
 * else holds more than it would have: then the largest goes, of equals the newest, and who asked
 * goes on in its place.  Of very many clients, the largest of those that are looked at in one go;
 * the next look begins where that one ended.  Either is told (53200), logged and counted.
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
/* Clients that are looked at before others of the relay have their turn. */
#define LOOKED_AT_A_TIME 4096u

static uint64_t client_holds(const struct client *client)
{
    if (client->state == CLIENT_QUEUED)
        return client->stash_size;
    if (client->state != CLIENT_TURN || client->co == NULL || client->turn == NULL)
        return 0;
    const struct turn *turn = client->turn;
    return (turn->held != NULL ? turn->held_most : 0) + (uint64_t)turn->up.out.held;
}

/* The next around the ring of clients. */
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
    hint_write(&relay->told.clients, relay->clients.count);
}

/* The largest of the next clients around the ring, if it holds more than who asks; NULL: nobody
 * does.  All of them, if they are no more than can be looked at in one go. */
static struct client *relay_largest(struct relay *relay, const struct client *asking,
                                    uint64_t wanted, uint64_t *ret_holds)
{
    struct client *largest = NULL;
    uint32_t looks = MIN_OF(relay->clients.count, LOOKED_AT_A_TIME);
    struct node *it = relay->shedding.at != NULL ? relay->shedding.at : list_first(&relay->clients);
    *ret_holds = wanted + client_holds(asking);
    for (uint32_t i = 0; i < looks; i++, it = client_after(&relay->clients, it)) {
        struct client *client = LIST_ENTRY(it, struct client, node);
        uint64_t holds = client_holds(client);
        if (client == asking || client->shed || holds == 0 || holds < *ret_holds ||
            (holds == *ret_holds && (largest == NULL || client->serial < largest->serial)))
            continue;
        largest = client;
        *ret_holds = holds;
    }
    relay->shedding.at = it;
    relay->shedding.looked = largest != NULL ? 0 : relay->shedding.looked + looks;
    return largest;
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
    uint64_t holds;
    if (relay->shedding.under_way > 0)
        return RELIEF_SOON;
    struct client *victim = relay_largest(relay, asking, wanted, &holds);
    if (victim == NULL && relay->shedding.looked < relay->clients.count)
        return RELIEF_SOON; /* among those that have not been looked at yet */
    relay->shedding.looked = 0;
    relay->told.shed += 1;
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
