#pragma once
/*
 * auth_query.h - queries a server for secrets and roles of users who are in no file.
 *
 * Queries use a pool of their own, so that their sessions never have a client's settings.  The name
 * of the user is a bound parameter.  Each relay caches answers for `auth_query.refresh`.  Functions
 * suspend.  Design: docs/authentication.md
 */
#include "auth/auth.h"

struct auth_cache;
void auth_cache_free(struct auth_cache **cache);
/** Removes all cached answers, to free memory.  NULL-safe. */
void auth_cache_clear(struct auth_cache *cache);

/** Gets the secret of the request's user; heap, the caller wipes and frees it.  *ret is NULL if the
 *  user does not exist, has no secret, or the request has no `lookup`.  Faults: UPSTREAM (details
 *  in the log), MEMORY, CLOSED, TIMEOUT, CANCELLED. */
fault auth_query_secret(struct auth_request *request, char **ret) MUST_USE;
/** Finds out whether the request's user is a member of a role, directly or through other roles. */
fault auth_query_role(struct auth_request *request, const char *role, bool *ret) MUST_USE;
/** Drops the cached secret of the request's user after a failed login, so that the next login
 *  queries again.  Not in the first second after the query. */
void auth_query_doubt(const struct auth_request *request);
/** Returns the iteration count of the server's SCRAM secret seen last, or the default if none was
 *  seen; 0: the request has no `lookup`. */
uint32_t auth_query_iterations(const struct auth_request *request);
