#pragma once
/*
 * stage.h - what one run is made of: the daemon, its PostgreSQL, its people, and the world's mood.
 *
 * The main machine holds the model, the director and the oracle; people live on machines of their
 * own; the daemon is a thread of the simulated world and runs instance_run as it is.
 */
#include "machine/clock.h"
#include "machine/co.h"
#include "machine/os.h"
#include "machine/tls.h"
#include "people/person.h"
#include "runner/plan.h"
#include "runner/scene.h"

#define STAGE_PEOPLE   64
#define STAGE_MACHINES 2

/* How a password is proven. */
enum proof { PROOF_NONE, PROOF_SCRAM, PROOF_MD5, PROOF_PASSWORD };

/* How certificates say who somebody is. */
enum vouching {
    VOUCH_CN,   /* `cert`: the name in it */
    VOUCH_DN,   /* the whole subject, by a map */
    VOUCH_SAN,  /* each name that it is for */
    VOUCH_FULL, /* `clientcert=verify-full` beside another method */
    VOUCH_CA,   /* `clientcert=verify-ca`: any that the authority has signed */
    VOUCHINGS
};

/* What somebody shows. */
enum shown {
    SHOWN_JOE,
    SHOWN_JOEY,    /* a name that begins like the other */
    SHOWN_FOREIGN, /* joe's, and another authority has signed it */
    SHOWN_EXPIRED, /* joe's, of long ago */
    SHOWN_NONE,
    SHOWN_PLAIN, /* no TLS at all */
    SHOWINGS
};
enum welcome { WELCOME_IN, WELCOME_REFUSED, WELCOME_NO_HANDSHAKE };

#define STAGE_IMPOSTORS 3u

/* The daemon's configuration, as the seed and the reloads since then have it. */
struct setup {
    uint32_t relays;
    uint32_t pool_size;
    uint32_t pool_size_max;  /* that a reload may give it */
    uint32_t pool_size_ever; /* the largest so far: nobody is thrown out when it shrinks */
    uint32_t pool_reserve;
    uint32_t connections_max; /* of the backend */
    uint32_t servers_max;     /* 0: no limit */
    uint32_t prepared_max;
    uint32_t walks_max; /* connections for replication, of one database and user */
    bool checks;
    bool single_use;
    enum proof proof;        /* by clients */
    enum proof server_proof; /* to servers */
    bool server_password;    /* the route knows it */
    enum vouching vouching;
    enum tls_mode proven_mode; /* of the listener that knows an authority */
    duration claim_timeout;
    duration query_timeout;
    duration transaction_timeout;
    duration idle_transaction_timeout;
    duration client_idle_timeout;
    duration login_timeout;
    duration reset_timeout;
    duration overtake_limit;
    uint32_t identity; /* of routes: another one makes pools anew */
    uint32_t version;  /* stands in the file, so that each reload changes something */
};

struct model;
struct stage {
    const struct plan *plan;
    struct counts *counts;
    struct machine *home;
    struct co *main;
    struct model *model;
    struct tls_context *client_tls; /* NULL: nobody encrypts */
    struct tls_context *model_tls;
    struct tls_context *shown_tls[SHOWINGS]; /* of those who show a certificate, or none */
    struct tls_context *impostors[STAGE_IMPOSTORS];
    struct setup setup;
    uint64_t chance;   /* the director's */
    struct address at; /* of the daemon */
    struct address at_socket;
    struct address at_second; /* another listener */
    struct address at_proven; /* the one that knows an authority */
    struct person people[STAGE_PEOPLE];
    struct mail done[STAGE_PEOPLE];
    struct machine *machines[STAGE_MACHINES];
    uint32_t rounds_over; /* people who have done their rounds */
    uint32_t finished;    /* and have gone */
    bool up;              /* the daemon serves */
    bool running;         /* its thread is there */
    bool leaving;         /* it was told to stop */
    void *thread;
    struct mail ended;
    bool stopped; /* an administrator has paused a database, and not resumed it */
    bool calm;    /* nothing goes wrong any more */
    deadline calm_since;
    deadline shaken_at; /* the director last did something that may end connections */
};
extern struct stage stage;

static inline bool stage_has(enum kind kind)
{
    return plan_has(stage.plan, kind);
}
/** Whether the world gives people reasons to lose their connections. */
bool stage_excuses_loss(const struct person *person);
/** Nothing is late, lost or held up: neither in the network, nor by threads, nor by anybody's
 *  orders. */
bool stage_is_exact(void);
/** Whether it gives a reason for an error that nobody has asked for. */
struct wire_error;
bool stage_excuses_error(const struct person *person, const struct wire_error *error);

/** Servers that one pool may have. */
uint32_t stage_pool_max(void);
/** A connection to PostgreSQL may have ended at one end only. */
bool stage_may_lose_ends(void);

/* --- setup.c ---------------------------------------------------------------------------------- */

#define CHANCE_PROXY     5001
#define STAGE_CONFIG     "/etc/trunkline/trunkline.yaml"
#define STAGE_HBA        "/etc/trunkline/hba.conf"
#define STAGE_PORT       6432
#define STAGE_CANCELS    64u
#define STAGE_SECOND     6433 /* another listener */
#define STAGE_PROXIED    6434 /* for whom a proxy speaks */
#define STAGE_PROVEN     6435 /* that knows an authority */
#define STAGE_PROXY      6440 /* the proxy */
#define STAGE_SERVER     5432
#define STAGE_IDENTITIES 3u /* that routes may have */
#define STAGE_FOLDER     "/run/trunkline"
#define STAGE_IDENTS     "/etc/trunkline/ident.conf"
void setup_make(struct setup *setup, const struct plan *plan);
/** Another version of it: a limit or a timeout is other than it was. */
void setup_change(struct setup *setup, uint64_t *chance);
/** Writes the file. */
void setup_write(const struct setup *setup);

/* --- secrets.c -------------------------------------------------------------------------------- */

#define STAGE_ASKING   "asking" /* the database where users are asked for */
#define STAGE_PASSWORD "open sesame"
struct model_user;
void secrets_draw(struct setup *setup, const struct plan *plan);
/** `password_command` is answered, now and then late. */
void secrets_tell(void);
/** `auth_query`, if users are asked for. */
void secrets_put_question(const struct setup *setup, struct buffer *out);
/** Writes the auth file. */
void secrets_put(const struct setup *setup);
/** `auth` of the routes. */
const char *secrets_method(const struct setup *setup);
/** joe, as PostgreSQL knows him. */
void secrets_user(const struct setup *setup, struct model_user *user);

/* --- certificates.c --------------------------------------------------------------------------- */

#define STAGE_VOUCHED "vouched" /* the database of those who show certificates */
void certificates_draw(struct setup *setup, const struct plan *plan);
/** The listener, the lines of the route, and those of the HBA file. */
void certificates_put_listener(const struct setup *setup, struct buffer *out);
void certificates_put_auth(const struct setup *setup, struct buffer *out);
void certificates_put_hba(const struct setup *setup, struct buffer *out);
/** What must come of it when somebody shows this and says that he is `user`. */
enum welcome certificates_welcome(const struct setup *setup, enum shown shown, const char *user);

/* --- names.c ---------------------------------------------------------------------------------- */

#define STAGE_NAME      "db.example"
#define STAGE_ADDRESSES 3u
void names_begin(void);
/** Other addresses, or none, or no answer. */
void names_change(void);
/** In a calm world it has some, and the others are nobody's. */
void names_settle(void);
/** Nothing passes to any of them, or again. */
void names_blackhole(bool is_black);

/* --- proxy.c ---------------------------------------------------------------------------------- */

/** Serves, on the machine that it is called on. */
void proxy_begin(void);
void proxy_end(void);
struct address proxy_address(void);

/* --- daemon.c --------------------------------------------------------------------------------- */

/** Suspends until it serves. */
void daemon_start(void);
/** Suspends until it has ended. */
void daemon_stop(int signal);
/** The same by an order, and by a signal if that takes long. */
void daemon_shut_down(const char *order);

/* --- mood.c ----------------------------------------------------------------------------------- */

/** The world and the model as the plan wants them. */
void mood_begin(void);
/** Nothing goes wrong any more; what was held back arrives. */
void mood_heals(void);
void mood_calm(void);

/* --- console.c -------------------------------------------------------------------------------- */

/** One command; false: the connection was lost, or it was no more than tried. */
bool console_order(const char *command);
/** The same, with a look at each row of the answer. */
bool console_look(const char *command, void (*row)(void *argument, struct span row),
                  void *argument);

enum console_outcome { CONSOLE_DONE, CONSOLE_REFUSED, CONSOLE_LOST };
/** The same in either protocol; LOST too if an answer takes longer than `patience`. */
enum console_outcome console_try(const char *command, bool extended, duration patience);

/* --- orders.c --------------------------------------------------------------------------------- */

/** Some commands that change nothing. */
void orders_talk(void);
/** Loads a file with errors. */
void orders_reload(void);
/** Waits for servers that are to close. */
void orders_wait(void);

/* --- keys.c ----------------------------------------------------------------------------------- */

/** What the plan needs for TLS. */
void keys_make(void);
void keys_drop(void);

/* --- moves.c ---------------------------------------------------------------------------------- */

/** Some clients are moved from one relay to another. */
void moves_order(void);
/** One in so many is ended. */
void moves_kill(uint32_t one_in);

/* --- director.c ------------------------------------------------------------------------------- */

/** Does to the world what the plan holds, until people have done their rounds or it takes too
 *  long. */
void director_troubles(void);
/** Takes back what it has ordered and could not take back at once. */
void director_makes_good(void);
