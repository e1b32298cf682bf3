#pragma once
/*
 * guests.h - connections that have not proven who they are, from the moment they are accepted.
 *
 * Nobody is asked anything before it is in, so silence must not keep others out.  The pooler
 * machine knows every guest in order of arrival and by source, and lets a new one in by sending the
 * oldest away: first of those that have said nothing, then of those that said something a while
 * ago.  All connections, proven or not, stay below what the budget of descriptors leaves for them.
 *
 * On the pooler machine, unless it says otherwise.  Design: docs/internals/limits.md
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
/** So many connections at a time, however many a version allows. */
void guests_set_max(struct guests *guests, uint32_t max);
/** Lets a connection from this source in, for a relay that has yet to be named; others may be told
 *  to go for it.  `is_proxy`: it speaks for others.  Suspends.  Faults: CLIENTS, with the story;
 *  MEMORY, CANCELLED. */
fault guests_admit(struct guests *guests, const struct config *config, const struct address *peer,
                   bool is_proxy, struct guest **ret) MUST_USE;
/** Which relay it goes to. */
void guest_assign(struct guest *guest, struct relay *relay);
/** It has not become a client of that relay. */
void guest_refuse(struct guest **guest);

/* --- on its relay ----------------------------------------------------------------------------- */

/** It is this client from now on. */
void guest_arrive(struct guest *guest, struct client *client);
/** Its startup packet has come; NULL-safe, as the next. */
void guest_speak(struct guest *guest);
/** It has proven who it is, or has gone: no guest any more; *guest is NULL afterwards. */
void guest_settle(struct guest **guest);
/** A connection that was admitted is closed.  Any thread. */
void guests_closed(struct guests *guests);
