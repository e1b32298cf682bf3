#pragma once
/*
 * l2_link.h - one thread's connection to Redis.
 *
 * Requests of many coroutines go over one connection, one behind the other; replies come in the
 * same order.  A coroutine of the link connects when the first request comes, writes, and reads.
 * A request whose asker has left keeps its place until its replies have come.  What is under way is
 * bounded, and a connection that says nothing for L2_SILENCE is closed.  All on one thread.
 */
#include "flight/l2_reply.h"
#include "flight/l2_shared.h"
#include "machine/co.h"

#define L2_REPLIES_MAX  3u        /* commands of one request */
#define L2_UNDERWAY_MAX 256u      /* requests without an answer */
#define L2_SEND_MAX     16777216u /* bytes that wait to be sent */
#define L2_SILENCE      sec(1)
#define L2_CONNECT_MAX  sec(1)

/** Makes a link that is not connected; the caller owns it.  NULL without memory. */
struct l2_link *l2_link_new(struct l2 *l2);
/** Ends its coroutine and frees it.  Suspends, unless it was never used.  NULL-safe. */
void l2_link_free(struct l2_link **link);
struct l2 *l2_link_of(const struct l2_link *link);

/** Sends commands and waits for the replies, which the caller owns.  Suspends.  False: there are
 *  none by then, and what may still come is dropped. */
bool l2_link_ask(struct l2_link *link, struct span commands, uint32_t count,
                 struct l2_reply *ret[L2_REPLIES_MAX], deadline by);
/** Sends one command whose reply only counts. */
void l2_link_post(struct l2_link *link, struct span command);
