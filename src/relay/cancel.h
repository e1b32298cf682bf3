#pragma once
/*
 * cancel.h - cancel requests: from clients to the query they were meant for, or to nothing.
 *
 * A key names the relay and the client and carries random bits; in session pools its pid is the
 * backend's own.  A request is mailed to that relay, which looks the client up, checks that it has
 * something under way, dials the backend, and withholds the server until that socket's end, so that
 * a late cancel never meets the next owner.  Requests have a budget of their own (cancels_max).
 */
#include "pool/server.h"

struct relay;

/** A CancelRequest has come on this relay: finds its owner, here or on another one.  Suspends until
 *  the request is through, up to cancel_timeout and not login_timeout: the end of its connection
 *  tells the client that it hits no later query. */
void cancel_request(struct relay *relay, uint32_t pid, struct span secret);
/** Cancels what this server is doing and waits until the request is through; suspends.  For a
 * server whose client has gone. */
fault cancel_server(struct server *server, deadline by) MUST_USE;
/** Gives a key to a client that has none of a backend's.  `version`: of its protocol. */
void cancel_make_key(struct relay *relay, struct client *client, uint32_t version);
/** Only the secret, for a client that is known by its backend's pid. */
void cancel_make_secret(struct client *client, uint32_t version);
/** Enters client->key so that requests find it. */
fault cancel_enter_key(struct relay *relay, struct client *client) MUST_USE;
/** The server is about to be closed: waits until no request to it is under way.  Suspends. */
void cancel_finish(struct server *server);
