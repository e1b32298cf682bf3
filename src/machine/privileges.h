#pragma once
/*
 * privileges.h - what this process may do and who may look into it; each step is for good.
 *
 * For start-up, like process.h.  Users and groups belong to all
 * threads; the rest is inherited by the threads that are started afterwards.
 */
#include "base/fault.h"

/** Whether it runs as root. */
bool privileges_root(void);
/** Nothing that it executes gains privileges by a file's bits. */
void privileges_lock(void);
/** Becomes the user, with its groups; nothing when it is that user already.  Capabilities go.
 *  Faults: SYSTEM, saying whom and why. */
fault privileges_become(const char *user) MUST_USE;
/** Gives a file to the user that privileges_become will make of us.  Faults: SYSTEM. */
fault privileges_give(const char *path, const char *user) MUST_USE;
/** Gives up every capability of this thread. */
void privileges_shed(void);
/** Whether a crash may write memory to a file, and our user's debuggers may look into it. */
void privileges_core_dumps(bool wanted);
/** Raises the limit of descriptors as far as it goes, and returns it. */
uint64_t privileges_descriptors(void);
/** Whether this file can be read now. */
bool privileges_readable(const char *path);
