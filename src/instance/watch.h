#pragma once
/*
 * watch.h - tells the service manager that every machine still makes progress.
 *
 * A look goes round all of them; only when it has come back, WATCHDOG=1 is sent.  A machine that
 * hangs keeps the look, and the manager does what it is set to do.
 */
#include "pooler/pooler.h"

struct watch {
    struct pooler *pooler;
    bool stopping; /* machines come to their ends: no more looks */
    bool looking;
    char status[128];
};

/** The coroutine's entry; ends when it is cancelled, or at once when nobody listens. */
void watch_main(void *watch);
/** No look begins any more, and none is under way when this returns.  Suspends.  False: one did not
 *  come back until `by`. */
bool watch_end_looks(struct watch *watch, deadline by) MUST_USE;
