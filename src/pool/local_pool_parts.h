#pragma once
/*
 * local_pool_parts.h - what the files of a local pool have in common.
 */
#include "pool/local_pool.h"

/** Sets the timer to the first of its ends. */
void local_pool_arm(struct local_pool *pool);
void local_pool_timer_fired(struct waker *waker);
/** Tells the router to look at it. */
void local_pool_ask(struct local_pool *pool);
/** What idles while claims wait in a full session pool has other startup parameters: one goes. */
void local_pool_make_room(struct local_pool *pool);
