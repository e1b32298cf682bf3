#pragma once
/*
 * scenario.h - the state of one run: the daemon, the model of PostgreSQL, the clients, the rates of
 * faults.
 *
 * The main machine runs the model, the fault injector and the oracle.  Clients run on machines of
 * their own.  The daemon is a thread of the simulated system and runs instance_run unchanged.
 */
#include "clients/client.h"
#include "machine/clock.h"
#include "machine/co.h"
#include "machine/os.h"
#include "machine/tls.h"
#include "runner/plan.h"
#include "runner/run.h"

#define SCENARIO_CLIENTS  64
#define SCENARIO_MACHINES 2

/* Authentication methods. */
enum method { METHOD_TRUST, METHOD_SCRAM, METHOD_MD5, METHOD_PASSWORD };

/* How a certificate names a user. */
enum certificate_mapping {
    MAPPING_CN,   /* `cert`: the common name */
    MAPPING_DN,   /* the whole subject, by a map */
    MAPPING_SAN,  /* each name that it is for */
    MAPPING_FULL, /* `clientcert=verify-full` beside another method */
    MAPPING_CA,   /* `clientcert=verify-ca`: any that the authority has signed */
    MAPPINGS
};

/* The certificate that a client presents. */
enum presented {
    PRESENTED_JOE,
    PRESENTED_JOEY,    /* a name that begins with joe */
    PRESENTED_FOREIGN, /* joe's, signed by another authority */
    PRESENTED_EXPIRED, /* joe's, expired */
    PRESENTED_NONE,
    PRESENTED_PLAIN, /* no TLS at all */
    PRESENTED_COUNT
};
enum admission { ADMISSION_GRANTED, ADMISSION_REFUSED, ADMISSION_NO_HANDSHAKE };

#define SCENARIO_IMPOSTORS 3u

/* The daemon's configuration, as the seed and the reloads have made it. */
struct setup {
    uint32_t relays;
    uint32_t pool_size;
    uint32_t pool_size_max;  /* the largest that a reload may set */
    uint32_t pool_size_ever; /* the largest so far: a smaller size closes no server in use */
    uint32_t pool_reserve;
    uint32_t connections_max; /* of the backend */
    uint32_t servers_max;     /* 0: no limit */
    uint32_t prepared_max;
    uint32_t replication_limit; /* connections for replication, of one database and user */
    bool checks;
    bool single_use;
    enum method method;        /* of clients */
    enum method server_method; /* of servers */
    bool server_password;      /* the route has `server_password` */
    enum certificate_mapping certificate_mapping;
    enum tls_mode certificate_mode; /* of the listener with an authority */
    duration claim_timeout;
    duration query_timeout;
    duration transaction_timeout;
    duration idle_transaction_timeout;
    duration client_idle_timeout;
    duration login_timeout;
    duration reset_timeout;
    duration overtake_limit;
    duration drain_timeout;
    uint32_t identity;     /* of routes: with another one the pools are new */
    moment identity_since; /* when it was last changed; 0: never */
    uint32_t version;      /* a comment in the file, so that each reload changes it */
};

struct model;
struct scenario {
    const struct plan *plan;
    struct counts *counts;
    struct machine *home;
    struct co *main;
    struct model *model;
    struct tls_context *client_tls; /* NULL: no TLS */
    struct tls_context *model_tls;
    struct tls_context *presented_tls[PRESENTED_COUNT]; /* of clients with a certificate, or none */
    struct tls_context *impostors[SCENARIO_IMPOSTORS];
    struct setup setup;
    uint64_t chance;   /* of the fault injector */
    struct address at; /* of the daemon */
    struct address at_socket;
    struct address at_second;      /* another listener */
    struct address at_certificate; /* the listener with an authority */
    struct sim_client clients[SCENARIO_CLIENTS];
    struct mail done[SCENARIO_CLIENTS];
    struct machine *machines[SCENARIO_MACHINES];
    uint32_t rounds_over; /* clients that have finished their rounds */
    uint32_t resting;     /* clients that were served after the faults, and are idle */
    bool rested;          /* they may go */
    uint32_t finished;    /* and have disconnected */
    bool up;              /* the daemon accepts clients */
    bool elected;         /* the daemon has said which server is the primary */
    bool elected_twin;    /* of the service "twin" */
    bool running;         /* its thread exists */
    bool leaving;         /* its stop was requested */
    void *thread;
    struct mail ended;
    struct mail notify; /* to the model's machine: it notifies the channel "news" */
    uint32_t notified;  /* notifications so far */
    bool stopped;       /* an administrator has paused a database, and not resumed it */
    bool suspended;     /* SUSPEND has returned, and no RESUME was sent since */
    bool quiet;         /* all faults have ended: the second part of the run */
    deadline quiet_since;
    deadline disturbed_at; /* the last injection that may end connections */
};
extern struct scenario scenario;

static inline bool scenario_has(enum kind kind)
{
    return plan_has(scenario.plan, kind);
}
/** Returns whether the plan allows that this client loses its connection. */
bool scenario_excuses_loss(const struct sim_client *client);
/** Returns whether nothing is delayed, lost or suspended, so that times can be checked. */
bool scenario_is_exact(void);
/** Returns whether the plan allows this error, which was not expected. */
struct wire_error;
bool scenario_excuses_error(const struct sim_client *client, const struct wire_error *error);

/** Servers that one pool may have. */
uint32_t scenario_pool_max(void);
/** A connection to PostgreSQL may have ended at one end only. */
bool scenario_may_lose_ends(void);
/** Asks the model's machine for a notification from outside; from any machine. */
void scenario_notify_soon(void);

/* --- setup.c ---------------------------------------------------------------------------------- */

#define CHANCE_PROXY              5001
#define SCENARIO_CONFIG           "/etc/trunkline/trunkline.yaml"
#define SCENARIO_HBA              "/etc/trunkline/hba.conf"
#define SCENARIO_PORT             6432
#define SCENARIO_CANCELS          64u
#define SCENARIO_SECOND_PORT      6433 /* another listener */
#define SCENARIO_PROXIED_PORT     6434 /* behind the proxy */
#define SCENARIO_CERTIFICATE_PORT 6435 /* with an authority */
#define SCENARIO_PROXY_PORT       6440 /* the proxy */
#define SCENARIO_SERVER_PORT      5432
#define SCENARIO_PATRONI_PORT     8008
#define SCENARIO_IDENTITIES       3u      /* that routes may have */
#define SCENARIO_PROBE_DATABASE   "probe" /* of probes */
#define SCENARIO_LAG_LIMIT        ms(300)
#define SCENARIO_DELAY_TARGET     ms(5) /* claim_delay_target */
#define SCENARIO_DELAY_INTERVAL   ms(20)
#define SCENARIO_FEEDER           "feeder"   /* the user of feeds */
#define SCENARIO_OUTSIDER         "outsider" /* the user of connections that pass the daemon by */
#define SCENARIO_PROBE_TIMEOUT    ms(60)
#define SCENARIO_FOLDER           "/run/trunkline"
#define SCENARIO_IDENTS           "/etc/trunkline/ident.conf"
void setup_make(struct setup *setup, const struct plan *plan);
/** Changes the configuration: another limit or timeout. */
void setup_change(struct setup *setup, uint64_t *chance);
/** Writes the file. */
void setup_write(const struct setup *setup);

/* --- secrets.c -------------------------------------------------------------------------------- */

#define SCENARIO_AUTH_DATABASE "lookup" /* the database of auth_query */
#define SCENARIO_PASSWORD      "open sesame"
struct model_user;
void secrets_draw(struct setup *setup, const struct plan *plan);
/** Serves `password_command`. */
void secrets_serve_command(void);
/** `auth_query`, if the plan has it. */
void secrets_put_auth_query(const struct setup *setup, struct buffer *out);
/** Writes the auth file. */
void secrets_put(const struct setup *setup);
/** `auth` of the routes. */
const char *secrets_method(const struct setup *setup);
/** The role joe of PostgreSQL. */
void secrets_user(const struct setup *setup, struct model_user *user);

/* --- certificates.c --------------------------------------------------------------------------- */

#define SCENARIO_CERTIFICATE_DATABASE "certify" /* the database of clients with certificates */
void certificates_draw(struct setup *setup, const struct plan *plan);
/** The listener, the lines of the route, and those of the HBA file. */
void certificates_put_listener(const struct setup *setup, struct buffer *out);
void certificates_put_auth(const struct setup *setup, struct buffer *out);
void certificates_put_hba(const struct setup *setup, struct buffer *out);
/** Returns what must happen when a client presents this certificate and logs in as `user`. */
enum admission certificates_admission(const struct setup *setup, enum presented presented,
                                      const char *user);

/* --- hostname.c ------------------------------------------------------------------------------- */

#define SCENARIO_HOST_NAME "db.example"
#define SCENARIO_ADDRESSES 3u
/* The name of SRV records with the host name as their target. */
#define SCENARIO_SERVICE_NAME "_postgresql._tcp.db.example"
/** Whether the services' `resolver` is dns or srv; whether it is srv. */
bool hostname_by_records(void);
bool hostname_by_services(void);

void hostname_begin(void);
/** Changes the name: other addresses, none, or no reply of DNS. */
void hostname_change(void);
/** At the end of the faults: gives the name addresses, and refuses the others. */
void hostname_settle(void);
/** Blocks all packets to the addresses, or lets them pass again. */
void hostname_set_blackhole(bool is_black);

/* --- proxy.c ---------------------------------------------------------------------------------- */

/** Starts the proxy on the current machine. */
/* patroni.c: as nodes_ask_patroni() says. */
void patroni_begin(void);
void patroni_end(void);
/** This server, by its number, gets the leader's lock. */
void patroni_lead(uint32_t number);
void proxy_begin(void);
void proxy_end(void);
struct address proxy_address(void);

/* --- daemon.c --------------------------------------------------------------------------------- */

/** Suspends until the daemon accepts clients. */
void daemon_start(void);
/** For how long preemption has kept the daemon's main thread from running so far, at most. */
int64_t daemon_held_us(void);
/** Suspends until the daemon has ended. */
void daemon_stop(int signal);
/** Stops it by a command, and by a signal if that takes long. */
void daemon_shut_down(const char *command);

/* --- rates.c ---------------------------------------------------------------------------------- */

/** Sets the rates of faults of the plan in the simulated system and in the model. */
void rates_begin(void);
/** Ends all faults; delayed data arrives. */
void rates_end_faults(void);
void rates_set_quiet(void);

/* --- console.c -------------------------------------------------------------------------------- */

/** Runs a command.  Returns false if the connection was lost. */
bool console_execute(const char *command);
/** Does the same, and calls `row` for each row of the result. */
bool console_query(const char *command, void (*row)(void *argument, struct span row),
                   void *argument);

enum console_outcome { CONSOLE_DONE, CONSOLE_REFUSED, CONSOLE_LOST };
/** Does the same by either protocol.  LOST also if a reply takes longer than `patience`. */
enum console_outcome console_try(const char *command, bool extended, duration patience);

/* --- commands.c ------------------------------------------------------------------------------- */

/** Runs some commands that change nothing. */
void commands_run_some(void);
/** Loads a file with errors. */
void commands_reload_broken(void);
/** Waits for servers that are to close. */
void commands_wait_close(void);

/* --- keys.c ----------------------------------------------------------------------------------- */

/** Makes the TLS contexts of the plan. */
void keys_make(void);
void keys_drop(void);

/* --- moves.c ---------------------------------------------------------------------------------- */

/** Moves some clients to another relay. */
void moves_move(void);
/** Kills one client in `one_in`. */
void moves_kill(uint32_t one_in);

/* --- injector.c ------------------------------------------------------------------------------- */

/** Causes the events of the plan until all clients have finished their rounds, or a limit is
 * reached. */
void injector_run(void);
/** Reverts commands that could not be reverted at once. */
void injector_undo(void);
