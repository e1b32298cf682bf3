#pragma once
/*
 * doors.h - where clients come in: the sockets of `listen`, and who accepts from them.
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
struct doors;

struct doors *doors_new(struct pooler *pooler); /* NULL: no memory */
/** Numbers the listeners of a version that nobody else sees yet, and binds those that are new;
 *  nobody is accepted from them before doors_commit.  Suspends.  Faults: SYSTEM, NAME, LIMIT,
 *  MEMORY; then nothing has changed. */
fault doors_prepare(struct doors *doors, struct config *config) MUST_USE;
/** Accepts at what was prepared, and closes what the version no longer has.  Suspends. */
fault doors_commit(struct doors *doors, const struct config *config) MUST_USE;
/** Closes what doors_prepare has bound. */
void doors_abort(struct doors *doors);
/** No more clients.  Suspends. */
void doors_close(struct doors *doors);
void doors_free(struct doors **doors);
