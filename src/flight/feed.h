#pragma once
/*
 * feed.h - learns from a primary's log which tables other sessions have changed, and tells requests
 * whether all that was committed before them has been told.
 *
 * A thread of its own serves all feeds of the process (`struct feeds`).  A feed is one database of
 * one service.  It has two connections to the primary, for the log and for probes.  While either is
 * missing, and until a new pair has proven itself, the feed holds the whole database in doubt and
 * answers every ticket by BYPASS.  All functions may be called from any thread and never block,
 * unless they say so.  Design: docs/internals/feed.md
 */
#include "flight/feed_tickets.h"
#include "flight/generations.h"
#include "link/link.h"

struct feed_keys;
struct feeds;
struct feed;

/* Where the primary is, and who asks it: a user with the REPLICATION attribute who may connect to
 * the database. */
struct feed_source {
    struct mail mail; /* on its way to the feed */
    struct feed *feed;
    uint64_t epoch; /* of the caller; tickets answer with it */
    struct link_target target;
    struct span user;
    struct span database;
    struct link_secret secret;
    /* What the server must be; 0: whatever it says. */
    uint64_t system; /* identifier */
    uint32_t timeline;
    uint64_t instance; /* when it was started, microseconds since 1970 */
    /* Ends the source, which nobody uses any more; on the feeds' thread. */
    void (*free)(struct feed_source *source);
};

struct feed_options {
    struct generations_table *generations; /* borrowed, until feeds_free() has returned */
    uint64_t database;                     /* its number there */
    struct feed_keys *keys;                /* borrowed as long; NULL: all keys are unknown */
    struct span service_name;              /* for log events; both are borrowed as long */
    struct span database_name;
};

enum feed_state {
    FEED_OFF,        /* it has no source */
    FEED_PAUSED,     /* by feed_pause() */
    FEED_CONNECTING, /* to log in, and to learn what the server is */
    FEED_CREATING,   /* the slot: the server waits for transactions that write */
    FEED_PROVING,    /* the log is read; transactions from before it may not be visible yet */
    FEED_STREAMING,  /* requests can be answered */
    FEED_FAILED,     /* for `reason`; tries again later */
    FEED_STATES,
};
const char *feed_state_name(enum feed_state state);

#define FEED_REASON_MAX 240

/* What a console shows.  The numbers are hints. */
struct feed_view {
    enum feed_state state;
    char reason[FEED_REASON_MAX]; /* the latest failure; empty: there was none with this source */
    uint64_t epoch;
    uint64_t failures;     /* since it was streaming last */
    uint64_t sessions;     /* times that it began to stream */
    uint64_t transactions; /* told by the log */
    uint64_t changes;
    uint64_t bytes;
    uint64_t probes;
    uint64_t markers;
    uint64_t keepalives; /* requested */
    uint64_t tickets;
    uint64_t ready;    /* tickets that were answered so */
    uint64_t bypasses; /* the others */
    uint64_t digests;  /* changes of roles, defaults or configuration that were noticed */
    uint64_t unsettled;
    uint64_t unsettled_max;
    uint64_t lag; /* bytes that the log was behind at the latest probe */
};

/** Starts the thread of all feeds.  Faults: MEMORY, SYSTEM. */
fault feeds_new(struct feeds **ret) MUST_USE;
/** Ends the thread; every feed has been freed before.  Blocks until they have ended.  NULL-safe. */
void feeds_free(struct feeds **feeds);

/** Makes a feed without a source.  The whole database is in doubt when this returns.  Faults:
 *  MEMORY. */
fault feed_new(struct feeds *feeds, const struct feed_options *options, struct feed **ret) MUST_USE;
/** Ends the feed, which answers its tickets by BYPASS, raises the whole database and ends its
 * doubt. Nothing is asked of it, or given to it, after this.  NULL-safe. */
void feed_free(struct feed **feed);
/** Gives the feed a new source.  From the delivery on everything of the old one is void. */
void feed_follow(struct feed *feed, struct feed_source **take_source);
/** Makes the feed give up its slot, which blocks DROP DATABASE, until feed_resume().  feed_look()
 *  says when it is FEED_PAUSED; the server ends the slot soon after that. */
void feed_pause(struct feed *feed);
void feed_resume(struct feed *feed);

/** Asks whether all that was committed before this call has been told.  The caller sets
 *  `ticket->answered`, which is called within `ticket->timeout`. */
void feed_ask(struct feed *feed, struct feed_ticket *ticket);
/** Copies what a console shows. */
void feed_look(const struct feed *feed, struct feed_view *ret);
