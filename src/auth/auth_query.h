#pragma once
/*
 * auth_query.h - secrets and roles of users who stand in no file, asked for at a server.
 *
 * A relay asks over servers of a pool that nobody else uses: its sessions never have a client's
 * settings, and the name asked for is a bound parameter.  Answers are kept for
 * `auth_query.refresh`, for each relay by itself.  Suspends.  Design: docs/authentication.md
 */
#include "auth/auth.h"

struct auth_cache;
void auth_cache_free(struct auth_cache **cache);
/** Forgets all answers, for want of memory; NULL-safe. */
void auth_cache_clear(struct auth_cache *cache);

/** The secret of the request's user, heap, for the caller to wipe and free; NULL: there is no such
 *  user, or it has none, or nobody is asked.
 *  Faults: UPSTREAM (told in the log), MEMORY, CLOSED, TIMEOUT, CANCELLED. */
fault auth_query_secret(struct auth_request *request, char **ret) MUST_USE;
/** Whether the request's user is in a role, by itself or through others. */
fault auth_query_role(struct auth_request *request, const char *role, bool *ret) MUST_USE;
/** A secret was no good: the next one asks anew. */
void auth_query_doubt(const struct auth_request *request);
/** Iterations that the secrets of a server have, as far as they were seen; 0: nobody is asked. */
uint32_t auth_query_iterations(const struct auth_request *request);
