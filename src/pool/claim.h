#pragma once
/*
 * claim.h - a client's place in its relay's queue for a server, or its hold on one.
 *
 * Order: first come, first served, among the claims of one relay.  A claim waits until it is
 * granted, refused or withdrawn, also after the coroutine that made it has ended.  Only the local
 * pool changes its queue.
 */
#include "base/buffer.h"
#include "base/list.h"
#include "base/time.h"
#include "base/uuid.h"
#include "machine/machine.h"

struct client;
struct params;
struct server;
struct local_pool;

/* clang-format off */
/*
 *            ┌──────────────────────────┐
 *            │                          v
 *   NONE ──> WAITING ──> GRANTED ──> REFUSED       WAITING, GRANTED, REFUSED ──> NONE
 *     └─────────────────────^
 *
 * NONE     its owner wants no server, or has taken over the outcome
 * WAITING  in pool->claims
 * GRANTED  a server is attached, and its owner has not taken it over yet
 * REFUSED  the owner has not taken over the reason yet
 */
/* clang-format on */
enum claim_state { CLAIM_NONE, CLAIM_WAITING, CLAIM_GRANTED, CLAIM_REFUSED, CLAIM_STATES };

struct claim {
    struct node node; /* in pool->claims while WAITING */
    enum claim_state state;
    struct client *client; /* its owner; the pool does not look into it; NULL: none */
    struct local_pool *pool;
    struct params *params;      /* its client's; session pools: the server's startup parameters */
    struct server *last_server; /* may still have its client's state; NULL: none */
    struct uuid served_by;      /* the last server that has lost its client's state; for the log */
    uint32_t served_pid;        /* backend pid of served_by; 0: none */
    moment since;
    bool login;              /* its client is logging in: it gets no notice that it waits */
    bool tell;               /* its coroutine must send the notice that it waits */
    struct waker *waker;     /* woken when the claim is granted or refused */
    struct server *server;   /* GRANTED: attached to the claim's client */
    struct refusal *refusal; /* REFUSED: the reason; counted */
};

#define REFUSAL_TEXT_SIZE 640
/* The reason why claims were refused.  All claims refused for one cause share it. */
struct refusal {
    uint32_t references;
    char sqlstate[6];
    char text[REFUSAL_TEXT_SIZE];
};
struct refusal *refusal_new(const char *sqlstate, const char *text); /* NULL: no memory */
void refusal_unref(struct refusal **refusal);

/* --- claim_notice.c: notices to clients that wait for a server -------------------------------- */

/** When the next notice to a client in this queue is due; `oldest` is its first claim. */
deadline claim_notice_due(const struct local_pool *pool, const struct claim *oldest);
/** Has each client that has waited for claim_notice told so, once per claim. */
void claim_notices(struct local_pool *pool);
/** Appends that NOTICE to `out`. */
void claim_put_notice(const struct local_pool *pool, const struct claim *claim, struct buffer *out);

/** Takes an idle server of the local pool.  False: there is none, the claim waits in the queue. */
bool claim_make(struct claim *claim, struct waker *waker);
/** Attaches a server to a waiting claim and wakes its owner.  Called by the local pool only. */
void claim_grant(struct claim *claim, struct server *server);
/** Refuses a claim with a reason and wakes its owner.  A server that was granted but not yet taken
 *  over becomes free for the next claim. */
void claim_refuse(struct claim *claim, struct refusal *refusal);
/** Refuses a claim that waits (53300) if claims have waited too long for too long: see
 *  claim_delay_target.  Returns whether it did. */
bool claim_shed(struct claim *claim);
/** Takes the claim out of the queue.  A server that was granted meanwhile becomes free for the next
 *  claim. */
void claim_withdraw(struct claim *claim);
/** Notes a server that has lost, or is about to lose, the state of the claim's client.  The
 *  client's last log line names it. */
void claim_note_served(struct claim *claim, const struct server *server);
/** Resets the claim to NONE after its outcome was taken over. */
void claim_done(struct claim *claim);
