#pragma once
/*
 * cancel.h - cancel requests: delivered to the query they were meant for, or dropped.
 *
 * A cancel key names the relay and carries random bits that identify the client; in session pools
 * its pid is the backend's.  A request is mailed to the relay, which looks the client up, checks
 * that it has a query under way, and connects to the backend.  The server is withheld from other
 * clients until the backend has closed that connection, so that a late cancel never hits the next
 * client's query.  Requests under way have a limit of their own (cancels_max).
 */
#include "pool/server.h"

struct relay;

/** Handles a CancelRequest that came on this relay: finds the client that owns the key, here or on
 *  another relay.  Suspends until the request is through, limited by cancel_timeout and not by
 *  login_timeout: the end of the request's connection tells the client that no later query is
 *  hit. */
void cancel_request(struct relay *relay, uint32_t pid, struct span secret);
/** Cancels what this server is doing and suspends until the request is through.  For a server whose
 *  client has disconnected. */
fault cancel_server(struct server *server, deadline by) MUST_USE;
/** Makes a cancel key for a client of any but a session pool.  `version`: the client's protocol
 *  version. */
void cancel_make_key(struct relay *relay, struct client *client, uint32_t version);
/** Makes only the secret, for a client of a session pool, whose key has its backend's pid. */
void cancel_make_secret(struct client *client, uint32_t version);
/** Adds client->key to the relay's map, so that requests find the client. */
fault cancel_enter_key(struct relay *relay, struct client *client) MUST_USE;
/** Waits until no cancel request to a server is under way, before it is closed.  Suspends; does not
 *  end early on cancellation. */
void cancel_finish(struct server *server);
