#pragma once
/* logbook.h - what the log says of each route, once in each period. */
#include "base/time.h"

struct pooler;

/** On the pooler machine: one event for each route with clients or something counted since the
 *  last.  Suspends. */
void logbook_tell_routes(struct pooler *pooler, duration period);
