#pragma once
/*
 * instance_log.h - the log as a version of the configuration wants it; for instance.c.
 */
#include "config/config.h"
#include "machine/co.h"

struct pooler;

/** Takes the version's log settings over.  A target that can't be opened leaves all as it was, and
 *  says so. */
void instance_log_configure(const struct config *config);
/** Opens the files anew, after SIGUSR1. */
void instance_log_reopen(const struct config *config);
/* What is written from time to time; on the pooler machine. */
struct instance_log {
    struct config *const *config; /* the version in force */
    struct pooler *pooler;
    struct co *co;
    bool ending; /* no more looks at the relays */
    bool looking;
};

/** Its coroutine's entry; ends when it is cancelled. */
void instance_log_main(void *log);
/** There is another version in force. */
void instance_log_renew(struct instance_log *log);
/** No look at the relays begins any more, and none is under way when this returns, unless it did
 *  not come back until `by`: false.  Suspends. */
bool instance_log_end_looks(struct instance_log *log, deadline by) MUST_USE;
/** Makes the log's files the user's that the process is about to become. */
fault instance_log_give(const struct config *config) MUST_USE;
