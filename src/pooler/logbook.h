#pragma once
/* logbook.h - log events on routes: periodic statistics, and pools that a reload made obsolete. */
#include "base/time.h"

struct pooler;

/* Obsolete pools that are logged after one reload. */
#define LOGBOOK_OUTDATED_MAX 65536u

/** Logs one event for each route that has clients, or had logins or queries since the last call. On
 *  the pooler machine.  Suspends. */
void logbook_tell_routes(struct pooler *pooler, duration period);
/** Logs one event for each pool that the last reload has made obsolete.  On the pooler machine.
 *  Suspends. */
void logbook_tell_obsolete(struct pooler *pooler);
