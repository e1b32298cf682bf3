#pragma once
/*
 * listeners.h - where clients come in: the sockets of `listen`, and who accepts from them.
 *
 * On the pooler machine.  A reload is prepared (what is new is bound, so that a refusal changes
 * nothing) and then either committed or given up.  Listeners are told apart by a number that stays
 * theirs over all versions: a client carries it, and finds its listener in the version that it logs
 * in by.
 */
#include "base/buffer.h"
#include "config/config.h"
#include "machine/co.h"

struct pooler;
struct listeners;

struct listeners *listeners_new(struct pooler *pooler); /* NULL: no memory */
/** Numbers the listeners of a version that nobody else sees yet, and binds those that are new;
 *  nobody is accepted from them before listeners_commit.  Suspends.  Faults: SYSTEM, NAME, LIMIT,
 *  MEMORY; then nothing has changed. */
fault listeners_prepare(struct listeners *listeners, struct config *config) MUST_USE;
/** Accepts at what was prepared, and closes what the version no longer has.  Suspends. */
fault listeners_commit(struct listeners *listeners, const struct config *config) MUST_USE;
/** Closes what listeners_prepare has bound. */
void listeners_abort(struct listeners *listeners);
/** No more clients.  Suspends. */
void listeners_close(struct listeners *listeners);
void listeners_free(struct listeners **listeners);
