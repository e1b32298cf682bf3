#pragma once
/*
 * client.h - a connection from an application.
 *
 * In session pools a client keeps its server also while parked.  A client belongs to one relay at a
 * time.  Parked without a server, it may move to another relay (move.h).
 */
#include "base/uuid.h"
#include "machine/co.h"
#include "machine/stream.h"
#include "pool/claim.h"
#include "session/params.h"
#include "session/statements.h"

struct relay;
struct local_pool;
struct server;
struct chunk;
struct listen_config;
struct config;

/* Bytes of an unnamed statement's Parse body, at most; longer ones are not replayed on another
 * server. */
#define CLIENT_UNNAMED_MAX 65536u

/* clang-format off */
/*
 *   LOGIN ──> PARKED <────────> TURN ──> DETACHED ──> freed
 *     │         │                ^ ^
 *     │         └──> QUEUED ─────┘ │     PARKED <──> DETACHED: moves to another relay
 *     └────────────────────────────┘     LOGIN ──> TURN: a console session
 *                                        PARKED <──> FLIGHT
 *
 * LOGIN     a login coroutine owns the client
 * PARKED    idle: no coroutine, no buffer; the client's waker runs on the loop's stack
 * QUEUED    the first message is stashed, the claim waits in the local pool's queue
 * FLIGHT    the first message is stashed, the client waits for an answer that others share
 * TURN      a coroutine moves bytes between the client and a server
 * DETACHED  no event reaches the client: it is on its way to another relay, or is about to be freed
 *
 * A client may be freed in any state.
 */
/* clang-format on */
enum client_state {
    CLIENT_LOGIN,
    CLIENT_PARKED,
    CLIENT_QUEUED,
    CLIENT_FLIGHT,
    CLIENT_TURN,
    CLIENT_DETACHED,
    CLIENT_STATES
};

/* The cancel key that the client was given. */
#define CLIENT_SECRET_MAX 32u
struct client_key {
    struct map_link link;
    uint32_t pid;
    uint8_t size; /* 4 in protocol 3.0, CLIENT_SECRET_MAX in 3.2 */
    uint8_t secret[CLIENT_SECRET_MAX];
};
static inline struct span client_secret(const struct client_key *key)
{
    return (struct span){key->secret, key->size};
}

struct client {
    struct stream stream;
    struct waker waker; /* of the stream while parked, and of the queued claim */
    struct waker timer_waker;
    struct timer timer; /* idle timeout */
    struct node node;   /* in relay->clients */
    struct relay *relay;
    struct local_pool *pool; /* NULL until a route is found, and for console clients */
    struct server *server;   /* attached, or NULL */
    struct client_reads
        *reads; /* of a route that splits reads, from its first message; NULL: none */
    struct claim claim;
    struct preauth *preauth;      /* until authenticated; then NULL */
    struct flight_wait *flight;   /* in FLIGHT; see flight/flight_wait.h */
    struct flight_shadow *shadow; /* of its statement; see flight/flight_shadow.h; NULL: none */
    struct turn_firewall_names
        *judged_names; /* owned; see turn/turn_firewall_names.h; mostly NULL */
    struct turn *turn; /* in TURN: on its coroutine's stack */
    struct co *co;     /* the coroutine in LOGIN and TURN */
    struct params *params;
    struct params *given;    /* startup parameters, the values of RESET; NULL: none */
    struct params *defaults; /* of the servers that it had; its sets differ from them; NULL: none */
    struct map statements;   /* struct client_statement by name */
    uint32_t naming;         /* open ledger entries that add or remove a statement's name */
    uint32_t naming_batch;   /* the ledger's batch that all of these belong to */
    uint8_t *unnamed;        /* Parse body of the unnamed statement; NULL: none */
    uint32_t unnamed_size;
    uint32_t unnamed_room;
    struct params *unnamed_params;         /* of the session at that Parse; NULL: unknown */
    struct query_effects *unnamed_effects; /* of its text; NULL: none */
    bool unnamed_alters;                   /* its text may change session parameters */
    uint8_t unnamed_outcome;               /* query_outcome_of() of it */
    uint64_t unnamed_catalog;              /* flight_writes_catalog() at that Parse */
    struct unnamed_before *unnamed_before; /* see turn_unnamed.c; NULL: none */
    uint8_t *stash; /* bytes that were read and not yet handled; NULL: none */
    uint32_t stash_size;
    enum client_state state;
    bool ahead;    /* the stash came before the login ended: walk it without reading */
    bool skipping; /* an extended batch failed before the client had a server: until its Sync */
    bool shed;     /* to be disconnected for want of memory */
    bool leaving;  /* to be disconnected when its turn is over */
    bool console;
    bool drained;           /* to be disconnected because drain_timeout has passed */
    bool killed;            /* by an administrator */
    bool fenced;            /* its server's backend is no longer the primary */
    bool asked;             /* console: the command was cancelled */
    bool counted;           /* in env->clients */
    bool admitted;          /* in the pool's counts */
    bool fed;               /* in the number of connections (preauth.h) */
    bool parted;            /* has just lost claim.served_by because the client ends */
    bool crowded;           /* to be disconnected before login, to admit a newer connection */
    bool passes;            /* its stashed statement is to be executed, not shared */
    uint32_t refused_batch; /* of its server's ledger, in which the firewall has refused a message,
                               and 1; 0: none */
    bool judged;            /* the firewall has counted its first message, before the turn began */
    uint8_t lost;  /* for flight_wait.c: executions of its stashed statement that were lost */
    bool internal; /* a part of the daemon: see client_start_internal */
    struct statement_catalog catalog; /* of an internal client */
    struct client_key key;
    struct uuid id;
    uint64_t serial;             /* number among all clients of this relay ever, from 1 */
    struct digest unnamed_shape; /* of the unnamed statement; valid if `unnamed_shaped` */
    bool unnamed_shaped;         /* the client has described its unnamed statement */
    uint64_t unnamed_number;     /* changes with the unnamed statement; from relay->unnamed_ever */
    struct address *peer;        /* heap, allocated for the size of its family */
    uint32_t listen;             /* number of the listener */
    moment connected;            /* when the client connected */
    moment since;                /* start of the present turn or wait */
    moment began;                /* start of the transaction, if time limits are set; 0: none */
    moment silent;               /* when the last message was answered; 0: another has come since */
    moment moved;                /* when the client came from another relay; 0: never */
};

/** Moves a client to another state. */
void client_become(struct client *client, enum client_state next);
/** Claims a server of the client's local pool, as claim_make: true if granted at once. */
bool client_claim(struct client *client, struct waker *waker);
/** Sends the client a NOTICE that its claim waits for long.  A pool operation (pools.h). */
void client_notice(struct claim *claim);
struct preauth;
/** Takes ownership of an accepted socket and starts the login coroutine.  Closes the socket on
 *  failure. */
void client_accept(struct relay *relay, int handle, const struct address *peer, uint32_t listen,
                   struct preauth *take_preauth);
/** Starts a client that is a part of the daemon: parked, logged in, in the local pool of `like` and
 *  with its session parameters, but for a statement_timeout that it has set.  It counts for no
 * limit of clients.  Its statements depend on `catalog`.  The caller owns *ret_end, the other end
 * of its connection, and ends the client by closing that.  Faults: MEMORY, SYSTEM. */
fault client_start_internal(const struct client *like, const struct statement_catalog *catalog,
                            struct stream *ret_end) MUST_USE;
/** Notes that the client is authenticated: it is no unauthenticated connection any more.  May be
 * called again. */
void client_prove(struct client *client);
/** Disconnects a client that has not logged in, to admit a newer connection. */
void client_crowd_out(struct client *client);
/** Disconnects a client whose server is fenced (turn_fence.c). */
void client_fence(struct client *client);
/** Replaces the client's address by the one that a proxy reported.  MEMORY. */
fault client_set_peer(struct client *client, const struct address *peer) MUST_USE;
/* Size of an application_name, NUL included. */
#define CLIENT_NAME_SIZE 64
/** Writes "asked - address:port" to `name`; `asked` is cut so that the rest fits. */
struct span client_origin_name(const struct client *client, struct span asked,
                               char name[CLIENT_NAME_SIZE]);
/** Sets application_name on the server of a client that is logging in.  Suspends. */
fault client_name_session(struct client *client, struct span name, deadline by) MUST_USE;
/** Closes and frees a client, which must not have a server or a claim. */
void client_close(struct client **client, const char *reason);
/** Parks a client that has nothing under way.  Returns true if bytes are there already: the caller,
 *  a turn's coroutine, then runs another turn. */
bool client_park(struct client *client);
/** Returns whether a parked client or its server has input that no new event will report. */
bool client_has_more(const struct client *client) MUST_USE;
/** Sends FATAL with this SQLSTATE and text, as far as the socket takes it at once, and closes.
 *  Sends nothing in the middle of a TLS handshake, as PostgreSQL, or of a message.  From any state
 *  but TURN, which sees to the messages that it forwards itself (turn_fail). */
void client_farewell(struct client **client, const char *sqlstate, const char *text);
/** Parks a client that has arrived from another relay; its idle time goes on. */
void client_park_again(struct client *client);
/** Starts the timer for the limits on idle time (turn_time.c).  What a server sends unasked, such
 *  as a notification, does not restart the idle time. */
void client_arm_idle(struct client *client);
/** Starts that timer for a client whose idle time has begun already. */
void client_arm_idle_again(struct client *client);
/** Checks the limits on idle time: OK, or TIMEOUT with its message set. */
fault client_overdue(const struct client *client) MUST_USE;
/** Disconnects a client as soon as its transaction is over; at once when parked outside of one. */
void client_leave(struct client *client);
/** The error text for a client that is shed. */
extern const char client_shed_why[];
/** Disconnects a client now, whatever it is doing. */
void client_end(struct client *client);
/** As client_end, because drain_timeout has passed for the client's obsolete local pool. */
void client_drain(struct client *client);
/** Raises CANCELLED with the error for a client that is ended by client_drain. */
fault client_drained(const struct client *client) MUST_USE;
/** Raises CANCELLED with the error for a client that is ended by client_fence. */
fault client_outrun(const struct client *client) MUST_USE;
/** As client_end, by order of an administrator. */
void client_kill(struct client *client);
/** Holds a client or releases it.  A held client starts no turn (SUSPEND). */
void client_hold(struct client *client, bool held);
bool client_held(const struct client *client);
/** Entry of the login coroutine. */
void client_login(void *argument);
/** Stashes a copy of these bytes for later, in place of what was stashed.  MEMORY. */
fault client_stash(struct client *client, const uint8_t *at, size_t size) MUST_USE;
void client_drop_stash(struct client *client);
/** Waits until there is memory for `wanted` bytes; sheds clients that hold more (relay_memory.c).
 *  Suspends.  Faults: MEMORY, CANCELLED. */
fault client_room(struct client *client, uint64_t wanted) MUST_USE;
/** Frees the relay's spare stash blocks. */
void client_free_stashes(struct relay *relay);
/** Keeps a copy of the body of an unnamed Parse, so that it can be replayed on another server.
 *  Keeps none if the body is empty, too long, or there is no memory. */
void client_keep_unnamed(struct client *client, struct span body);
/** Returns a number that is unique among the clients of all relays; never 0. */
static inline uint64_t client_number(const struct client *client)
{
    uint64_t number;
    memcpy(&number, client->id.bytes + sizeof(client->id.bytes) - sizeof(number), sizeof(number));
    return number;
}
/** Ends the count of the unnamed statement's memory, before the client moves to another relay. */
void client_uncount_unnamed(struct client *client);
/** Counts that memory on the new relay; drops the unnamed statement if there is no room. */
void client_count_unnamed(struct client *client);
const char *client_state_text(const struct client *client);
/** Writes "client 0198..., server 0198..." for error messages of our own. */
const char *client_ids(const struct client *client, const struct server *server, char *text,
                       size_t size);
#define CLIENT_IDS_SIZE 112
