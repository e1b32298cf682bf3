#pragma once
/*
 * instance_log.h - the log as a version of the configuration wants it; for instance.c.
 */
#include "pooler/config.h"

/** Takes the version's log settings over.  A target that can't be opened leaves all as it was, and
 *  says so. */
void instance_log_configure(const struct config *config);
/** Opens the files anew, after SIGUSR1. */
void instance_log_reopen(const struct config *config);
/** A coroutine's: writes what is written from time to time; `argument` is a pointer to the pointer
 *  to the version in force. */
void instance_log_main(void *argument);
/** Makes the log's files the user's that the process is about to become. */
fault instance_log_give(const struct config *config) MUST_USE;
