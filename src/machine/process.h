#pragma once
/*
 * process.h - identity and environment of this process.
 *
 * Implemented through os_process_parts.h, so that tests set the values in the simulation.  Any
 * thread.
 */
#include "base/fault.h"

/** The effective uid. */
uint32_t process_user(void);
/** Looks up the name of a uid; "" when it has none.  Blocks: may ask a directory server. */
void process_user_name(uint32_t user, char *text, size_t size);
/** Looks up the gid of a group; false: no such group.  Blocks, as process_user_name. */
bool process_group_number(const char *name, int64_t *ret);
/** The count of processors that this process may use, at least 1. */
uint32_t process_processors(void);
/** The value of an environment variable, or NULL. */
const char *process_variable(const char *name);
/** Excludes whole pages from core dumps, or includes them again. */
void process_hide(void *pages, size_t size, bool hidden);
#define PROCESS_PAGE ((size_t)4096)
/** The absolute path of the working directory.  Faults: SYSTEM (no path, or longer than `size`). */
fault process_directory(char *path, size_t size) MUST_USE;
/** Ends the process at once, without any cleanup. */
NORETURN void process_leave(int status);
/** Leaves OpenSSL's memory as it is when the process ends: offload threads may still use it.  To be
 *  called before the first use of OpenSSL. */
void process_keep_openssl(void);
