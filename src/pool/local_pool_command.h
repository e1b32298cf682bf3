#pragma once
/*
 * local_pool_command.h - short-lived server passwords, printed by password_command.
 *
 * A server login runs the command if the local pool keeps no valid password for that host and port.
 * The command runs on a thread that may block; its output is kept in the local pool for
 * password_lifetime.  Arguments: $1 user, $2 host, $3 port, $4 database.
 */
#include "link/link.h"
#include "pool/local_pool.h"

/** Returns the password for a login at `target`, on the heap; the caller wipes and frees it.
 *  Suspends while the command runs.  Faults: AUTH (the command failed, with the detail), MEMORY,
 * SYSTEM, TIMEOUT, CANCELLED. */
fault local_pool_command_password(struct local_pool *pool, const struct link_target *target,
                                  char **ret) MUST_USE;
/** Marks the kept password as refused by a server: the next login runs the command again. */
void local_pool_command_doubt(struct local_pool *pool);
/** Wipes and frees the kept password. */
void local_pool_command_forget(struct local_pool *pool);
/** Overwrites and frees a password; NULL-safe. */
void local_pool_wipe_password(char **password);
