#pragma once
/*
 * local_pool.h - one relay's part of a pool: its leased servers, and the queue of its clients'
 * claims.
 *
 * A claim takes an idle leased server from a list; a release takes the oldest claim of this relay
 * from its queue.  Neither needs a message, a lock or a system call, also when clients by far
 * outnumber servers.  When claims wait and no server is free, the local pool asks the router for a
 * lease.  The router may recall leases for other relays.
 *
 * Belongs to its relay's thread.  The router reads the hints in `hints` and exchanges mail with the
 * local pool; see lease_parts.h.  The router makes a member for a local pool before the login of
 * its first client ends.  The member gives it the counts over all relays and the reported
 * parameters.
 *
 * Invariant: claims wait only while no usable server is idle.
 *
 * The struct is open: a turn reads its limits and adds to its statistics for every query, and a
 * call for each would cost where builds do not optimize over files.  Only the pool changes its
 * lists.
 */
#include "config/config.h"
#include "fleet/codel.h"
#include "link/link.h"
#include "pool/counts.h"
#include "pool/pools.h"
#include "pool/server.h"
#include "session/params.h"
#include "stats/route_times.h"
#include "stats/stats_service.h"

struct claim;
struct local_pools;
struct pool;
struct lease;
struct member;
struct outage;

/* The parameters that servers report at login, for clients that log in without a server. */
struct reported_parameters {
    bool known;
    struct buffer parameters; /* name NUL value NUL ... */
    struct buffer messages;   /* the same as ParameterStatus messages */
    struct params *defaults; /* those that follow each client; session pools, and not known: NULL */
};

/* The limit that keeps the router from granting more servers to a local pool. */
enum local_pool_full {
    FULL_NOTHING,
    FULL_POOL,     /* pool_size */
    FULL_SERVICE,  /* connection_limit of the service's backends */
    FULL_CROWD,    /* a limit of PostgreSQL's own: the backend refused a login with 53300 */
    FULL_DATABASE, /* servers of the database */
    FULL_USER,     /* servers of the user */
    FULL_ALL,      /* servers of all pools */
    FULL_PRIMARY,  /* no server is known to be the primary: see failover_parts.h */
    FULL_ROLE,     /* no server that accepts logins has the role of the route's target */
};

/* The time limits of its clients; NO_LIMIT: none. */
struct local_pool_times {
    bool any; /* at least one limit is set */
    duration query;
    duration transaction;
    duration idle_transaction;
    duration client_idle;
};

/* The credentials for logging in to servers. */
struct credentials {
    struct link_secret secret;
    char *password; /* owned: secret.password points to it */
    struct {
        char *password; /* owned: latest output of password_command; see local_pool_command.c */
        deadline until; /* end of its validity */
        uint64_t place; /* hash of the host and port that it is valid for */
    } command;
    uint64_t shown_of;  /* hash of the configured secret in use; 0: none */
    uint64_t proven_of; /* hash of the stored secret that the client proved to know; 0: none */
    uint32_t changes;   /* number of changes: a login under way may use older credentials */
};

/* The version that logins to servers go by: the newest, also for clients of an older version. */
struct shown {
    struct config *latest;            /* counted */
    struct config *config;            /* counted: owner of `route`: `latest`, or the local pool's */
    const struct route_config *route; /* of `latest` if it has the same servers, else own route */
};

/* The state of a local pool's membership at the router, and the mail between the two. */
struct membership {
    struct member *member;         /* the router's */
    bool enrolling;                /* `enroll` was sent and has not come back */
    bool retiring;                 /* `retire` was sent and has not come back */
    bool retired;                  /* the router's answer to `retire` */
    bool asked;                    /* `want` was sent after the latest `retire` */
    struct list arriving;          /* struct arrival: logins that wait for one of these answers */
    struct counts *counts[COUNTS]; /* counted: sent by the router with `enroll` */
    deadline want_after;           /* while the pool is full: no `want` before */
    struct mail enroll;            /* relay to router and back: make a member */
    struct mail want;              /* relay to router: look at the hints */
    struct mail recall;            /* router to relay: look at hints.recall and lease->to_close */
    struct mail retire;            /* relay to router and back: free the member */
    struct mail fence;             /* router to relay and back: end the servers of fenced leases */
};

/* Hint `ordinary` of a pool that does not use its reserve. */
#define ORDINARY_ALL UINT64_MAX

/* Hints between a local pool and the router: written by one thread, read by the other. */
struct local_pool_hints {
    uint64_t queued;   /* claims waiting, without those that a server check is for */
    uint64_t oldest;   /* when the oldest claim was made, us; 0: none waits */
    uint64_t idle;     /* idle servers */
    uint64_t clients;  /* 0 while paused */
    uint64_t moves;    /* by the router: idle servers to close among those whose leases may move */
    uint64_t recall;   /* by the router: leases to give back, not yet seen by the relay */
    uint64_t arrived;  /* live servers that came from other relays, ever */
    uint64_t unmet;    /* atomic: recalls that found no server; the router resets it */
    uint64_t rested;   /* when the longest idle server became idle, us; may be old; 0: none yet */
    uint64_t full;     /* by the router: enum local_pool_full */
    uint64_t full_at;  /* by the router: value of that limit, if a cap has one; 0: none */
    uint64_t ordinary; /* by the router: servers to have here without the pool's reserve */
    uint64_t keep;     /* by the router: servers to keep here however long they are idle */
    uint64_t others_wait; /* by the router: others wait; send `want` when a server becomes idle */
    uint64_t doubtful;    /* a server has answered 25006: its role may have changed */
    uint64_t failing;     /* by the router: claims wait because of local->outage */
    uint64_t empty;       /* by the router: the service has no servers, or all are drained */
    uint64_t backends;    /* by the router, while `failing`: servers of the service */
    uint64_t online;      /* by the router, while `failing`: those of them that accept logins */
};

/* The local pool's part in the log. */
struct local_pool_log {
    struct local_pool_stats told; /* the part of `stats` that is in the log already */
    struct route_times *times;    /* the times of its route on this relay */
    int64_t slow_us;              /* slower queries are logged; INT64_MAX: none */
    uint32_t noted;               /* bytes of a slow query's text that are logged */
};

/* Reads that go to replicas; of the clients' own pool.  See docs/internals/splitting.md. */
struct local_pool_reads {
    uint64_t sent;    /* to a server of the pool for reads */
    uint64_t behind;  /* to the primary: no replica was known to have what the client has seen */
    uint64_t again;   /* to the primary, because the replica did not complete them */
    uint64_t refused; /* to the primary: such a read failed on a replica before */
    uint64_t *failed; /* owned: fingerprints of those, by their low bits; NULL: none yet */
};
#define READS_FAILED_MAX 512u

/* What a turn has to look at: bits of `looks`. */
#define POOL_LOOKS_LOG      1u /* texts are kept for the log of slow queries */
#define POOL_LOOKS_WRITES   2u /* writes are watched */
#define POOL_LOOKS_CALLS    4u /* statements are counted, or audited */
#define POOL_LOOKS_FIREWALL 8u /* the route has a firewall */

struct local_pool {
    struct node node;     /* in pools->all */
    struct map_link link; /* in pools->by_name, unless obsolete */
    struct local_pools *pools;
    struct config *config; /* counted: the version that `route` belongs to */
    const struct route_config *route;
    struct fleet_codel codel;      /* which claims are shed */
    struct pin_rules pin_rules;    /* of the route */
    struct local_pool_times times; /* of the user, else of the route */
    struct config *born_config;    /* counted, never changes: the router reads it */
    const struct route_config *born_route;
    char *database;
    char *user;
    uint8_t looks;        /* a set of POOL_LOOKS_* */
    bool mapped;          /* in pools->by_name */
    bool held;            /* paused: its claims wait, and the router sees none */
    bool reads_sequences; /* some client calls lastval() or currval(): see turn_params.c */
    bool obsolete;        /* replaced by a newer version: drains */
    bool outdated;        /* obsolete since the last reload; not logged yet */
    moment obsolete_since;
    duration drain_limit;          /* drain_timeout when drain_by was set */
    deadline drain_by;             /* when its clients are disconnected; NEVER: not set */
    bool drained;                  /* the first of them were disconnected */
    struct counts *counts[COUNTS]; /* counted; NULL: the router does not know it yet */
    struct list idle;              /* servers; most recently used first */
    struct list busy;              /* servers in every other state */
    struct list claims;            /* waiting, in order of arrival */
    struct node *idle_longest;     /* the server of hints.rested; never dereferenced */
    uint32_t clients;
    uint32_t internals; /* of these, parts of the daemon (relay/client.h) */
    uint32_t checks;    /* busy servers that are being checked, each for a claim if one waits */
    uint32_t logins;    /* servers in CONNECTING */
    uint32_t recalls;   /* leases that the router has recalled and not received yet */
    deadline look_due;  /* when the idle servers are looked at for health checks */
    struct timer timer; /* the oldest claim's deadline, the oldest idle server's, the drain's */
    struct waker timer_waker;
    struct reported_parameters reported;
    struct credentials credentials;
    struct shown shown;
    struct map accepted; /* see accepted.h */
    struct local_pool_stats stats;
    struct stats_window window;          /* of `stats`; the console's */
    struct stats_service *service_stats; /* the relay's, of its service; NULL: no memory */
    struct local_pool_log log;
    struct local_pool_hints hints;
    struct membership membership;
    struct local_pool_reads reads;
    struct outage *outage; /* owned; from the router; NULL: none */
    struct origin *origin; /* of strict answers; NULL: not looked for yet */
    struct {
        moment told;   /* clients of claims made until then had their notice */
        deadline next; /* the queue is not walked before */
    } notice;
};

/* The key of a local pool. */
struct local_pool_key {
    const struct route_config *route;
    struct span database;
    struct span user;
};

/** Finds or makes the local pool for this route, database and user.  Faults: MEMORY. */
fault local_pool_of(struct local_pools *pools, const struct route_config *route,
                    struct span database, struct span user, struct local_pool **ret) MUST_USE;
/** Does the same for a route of another version than the relay's latest.  A local pool made for an
 *  older version is obsolete at once if the latest has no such route. */
fault local_pool_of_version(struct local_pools *pools, struct config *config,
                            const struct local_pool_key *key, struct local_pool **ret) MUST_USE;
/** Counts a client in. */
void local_pool_join(struct local_pool *pool);
/** Counts a client out; after the last one, closes servers that were kept for clients only. */
void local_pool_leave(struct local_pool *pool);
/** Returns how many servers of one pool clients may pin; at least 1. */
uint32_t local_pool_pin_max(const struct route_config *route);
/** Returns the number of the pool's database in the generations (server_writes.c). */
struct generations_table;
uint64_t local_pool_generations(const struct local_pool *pool,
                                const struct generations_table *table);
/** Returns the name of its database at the servers. */
static inline const char *local_pool_database(const struct local_pool *pool)
{
    const char *renamed = pool->route->server_database;
    return renamed != NULL ? renamed : pool->database;
}
/** Returns the number of its clients but those that are parts of the daemon. */
static inline uint32_t local_pool_clients(const struct local_pool *pool)
{
    return pool->clients - pool->internals;
}
/** Whether it has no clients, claims and servers. */
bool local_pool_unused(const struct local_pool *pool);
/** Takes over a newer configuration's route of the same identity, or becomes obsolete. */
void local_pool_reload(struct local_pool *pool, struct config *config);
/** Sets the time limits from its configuration and has the relay apply them to its clients. */
void local_pool_set_times(struct local_pool *pool);
/** Asks the router to forget the local pool if nothing is left in it; the answer frees it. */
void local_pool_maybe_retire(struct local_pool *pool);
/** Frees a local pool that is unused and unknown to the router. */
void local_pool_free_now(struct local_pool **pool);

/* --- local_pool_log.c: data for the log ------------------------------------------------------- */

/** Attaches a new local pool to its route's times and sets its thresholds.  Faults: MEMORY. */
fault local_pool_log_enter(struct local_pool *pool) MUST_USE;
/** Sets the thresholds from a newer version of its route. */
void local_pool_log_renew(struct local_pool *pool);
/** Switches a local pool whose route has become obsolete to the times of its version. */
void local_pool_log_outdate(struct local_pool *pool);
/** Adds the local pool's unlogged statistics to its route's and detaches it. */
void local_pool_log_leave(struct local_pool *pool);

/* --- local_pool_member.c: what the local pool and the router exchange ------------------------- */

/** Whether the router knows the local pool and was not asked to forget it. */
bool local_pool_is_entered(const struct local_pool *pool);
/** Asks the router to know the local pool; false: that, or the opposite, is under way. */
bool local_pool_enroll(struct local_pool *pool);
/** Waits until the router knows the local pool.  Suspends.  Faults: MEMORY, TIMEOUT, CANCELLED. */
fault local_pool_enter(struct local_pool *pool, deadline by) MUST_USE;
/** Wakes the logins that wait for an answer of the router. */
void local_pool_entered(struct local_pool *pool);
/** Updates the hints that the router reads. */
void local_pool_tell(struct local_pool *pool);
/** Counts one waiting claim less in the hints: a server is about to be given to it.  To be called
 *  before the router learns of the server, or the router counts that claim as one without a server.
 *  local_pool_tell sets the hints right. */
void local_pool_tell_served(struct local_pool *pool);
/** Asks the router for servers because claims wait; not too often while the pool is full. */
void local_pool_want(struct local_pool *pool);
/** Whether a login is needed under a lease that has just come.  Returns false if no claim needs it.
 *  Session pools: *ret_startup is a reference to the waiting client's parameters. */
bool local_pool_needs_login(struct local_pool *pool, struct params **ret_startup);
/** Sets whether the local pool is paused; claims of a paused one wait, unseen by the router. */
void local_pool_hold(struct local_pool *pool, bool held);
/** Answers recalls that no server is left for, after a server has gone. */
void local_pool_settle_recalls(struct local_pool *pool);
/* Sufficient for each text of local_pool_say_full if names are not longer than PostgreSQL's. */
#define SAY_FULL_SIZE 400
/** Writes the reason why claims wait, in words: a limit, a pause, an outage, or that the service
 * has no servers.  Returns the SQLSTATE for it; *ret_why is what a refusal counts as. */
const char *local_pool_say_full(const struct local_pool *pool, char *text, size_t size,
                                enum stats_service_count *ret_why);
/** Takes over a copy of the service's outage; `since` 0: logins succeed again. */
void local_pool_set_outage(struct local_pool *pool, const struct outage *outage);

/* --- local_pool_reads.c: reads that replicas can't run ---------------------------------------- */

/** Remembers that a replica can't run texts of this fingerprint.  A later one may displace it. */
void local_pool_read_failed(struct local_pool *pool, uint64_t fingerprint);
bool local_pool_read_fails(const struct local_pool *pool, uint64_t fingerprint);
/** Frees what is remembered. */
void local_pool_reads_forget(struct local_pool *pool);

/* --- local_pool_servers.c: servers and claims ------------------------------------------------- */

/** Takes an idle server that fits the claim: its client's last one if idle, else any.  NULL: none
 *  can be taken at once; the claim waits. */
struct server *local_pool_take_idle(struct local_pool *pool, struct claim *claim);
/** Takes a server that has become free (ledger empty, no transaction, cleaned).  Closes it, gives
 * it back to the router if recalled, grants it to the oldest claim that it fits, or leaves it idle.
 */
void local_pool_free(struct local_pool *pool, struct server *take_server);
/** Refuses all waiting claims, or only those with these startup parameters. */
void local_pool_refuse(struct local_pool *pool, const struct params *startup, const char *sqlstate,
                       const char *text);
/** Gives `more` leases back to the router: idle servers at once, others as they become free.
 *  Recalls that no server is left for are answered at once. */
void local_pool_recall(struct local_pool *pool, uint32_t more);
/** Takes a server that has passed a routine check.  If it is still idle, it has been so since
 *  `used`: its place among the idle servers is as before. */
void local_pool_free_rested(struct local_pool *pool, struct server *take_server, moment used);
/** Closes idle servers that are not to be used again: broken, too old, or of no use to anyone. */
void local_pool_trim(struct local_pool *pool);

/** Tells the router that a server has refused to write, so that its role is asked for anew. */
void local_pool_doubt(struct local_pool *pool); /* local_pool_fence.c */

/* --- server_check.c: checks of servers that were idle for long -------------------------------- */

/** Whether an idle server has been idle for so long that it must be checked before use. */
bool local_pool_needs_check(const struct local_pool *pool, const struct server *server);
/** Starts a check by an empty query; the server then becomes free or is closed.  Fault: MEMORY; the
 *  server is idle as before. */
fault local_pool_check(struct local_pool *pool, struct server *server) MUST_USE;
/** Starts checks of servers that have been idle for health_check_interval, a few at a time. */
void local_pool_check_idle(struct local_pool *pool);
/** Returns when local_pool_check_idle() is to be called; NEVER: the route wants no checks. */
deadline local_pool_check_due(const struct local_pool *pool);
/** Takes the outcome of a check.  `lost`: the server closed the connection. */
void local_pool_checked(struct local_pool *pool, struct server *server, bool answers, bool lost);

/* --- local_pool_reported.c: parameters that servers report at login, values they accept ------- */

/** Keeps the parameters that a server reported.  True: they are new and other relays need them. */
bool local_pool_learn(struct local_pool *pool, struct span said);
/** Does the same for parameters sent by another relay, and wakes the logins that wait for them. */
void local_pool_learn_elsewhere(struct local_pool *pool, struct span said);
/** Records that a server accepted the value and spells it `canonical`, here and on the pool's other
 *  relays; wakes the logins that wait for a server. */
void local_pool_accept(struct local_pool *pool, const struct param *param, struct span canonical);
/** Records values that another relay has sent, in the form of accepted_next, and wakes logins. */
void local_pool_accept_elsewhere(struct local_pool *pool, struct span values);

/* --- local_pool_secret.c: credentials for logging in to servers ------------------------------- */

/** Fills pool->credentials with the secret of the route or of the auth file, if it has changed.
 *  Faults: MEMORY. */
fault local_pool_set_secret(struct local_pool *pool) MUST_USE;
/** Sets the version that later logins to servers go by, also if its route is another. */
void local_pool_show(struct local_pool *pool, struct config *latest);
/** Wipes all credentials. */
void local_pool_show_none(struct local_pool *pool);
/** Keeps a password that a client has just proven, for logging in to servers.  `config` is the
 *  version of that login, `stored` the secret in it (NULL: another service has judged). */
void local_pool_keep_password(struct local_pool *pool, const struct config *config,
                              const char *stored, const char *text);
/** Does the same for SCRAM keys. */
void local_pool_keep_keys(struct local_pool *pool, const struct config *config, const char *stored,
                          const struct scram_keys *keys);
/** Gives `to`, a pool of the same user at the same service, what clients of `from` have proven. */
void local_pool_share_secret(const struct local_pool *from, struct local_pool *to);
/** Keeps the secret of the pool's user that comes from elsewhere than the auth file (auth_query);
 *  it may have changed since. */
void local_pool_keep_secret(struct local_pool *pool, const struct config *config, const char *text);
