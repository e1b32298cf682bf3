#pragma once
/*
 * l2_breaker.h - when Redis is not asked, because it has not answered.
 *
 * After L2_FAILURES_MAX failures in a row nothing is asked for a time that doubles from
 * L2_PAUSE_MIN to L2_PAUSE_MAX, less a random part; then one request tries.  Of one thread; pure.
 */
#include "base/time.h"

#define L2_FAILURES_MAX 5u
#define L2_PAUSE_MIN    sec(1)
#define L2_PAUSE_MAX    sec(30)

struct l2_breaker {
    uint32_t failures; /* in a row */
    uint32_t opened;   /* times since the latest success */
    bool open;
    deadline until;  /* open: when one request may try */
    deadline trying; /* open: one tries, and counts as failed from then on; 0: none does */
};

/** Whether a request may be sent; `patience`: when it counts as failed if nothing is told of it. */
bool l2_breaker_admits(struct l2_breaker *breaker, moment now, duration patience);
void l2_breaker_succeeded(struct l2_breaker *breaker);
/** Notes a failure; `random`: of 32 bits.  True: nothing is asked from now on. */
bool l2_breaker_failed(struct l2_breaker *breaker, moment now, uint32_t random);
/** The same, of one after which it makes no sense to go on: a connection that was refused. */
bool l2_breaker_broke(struct l2_breaker *breaker, moment now, uint32_t random);
