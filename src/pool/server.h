#pragma once
/*
 * server.h - a connection to a PostgreSQL backend process, and what is known of its session.
 *
 * A server belongs to one relay at a time, under a lease (the right to its slot).  The coroutine
 * attached to it (a turn, a login, the cleaning) moves its bytes; an idle server watches its own
 * stream.
 */
#include "base/uuid.h"
#include "machine/stream.h"
#include "session/session.h"
#include "wire/message.h"

struct claim;
struct client;
struct local_pool;
struct lease;

/* clang-format off */
/*
 *                   ┌─────────────────────┐
 *                   v                     v
 *   CONNECTING ──> CLEANING <──> IDLE <──> ACTIVE
 *
 * CONNECTING  its login coroutine owns it
 * IDLE        in pool->idle; its ledger is empty and no transaction is open
 * ACTIVE      a claim holds it; a free server may go from one claim to the next
 * CLEANING    no claim holds it and it is not idle: cleaned, checked, marked or about to be free
 *
 * A server may be closed in any state.  One that comes from another relay begins in CLEANING.
 */
/* clang-format on */
enum server_state { SERVER_CONNECTING, SERVER_IDLE, SERVER_ACTIVE, SERVER_CLEANING, SERVER_STATES };

struct server {
    struct session session;
    struct stream stream;
    struct waker idle_waker; /* of the stream while idle */
    struct node node;        /* in pool->idle or pool->busy */
    struct local_pool *pool;
    struct lease *lease;      /* owned until it is given back to the router */
    struct client *client;    /* attached, or NULL */
    struct claim *last_claim; /* of the client whose state it has; points back to this server */
    struct co *keeper;        /* moves its bytes while no client does; NULL: none */
    struct buffer reported;   /* the parameters reported at login: name NUL value NUL ... */
    uint32_t pid;
    struct wire_secret secret; /* of its cancel key */
    enum server_state state;
    bool broken;               /* must not be used again: closed at release */
    bool fenced;               /* broken, and nothing may be sent to it: see local_pool_fence.c */
    uint32_t cancels;          /* cancel requests under way */
    bool standby;              /* as far as it has said: nothing that runs there writes */
    bool withheld;             /* free, except that cancel requests are under way */
    bool checking;             /* an empty query is under way, see server_check.c */
    bool routine;              /* and its interval is the reason for it, no claim */
    bool claim_waits;          /* and it counts in pool->checks */
    bool taken;                /* a claim has had it */
    bool pinned;               /* counted in the pool as kept by its client */
    bool travels_with_startup; /* `flat` has `startup` too */
    uint32_t shown;            /* credentials.changes of the local pool when its login began */
    struct uuid id;
    moment since;   /* when it logged in */
    deadline until; /* end of its lifetime; 0: close it as soon as it is free */
    moment used;    /* when its last turn began; while idle: when that turn ended */
    moment heard;   /* while idle: when it last answered; while it is checked: since when */
    moment rested;  /* while it is checked: when its last turn ended */
    struct inside_writes *writes; /* of a route that is_inside; else NULL */
    struct calls *calls;          /* its statements that are counted; NULL: none yet */
    char *note; /* text of the query that it works at, if slow queries are logged with text */
    uint32_t note_size;
    uint32_t note_room;
    uint8_t *flat; /* in transit: `params`, then `startup`, as bytes; else NULL */
    uint32_t flat_size;
    uint32_t flat_params_size;
};

/** Makes a server in state CONNECTING, in pool->busy.  Takes the lease.  NULL: no memory. */
struct server *server_new(struct local_pool *pool, struct lease *take_lease);
/** Closes a server and gives its lease back to the router.  `lost`: the server closed the
 *  connection.  Else Terminate is sent, and the slot is kept until the server has closed. */
void server_close(struct server **server, const char *reason, bool lost);
/** Ends a server whose login has found a role that the pool may not use.  Returns whether its end
 * is to come: closing_begin(). */
bool server_end_login(struct server **server, struct lease *lease) MUST_USE;
/** Frees a server whose login failed; its lease has gone back already. */
void server_drop_login(struct server **server);
/** Moves a server to another state and between the lists of its local pool. */
void server_become(struct server *server, enum server_state next);
/** Makes the running coroutine the one that moves the bytes of a server in CLEANING. */
void server_keep(struct server *server);
/** Takes a live, idle server off its relay, so that its lease can transfer it. */
void server_detach(struct server *server);
/** Sends Terminate to a server that is off its local pool, as far as it can without waiting. */
void server_part(struct server *server);
/** Closes and frees a server that is off its local pool. */
void server_discard(struct server **server);
/** Ends the lifetime of a server whose lease is to_close: it is closed when it is free. */
void server_note_doom(struct server *server);
/** The same if the lease may move.  Returns false if it may not. */
bool server_move(struct server *server);
/** Puts a server that `take_lease` has transferred into this local pool, where it becomes free.
 *  A failure closes it. */
void server_arrive(struct local_pool *pool, struct lease *take_lease);
/** Watches the stream of an idle server. */
void server_watch(struct server *server);
/** Cuts the tie between a server and the claim of its last client, and notes the server there. */
void server_forget_owner(struct server *server);
/** Returns where and how to dial the backend of this lease.  The TLS context is borrowed from
 *  pool->shown.config: keep a reference to that. */
struct config;
struct link_target;
struct local_pools;
void server_target(const struct local_pool *pool, const struct lease *lease,
                   struct link_target *ret);
/** Finds the target of a server of this service by its process id.  `*ret_config` keeps the TLS
 *  context; the caller owns a reference.  False: there is no such server on this relay. */
bool server_find_target(const struct local_pools *pools, const char *service, uint32_t pid,
                        struct link_target *ret, struct config **ret_config);
/** Starts the login coroutine for a lease that has just been granted.  `take_startup`: session
 *  pools: the startup parameters; the caller's reference is taken. */
void server_login(struct local_pool *pool, struct lease *take_lease, struct params *take_startup);
/** Keeps what the server reported at its login as its session's defaults.  Not in session pools,
 *  whose servers were started with parameters of a client.  Faults: MEMORY. */
fault server_set_defaults(struct server *server) MUST_USE;
/** Applies one ParameterStatus to the server's parameters and to those of its client.  `client`:
 *  the client's parameters; NULL: no client is attached.  Faults: MEMORY. */
fault server_learn(struct server *server, struct span name, struct span value,
                   struct params **client) MUST_USE;

/** Counts the server as kept by its client; false: pin_share is reached. */
bool server_pin(struct server *server);
/** Ends that count, if it is counted. */
void server_unpin(struct server *server);
/** Frees the session's pin, if it has one, and ends the count. */
void server_free_pin(struct server *server);
/** Whether servers of this pool report this parameter, so that its value follows each client from
 *  server to server. */
bool server_tracks(const struct local_pool *pool, struct span name);

/** Note replies of a server whose route is_watched, before its client gets them: a CommandComplete,
 *  a ReadyForQuery with this status, the end of the connection.  server_writes.c */
void server_writes_completed(struct server *server, struct span tag);
void server_writes_ready(struct server *server, uint8_t status);
void server_writes_lost(struct server *server, bool lost);
/** Makes the notes of a new server of a route that is_inside.  False: no memory. */
bool server_writes_begin(struct server *server, const struct local_pool *pool) MUST_USE;
/** Notes an ErrorResponse, a statement that ends without a CommandComplete, and that nothing is
 * under way any more; for a server with `writes`. */
void server_writes_failed(struct server *server);
void server_writes_other(struct server *server);
void server_writes_rest(struct server *server);
/** Returns the state as the console shows it. */
const char *server_state_text(const struct server *server);
/** Reads what a probe has found at the server's backend, a replica, since the server has logged in.
 *  False: nothing, or the server has not said yet that it is of the instance that was probed. */
bool server_sampled(const struct server *server, struct wal_position *ret);
/** The address of its backend; NULL: it has no lease. */
const struct address *server_address(const struct server *server);
