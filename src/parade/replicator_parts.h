#pragma once
/*
 * replicator_parts.h - what the coroutines of a replicator share.
 *
 * All of it belongs to one machine.  A keeper outlives its links' coroutines.
 */
#include "base/buffer.h"
#include "fleet/backoff.h"
#include "machine/co.h"
#include "parade/replicator.h"
#include "parade/session.h"

/* A link's state, as kv_stats.links shows it. */
enum parade_link_state {
    PARADE_LINK_STOPPED,    /* not served: the replicator ends, or another one serves */
    PARADE_LINK_CONNECTING, /* to both instances; finds where the two histories part */
    PARADE_LINK_RECLAIMING, /* takes rows that the reader has lost back from the source */
    PARADE_LINK_STREAMING,  /* pulls pages and merges them */
    PARADE_LINK_FAILED,     /* waits before it connects again */
    PARADE_LINK_STATES
};

struct parade_replicator {
    bool stopping;
    uint32_t running; /* coroutines */
    struct co *main;
    struct fleet_random random;
    struct parade_keeper *keepers;
    size_t keeper_count;
    struct parade_link *links;
    size_t link_count;
};

/* Keeps one local shard instance alive: recovery, heartbeats, garbage collection. */
struct parade_keeper {
    struct parade_replicator *replicator;
    const struct parade_replica *replica;
    struct co *co;
    struct parade_session *session;
    bool serves;          /* this replicator, and no other, serves the instance */
    bool waits;           /* another replicator serves it, which was logged */
    uint64_t epoch;       /* changes with the instance's incarnation: links begin anew */
    char incarnation[64]; /* as last seen */
    deadline next_gc;
    struct fleet_backoff backoff;
};

/* Pulls what `source` wrote into the keeper's instance. */
struct parade_link {
    struct parade_replicator *replicator;
    struct parade_keeper *keeper;
    const struct parade_replica *source;
    struct co *co;
    enum parade_link_state state;
    struct parade_session *reading; /* at the keeper's instance */
    struct parade_session *feeding; /* at the source */
    uint64_t epoch;                 /* of the keeper, at the begin */
    char incarnation[64];           /* of the source */
    struct buffer cursor;           /* text of a kv.cursor */
    duration pause;                 /* between two polls without rows */
    deadline next_merge;            /* an empty page is merged then, so that lag and rounds go on */
    deadline next_ack;
    struct fleet_backoff backoff;
};

/** The bodies of the coroutines; they end when the replicator stops. */
void parade_keeper_run(void *keeper);
void parade_link_run(void *link);
/** Whether the link may go on with the history that it began with. */
bool parade_link_serves(const struct parade_link *link);

/** Waits, until the replicator stops at most.  Suspends. */
void parade_replicator_rest(const struct parade_replicator *replicator, duration wait);
/** Waits after a failure, longer each time.  Suspends. */
void parade_replicator_back_off(struct parade_replicator *replicator,
                                struct fleet_backoff *backoff);
/** Records the end of a coroutine. */
void parade_replicator_ended(struct parade_replicator *replicator);
/** Opens a session of the replicator.  Suspends. */
fault parade_replicator_open(const struct parade_replica *replica,
                             struct parade_session **ret) MUST_USE;
