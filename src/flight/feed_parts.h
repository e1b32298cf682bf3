#pragma once
/*
 * feed_parts.h - a feed's inside: its two connections, and the steps that they share.
 *
 * Private to flight/.  All of it belongs to the feeds' thread, but what the fields say otherwise.
 * A session is one pair of connections: two coroutines, which the feed's keeper starts and joins.
 */
#include "flight/feed.h"
#include "flight/feed_query.h"
#include "flight/feed_sets.h"
#include "flight/feed_untold.h"
#include "machine/co.h"
#include "machine/lock.h"

/* Before a session is tried again; doubled by each that fails. */
#define FEED_REST_MIN ms(100)

/* One connection. */
struct feed_link {
    struct stream stream;
    struct buffer in;
    size_t taken; /* bytes of `in` that were read as messages */
    size_t skip;  /* bytes to come of a message that was cut */
    struct buffer out;
    uint32_t pid;
    struct wire_secret cancel; /* its cancel key */
    struct feed_facts facts;   /* what its server said */
    bool known;                /* `facts` is valid */
};

struct feed {
    struct machine *machine; /* the feeds'; constant */
    struct generations_table *generations;
    struct span service_name; /* for log events, as the next one; constant */
    struct span database_name;

    bool want_pause;  /* atomic; set by any thread, followed at the mail that comes behind it */
    struct mail wake; /* coalesced */
    struct mail end;  /* the last one to come */

    bool ends;                  /* `end` has come */
    bool kept;                  /* the keeper was started */
    struct co *keeper;          /* NULL: it has not run yet */
    struct feed_source *source; /* owned; NULL: none */
    struct feed_source *next;   /* owned: replaces `source` between two sessions */
    struct generations_writes
        doubt; /* of the whole database and its catalog; held unless STREAMING */
    struct feed_sets sets;
    struct feed_tickets tickets;
    struct feed_untold untold;
    struct waker alarm_waker;
    struct timer alarm;           /* the tickets' timeout */
    duration rest;                /* before the next session */
    char logged[FEED_REASON_MAX]; /* the failure in the log's last event; empty: it streams */

    /* The session. */
    struct co_group members;
    struct co *reader; /* of the log; NULL: it has ended */
    struct co *prober; /* NULL: it has ended */
    bool over;         /* it is void, and ends */
    struct feed_link log;
    struct feed_link probe;
    struct feed_reader stream;
    bool streams;       /* START_REPLICATION was answered */
    bool wanted;        /* `passed` is behind a position that a ticket or the session waits for */
    bool asked;         /* a keepalive was requested and has not come */
    uint64_t asked_at;  /* where `passed` was then */
    moment ask_again;   /* not before this */
    moment committed;   /* when a COMMIT was told */
    moment told;        /* when the latest status update was sent */
    moment heard;       /* when the log's connection said anything */
    uint64_t barrier;   /* id of a transaction that began after the log was read; 0: not yet */
    uint64_t proven;    /* the position to pass, once a snapshot contains all before `barrier` */
    bool probing;       /* a probe is under way */
    moment probed;      /* when the latest one was sent */
    moment placed;      /* when the latest one was answered */
    uint64_t unflushed; /* the first position that was not flushed at its probe; 0: none */
    moment unflushed_since;           /* when that was */
    uint64_t unflushed_last;          /* the last such */
    deadline flush_by;                /* a marker follows if it isn't passed then */
    deadline lazy_until;              /* the server flushes so late that a marker is sent at once */
    duration settle;                  /* before a probe that only settles */
    struct feed_probe_row row;        /* of the latest probe */
    char seen[FEED_SNAPSHOT_MAX + 1]; /* the snapshot of the latest digest; empty: too long */
    char digest[FEED_DIGEST_MAX + 1];
    char configured[FEED_DIGEST_MAX + 1];

    struct {
        struct lock lock;      /* guards state, reason, epoch */
        struct feed_view view; /* the numbers are hints of one writer */
    } shared;
};

/** Changes the state that others see. */
void feed_become(struct feed *feed, enum feed_state state);
void feed_reason(struct feed *feed, const char *reason);
/** Puts the whole database in doubt, ends the session, ends all unsettled transactions, answers all
 * tickets by BYPASS.  Idempotent. */
void feed_void(struct feed *feed);
/** Called by a member, which is named, with its latest fault: voids the feed and wakes the keeper.
 */
void feed_member_over(struct feed *feed, const char *member, fault what);
/** Answers tickets, and begins to serve them when the session has proven itself: after each step
 *  that may have moved the position. */
void feed_passed(struct feed *feed);
/** Returns the end of the log as of the latest probe, normalised. */
uint64_t feed_probe_position(const struct feed *feed);
/** Sets the timer of the tickets. */
void feed_set_alarm(struct feed *feed);

/* The coroutine of a feed; it ends the feed. */
void feed_keep(void *argument);
void feed_end(struct feed *feed);
/** Whether there is a source, and nothing that speaks against a session. */
bool feed_may_run(const struct feed *feed);
/** Logs a failed session, unless the one before has failed in the same way. */
void feed_log_failure(struct feed *feed);
/** Logs that the feed streams from now on. */
void feed_log_streaming(struct feed *feed);

/* The coroutines of a session. */
void feed_reader_run(void *argument);
void feed_prober_run(void *argument);

/** Logs in with these startup parameters, and asks what the server is.  Suspends.  Faults: those of
 *  link_login(), UPSTREAM, UNSUPPORTED (it can't be a feed's). */
fault feed_link_open(struct feed *feed, struct feed_link *link, struct span parameters) MUST_USE;
void feed_link_close(struct feed_link *link);
/** Sends a simple query.  Suspends. */
fault feed_link_send(struct feed_link *link, struct span text, deadline by) MUST_USE;
/** Reads the next message other than notices and parameters.  Its spans are valid until the next
 *  call.  Suspends.  Faults: UPSTREAM for an ErrorResponse, those of streams, LIMIT. */
fault feed_link_next(struct feed_link *link, struct wire_frame *ret, deadline by) MUST_USE;
/** Reads up to ReadyForQuery; `row` gets the body of each row.  Suspends.  Faults: as
 *  feed_link_next(), and those of `row`. */
fault feed_link_rows(struct feed_link *link, fault (*row)(struct span body, void *to), void *to,
                     deadline by) MUST_USE;
