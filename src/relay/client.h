#pragma once
/*
 * client.h - a connection from an application.
 *
 *   LOGIN ──> PARKED ──> QUEUED ──> TURN ──> PARKED        (any) ──> GONE
 *                └───────────────────^
 * LOGIN   its login coroutine owns it
 * PARKED  idle: no coroutine, no buffer; its waker runs on the loop's stack
 * QUEUED  its first message is stashed, its claim waits in the local pool's queue
 * TURN    a coroutine moves bytes between it and a server
 * In session pools it keeps its server also while parked.  Lives on one relay at a time: parked
 * without a server it may move to another (move.h).
 */
#include "base/uuid.h"
#include "machine/co.h"
#include "machine/stream.h"
#include "pool/claim.h"
#include "session/params.h"

struct relay;
struct local_pool;
struct server;
struct chunk;
struct listen_config;
struct config;

/* Unnamed statements longer than this are not replayed on another server. */
#define CLIENT_UNNAMED_MAX 65536u

enum client_state { CLIENT_LOGIN, CLIENT_PARKED, CLIENT_QUEUED, CLIENT_TURN, CLIENT_STATES };

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
    struct waker waker; /* of the stream while parked, and of the claim */
    struct waker timer_waker;
    struct timer timer; /* idle timeout */
    struct node node;   /* in relay->clients */
    struct relay *relay;
    struct local_pool *pool; /* NULL until it is routed, and for console clients */
    struct server *server;   /* attached, or NULL */
    struct claim claim;
    struct guest *guest; /* while it has not proven who it is; NULL: it has */
    struct turn *turn;   /* in TURN: on its coroutine's stack */
    struct co *co;       /* its coroutine in LOGIN and TURN */
    struct params *params;
    struct params *given;  /* at its startup: what RESET leads to; NULL: nothing */
    struct map statements; /* struct client_statement by name */
    uint32_t naming;       /* ledger entries that will settle whether it has a name or not */
    uint32_t naming_batch; /* which all belong to */
    uint8_t *unnamed;      /* body of its unnamed statement's Parse; NULL: none */
    uint32_t unnamed_size;
    uint32_t unnamed_room;
    struct params *unnamed_params;         /* of the session at that Parse; NULL: not known */
    struct query_effects *unnamed_effects; /* of its text; NULL: none */
    bool unnamed_alters;                   /* it may change its session, or its transaction's */
    struct unnamed_before *unnamed_before; /* see turn_unnamed.c; NULL: none */
    uint8_t *stash; /* bytes that were read and not yet handled; NULL: none */
    uint32_t stash_size;
    enum client_state state;
    bool ahead;    /* the stash was sent ahead of the login's end: walked without reading */
    bool skipping; /* an extended batch failed before it had a server: until its Sync */
    bool shed;     /* to be ended for want of memory */
    bool leaving;  /* to be ended when its turn is over */
    bool console;
    bool killed;   /* by an administrator */
    bool asked;    /* console: its command was cancelled */
    bool counted;  /* in the global number of clients */
    bool admitted; /* in its pool's counts */
    bool fed;      /* in the number of connections */
    bool crowded;  /* to be ended for others before it has logged in */
    struct client_key key;
    struct uuid id;
    struct uuid served_by; /* the server that was taken from it at its end, and that one's pid */
    uint32_t served_pid;
    uint64_t serial;             /* counts the clients of its relay, from 1 */
    struct digest unnamed_shape; /* of its unnamed statement, if `unnamed_shaped` */
    bool unnamed_shaped;         /* it has been told what that takes and gives */
    uint64_t unnamed_number;     /* of its unnamed statement, or of the want of one: the relay's */
    struct address *peer;        /* heap, its size cut to the family */
    uint32_t listen;             /* number of the listener that it came by */
    deadline connected;          /* since when */
    deadline since;              /* of its present turn or wait */
    deadline began;              /* its transaction, where limits of time hold; 0: none seen */
    deadline silent; /* parked since its last message was answered; 0: it has sent another */
    deadline moved;  /* when it came from another relay; 0: it has not */
};

/** Claims a server of its local pool: claim_make. */
bool client_claim(struct client *client, struct waker *waker);
/** Its claim waits for long: it is told.  Of an operation (pools.h). */
void client_notice(struct claim *claim);
/** Takes an accepted handle; starts the login coroutine.  Closes the handle when it can't. */
struct guest;
void client_accept(struct relay *relay, int handle, const struct address *peer, uint32_t listen,
                   struct guest *take_guest);
/** It has proven who it is. */
void client_prove(struct client *client);
/** It has not logged in, and goes for others. */
void client_crowd_out(struct client *client);
/** It comes from elsewhere than it seemed.  MEMORY. */
fault client_set_peer(struct client *client, const struct address *peer) MUST_USE;
/* Of an application_name, NUL included. */
#define CLIENT_NAME_SIZE 64
/** "asked - address:port": what is asked for is cut, so that the rest fits. */
struct span client_origin_name(const struct client *client, struct span asked,
                               char name[CLIENT_NAME_SIZE]);
/** Gives its session this name; it has a server and is logging in.  Suspends. */
fault client_name_session(struct client *client, struct span name, deadline by) MUST_USE;
/** Closes and frees it; it must not be attached to a server nor queued. */
void client_close(struct client **client, const char *reason);
/** Nothing under way any more: parks it, or goes on at once where bytes are there already.
 *  Returns true when the caller, a turn's coroutine, shall run another turn now. */
bool client_park(struct client *client);
/** Sends FATAL with this state and text as far as it goes, nothing in the middle of a TLS handshake
 *  (PostgreSQL is silent there, too), and closes.  From any state but TURN. */
void client_farewell(struct client **client, const char *sqlstate, const char *text);
/** The same for one that has only been away: how long it is idle goes on. */
void client_park_again(struct client *client);
/** When it has been silent for too long: turn_time.c.  What its server sends unasked, such as a
 *  notification, does not interrupt that. */
void client_arm_idle(struct client *client);
/** The same for one whose silence has begun already. */
void client_arm_idle_again(struct client *client);
/** Whether that is so: OK, or TIMEOUT with the story. */
fault client_overdue(const struct client *client) MUST_USE;
/** Ends it as soon as its transaction is over; at once when parked outside of one. */
void client_leave(struct client *client);
/** What one that is shed is told. */
extern const char client_shed_why[];
/** Ends it now, whatever it is doing. */
void client_end(struct client *client);
/** The same, because an administrator said so. */
void client_kill(struct client *client);
/** While it is held, it does not begin anything new. */
void client_hold(struct client *client, bool held);
bool client_held(const struct client *client);
/** The login coroutine's entry. */
void client_login(void *argument);
/** Bytes for later; replaces what was stashed.  MEMORY. */
fault client_stash(struct client *client, const uint8_t *at, size_t size) MUST_USE;
void client_drop_stash(struct client *client);
/** Waits until there is memory for so much, while others who hold more go for it: relay_memory.c.
 *  Faults: MEMORY, CANCELLED. */
fault client_room(struct client *client, uint64_t wanted) MUST_USE;
/** Frees the relay's spare blocks. */
void client_free_stashes(struct relay *relay);
/** Keeps the body of an unnamed Parse, so that it can be replayed on another server. */
void client_keep_unnamed(struct client *client, struct span body);
/** Tells clients apart, over all relays; never 0. */
static inline uint64_t client_number(const struct client *client)
{
    uint64_t number;
    memcpy(&number, client->id.bytes + sizeof(client->id.bytes) - sizeof(number), sizeof(number));
    return number;
}
/** What it has of its unnamed statement travels with it, and counts on the relay where it is. */
void client_uncount_unnamed(struct client *client);
/** Forgets the statement where there is no room for it. */
void client_count_unnamed(struct client *client);
const char *client_state_text(const struct client *client);
/** "client 0198..., server 0198..." for errors of our own. */
const char *client_ids(const struct client *client, const struct server *server, char *text,
                       size_t size);
#define CLIENT_IDS_SIZE 112
