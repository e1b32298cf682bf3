#pragma once
/* logbook.h - the periodic log event with the statistics of each route. */
#include "base/time.h"

struct pooler;

/** Logs one event for each route that has clients, or had logins or queries since the last call. On
 *  the pooler machine.  Suspends. */
void logbook_tell_routes(struct pooler *pooler, duration period);
