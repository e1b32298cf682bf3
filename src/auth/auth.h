#pragma once
/*
 * auth.h - a client proves who it is, by the method of its route or of the HBA file.
 *
 * Suspends on the client's login coroutine.  Leaves AuthenticationOk (and SCRAM's last message) in
 * `out`, to be sent with the rest of the login.  What the client proves may serve towards servers:
 * a plain password, or SCRAM keys, are kept in the local pool.
 */
#include "base/buffer.h"
#include "config/config.h"
#include "machine/stream.h"
#include "pool/local_pool.h"

struct auth_cache;

/* What one relay keeps for the logins of its clients. */
struct auth_room {
    struct local_pools *pools;
    struct auth_cache *cache; /* NULL: nothing was asked yet; see auth_query.c */
    struct map verifiers;     /* of plain secrets; see auth_plain.c */
    uint64_t derived; /* hint: keys of passwords, for clients that have not proven them, in all */
};

/* Who wants in.  All but `how` is the caller's; `config` is the version that the login works by. */
struct auth_request {
    struct auth_room *room;
    struct stream *stream; /* the client's */
    const struct address *peer;
    struct local_pool *pool; /* that it enters; NULL: none */
    const struct config *config;
    const struct route_config *route;
    struct span database;
    struct span user;
    bool replication;                    /* physical */
    const struct service_config *lookup; /* whose server knows users of no file; NULL: nobody is */
    struct auth_how how;
    struct buffer *out;
    deadline by;
};

/** Finds the method: the route's, or that of the first line of the HBA file that matches.
 *  Faults: AUTH (rejected, or no line matches), NAME, TIMEOUT, CANCELLED. */
fault auth_choose(struct auth_request *request) MUST_USE;
/** By the method that was chosen.  Faults: PASSWORD (wrong, or the user is unknown: the client
 *  can't tell which), AUTH, PROTOCOL, UNSUPPORTED, CLOSED, TIMEOUT, MEMORY. */
fault auth_client(struct auth_request *request) MUST_USE;
/** auth_plain.c: forgets the verifiers of plain secrets that a relay keeps. */
void auth_plain_clear(struct map *all);
/** For who has no route: asks as if there were one, so that a stranger can't learn which databases
 *  exist.  OK: this one may be told. */
fault auth_stranger(struct auth_request *request) MUST_USE;
/** Who knows this route's users; for auth_request.lookup. */
const struct service_config *auth_lookup_of(const struct config *config,
                                            const struct route_config *route);
/** Before anything is asked: AUTH when too many logins from this address have failed. */
fault auth_admit(const struct auth_request *request) MUST_USE;
