#pragma once
/*
 * privileges.h - privileges of this process, and access of debuggers to it.
 *
 * Each step is irreversible.  For start-up, on the first thread: a change of users and groups
 * applies to all threads, everything else to this thread and those that it starts afterwards.
 */
#include "base/fault.h"

/** Whether the process runs as root. */
bool privileges_root(void);
/** Sets PR_SET_NO_NEW_PRIVS: executed programs gain no privileges by setuid bits. */
void privileges_lock(void);
/** Changes to the user, with its groups, and drops all capabilities; does nothing when the process
 *  runs as that user already.  Faults: SYSTEM, with user and reason. */
fault privileges_become(const char *user) MUST_USE;
/** Changes the owner of a file to the user of a later privileges_become.  Faults: SYSTEM. */
fault privileges_give(const char *path, const char *user) MUST_USE;
/** Drops every capability of this thread. */
void privileges_shed(void);
/** Allows or forbids core dumps, and debuggers of the same user. */
void privileges_core_dumps(bool wanted);
/** Raises the soft limit of descriptors to the hard limit, and returns it. */
uint64_t privileges_descriptors(void);
/** Whether the process can read this file now. */
bool privileges_readable(const char *path);
