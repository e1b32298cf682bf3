#pragma once
/*
 * config.h - a version of the configuration: immutable, counted, shared by all machines.
 *
 * instance/ builds it from the file (settings.h gives every row its default, range and help) and
 * hands it to the pooler.  The version owns its strings (NUL-terminated, in its arena).  A reload
 * makes a new version; users of an old version keep it by a reference.
 */
#include "base/fault.h"
#include "base/map.h"
#include "base/time.h"
#include "config/firewall.h"
#include "config/hba.h"
#include "fleet/resolver.h"
#include "fleet/target.h"
#include "machine/log.h"
#include "machine/os.h"
#include "machine/tls.h"
#include "query/effects.h"
#include "query/reads.h"

/* Worker threads, also the maximum of `auto`: cancel keys have seven bits for a relay. */
#define RELAYS_MAX 128

enum pool_mode { POOL_SESSION, POOL_TRANSACTION, POOL_STATEMENT };

enum tls_negotiation { TLS_NEGOTIATION_POSTGRES, TLS_NEGOTIATION_DIRECT };

struct tls_config {
    enum tls_mode mode;
    enum tls_negotiation negotiation; /* services: how TLS begins */
    int binding;                      /* services: enum link_binding */
    struct tls_policy policy;
    const char *certificate; /* absolute paths; NULL: none */
    const char *key;
    const char *authorities;
    struct tls_context *context; /* counted; NULL when the mode is disable */
};

/* The addresses that begin with the first `bits` of `address`; all Unix sockets if its family is
 * ADDRESS_UNIX. */
struct address_range {
    struct address address;
    uint32_t bits;
};

struct listen_config {
    const char *name; /* as in the `listeners` of routes; NULL: none */
    const char *host; /* name, address, "*", or an absolute directory */
    uint16_t port;
    const char *socket; /* name of sockets passed by the service manager; NULL: none */
    uint32_t number;    /* the same in all versions; assigned by the pooler */
    int backlog;
    int unix_mode;                 /* permission bits of a Unix socket */
    const char *unix_group;        /* group of a Unix socket; NULL: our own */
    int64_t unix_group_number;     /* id of unix_group; negative: none */
    int defer_accept;              /* seconds; 0: off */
    struct address_range *proxies; /* proxies, which must send a PROXY header */
    size_t proxy_count;
    enum fleet_target target; /* for clients whose route has TARGET_DEFAULT */
    struct tls_config tls;
};

struct host_config {
    const char *host; /* name, address, or an absolute directory */
    uint16_t port;
    uint16_t priority; /* lower ones are used first */
    uint16_t weight;   /* share within the priority */
    const char *zone;  /* label; NULL: none */
};

/* How connections are spread over the servers of a service. */
struct balance_config {
    uint32_t retry_jitter;      /* percent */
    uint32_t logins_per_second; /* at one server; 0: no limit */
    uint32_t zone_min;          /* healthy servers of the own zone, or all zones are used */
    duration rebalance_interval;
    uint32_t moves_max; /* connections moved at a time */
};

/* Probes of the servers of a service, see pool/probe.h. */
struct probe_config {
    const char *user; /* NULL: there are no probes */
    const char *password;
    const char *database;
    duration interval;
    duration timeout;
};

/* Feeds of the databases of a service, see flight/feed.h. */
struct feed_config {
    const char *user;       /* NULL: there are none, and so no strict rules */
    const char *password;   /* NULL: none */
    duration probe_timeout; /* of a request that asks whether an answer is current */
};

/* Patroni's REST interface, see pool/patroni_parts.h. */
struct patroni_config {
    uint16_t port;    /* 0: it is not asked */
    uint64_t lag_max; /* bytes by which a standby may be behind; 0: any number */
    duration timeout;
    struct tls_config tls;
};

/* Which clients may write to the databases of a service, see flight/inside.h. */
enum service_writers {
    WRITERS_OUTSIDE, /* also clients that do not come through this daemon */
    WRITERS_INSIDE,  /* none but this daemon's clients */
};

struct service_config {
    const char *name;
    struct host_config *hosts; /* RESOLVER_FIXED only */
    size_t host_count;
    uint16_t resolver;       /* enum resolver_kind */
    uint16_t lookup_port;    /* RESOLVER_DNS */
    const char *lookup_name; /* the name to resolve; NULL for RESOLVER_FIXED */
    struct address *name_servers;
    size_t name_server_count;     /* 0: those of resolv.conf */
    const char *resolver_service; /* SRV records that list more name servers; NULL: none */
    uint32_t name_servers_at_once;
    uint32_t empty_after; /* answers without records after which the service is empty */
    duration name_server_timeout;
    duration refresh_min;
    duration refresh_max;
    duration stale_for;
    struct tls_config tls;
    uint32_t protocol;        /* the version to ask for, major << 16 | minor */
    duration connect_timeout; /* for connect and login together */
    uint32_t logins_max;      /* concurrent logins to one backend */
    uint32_t connections_max; /* server connections per backend, over all pools */
    duration retry_min;       /* shortest and longest wait before a backend is tried again */
    duration retry_max;
    duration health_interval; /* an idle connection is checked so often; NO_LIMIT or 0: never */
    struct balance_config balance;
    struct probe_config probe;
    struct feed_config feed;
    uint16_t writers; /* enum service_writers */
    struct patroni_config patroni;
    duration lag_max; /* standbys that lag more are not used; NO_LIMIT: all are */
    duration switchover_timeout;
};

/* Treatment of session state that a client of a transaction pool leaves behind. */
enum pin_policy {
    PIN_PIN,    /* the client keeps its server until the state has ended */
    PIN_RESET,  /* the state is cleaned at the end of the transaction */
    PIN_REJECT, /* the statement is rejected */
    PIN_ALLOW,  /* the state is left for the next client */
};

/* Session state of a client that may reach other clients. */
enum isolation {
    ISOLATION_READ,   /* state that the texts of its statements do not show */
    ISOLATION_STRICT, /* state that can't be cleaned */
    ISOLATION_FRESH,  /* none */
};

struct session_config {
    uint16_t isolation;           /* enum isolation */
    uint16_t policy[QUERY_KINDS]; /* enum pin_policy */
    uint32_t pin_share;           /* percent of pool_size */
};

/* Where proven reads run. */
enum reads_where {
    READS_PRIMARY, /* as all else */
    READS_REPLICA,
    READS_PREFER_REPLICA, /* on the primary while no replica is online */
};

/* What a client sees of its own writes on replicas. */
enum reads_consistency {
    READS_SESSION,  /* all of them, and nothing goes back in time */
    READS_EVENTUAL, /* what the replica has */
};

/* Reads that go to replicas: docs/splitting.md. */
struct reads_config {
    uint16_t where;       /* enum reads_where */
    uint16_t consistency; /* enum reads_consistency */
    uint32_t pool_size;   /* of the pools of reads; 0: as pool_size */
    duration wait;        /* how long a read waits for its replica to have the client's writes */
    const char **names;   /* declared functions, as the file has them */
    size_t name_count;
    bool hints;
    struct query_read_rules rules; /* made of these */
};

/* What a client may be given that asks what another has asked: docs/flight.md. */
enum cache_mode {
    CACHE_OFF,    /* its own execution */
    CACHE_DEDUPE, /* the answer of a running execution */
    CACHE_TTL,    /* and a stored answer, up to `ttl` old */
    CACHE_STRICT, /* and a stored answer, if nothing that it has read has changed */
    CACHE_SHADOW, /* its own execution; what mode `of` would give is compared */
};

/* Which statements a rule is for: those to which all that is set applies. */
struct cache_match {
    const char *text;             /* pattern of the whole text, as for LIKE; NULL: any */
    const char **tables;          /* the statement reads one of them: "t", or "schema.t" */
    size_t table_count;           /* 0: any */
    const char **functions;       /* the statement calls one of them */
    size_t function_count;        /* 0: any */
    const char *fingerprint_text; /* as the file has it; NULL: any */
    uint64_t fingerprint;         /* of query_analyze() */
};

/* What became of the statements that a rule was for. */
enum cache_count {
    CACHE_COUNT_HITS,      /* answered from memory */
    CACHE_COUNT_STALE,     /* of these: with an answer older than `ttl` */
    CACHE_COUNT_EXECUTED,  /* executions for the clients that wait for one answer */
    CACHE_COUNT_JOINED,    /* clients that waited for an execution that another began */
    CACHE_COUNT_REFRESHED, /* executions that refreshed a stored answer */
    CACHE_COUNT_STORED,    /* answers that were stored */
    CACHE_COUNT_OFF,       /* the rule or a hint says off */
    CACHE_COUNT_OPTED_OUT, /* the client has set trunkline.cache to off */
    CACHE_COUNT_STATE,     /* the client's session has state that the answer may depend on */
    CACHE_COUNT_REFUSED,   /* the verdict says that the answer may not be shared */
    CACHE_COUNT_FAILED,    /* there was no verdict, or no memory */
    CACHE_COUNT_BYPASSED,  /* the feed could not say in time that the answer was current */
    CACHE_COUNT_RESTED,    /* the rule's answers cost the server more than they save */
    CACHE_COUNT_WARMED,    /* executions to have an answer before clients ask */
    CACHE_COUNT_FETCHED,   /* answers that came from the second tier instead of an execution */
    /* Of CACHE_SHADOW. */
    CACHE_COUNT_WOULD_HIT,   /* the mode would have given an answer of another execution */
    CACHE_COUNT_DIFFERENCES, /* of these: it was not the client's own */
    CACHE_COUNT_UNDECIDED,   /* of these: that could not be told */
    CACHE_COUNTS,
};

/* Reasons of verdicts (flight/verdict.h). */
#define CACHE_REASONS_MAX 64u

/* Counts of a feed. */
struct cache_feed {
    uint64_t probes, transactions, tickets;
};

struct cache_sums {
    uint64_t served, executed, changed, asked;
    struct cache_feed feed;
};

/* See cache_worth.h.  The first seven are atomics; the others belong to the thread that judges. */
struct cache_worth {
    int64_t rests_until; /* microseconds of monotonic time */
    uint64_t asks;
    uint64_t changes;
    struct cache_feed feed;
    int64_t least_execution; /* microseconds, since the latest judgement; 0: none */
    int64_t least_ask;
    uint32_t timed;           /* questions to the server alone, where no feed is asked */
    uint64_t executed_before; /* the latest judgement */
    bool judging;             /* a thread judges */
    duration rest;
    moment since; /* the latest judgement, or the end of a rest; 0: none */
    struct cache_sums sums;
    moment term; /* the same of a longer time */
    struct cache_sums term_sums;
    uint64_t term_share; /* thousandths that were executed in the term before; 0: there is none */
    bool hardly_hit;     /* it was found so */
};

/* Counts since this version of the configuration came; atomics, from any thread. */
struct cache_counts {
    uint64_t all[CACHE_COUNTS];
    uint64_t reasons[CACHE_REASONS_MAX]; /* of CACHE_COUNT_REFUSED */
    struct cache_worth worth;
};

/* What the audit says of a route's statements. */
enum audit_kind { AUDIT_OFF, AUDIT_FINGERPRINT, AUDIT_SHAPE };

/* Where answers of a rule are stored. */
enum cache_tier { CACHE_TIER_MEMORY, CACHE_TIER_REDIS /* there too */ };

#define REDIS_SENTINELS_MAX 16

struct redis_sentinel {
    const char *host; /* a name or an address */
    uint16_t port;
};

/* The second tier of stored answers. */
struct redis_config {
    const char *host; /* a name or an address; an absolute path: of a Unix socket; NULL: none */
    /* In place of `host`: Sentinels, and the name of the master that they watch. */
    struct redis_sentinel *sentinels;
    size_t sentinel_count;
    const char *master;
    const char *sentinel_password; /* NULL: none */
    uint16_t port;
    const char *user;     /* NULL: Redis's default user */
    const char *password; /* NULL: none */
    uint32_t database;
    const char *prefix; /* of all keys */
    duration budget;
    uint64_t compress_min; /* bytes of an answer from which it is compressed; 0: none is */
    struct tls_config tls;
};

struct cache_rule {
    struct cache_match match;
    uint16_t mode;               /* enum cache_mode */
    uint16_t of;                 /* CACHE_SHADOW: which mode is tried; CACHE_OFF: another mode */
    uint32_t number;             /* in its route, from 1 */
    uint16_t tier;               /* enum cache_tier */
    duration ttl;                /* CACHE_STRICT: 0: none is set */
    duration stale;              /* how much older an answer may be while one refreshes it */
    uint64_t result_max;         /* bytes of an answer that is stored */
    bool adaptive;               /* it rests if that is worth it: see cache_worth.h */
    const char *tag;             /* for CACHE FLUSH; NULL: none */
    struct cache_counts *counts; /* NULL: none are kept */
};

/* A statement whose answer is stored before clients ask for it. */
struct cache_warm {
    const char *text;
    const char *user;     /* whose rights the execution has; NULL: as the route says */
    const char *database; /* the same */
    const char *options;  /* session parameters, as in a startup packet; NULL: none */
};

struct cache_config {
    struct cache_rule *rules; /* the first one that matches is used */
    size_t rule_count;
    bool hints; /* a comment in front of a statement or behind it may decide */
    struct cache_warm *warms;
    size_t warm_count;
    uint32_t warm_max;  /* of the statements that were hit most often; 0: none are remembered */
    uint32_t warm_rate; /* executions per second */
};

/* A value of route_config.prepared_max. */
#define PREPARED_PRIVATE UINT32_MAX

struct route_config {
    const char *database;                 /* NULL: any ("*") */
    const char *user;                     /* NULL: any */
    const char **listeners;               /* names of the listeners that its clients connect to */
    size_t listener_count;                /* 0: all listeners */
    const struct service_config *service; /* NULL only for AUTH_BLOCK */
    enum auth_method auth;
    const char *auth_options; /* as in pg_hba.conf; NULL: none */
    struct auth_how how;      /* `auth` with its options; not for AUTH_HBA */
    enum pool_mode mode;
    uint32_t pool_size;    /* servers of one pool, over all relays */
    uint32_t pool_reserve; /* further servers, for claims that have waited for `reserve_after` */
    duration reserve_after;
    uint32_t spares;     /* idle servers kept ready beside those in use */
    uint32_t pool_min;   /* servers kept open while the pool has clients */
    uint32_t client_max; /* clients of one pool; 0: only the global limit */
    duration claim_timeout;
    duration delay_target; /* controlled delay of claims, see fleet/codel.h; 0: off */
    duration delay_interval;
    duration claim_notice; /* a client that waits so long gets a NOTICE */
    duration check_delay;  /* a server that was idle so long is checked before its use */
    duration check_timeout;
    duration idle_timeout;    /* an idle server is closed after this time; NO_LIMIT: never */
    duration server_lifetime; /* a server is closed at its next release after this time, varied by a
                                 tenth */
    duration client_idle_timeout; /* these four: NO_LIMIT: never */
    duration slow_query;          /* NO_LIMIT: none is logged */
    uint16_t audit;               /* enum audit_kind */
    duration query_timeout;
    duration transaction_timeout;
    duration idle_transaction_timeout;
    bool name_with_host; /* adds the client's address to application_name */
    bool fresh;          /* session pools: a new server for every client, no DISCARD ALL */
    struct session_config session; /* not for session pools */
    uint32_t prepared_max;         /* prepared statements kept on one server (LRU); 0: no remapping;
                                      PREPARED_PRIVATE: only those of one client at a time */
    const char *server_database;   /* name at the server; NULL: the client's */
    const char *server_user;
    const char *server_password;  /* NULL: from the auth file, or the client's */
    const char *password_command; /* prints the password for servers; NULL: none */
    duration password_lifetime;
    const char *file;         /* the configuration's file where it stands, absolute */
    uint32_t line;            /* line of that file */
    uint32_t replication_max; /* replication connections of one pool; 0: none are accepted */
    bool query;               /* users in no file are looked up at the server */
    bool is_lookup;           /* made for these lookups, see auth_query.h */
    bool is_replication;      /* made from another route, for its replication connections */
    const struct route_config *replication; /* route for replication; NULL: not accepted */
    enum fleet_target target;               /* which servers its pools use */
    duration lag_max;                       /* 0: as the service says */
    struct reads_config reads;
    struct cache_config cache;
    struct firewall_config firewall;
    bool is_watched;  /* a route of its service has cache rules: writes of its clients count */
    bool is_inside;   /* all writers of its service come through this daemon: also watched */
    bool is_examined; /* it has cache rules, a firewall, or splits reads: what a client sends first
                         decides */
    bool is_reads;    /* made from another route, for its reads */
    const struct route_config *aside; /* the route for its reads; NULL: they are not split */
    bool is_targeted; /* made from another route, for clients that ask for this target */
    const struct route_config *targets; /* the routes made from this one, by target; NULL: none */
};

/* Limits of a database by name; 0: the limit for all databases. */
struct database_config {
    const char *name;
    struct map_link link; /* in config->databases_by_name */
    uint32_t client_max;  /* clients of the database, over all users */
    uint32_t servers_max; /* servers of the database's pools */
};

/* Limits of a user by name; a duration of 0: as its route says. */
struct user_config {
    const char *name;
    struct map_link link; /* in config->users_by_name */
    uint32_t client_max;  /* clients of the user, over all databases; 0: the limit for all users */
    uint32_t servers_max; /* servers that log in as the user */
    duration query_timeout;
    duration transaction_timeout;
    duration idle_transaction_timeout;
    duration client_idle_timeout;
};

/* A line of the auth file. */
struct secret {
    struct map_link link; /* by user */
    const char *user;
    const char *text; /* plain, "md5...", or "SCRAM-SHA-256$..." */
};

/* Whether files with secrets may be readable by others. */
enum secret_files { SECRET_FILES_PRIVATE, SECRET_FILES_WARN, SECRET_FILES_ANY };

struct config {
    uint32_t references; /* atomic */
    uint64_t version;    /* 1, 2, 3, ... */
    const char *path;    /* of the main file, absolute */
    const char **files;  /* the main file, and those that it includes */
    size_t file_count;
    const char **includes; /* paths and patterns of the main file's `include` */
    size_t include_count;

    const char *user; /* user to run as; NULL: unchanged */
    bool core_dumps;
    int secret_files; /* enum secret_files */
    uint32_t relays;
    uint32_t client_max;
    uint32_t unauthenticated_max;        /* connections that are not authenticated yet */
    uint32_t unauthenticated_source_max; /* of these, from one address */
    uint32_t servers_max;                /* this and the next four: 0: no limit */
    uint32_t database_clients_max;
    uint32_t database_servers_max;
    uint32_t user_clients_max;
    uint32_t user_servers_max;
    uint32_t message_max;    /* bytes of a message that must be held whole (Parse, Query, login) */
    size_t memory_max;       /* bytes for chunks and held messages, over all relays */
    uint32_t chunk;          /* bytes of one relay buffer */
    duration login_timeout;  /* a client must log in within this time */
    duration shutdown_delay; /* a shutdown waits so long before it stops accepting */
    uint32_t shutdown_rate;  /* clients disconnected per second; 0: all at once */
    duration shutdown_timeout;
    duration drain_timeout; /* disconnects clients of an obsolete route; NO_LIMIT: never */
    duration cancel_timeout;
    uint32_t cancels_max;   /* concurrent cancel requests to servers, per relay */
    duration reset_timeout; /* for cleaning a server that a client left */
    uint32_t hot_relay;     /* percent of a processor; above it clients may move; 0: never */
    const char *zone;       /* the process's own; NULL: none */
    duration overtake_max;  /* how long claims of another relay may overtake a claim */
    struct socket_options client_socket;
    struct socket_options server_socket;

    int log_level;
    int log_format;       /* enum log_format */
    const char *log_file; /* NULL: stderr */
    struct log_target *log_targets;
    size_t log_target_count; /* 0: the three settings above apply */
    bool log_connections;
    bool log_disconnections;
    duration log_repeat_period; /* 0: off */
    duration log_stats_period;  /* 0: off */
    uint32_t log_query_text;    /* bytes of a slow query's text; 0: none */

    struct listen_config *listens;
    size_t listen_count;
    struct service_config *services;
    size_t service_count;
    struct route_config *routes;
    size_t route_count;
    struct database_config *databases;
    size_t database_count;
    struct map databases_by_name;
    struct user_config *users;
    size_t user_count;
    struct map users_by_name;

    const char *hba_file;   /* absolute; NULL: none */
    const char *ident_file; /* absolute; NULL: none */
    struct hba *hba;        /* owned; rules, maps, and options of routes */

    uint32_t failures_max; /* failed logins of one address within the window; 0: no limit */
    duration failures_window;
    duration failures_delay; /* delay of the reply to further failures */
    duration failures_block; /* logins from the address are refused so long; 0: never */

    struct { /* auth_query: lookup of users in no file */
        const char *sql;
        const char *user; /* the user that logs in for lookups; NULL: no lookups */
        const char *password;
        const char *database;
        uint32_t pool_size;
        duration refresh;
        duration timeout;
    } query;
    struct route_config *lookups; /* routes of the lookups: two for each service, or none */
    size_t lookup_count;

    const char *auth_file;     /* absolute; NULL: none */
    struct map secrets;        /* struct secret by user */
    uint32_t scram_iterations; /* of SCRAM secrets in the auth file; 0: it has none */

    uint32_t statements_max; /* entries of SHOW STATEMENTS; 0: statements are not counted */

    size_t cache_memory;          /* bytes of stored answers */
    const char **cache_functions; /* functions that give the same result as long as they say */
    size_t cache_function_count;
    struct redis_config redis;
    bool warms; /* a route has `cache_warm` or `cache_warm_max` */

    const char **ignored_parameters; /* startup parameters of clients, dropped */
    size_t ignored_count;

    const char **console_databases; /* "trunkline", "pgbouncer"; empty: there is no console */
    size_t console_database_count;
    const char **console_users; /* may run every command */
    size_t console_user_count;
    const char **console_readers; /* may only read */
    size_t console_reader_count;

    void *arena; /* owns all strings and arrays above; private to the builder */
    void (*arena_free)(void *arena);
    /* Rows for SHOW CONFIG: key, value, default, whether a reload can change it. */
    struct config_row {
        const char *key;
        const char *value;
        const char *preset;
        bool reloadable;
    } * rows;
    size_t row_count;
};

struct config *config_ref(struct config *config);
void config_unref(struct config **config); /* NULL-safe, any thread */

/** Returns whether this address is one of the listener's proxies. */
bool listen_from_proxy(const struct listen_config *listen, const struct address *peer);
/** Returns the first route that matches; NULL: none.  Borrowed from the version. */
const struct route_config *config_route(const struct config *config, struct span database,
                                        struct span user);
/** Returns the first route that matches a client of this listener; NULL: none.  `listener` NULL: a
 *  listener without a name.  Borrowed from the version. */
const struct route_config *config_route_at(const struct config *config, const char *listener,
                                           struct span database, struct span user);
/** Returns whether two routes have the same listeners. */
bool route_same_listeners(const struct route_config *a, const struct route_config *b);
/** Returns the route with this target: `route` itself if it has it, or if there is none. */
const struct route_config *route_for_target(const struct route_config *route,
                                            enum fleet_target target);
/** Returns the route for lookups of users at this service, for a client of this target: of the
 *  primary, or of any server if the client's need not be the primary.  NULL: none. */
const struct route_config *config_route_lookup(const struct config *config, const char *service,
                                               enum fleet_target target);
/** Returns the route for clients of the kind that `like` serves: lookups, replication or others, at
 *  its first listener.  NULL: none.  Borrowed from the version. */
const struct route_config *config_route_like(const struct config *config, struct span database,
                                             struct span user, const struct route_config *like);
/** Returns the stored secret of a user, or NULL.  Borrowed from the version. */
const struct secret *config_secret(const struct config *config, struct span user);
/** Returns the limits of a database by name, or NULL.  Borrowed from the version. */
const struct database_config *config_database(const struct config *config, const char *database);
/** Returns the limits of a user by name, or NULL.  Borrowed from the version. */
const struct user_config *config_user(const struct config *config, const char *user);
bool config_console_database(const struct config *config, struct span database);
/** Rights of a user on the console. */
enum console_role { CONSOLE_NOTHING, CONSOLE_READS, CONSOLE_ALL };
enum console_role config_console_role(const struct config *config, struct span user);
/** Returns whether clients' values of this startup parameter are dropped. */
bool config_ignores(const struct config *config, struct span parameter);
/** Returns whether two routes mean the same servers and treat clients alike (service, database,
 *  user, mode, auth, TLS).  If not, a reload makes a new version of the pool.  Limits and the
 *  passwords for servers are not compared. */
bool route_same_identity(const struct route_config *a, const struct route_config *b);
/** Returns the listener of this number; NULL: this version does not have it. */
const struct listen_config *config_listen(const struct config *config, uint32_t listen);
