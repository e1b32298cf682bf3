#pragma once
/*
 * clock.h - the running machine's clocks.
 *
 * now() returns a value that is cached once per loop iteration; now_exact() asks the system.
 */
#include "base/time.h"

/** Monotonic time of this loop iteration; on threads that are no machine, the exact time. */
moment now(void);
/** Monotonic time, read from the system. */
moment now_exact(void);
/** Wall-clock time, read from the system. */
instant wall_now(void);
/** now() plus `wait`. */
deadline after(duration wait);
