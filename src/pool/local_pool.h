#pragma once
/*
 * local_pool.h - one relay's part of a pool: its leased servers, and the queue of its clients'
 * claims.
 *
 * A free leased server is a list pop, a release pops the relay's own oldest claim: no message, no
 * lock and no system call, also when clients by far outnumber servers.  The router is asked for a
 * lease when claims wait and none is free; it may recall leases for other relays.
 *
 * Belongs to its relay.  `told` and `mail` fields are what the router reads and sends; see lease.h.
 * The router makes a member for it before its first client that is let in goes on; so the pool's
 * clients are counted over all relays, and what its servers tell at login is known here too.
 * Invariant: claims wait only while no usable server is idle.
 */
#include "config/config.h"
#include "link/link.h"
#include "pool/counts.h"
#include "pool/pools.h"
#include "pool/server.h"
#include "session/params.h"
#include "stats/route_times.h"

struct claim;
struct local_pools;
struct pool;
struct lease;
struct member;

/* What the first server told, for clients that log in without touching one. */
struct reported_parameters {
    bool known;
    struct buffer parameters; /* name NUL value NUL ... */
    struct buffer messages;   /* the same as ParameterStatus messages */
};

/* Why the router has no more servers for a local pool. */
enum local_pool_full {
    FULL_NOTHING,
    FULL_POOL,     /* the pool is at its size */
    FULL_SERVICE,  /* the backends are at connection_limit */
    FULL_CROWD,    /* or at a limit of PostgreSQL's own */
    FULL_DATABASE, /* the servers of its database, of its user, of all are at a limit */
    FULL_USER,
    FULL_ALL,
};

/* How long its clients may take; NO_LIMIT: as long as they like. */
struct local_pool_times {
    bool any; /* some limit is set */
    duration query;
    duration transaction;
    duration idle_transaction;
    duration client_idle;
};

/* What servers are shown at login. */
struct credentials {
    struct link_secret secret;
    char *password; /* owned: what secret.password points to */
    struct {
        char *password; /* owned: what password_command printed last; see local_pool_command.c */
        deadline until;
        uint64_t place; /* hash of the host and port that it is for */
    } command;
    uint64_t shown_of;  /* hash of what the configuration says; 0: nothing */
    uint64_t proven_of; /* hash of the stored secret that the client proved to know; 0: none */
    uint32_t changes;   /* counts them: a login under way may show what was before */
};

/* The newest version, by which servers are logged in to, also for clients of an older one. */
struct shown {
    struct config *latest; /* counted */
    struct config *config; /* counted: `latest`, or the local pool's own, whose the route is */
    const struct route_config *route;
};

/* What the router and a local pool settle: whether it knows it, and the envelopes between them. */
struct membership {
    struct member *member;         /* the router's */
    bool enrolling;                /* the router was asked for a member, and has not answered */
    bool retiring;                 /* the router was asked to forget it, and has not answered */
    bool retired;                  /* router's answer */
    bool asked;                    /* `want` was sent behind the last `retire` */
    struct list arriving;          /* struct arrival: logins that wait for one of these answers */
    struct counts *counts[COUNTS]; /* counted: on their way from the router with `enroll` */
    deadline want_after;           /* no `want` before, while the pool is full */
    struct mail enroll;            /* relay to router and back: give me a member */
    struct mail want;              /* relay to router: look at me */
    struct mail recall;            /* router to relay: look at told.recall */
    struct mail retire;            /* relay to router and back: forget me */
};

/* What the router sees, and lets the local pool see: hints. */
struct local_pool_hints {
    uint64_t queued; /* claims waiting */
    uint64_t oldest; /* since when, us; 0: none */
    uint64_t idle;   /* idle servers */
    uint64_t clients;
    uint64_t recall;  /* router's: leases to give back, not yet seen by the relay */
    uint64_t arrived; /* live servers that came from other relays, ever */
    uint64_t unmet;   /* atomic: recalls that found no server; the router takes them */
    uint64_t rested;  /* since when the idle server that rests longest does; 0: never mind */
    uint64_t full;    /* router's: enum local_pool_full */
    uint64_t full_at; /* router's: the limit that it is at, where that is one of ours */
    uint64_t reserve; /* router's: so many of its servers are more than the pool's size */
    uint64_t keep;    /* router's: how many servers stay here however long they are idle */
    uint64_t hungry;  /* router's: others wait; say when a server rests */
};

/* What the log tells of it. */
struct local_pool_log {
    struct local_pool_stats told; /* of its `stats`: what the log has told */
    struct route_times *times;    /* the times of its route on this relay */
    int64_t slow_us;              /* queries that take so long are told; INT64_MAX: none */
    uint32_t noted;               /* bytes of their texts that are told */
};

struct local_pool {
    struct node node;     /* in pools->all */
    struct map_link link; /* in pools->by_name, unless obsolete */
    struct local_pools *pools;
    struct config *config; /* counted: the version whose route this is */
    const struct route_config *route;
    struct local_pool_times times; /* by the route, and the user */
    struct config *born_config;    /* counted, never changes: for the router */
    const struct route_config *born_route;
    char *database;
    char *user;
    uint64_t version; /* of the configuration that made it */
    bool mapped;
    bool held;                     /* paused: its claims wait, and the router sees none */
    bool reads_sequences;          /* some client calls lastval() or currval(): see turn_params.c */
    bool obsolete;                 /* a newer version has taken its place: drains */
    deadline drain_by;             /* its clients leave then; NEVER while it is not obsolete */
    struct counts *counts[COUNTS]; /* counted; NULL: not enrolled */
    struct list idle;              /* servers; most recently used first */
    struct list busy;              /* servers in every other state */
    struct list claims;            /* waiting, in order of arrival */
    struct node *rests_longest;    /* what told.rested is about; not followed */
    uint32_t clients;
    uint32_t checks;    /* of the busy ones: asked whether they still answer, each for a claim */
    uint32_t logins;    /* servers in CONNECTING */
    uint32_t recalls;   /* leases that the router wants back and has not got yet */
    struct timer timer; /* the oldest claim's deadline, the oldest idle server's, the drain's */
    struct waker timer_waker;
    struct reported_parameters greeting;
    struct credentials credentials;
    struct shown shown;
    struct map accepted; /* see accepted.h */
    struct local_pool_stats stats;
    struct stats_window window; /* of `stats`; the console's */
    struct local_pool_log log;
    struct local_pool_hints told;
    struct membership membership;
    struct {
        deadline told; /* claims made until then were told that they wait */
        deadline next; /* no look for others before */
    } notice;
};

/* What a local pool is known by. */
struct local_pool_key {
    const struct route_config *route;
    struct span database;
    struct span user;
};

/** The local pool for this route, database and user; made if there is none.  Faults: MEMORY. */
fault local_pool_of(struct local_pools *pools, const struct route_config *route,
                    struct span database, struct span user, struct local_pool **ret) MUST_USE;
/** The same for a route of another version than the relay's own.  One that is of an older version
 *  drains. */
fault local_pool_of_version(struct local_pools *pools, struct config *config,
                            const struct local_pool_key *key, struct local_pool **ret) MUST_USE;
void local_pool_join(struct local_pool *pool);
void local_pool_leave(struct local_pool *pool);
/** No clients, claims or servers. */
bool local_pool_unused(const struct local_pool *pool);
/** A newer configuration: same identity: takes it over; else becomes obsolete. */
void local_pool_reload(struct local_pool *pool, struct config *config);
/** Its limits of time, as its configuration has them; clients that are parked go by them. */
void local_pool_set_times(struct local_pool *pool);
/** Frees it when nothing is left, by way of the router. */
void local_pool_maybe_retire(struct local_pool *pool);
void local_pool_free_now(struct local_pool **pool);

/* --- local_pool_log.c: its part of the log ---------------------------------------------------- */

/** Gives a new local pool its route's times and its thresholds.  Faults: MEMORY. */
fault local_pool_log_enter(struct local_pool *pool) MUST_USE;
/** Thresholds of the newer version of its route. */
void local_pool_log_renew(struct local_pool *pool);
void local_pool_log_leave(struct local_pool *pool);

/* --- local_pool_member.c: the router ---------------------------------------------------------- */

/** Whether the router knows it, and is not about to forget it. */
bool local_pool_is_entered(const struct local_pool *pool);
/** Until the router knows the local pool.  Suspends.  Faults: MEMORY, TIMEOUT, CANCELLED. */
fault local_pool_enter(struct local_pool *pool, deadline by) MUST_USE;
/** The router has answered. */
void local_pool_entered(struct local_pool *pool);
/** Sets what the router reads. */
void local_pool_tell(struct local_pool *pool);
/** Claims wait: asks the router unless that is of no use now. */
void local_pool_want(struct local_pool *pool);
/** What to log in for, under a lease that has just come: false: for nobody (any more).  Session
 *  pools: *ret_startup is the waiting client's parameters, a reference. */
bool local_pool_needs_login(struct local_pool *pool, struct params **ret_startup);
/** Its database is paused, or goes on. */
void local_pool_hold(struct local_pool *pool, bool held);
/** A server has gone: recalls beyond those that are left are answered. */
void local_pool_settle_recalls(struct local_pool *pool);
/** The limit that keeps claims waiting, in words. */
void local_pool_say_full(const struct local_pool *pool, char *text, size_t size);

/* --- local_pool_servers.c: servers and claims ------------------------------------------------- */

/** An idle server fit for the claim: its client's last one if free, else any. NULL: none. */
struct server *local_pool_take_idle(struct local_pool *pool, struct claim *claim);
/** A server has become free (ledger empty, transaction over, cleaned): recalled, closed, handed to
 *  the oldest claim, or idle. */
void local_pool_free(struct local_pool *pool, struct server *take_server);
/** Refuses all waiting claims, or those of clients with these startup parameters. */
void local_pool_refuse(struct local_pool *pool, const struct params *startup, const char *sqlstate,
                       const char *text);
/** The router wants so many leases more; those that no server can answer are answered now. */
void local_pool_recall(struct local_pool *pool, uint32_t more);
/** Closes idle servers beyond use: obsolete version, limits lowered, or all. */
void local_pool_trim(struct local_pool *pool);

/* --- server_check.c: servers that have rested ------------------------------------------------- */

/** Whether an idle server has rested for so long that it must be asked first. */
bool local_pool_rested(const struct local_pool *pool, const struct server *server);
/** Asks it; it comes free or is closed.  Else MEMORY, and it is idle as before. */
fault local_pool_check(struct local_pool *pool, struct server *server) MUST_USE;
/** A check is through; `lost`: the other side closed the connection. */
void local_pool_checked(struct local_pool *pool, struct server *server, bool answers, bool lost);

/* --- local_pool_greeting.c: what servers tell at login ---------------------------------------- */

/** Takes over what a server reported; false: it is no news. */
bool local_pool_learn(struct local_pool *pool, struct span said);
/** The same, told by another relay: those whose login waits for it go on. */
void local_pool_learn_elsewhere(struct local_pool *pool, struct span said);
/** Whether this is what servers of this pool report at login. */
bool local_pool_is_default(const struct local_pool *pool, const struct param *param);

/* --- local_pool_secret.c: what servers are shown at login ------------------------------------- */

/** Fills pool->credentials from what is shown now: the route's or the auth file's secret, if that
 *  is another than before. */
fault local_pool_set_secret(struct local_pool *pool) MUST_USE;
/** Logs in to servers by this version from now on, also if its route is another. */
void local_pool_show(struct local_pool *pool, struct config *latest);
/** Wipes all of it. */
void local_pool_show_none(struct local_pool *pool);
/** A password that a client has just proven, of a version in which `stored` is its secret (NULL:
 *  somebody else has judged): it may log in to servers too. */
void local_pool_keep_password(struct local_pool *pool, const struct config *config,
                              const char *stored, const char *text);
/** The same for SCRAM's keys. */
void local_pool_keep_keys(struct local_pool *pool, const struct config *config, const char *stored,
                          const struct scram_keys *keys);
/** Overwrites it, and frees it; NULL-safe. */
void local_pool_wipe_password(char **password);
/** The secret of the pool's user, from elsewhere than the auth file; it may have changed since. */
void local_pool_keep_secret(struct local_pool *pool, const struct config *config, const char *text);
