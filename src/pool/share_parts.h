#pragma once
/*
 * share_parts.h - what the files of a share have in common.
 */
#include "pool/share.h"

/** Sets the timer to the first of its ends. */
void share_arm(struct share *share);
void share_timer_fired(struct waker *waker);
/** Tells the router to look at it. */
void share_ask(struct share *share);
/** What idles while claims wait in a full session pool has other startup parameters: one goes. */
void share_make_room(struct share *share);
