#pragma once
/*
 * auth.h - a client proves who it is, by the method of its route.
 *
 * Suspends on the client's login coroutine.  Leaves AuthenticationOk (and SCRAM's last message) in
 * `out`, to be sent with the rest of the login.  What the client proves may serve towards servers:
 * a plain password, or SCRAM keys, are kept in the share.
 */
#include "base/buffer.h"
#include "pooler/client.h"
#include "pooler/config.h"

/** Faults: PASSWORD (wrong, or the user is unknown: the client can't tell which), AUTH, PROTOCOL,
 *  UNSUPPORTED, CLOSED, TIMEOUT, MEMORY. */
fault auth_client(struct client *client, const struct route_config *route, struct span user,
                  struct buffer *out, deadline by) MUST_USE;
