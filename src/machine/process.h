#pragma once
/*
 * process.h - what this process was given when it started.
 *
 * Behind the door (os_process.h), so that the simulated world gives what its test says.  Any
 * thread.
 */
#include "base/fault.h"

/** The number of the user that it runs as. */
uint32_t process_user(void);
/** The name of a user's number; "" when it has none.  Blocks: it may ask a directory server. */
void process_user_name(uint32_t user, char *text, size_t size);
/** The number of a group; false: there is no such group.  Blocks, as the other one. */
bool process_group_number(const char *name, int64_t *ret);
/** Processors that this process may use, at least 1. */
uint32_t process_processors(void);
/** The value of a variable of the environment, or NULL. */
const char *process_variable(const char *name);
/** Keeps whole pages out of core dumps, or lets them in again. */
void process_hide(void *pages, size_t size, bool hidden);
#define PROCESS_PAGE ((size_t)4096)
/** The working directory, absolute.  SYSTEM: it has no path, or one longer than `size`. */
fault process_directory(char *path, size_t size) MUST_USE;
/** Ends it at once, without any cleaning up. */
NORETURN void process_leave(int status);
