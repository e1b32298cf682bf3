#pragma once
/*
 * signals.h - signals as events of one machine; they are blocked in all threads.
 */
#include "machine/stream.h"

struct signals {
    struct stream stream;
};
/** Blocks `numbers` in this thread and opens the signal queue.  Before any other thread is started:
 *  threads inherit the mask. */
fault signals_open(struct signals *signals, const int *numbers, size_t count) MUST_USE;
/** Waits for the next signal and returns its number.  Suspends.  Faults: TIMEOUT, CANCELLED,
 *  SYSTEM. */
fault signals_next(struct signals *signals, int *ret, deadline by) MUST_USE;
void signals_close(struct signals *signals);
