#pragma once
/*
 * claim.h - a client's place in its relay's queue for a server, or its hold on one.
 *
 * First come, first served.  A claim lives until it is GRANTED, REFUSED or WITHDRAWN, whatever
 * became of the coroutine that made it.  Only the local pool touches its queue.
 */
#include "base/buffer.h"
#include "base/list.h"
#include "base/time.h"
#include "machine/machine.h"

struct client;
struct params;
struct server;
struct local_pool;

enum claim_state { CLAIM_NONE, CLAIM_WAITING, CLAIM_GRANTED, CLAIM_REFUSED };

struct claim {
    struct node node; /* in pool->claims while WAITING */
    enum claim_state state;
    struct client *client; /* whose it is, the pool does not look into it; NULL: nobody's */
    struct local_pool *pool;
    struct params *params;      /* its client's; session pools: what a server is started with */
    struct server *last_server; /* that may still have its client's state */
    deadline since;
    bool login;              /* its client logs in: it is never told that it waits */
    bool tell;               /* its coroutine shall say that it waits */
    struct waker *waker;     /* told when it is granted or refused */
    struct server *server;   /* GRANTED: attached to the claim's client */
    struct refusal *refusal; /* REFUSED: why; counted */
};

/* Why claims were refused: shared by all that one cause refused. */
struct refusal {
    uint32_t references;
    char sqlstate[6];
    char text[360];
};
struct refusal *refusal_new(const char *sqlstate, const char *text); /* NULL: no memory */
void refusal_unref(struct refusal **refusal);

/* --- claim_notice.c: who waits for long is told ----------------------------------------------- */

/** When somebody in this queue is to be told; `oldest` is its first claim. */
deadline claim_notice_due(const struct local_pool *pool, const struct claim *oldest);
/** Tells those that have waited for claim_notice. */
void claim_notices(struct local_pool *pool);
/** What they are told. */
void claim_put_notice(const struct local_pool *pool, const struct claim *claim, struct buffer *out);

/** Takes a server of its local pool at once, or queues the claim and returns false. */
bool claim_make(struct claim *claim, struct waker *waker);
/** Hands it a server, and wakes it.  For the local pool. */
void claim_grant(struct claim *claim, struct server *server);
/** Gives it a reason why there is none, and wakes it; a server that was granted, but not yet taken
 *  over, goes to the next. */
void claim_refuse(struct claim *claim, struct refusal *refusal);
/** Leaves the queue; a server that was granted meanwhile goes to the next. */
void claim_withdraw(struct claim *claim);
/** Back to NONE, once the outcome was taken over. */
void claim_done(struct claim *claim);
