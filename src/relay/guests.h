#pragma once
/*
 * guests.h - connections that are not authenticated yet ("guests"), from their accept on.
 *
 * Silent connections must not keep other clients out.  The pooler machine knows every guest in
 * order of arrival and by source.  At the limit it admits a new connection by disconnecting the
 * oldest guest: first among those that have sent no startup packet, then among those that sent one
 * a while ago.  All connections, authenticated or not, stay below the share of the descriptor limit
 * that is left for them.
 *
 * Functions run on the pooler machine unless stated otherwise.  Design: docs/internals/limits.md
 */
#include "base/fault.h"
#include "machine/os.h"

struct config;
struct client;
struct guest;
struct guests;
struct relay;

struct guests *guests_new(void); /* NULL: no memory */
void guests_free(struct guests **guests);
/** Sets the maximum number of connections that descriptors allow, whatever the configuration
 *  says. */
void guests_set_max(struct guests *guests, uint32_t max);
/** Admits a connection from this address, for a relay that guest_assign names later.  May
 *  disconnect other guests.  `is_proxy`: a proxy, whose connections do not count for one source.
 *  Suspends.  Faults: CLIENTS, with its message set; MEMORY, CANCELLED. */
fault guests_admit(struct guests *guests, const struct config *config, const struct address *peer,
                   bool is_proxy, struct guest **ret) MUST_USE;
/** Sets the relay that the connection goes to. */
void guest_assign(struct guest *guest, struct relay *relay);
/** Ends a guest whose connection could not be handed to a relay. */
void guest_refuse(struct guest **guest);

/* --- on its relay ----------------------------------------------------------------------------- */

/** Notes the client of this guest. */
void guest_arrive(struct guest *guest, struct client *client);
/** Notes that the startup packet has come.  NULL-safe. */
void guest_speak(struct guest *guest);
/** Ends a guest whose client is authenticated or disconnected.  NULL-safe; *guest is NULL
 *  afterwards. */
void guest_settle(struct guest **guest);
/** Notes that an admitted connection is closed.  From any thread. */
void guests_closed(struct guests *guests);
