#pragma once
/*
 * watch_parts.h - tells the service manager that every thread still makes progress.
 *
 * A look visits all machines; WATCHDOG=1 is sent only after it has returned.  If a machine hangs,
 * the look does not return, and the service manager acts as it is configured to.
 */
#include "pooler/pooler.h"

struct watch {
    struct pooler *pooler;
    bool stopping; /* machines are ending: no more looks */
    bool looking;
    char status[128];
};

/** Entry of the coroutine; returns when it is cancelled, or at once if there is no service
 *  manager. */
void watch_main(void *watch);
/** Stops looks: none begins after this call.  Returns true when none is in progress any more, false
 *  if that takes longer than `by`.  Suspends. */
bool watch_end_looks(struct watch *watch, deadline by) MUST_USE;
