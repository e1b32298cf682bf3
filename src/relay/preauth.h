#pragma once
/*
 * preauth.h - connections that are not authenticated yet, from their accept on.
 *
 * Silent connections must not keep other clients out.  All relays share the list of unauthenticated
 * connections, in order of arrival and by source, behind a lock.  At the limit a relay admits a new
 * connection by disconnecting the oldest unauthenticated connection: first among those that have
 * sent no startup packet, then among those that sent one a while ago.  All connections,
 * authenticated or not, stay below the share of the descriptor limit that is left for them.
 *
 * Functions may be called from any thread and never suspend; those on an unauthenticated connection
 * run on its relay. Design: docs/internals/limits.md
 */
#include "base/fault.h"
#include "machine/os.h"

struct config;
struct client;
struct preauth;
struct preauths;
struct relay;

struct preauths *preauths_new(void); /* NULL: no memory */
void preauths_free(struct preauths **preauths);
/** Sets the maximum number of connections that descriptors allow, whatever the configuration
 *  says. */
void preauths_set_max(struct preauths *preauths, uint32_t max);
/** Admits a connection from this address to this relay.  May disconnect other unauthenticated
 * connections.  `is_proxy`: a proxy, whose connections do not count for one source.  Faults: AGAIN
 * (there is no room yet: ask again soon); CLIENTS, with its message set; MEMORY. */
fault preauths_admit(struct preauths *preauths, const struct config *config,
                     const struct address *peer, bool is_proxy, struct relay *relay,
                     struct preauth **ret) MUST_USE;

/* --- on its relay ----------------------------------------------------------------------------- */

/** Notes the client of this unauthenticated connection.  False: the unauthenticated connection was
 * told to disconnect before it arrived. */
bool preauth_set_client(struct preauth *preauth, struct client *client) MUST_USE;
/** Notes that the startup packet has come.  NULL-safe. */
void preauth_startup_received(struct preauth *preauth);
/** Ends an unauthenticated connection whose client is authenticated or disconnected.  NULL-safe;
 * *unauthenticated connection is NULL afterwards. */
void preauth_end(struct preauth **preauth);
/** Notes that an admitted connection is closed. */
void preauths_closed(struct preauths *preauths);
