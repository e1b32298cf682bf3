#pragma once
/*
 * local_pool_command.h - passwords towards servers that a command prints, and that live for a while
 * only.
 *
 * The command runs on a thread that may block, at a login that finds no password young enough; what
 * it printed is kept in the local pool.  It is told as whom and where: $1 user, $2 host, $3 port,
 * $4 database.  Suspends.
 */
#include "link/link.h"
#include "pool/local_pool.h"

/** The password for a login at `target`; heap, for the caller to wipe and free.
 *  Faults: AUTH (the command failed, with the story), MEMORY, SYSTEM, TIMEOUT, CANCELLED. */
fault local_pool_command_password(struct local_pool *pool, const struct link_target *target,
                                  char **ret) MUST_USE;
/** It was refused: the next login runs the command again. */
void local_pool_command_doubt(struct local_pool *pool);
void local_pool_command_forget(struct local_pool *pool);
