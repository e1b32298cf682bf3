#pragma once
/*
 * console_stats.h - computes recent averages from counters, without a timer.
 */
#include "stats/stats.h"

/* Minimum period of averages, once there have been two looks. */
#define CONSOLE_STATS_PERIOD sec(60)

/**
 * Returns what was counted since the older look of `window`, and the time since then; then stores
 * this look if it is due.  If looks come more often than once a period, averages cover one to two
 * periods.  The first look covers the time since the pool was created.
 */
void console_stats_look(struct stats_window *window, const struct local_pool_stats *stats,
                        moment at, struct local_pool_stats *ret_since, duration *ret_during);
