#pragma once
/*
 * signals.h - signals as events of one machine; blocked in every other thread.
 */
#include "machine/stream.h"

struct signals {
    struct stream stream;
};
/** Blocks `numbers` in this thread (call it before any other is made) and opens the queue. */
fault signals_open(struct signals *signals, const int *numbers, size_t count) MUST_USE;
/** The next signal's number.  Suspends. */
fault signals_next(struct signals *signals, int *ret, deadline by) MUST_USE;
void signals_close(struct signals *signals);
