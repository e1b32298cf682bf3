#pragma once
/*
 * server.h - a connection to a PostgreSQL backend process, and what is known of its session.
 *
 * Lives on one relay at a time, under a lease (the right to its slot).  Whoever is attached to it
 * (a turn, a login, the cleaning) moves its bytes; idle, it watches its own stream.
 *
 *      CONNECTING ──> IDLE <──> ACTIVE ──> CLEANING ──> IDLE
 *           └───────────┴──────────┴───────────┴──────> CLOSED
 *
 * CONNECTING  its login coroutine owns it            IDLE      in pool->idle, ledger empty, tx
 * idle ACTIVE      a claim holds it                       CLEANING  a coroutine puts its session in
 * order
 */
#include "base/uuid.h"
#include "machine/stream.h"
#include "session/generation.h"
#include "session/ledger.h"
#include "session/params.h"
#include "session/statements.h"
#include "wire/message.h"

struct claim;
struct client;
struct local_pool;
struct lease;

enum server_state { SERVER_CONNECTING, SERVER_IDLE, SERVER_ACTIVE, SERVER_CLEANING, SERVER_STATES };

/* Whether its unnamed statement, if Trunkline has parsed that, is what its client knows. */
enum unnamed_proof { UNNAMED_GOOD, UNNAMED_UNPROVEN, UNNAMED_DIFFERS };

struct server {
    struct stream stream;
    struct waker idle_waker; /* of the stream while idle */
    struct node node;        /* in pool->idle or pool->busy */
    struct local_pool *pool;
    struct lease *lease;      /* owned until it is given back to the router */
    struct client *client;    /* attached, or NULL */
    struct claim *last_claim; /* whose client's state it has; both null the other's pointer */
    struct co *keeper;        /* moves its bytes while no client does; NULL: nothing does */
    struct ledger ledger;
    struct params *params;  /* what differs from its defaults */
    struct params *startup; /* session pools: what its startup packet said */
    struct buffer greeting; /* what it reported at its login: name NUL value NUL ... */
    struct server_statements statements;
    struct buffer described;      /* answers to a Describe of ours, as far as they have come */
    uint64_t *generation;         /* of its database: see generation.h */
    struct giving_portal *giving; /* the newest of its transaction */
    struct pin *pin;              /* state that its client has left there; NULL: none */
    uint64_t unnamed_of;          /* number of the unnamed statement that it holds, or lacks */
    uint32_t unnamed_mark;        /* counts the messages that made or closed one */
    uint32_t unnamed_batch;       /* of the latest */
    enum unnamed_proof unnamed_proof;
    bool path_unsure;    /* its client may have put pg_temp on search_path */
    bool sequences_own;  /* what its session knows of sequences is its last client's */
    bool sequences_used; /* a client had it since it knew nothing of sequences */
    bool suspect; /* a client of a route with isolation had it: cleaned before another has it */
    bool unnamed_pends;  /* the client replaced it by a message that may be skipped */
    bool unnamed_unsure; /* and that has not been answered: its batch may have failed before it */
    uint32_t pid;
    struct wire_secret secret; /* its cancel key's */
    enum server_state state;
    uint8_t transaction; /* status byte of the last ReadyForQuery */
    bool broken;         /* must not be used again: closed at release */
    bool unmade;         /* ABOUT_STATE failed: its parameters are not what we think */
    bool altered;        /* the transaction under way may have changed what a text means */
    bool reshaping;      /* and may have changed the schema */
    bool doubtful;       /* SET or RESET may have changed parameters that are not reported */
    uint32_t cancels;    /* cancel requests under way */
    bool withheld;       /* free but for those */
    bool taken;          /* some claim has had it */
    uint32_t shown; /* its login: how often the local pool's secret had changed when it began */
    struct uuid id;
    deadline since; /* when it logged in */
    deadline until; /* end of its lifetime */
    deadline used;  /* when its last turn began or, idle, ended */
    char *note;     /* of the text that it works at, where slow queries are told with it */
    uint32_t note_size;
    uint32_t note_room;
    uint8_t *flat; /* while it travels: its parameters, flat; else NULL */
    uint32_t flat_size;
    uint32_t flat_params_size;
    bool travels_with_startup;
};

/** A new one in state CONNECTING, in pool->busy.  Takes the lease. NULL: no memory. */
struct server *server_new(struct local_pool *pool, struct lease *take_lease);
/** Closes it, gives the lease back to the router, frees it.  `lost`: the other side closed; else it
 *  is told to end, and the router waits for that. */
void server_close(struct server **server, const char *reason, bool lost);
/** Frees one whose login failed; its lease has gone back already. */
void server_drop_login(struct server **server);
/** Moves it to another state and keeps the lists of the local pool.  server_new and server_arrive
 * set the first state of a server on its relay themselves. */
void server_become(struct server *server, enum server_state next);
/** While it is cleaned, the running coroutine moves its bytes. */
void server_keep(struct server *server);
/** Takes it off its relay, alive and idle, so that it can travel in its lease. */
void server_detach(struct server *server);
/** Tells one that was detached to end, as far as it goes without waiting; on any machine. */
void server_part(struct server *server);
/** Closes and frees one that was detached; on any machine. */
void server_discard(struct server **server);
/** Its backend may be obsolete: then it ends when it is free. */
void server_note_doom(struct server *server);
/** Puts a server that travelled in `lease` into this local pool, idle or handed on.  Closes it on
 * failure. */
void server_arrive(struct local_pool *pool, struct lease *take_lease);
/** Watches the stream of an idle server. */
void server_watch(struct server *server);
/** Forgets what ties it to its last client. */
void server_forget_owner(struct server *server);
/** Where and how to dial the backend of this lease.  The TLS context is borrowed from the version
 *  that the local pool shows (`shown.config`): keep a reference to that. */
struct link_target;
void server_target(const struct local_pool *pool, const struct lease *lease,
                   struct link_target *ret);
/** Starts the login coroutine for a lease that has just been granted.  `startup`: session pools;
 * the caller's reference is taken. */
void server_login(struct local_pool *pool, struct lease *take_lease, struct params *take_startup);
/** Takes in one ParameterStatus; `client`: the parameters of its client, which has them too; NULL:
 *  no client is attached.  MEMORY. */
fault server_learn(struct server *server, struct span name, struct span value,
                   struct params **client) MUST_USE;

/** Whether servers of this pool report this parameter, so that it follows its clients. */
bool server_tracks(const struct local_pool *pool, struct span name);

const char *server_state_text(const struct server *server);
