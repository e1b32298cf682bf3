#pragma once
/*
 * relay.h - one worker thread: its clients, its leased servers, and what they share.
 *
 * All fields belong to the relay's thread unless stated otherwise.  Other threads send mail or read
 * the hints in `hints`.  The struct is open: turns use most of it for every query, and the console
 * reads it on the relay's thread.
 */
#include "auth/auth.h"
#include "machine/co.h"
#include "pool/local_pool.h"
#include "pool/pools.h"
#include "relay/client.h"
#include "session/chunk.h"

struct relay {
    struct local_pools pools;
    uint32_t index;
    struct list listeners; /* see relay_accept.c */
    struct list clients;
    uint32_t internals; /* of these, parts of the daemon */
    uint64_t clients_ever;
    uint64_t unnamed_ever; /* last client->unnamed_number that was given */
    struct map keys;       /* struct client_key by pid and secret */
    struct map statements;
    struct auth_room auth;
    struct chunk_store chunks;
    struct {                /* see relay_memory.c */
        struct node *at;    /* the client to look at next; NULL: the first */
        uint32_t looked;    /* clients looked at in a row without finding one to shed */
        uint32_t under_way; /* clients being shed that have not disconnected yet */
    } shedding;
    struct { /* passed from the loop's stack to a turn's coroutine that starts at once */
        struct client *client;
        struct chunk *chunk;
        uint32_t size;
    } arrival;
    struct stash_block *stashes; /* spare blocks for short stashes, see client.c */
    uint32_t stash_count;
    struct co_group cancelling;        /* coroutines of cancel requests to servers */
    uint32_t cancels;                  /* cancel requests to servers under way */
    uint32_t requests;                 /* cancel requests that came here and have not returned */
    struct flight_texts *flight_texts; /* owned; NULL: none are remembered */
    bool warms;                        /* flight_warm.c has a coroutine here */
    struct co *warmer;                 /* that one, once it runs */
    uint32_t hits;                     /* from memory, for the sample of flight_warm.c */
    struct {
        moment told;          /* when a difference was logged */
        uint64_t differences; /* since then */
    } shadows;                /* see flight_shadow.c */
    struct {
        moment told;                 /* when a denial was logged */
        uint64_t count;              /* since then */
    } denials;                       /* see turn_firewall_note.c */
    struct flight_keep *flight_keep; /* owned; sessions for executions of flights */
    struct flight_tier *flight_tier; /* owned; NULL: Redis was not asked yet */
    struct list judging;             /* see flight/flight_once_parts.h */
    struct co_group runners;         /* coroutines that execute statements of flights */
    uint32_t runs;                   /* of these, not ended */
    uint64_t judged[4];              /* texts whose verdicts flight_writes.c has made; 0: none */
    struct co *main;                 /* coroutine that waits for the relay's end */
    struct timer dismissal;          /* while stopping: when the next clients are disconnected */
    struct waker dismisser;
    uint64_t dismiss_rate; /* clients per second to disconnect while stopping */
    struct mail stop;
    struct mail halt;
    bool halted;         /* clients are disconnected at once */
    deadline halts_all;  /* when servers' logins, cleaning and cancel requests are ended too */
    struct mail ended;   /* to the pooler machine: nothing is left here; again after `release` */
    struct mail release; /* from the pooler machine: all relays have ended, end the thread */
    bool released;
    struct mail config_mail;
    struct config *config_next; /* atomic: the newest version announced by config_mail; counted */
    struct {
        uint64_t clients;  /* connected now */
        uint64_t shed;     /* disconnected or refused for want of memory, total */
        uint64_t preauths; /* not authenticated yet */
        uint64_t crowded;  /* unauthenticated connections disconnected to admit newer connections,
                              total */
        uint64_t assigned; /* accepted connections given to this relay, by any relay; total */
        uint64_t gone;     /* clients that disconnected here or moved away, total */
        uint64_t came;     /* clients that came from other relays, total */
        uint64_t left;     /* clients that moved to other relays, total; in `gone` too */
        uint64_t marks;    /* servers in doubt that answered their mark, total: see turn_mark.c */
        uint64_t unmarked; /* servers in doubt that did not, and were closed, total */
    } hints;
};

/** The operations of a relay for its local pools: turn/turn_operations.c. */
extern const struct pool_operations turn_operations;

static inline struct relay *local_pool_relay(const struct local_pool *pool)
{
    return CONTAINER_OF(pool->pools, struct relay, pools);
}

/** Makes the relay and its thread. */
fault relay_start(struct pooler_env *env, uint32_t index, struct config *config,
                  struct relay **ret) MUST_USE;
struct preauth;
/** From another relay: hands over an accepted socket, which the relay then owns.  MEMORY. */
fault relay_feed(struct relay *relay, int handle, const struct address *peer, uint32_t listen,
                 struct preauth *take_preauth) MUST_USE;
/** From the pooler machine: announces a new version of the configuration; takes a reference. */
void relay_reload(struct relay *relay, struct config *config);
/** From the pooler machine: disconnects clients at a limited rate, each when its transaction is
 *  over; then the relay ends. */
void relay_stop(struct relay *relay);
/** From the pooler machine: as relay_stop, but all clients at once, also in transactions. */
void relay_halt(struct relay *relay);
/** From the pooler machine, when all relays have sent `ended`: ends the relay's thread, which sends
 *  `ended` once more as its last mail.  Until then other relays may send it mail, such as a cancel
 *  request that visits all relays, and the router leases. */
void relay_release(struct relay *relay);
/** Waits for the relay's thread and frees the relay.  Blocks. */
void relay_join(struct relay **relay);
/** On the relay: takes over the newest version that was announced, before its mail comes. */
void relay_take_config(struct relay *relay);
/** On the relay: wakes its main coroutine to check whether a stopping relay has ended. */
void relay_check_end(struct relay *relay);

/** On the relay: makes memory for `asking`, which wants more than there is.  RELIEF_SOON: memory is
 *  being freed, try again soon.  RELIEF_NONE: refuse `asking`.  Counts and logs each client shed or
 *  refused.  See relay_memory.c. */
enum relay_relief { RELIEF_NONE, RELIEF_SOON };
enum relay_relief relay_relieve(struct relay *relay, struct client *asking, uint64_t wanted);

/** On the relay: removes a client from the list before it disconnects or moves. */
void relay_drop_client(struct relay *relay, struct client *client);
/** On the relay: finds the client of a cancel key; NULL: none. */
struct client *relay_find_key(struct relay *relay, uint32_t pid, struct span secret);
