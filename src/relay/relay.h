#pragma once
/*
 * relay.h - one worker machine: its clients, its leased servers, and what they share there.
 *
 * Everything in it belongs to its thread.  Others reach it by mail, or look at its `told` hints.
 */
#include "auth/auth.h"
#include "machine/co.h"
#include "pool/local_pool.h"
#include "pool/pools.h"
#include "relay/client.h"
#include "relay/turn/pin.h"
#include "session/chunk.h"

struct relay {
    struct local_pools pools;
    uint32_t index;
    struct list clients;
    uint64_t clients_ever;
    uint64_t unnamed_ever; /* unnamed statements, each Parse's or end's another */
    struct map keys;       /* struct client_key by pid and secret */
    struct map statements;
    struct auth_room auth;
    struct pin_counts pins;
    struct chunk_store chunks;
    struct {                /* see relay_memory.c */
        struct node *at;    /* the client that is looked at next; NULL: the first */
        uint32_t looked;    /* in a row, nobody of whom had to go */
        uint32_t under_way; /* who was told to go, and has not gone */
    } shedding;
    struct { /* from the loop's stack to the coroutine that it starts at once */
        struct client *client;
        struct chunk *chunk;
        uint32_t size;
    } arrival;
    struct stash_block *stashes; /* spare blocks for short stashes, see client.c */
    uint32_t stash_count;
    struct co_group errands; /* cancel requests towards servers under way */
    uint32_t cancels;        /* how many there are */
    struct co *main;         /* waits for the relay's end */
    struct timer dismissal;  /* while it stops: the next of its clients are told, or ended */
    struct waker dismisser;
    uint64_t dismiss_rate; /* clients in a second, from the stop on */
    struct mail stop;
    struct mail halt;
    bool halted;         /* clients are ended */
    deadline halts_all;  /* and from then on, whatever else is under way */
    struct mail ended;   /* to the pooler machine: nothing is left here */
    struct mail release; /* from it: all relays are at their end, so end the thread */
    bool released;
    struct mail config_mail;
    struct config *config_next; /* atomic: the newest that config_mail announced; counted */
    struct {
        uint64_t clients;  /* connected now */
        uint64_t shed;     /* ended or refused for want of memory */
        uint64_t guests;   /* have not logged in yet */
        uint64_t crowded;  /* of those: ended for others, in all */
        uint64_t gone;     /* handed over and gone again, in all */
        uint64_t came;     /* clients that came from other relays, in all */
        uint64_t left;     /* and that left for others; in `gone` too */
        uint64_t marks;    /* servers in doubt that were proven: see turn_mark.c */
        uint64_t unmarked; /* that were not, and were closed */
    } told;
};

/** What it does for its local pools: turn/turn_operations.c. */
extern const struct pool_operations turn_operations;

static inline struct relay *local_pool_relay(const struct local_pool *pool)
{
    return CONTAINER_OF(pool->pools, struct relay, pools);
}

/** Makes the relay and its thread. */
fault relay_start(struct pooler_env *env, uint32_t index, struct config *config,
                  struct relay **ret) MUST_USE;
/** From the pooler machine: hands a socket over. */
struct guest;
fault relay_feed(struct relay *relay, int handle, const struct address *peer, uint32_t listen,
                 struct guest *take_guest);
/** From the pooler machine: a new version (a reference is taken along). */
void relay_reload(struct relay *relay, struct config *config);
/** From the pooler machine: tells clients why, a few at a time, lets transactions finish, ends. */
void relay_stop(struct relay *relay);
/** From the pooler machine: as relay_stop, but at once. */
void relay_halt(struct relay *relay);
/** From the pooler machine, when all have said that they are at their end: until then others may
 *  have mail for it (a look that goes round). */
void relay_release(struct relay *relay);
/** Waits for its thread, frees it.  Blocks. */
void relay_join(struct relay **relay);
/** On the relay: something that it waits for when stopping has gone. */
void relay_check_end(struct relay *relay);

/** On the relay: `asking` wants more memory than there is.  Somebody who holds more goes: try again
 *  soon; or it is to be refused.  Counted and logged.  See relay_memory.c. */
enum relay_relief { RELIEF_NONE, RELIEF_SOON };
enum relay_relief relay_relieve(struct relay *relay, struct client *asking, uint64_t wanted);

/** On the relay: takes a client, which goes, off its list. */
void relay_drop_client(struct relay *relay, struct client *client);
/** On the relay: finds the client of a cancel key. */
struct client *relay_find_key(struct relay *relay, uint32_t pid, struct span secret);
