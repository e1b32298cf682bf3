#pragma once
/*
 * listeners.h - the sockets of the setting `listen`, which all relays accept from.
 *
 * Runs on the pooler machine; the relays accept (relay/relay_accept.h).  A reload is prepared
 * first: new addresses are bound, so that a failure changes nothing.  It is then committed or
 * aborted.  Each listener has a number that stays the same over all versions.  A client carries the
 * number, and finds its listener in the version that it logs in by.
 */
#include "base/buffer.h"
#include "config/config.h"
#include "machine/co.h"

struct pooler;
struct listeners;

struct listeners *listeners_new(struct pooler *pooler); /* NULL: no memory */
/** Numbers the listeners of a version that no other thread sees yet, and binds the new ones.  They
 *  accept no client before listeners_commit.  Suspends.  Faults: SYSTEM, NAME, LIMIT, MEMORY; then
 *  nothing has changed. */
fault listeners_prepare(struct listeners *listeners, struct config *config) MUST_USE;
/** Accepts from the prepared sockets; closes those that the version no longer has.  Suspends. */
fault listeners_commit(struct listeners *listeners, const struct config *config) MUST_USE;
/** Closes the sockets that listeners_prepare has bound. */
void listeners_abort(struct listeners *listeners);
/** Closes all sockets.  Suspends. */
void listeners_close(struct listeners *listeners);
void listeners_free(struct listeners **listeners);
