#pragma once
/*
 * server.h - a connection to a PostgreSQL backend process, and what is known of its session.
 *
 * A server belongs to one relay at a time, under a lease (the right to its slot).  The coroutine
 * attached to it (a turn, a login, the cleaning) moves its bytes; an idle server watches its own
 * stream.
 *
 *      CONNECTING ──> CLEANING <──> IDLE <──> ACTIVE <──> CLEANING
 *
 * CONNECTING  its login coroutine owns it
 * IDLE        in pool->idle; its ledger is empty and no transaction is open
 * ACTIVE      a claim holds it
 * CLEANING    no claim holds it and it is not idle: cleaned, checked, marked or about to be free
 *
 * server_close ends a server in any state.
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

/* Whether an unnamed statement that Trunkline parsed on the server has the result columns that its
 * client was told. */
enum unnamed_proof { UNNAMED_GOOD, UNNAMED_UNPROVEN, UNNAMED_DIFFERS };

struct server {
    struct stream stream;
    struct waker idle_waker; /* of the stream while idle */
    struct node node;        /* in pool->idle or pool->busy */
    struct local_pool *pool;
    struct lease *lease;      /* owned until it is given back to the router */
    struct client *client;    /* attached, or NULL */
    struct claim *last_claim; /* of the client whose state it has; points back to this server */
    struct co *keeper;        /* moves its bytes while no client does; NULL: none */
    struct ledger ledger;
    struct params *params;  /* parameters that differ from the defaults of its pool */
    struct params *startup; /* session pools: the parameters of its startup packet */
    struct buffer greeting; /* the parameters reported at login: name NUL value NUL ... */
    struct server_statements statements;
    struct buffer described;      /* replies to a Describe sent by Trunkline, received so far */
    uint64_t *generation;         /* of its database: see generation.h */
    struct giving_portal *giving; /* the newest of its transaction */
    struct pin *pin;              /* session state that its client has left; NULL: none */
    uint64_t unnamed_of;          /* number of the unnamed statement that it holds; 0: unknown */
    uint32_t unnamed_mark;        /* number of messages that made or closed an unnamed statement */
    uint32_t unnamed_batch;       /* the ledger's batch of the latest of these messages */
    enum unnamed_proof unnamed_proof;
    bool path_unsure;    /* its client may have put pg_temp on search_path */
    bool sequences_own;  /* lastval() and currval() of its session are its last client's */
    bool sequences_used; /* a client has had it since its sequence state was discarded */
    bool suspect;        /* had a client of a route with isolation: clean it for the next one */
    bool unnamed_pends;  /* the client's latest Parse or Close of it may be skipped */
    bool unnamed_unsure; /* Trunkline's latest Parse of it is not answered and may be skipped */
    uint32_t pid;
    struct wire_secret secret; /* of its cancel key */
    enum server_state state;
    uint8_t transaction; /* status byte of the last ReadyForQuery */
    bool broken;         /* must not be used again: closed at release */
    bool unmade;         /* setting its parameters (ABOUT_STATE) failed: `params` may be wrong */
    bool altered;        /* the open transaction may have changed the meaning of statement texts */
    bool reshaping;      /* the open transaction may have changed the schema */
    bool doubtful;       /* SET or RESET may have changed parameters that are not reported */
    uint32_t cancels;    /* cancel requests under way */
    bool withheld;       /* free, except that cancel requests are under way */
    bool taken;          /* a claim has had it */
    uint32_t shown;      /* credentials.changes of the local pool when its login began */
    struct uuid id;
    deadline since; /* when it logged in */
    deadline until; /* end of its lifetime; 0: close it as soon as it is free */
    deadline used;  /* when its last turn began; while idle: when that turn ended */
    char *note;     /* text of the query that it works at, if slow queries are logged with text */
    uint32_t note_size;
    uint32_t note_room;
    uint8_t *flat; /* in transit: `params`, then `startup`, as bytes; else NULL */
    uint32_t flat_size;
    uint32_t flat_params_size;
    bool travels_with_startup;
};

/** Makes a server in state CONNECTING, in pool->busy.  Takes the lease.  NULL: no memory. */
struct server *server_new(struct local_pool *pool, struct lease *take_lease);
/** Closes a server and gives its lease back to the router.  `lost`: the server closed the
 *  connection.  Else Terminate is sent, and the router waits until the server has closed. */
void server_close(struct server **server, const char *reason, bool lost);
/** Frees a server whose login failed; its lease has gone back already. */
void server_drop_login(struct server **server);
/** Moves a server to another state and between the lists of its local pool.  server_new and
 *  server_arrive set the first state of a server on its relay themselves. */
void server_become(struct server *server, enum server_state next);
/** Makes the running coroutine the one that moves the bytes of a server in CLEANING. */
void server_keep(struct server *server);
/** Takes a live, idle server off its relay, so that its lease can transfer it. */
void server_detach(struct server *server);
/** Sends Terminate to a detached server, as far as it can without waiting; on any machine. */
void server_part(struct server *server);
/** Closes and frees a detached server; on any machine. */
void server_discard(struct server **server);
/** Ends the lifetime of a server whose lease is doomed: it is closed when it is free. */
void server_note_doom(struct server *server);
/** Puts a server that `take_lease` has transferred into this local pool, where it becomes free.
 *  A failure closes it. */
void server_arrive(struct local_pool *pool, struct lease *take_lease);
/** Watches the stream of an idle server. */
void server_watch(struct server *server);
/** Cuts the tie between a server and the claim of its last client. */
void server_forget_owner(struct server *server);
/** Returns where and how to dial the backend of this lease.  The TLS context is borrowed from
 *  pool->shown.config: keep a reference to that. */
struct link_target;
void server_target(const struct local_pool *pool, const struct lease *lease,
                   struct link_target *ret);
/** Starts the login coroutine for a lease that has just been granted.  `take_startup`: session
 *  pools: the startup parameters; the caller's reference is taken. */
void server_login(struct local_pool *pool, struct lease *take_lease, struct params *take_startup);
/** Applies one ParameterStatus to the server's parameters and to those of its client.  `client`:
 *  the client's parameters; NULL: no client is attached.  Faults: MEMORY. */
fault server_learn(struct server *server, struct span name, struct span value,
                   struct params **client) MUST_USE;

/** Whether servers of this pool report this parameter, so that its value follows each client from
 *  server to server. */
bool server_tracks(const struct local_pool *pool, struct span name);

/** Returns the state as the console shows it. */
const char *server_state_text(const struct server *server);
