#pragma once
/*
 * local_pool_parts.h - functions that only the files of a local pool share.
 */
#include "pool/local_pool.h"

/** Sets the local pool's timer to the earliest of its deadlines. */
void local_pool_arm(struct local_pool *pool);
void local_pool_timer_fired(struct waker *waker);
/** Asks the router to look at this local pool's hints. */
void local_pool_ask(struct local_pool *pool);
/** Closes one idle server of a full session pool in which claims wait: its startup parameters fit
 *  none of them, so a new server can take its slot. */
void local_pool_make_room(struct local_pool *pool);

/** Whether servers here belong to the pool's reserve.  The router writes how many do not: what is
 *  closed counts at once, also while its lease is on its way back. */
static inline bool local_pool_has_reserve(const struct local_pool *pool)
{
    return UNLIKELY(pool->idle.count + pool->busy.count > hint_read(&pool->hints.ordinary));
}
