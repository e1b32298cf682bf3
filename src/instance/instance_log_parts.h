#pragma once
/*
 * instance_log_parts.h - applies the log settings of a configuration version; for instance.c.
 */
#include "config/config.h"
#include "machine/co.h"

struct pooler;

/** Applies the version's log settings.  If a target can't be opened, the log stays as it was and
 *  gets an error event. */
void instance_log_configure(const struct config *config);
/** Reopens the log files, after SIGUSR1. */
void instance_log_reopen(const struct config *config);
/* Periodic log output (statistics, counts of repeats); runs on the pooler machine. */
struct instance_log {
    struct config *const *config; /* the version in force */
    struct pooler *pooler;
    struct co *co;
    bool ending; /* no new look at the relays may begin */
    bool looking;
};

/** Entry of the log's coroutine; returns when it is cancelled. */
void instance_log_main(void *log);
/** Notes that another version is in force. */
void instance_log_renew(struct instance_log *log);
/** Stops looks at the relays: none begins after this call.  Returns true when none is in progress
 *  any more, false if that takes longer than `by`.  Suspends. */
bool instance_log_end_looks(struct instance_log *log, deadline by) MUST_USE;
/** Gives the log files to the user that the process is about to switch to. */
fault instance_log_give(const struct config *config) MUST_USE;
