#pragma once
/*
 * clock.h - what time it is, as the running machine believes.
 *
 * now() is cached once per turn of the loop, so that it costs nothing; now_exact() asks the system.
 */
#include "base/time.h"

/** Monotonic time as of this turn of the loop; on other threads the exact one. */
deadline now(void);
/** Monotonic time, asked afresh. */
deadline now_exact(void);
/** Wall-clock time, asked afresh. */
instant wall_now(void);
/** `wait` from now(). */
deadline after(duration wait);
