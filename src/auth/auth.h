#pragma once
/*
 * auth.h - authenticates clients by the method of their route or of the HBA file.
 *
 * Functions suspend on the client's login coroutine.  AuthenticationOk (and SCRAM's last message)
 * is left in `out`, to be sent with the rest of the login.  Credentials of the client (a plain
 * password or SCRAM keys) are kept in the local pool, for logins to servers.
 */
#include "base/buffer.h"
#include "config/config.h"
#include "machine/stream.h"
#include "pool/local_pool.h"

struct auth_cache;

/* State of one relay for the logins of its clients. */
struct auth_room {
    struct local_pools *pools;
    struct auth_cache *cache; /* NULL: no query was made yet; see auth_query.c */
    struct map verifiers;     /* of plain secrets; see auth_plain.c */
    uint64_t derived;         /* hint: key derivations for clients not authenticated yet, total */
};

/* One client to authenticate.  The caller owns all that the fields point to.  auth_choose replaces
 * `how`.  `config` is the version that the login uses. */
struct auth_request {
    struct auth_room *room;
    struct stream *stream; /* the client's */
    const struct address *peer;
    const struct uuid *client; /* its id, for the log */
    struct local_pool *pool;   /* the client's; NULL: none */
    const struct config *config;
    const struct route_config *route;
    struct span database;
    struct span user;
    bool replication; /* physical */
    const struct route_config
        *lookup; /* whose servers auth_query asks for users in no file, or NULL */
    struct auth_how how;
    struct buffer *out;
    deadline by;
};

/** Sets request->how: the route's method, or that of the first matching line of the HBA file.
 *  Faults: AUTH (rejected, or no line matches), NAME, TIMEOUT, CANCELLED. */
fault auth_choose(struct auth_request *request) MUST_USE;
/** Authenticates the client by request->how.  Faults: PASSWORD (wrong password or unknown user: the
 *  client can't tell which), AUTH, PROTOCOL, UNSUPPORTED, CLOSED, TIMEOUT, MEMORY. */
fault auth_client(struct auth_request *request) MUST_USE;
/** auth_plain.c: removes the verifiers of plain secrets that a relay keeps. */
void auth_plain_clear(struct map *all);
/** Mock authentication for a client that matches no route, so that clients can't find out which
 *  databases exist.  OK: the client may be told that no route matches. */
fault auth_no_route(struct auth_request *request) MUST_USE;
/** Returns the route if auth_query asks for its users, else NULL; for auth_request.lookup. */
const struct route_config *auth_lookup_of(const struct config *config,
                                          const struct route_config *route);
/** Checks the limit on failed logins, before authentication.  AUTH: too many logins from this
 *  address have failed. */
fault auth_admit(const struct auth_request *request) MUST_USE;
