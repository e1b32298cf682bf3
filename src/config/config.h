#pragma once
/*
 * config.h - one version of the configuration: immutable, counted, shared by all machines.
 *
 * instance/ builds it from the file (settings.h gives every row its default, range and help) and
 * hands it to the pooler.  Strings are owned by the version (NUL-terminated, in its arena).  A
 * reload makes a new version; whoever works by an old one keeps it by a reference.
 */
#include "base/fault.h"
#include "base/map.h"
#include "base/time.h"
#include "config/hba.h"
#include "machine/log.h"
#include "machine/os.h"
#include "machine/tls.h"
#include "query/effects.h"

/* Worker threads, also where `auto` stops: cancel keys name each by seven bits. */
#define RELAYS_MAX 128

enum pool_mode { POOL_SESSION, POOL_TRANSACTION, POOL_STATEMENT };

enum tls_negotiation { TLS_NEGOTIATION_POSTGRES, TLS_NEGOTIATION_DIRECT };

struct tls_config {
    enum tls_mode mode;
    enum tls_negotiation negotiation; /* services: how it begins */
    int binding;                      /* services: enum link_binding */
    struct tls_policy policy;
    const char *certificate; /* absolute paths; NULL: none */
    const char *key;
    const char *authorities;
    struct tls_context *context; /* counted; NULL when the mode is disable */
};

/* The addresses whose first bits are these; of a Unix socket: all of them. */
struct address_range {
    struct address address;
    uint32_t bits;
};

struct listen_config {
    const char *name; /* what routes call it; NULL: nothing */
    const char *host; /* name, address, "*", or an absolute directory */
    uint16_t port;
    const char *socket; /* the name of sockets that the service manager passes; NULL: none */
    uint32_t number;    /* stays the same over versions; given by the pooler */
    int backlog;
    int unix_mode;                 /* permission bits of a Unix socket */
    const char *unix_group;        /* whose a Unix socket is; NULL: our own */
    int64_t unix_group_number;     /* the same; negative: none */
    int defer_accept;              /* seconds; 0: not */
    struct address_range *proxies; /* who must say, by the PROXY protocol, whom it speaks for */
    size_t proxy_count;
    struct tls_config tls;
};

struct host_config {
    const char *host; /* name, address, or an absolute directory */
    uint16_t port;
};

struct service_config {
    const char *name;
    struct host_config *hosts;
    size_t host_count;
    struct tls_config tls;
    uint32_t protocol;        /* the version to ask for, major << 16 | minor */
    duration connect_timeout; /* connect and login together */
    uint32_t logins_max;      /* logins at a time towards one backend */
    uint32_t connections_max; /* server connections per backend, over all pools */
    duration retry_min;       /* first and longest wait before a backend is tried again */
    duration retry_max;
};

/* What becomes of session state that a client of a transaction pool leaves behind. */
enum pin_policy {
    PIN_PIN,    /* it keeps its server until the state has ended */
    PIN_RESET,  /* cleaned at the end of the transaction */
    PIN_REJECT, /* refused */
    PIN_ALLOW,  /* left for whoever comes next */
};

/* What of a client's session may reach others. */
enum isolation {
    ISOLATION_READ,   /* what its statements' texts do not show */
    ISOLATION_STRICT, /* what can't be cleaned */
    ISOLATION_FRESH,  /* nothing */
};

struct session_config {
    uint16_t isolation;           /* enum isolation */
    uint16_t policy[QUERY_KINDS]; /* enum pin_policy */
    uint32_t pin_share;           /* percent of pool_size */
};

/* Of route_config.prepared_max. */
#define PREPARED_PRIVATE UINT32_MAX

struct route_config {
    const char *database;                 /* NULL: any ("*") */
    const char *user;                     /* NULL: any */
    const char **listeners;               /* names of those that lead to it */
    size_t listener_count;                /* 0: all do */
    const struct service_config *service; /* NULL only for AUTH_BLOCK */
    enum auth_method auth;
    const char *auth_options; /* as in pg_hba.conf; NULL: none */
    struct auth_how how;      /* `auth` with its options; not for AUTH_HBA */
    enum pool_mode mode;
    uint32_t pool_size;    /* servers of one pool, over all relays */
    uint32_t pool_reserve; /* more servers for claims that have waited for `reserve_after` */
    duration reserve_after;
    uint32_t pool_min;   /* servers kept open while the pool has clients */
    uint32_t client_max; /* clients of one pool; 0: no limit but the global one */
    duration claim_timeout;
    duration claim_notice; /* a client that waits for so long is told */
    duration check_delay;  /* a server that was idle for so long is asked before it is used */
    duration check_timeout;
    duration idle_timeout; /* an idle server is closed after this; NO_LIMIT: never */
    duration
        server_lifetime; /* a server is closed at its next release after this, spread by a tenth */
    duration client_idle_timeout; /* these four: NO_LIMIT: never */
    duration slow_query;          /* NO_LIMIT: none is told */
    duration query_timeout;
    duration transaction_timeout;
    duration idle_transaction_timeout;
    bool name_with_host; /* application_name tells the client's address */
    bool fresh;          /* session pools: a new backend for every client, no DISCARD ALL */
    struct session_config session; /* not for session pools */
    uint32_t prepared_max;         /* prepared statements kept on one server (LRU); 0: no remapping;
                                       PREPARED_PRIVATE: those of one client at a time */
    const char *server_database;   /* towards the server; NULL: as the client said */
    const char *server_user;
    const char *server_password;  /* NULL: from the auth file, or passed through */
    const char *password_command; /* prints the password towards servers; NULL: none */
    duration password_lifetime;
    uint32_t line;            /* in the file; for SHOW ROUTES */
    uint32_t replication_max; /* replication connections of one pool; 0: none are let in */
    bool query;               /* users who stand in no file are asked for at a server */
    bool is_lookup;           /* made for those questions, see auth_query.h */
    bool is_replication;      /* made from another one, for those */
    const struct route_config *replication; /* that other one's; NULL: none are let in */
};

/* What holds for a database by name; 0: as for all. */
struct database_config {
    const char *name;
    struct map_link link; /* in config->databases_by_name */
    uint32_t client_max;  /* clients of it, over all users */
    uint32_t servers_max; /* servers of its pools */
};

/* What holds for a user by name; a duration of 0: as its route says. */
struct user_config {
    const char *name;
    struct map_link link; /* in config->users_by_name */
    uint32_t client_max;  /* clients of it, over all databases; 0: as for all */
    uint32_t servers_max; /* servers that log in as it */
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

/* Whether others may read the files that secrets are in. */
enum secret_files { SECRET_FILES_PRIVATE, SECRET_FILES_WARN, SECRET_FILES_ANY };

struct config {
    uint32_t references; /* atomic */
    uint64_t version;    /* 1, 2, 3, ... */
    const char *path;    /* absolute */

    const char *user; /* to become; NULL: none */
    bool core_dumps;
    int secret_files; /* enum secret_files */
    uint32_t relays;
    uint32_t client_max;
    uint32_t unauthenticated_max;        /* connections that have not proven who they are */
    uint32_t unauthenticated_source_max; /* of one address */
    uint32_t servers_max;                /* these: 0: no limit */
    uint32_t database_clients_max;
    uint32_t database_servers_max;
    uint32_t user_clients_max;
    uint32_t user_servers_max;
    uint32_t message_max;   /* bytes of one message that must be held whole (Parse, Query, login) */
    size_t memory_max;      /* bytes for chunks and held messages, over all relays */
    uint32_t chunk;         /* bytes of one relay buffer */
    duration login_timeout; /* a client must have logged in */
    duration shutdown_delay; /* after the signal all goes on for so long */
    uint32_t shutdown_rate;  /* clients that are told in a second; 0: all at once */
    duration shutdown_timeout;
    duration drain_timeout; /* clients of an obsolete route are ended after this; NO_LIMIT: never */
    duration cancel_timeout;
    uint32_t cancels_max;   /* cancel requests towards servers at a time, per relay */
    duration reset_timeout; /* to clean a server that a client left behind */
    uint32_t hot_relay;     /* percent of a processor; beyond, its clients may move; 0: never */
    duration overtake_max;  /* how long a claim may be overtaken from another relay */
    struct socket_options client_socket;
    struct socket_options server_socket;

    int log_level;
    int log_format;       /* enum log_format */
    const char *log_file; /* NULL: stderr */
    struct log_target *log_targets;
    size_t log_target_count; /* 0: the three above say where to */
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
    struct hba *hba;        /* owned; rules, maps, and the options of routes */

    uint32_t failures_max; /* failed logins of one address within the window; 0: any number */
    duration failures_window;
    duration failures_delay; /* the answer to more of them comes so much later */
    duration failures_block; /* connections are refused for so long; 0: never */

    struct { /* users who stand in no file */
        const char *sql;
        const char *user; /* who asks; NULL: nobody is asked */
        const char *password;
        const char *database;
        uint32_t pool_size;
        duration refresh;
        duration timeout;
    } query;
    struct route_config *lookups; /* for these questions: one for each service, or none */
    size_t lookup_count;

    const char *auth_file;     /* absolute; NULL: none */
    struct map secrets;        /* struct secret by user */
    uint32_t scram_iterations; /* of SCRAM secrets in the auth file; 0: it has none */

    const char **ignored_parameters; /* startup parameters that clients may send in vain */
    size_t ignored_count;

    const char **console_databases; /* "trunkline", "pgbouncer"; none: there is no console */
    size_t console_database_count;
    const char **console_users; /* they may do anything there */
    size_t console_user_count;
    const char **console_readers; /* they may look */
    size_t console_reader_count;

    void *arena; /* owns every string and array above; private to the builder */
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

/** Whether the listener takes a connection from this address for a proxy's. */
bool listen_from_proxy(const struct listen_config *listen, const struct address *peer);
/** First match wins; NULL when none does.  Borrowed from the version. */
const struct route_config *config_route(const struct config *config, struct span database,
                                        struct span user);
/** The same for clients of this listener; NULL: of one without a name. */
const struct route_config *config_route_at(const struct config *config, const char *listener,
                                           struct span database, struct span user);
/** Whether two routes are led to by the same listeners. */
bool route_same_listeners(const struct route_config *a, const struct route_config *b);
/** The route by which users are asked for at this service; NULL: there is none. */
const struct route_config *config_route_lookup(const struct config *config, const char *service);
/** The same, for clients of the kind that `like` is for. */
const struct route_config *config_route_like(const struct config *config, struct span database,
                                             struct span user, const struct route_config *like);
/** The stored secret of a user, or NULL.  Borrowed from the version. */
const struct secret *config_secret(const struct config *config, struct span user);
/** What is configured for a database by name, or NULL.  Borrowed from the version. */
const struct database_config *config_database(const struct config *config, const char *database);
/** What is configured for a user by name, or NULL.  Borrowed from the version. */
const struct user_config *config_user(const struct config *config, const char *user);
bool config_console_database(const struct config *config, struct span database);
/** What a user may do on the console. */
enum console_role { CONSOLE_NOTHING, CONSOLE_READS, CONSOLE_ALL };
enum console_role config_console_role(const struct config *config, struct span user);
/** Whether clients' values for this startup parameter are dropped. */
bool config_ignores(const struct config *config, struct span parameter);
/** Whether two routes mean the same servers and the same treatment (service, database, user, mode,
 *  auth, TLS): if not, a reload makes a new version of the pool.  Limits don't count, nor do the
 *  passwords that servers are shown. */
bool route_same_identity(const struct route_config *a, const struct route_config *b);
/** The listener of this number, NULL when the version has it no more. */
const struct listen_config *config_listen(const struct config *config, uint32_t listen);
