#pragma once
/*
 * console_stats.h - what was counted recently: the arithmetic of averages, without a clock.
 */
#include "stats/stats.h"

/* Averages are over at least so long, once somebody has asked twice. */
#define CONSOLE_STATS_PERIOD sec(60)

/**
 * What `window` has seen since its older look, and how long that is; then makes this look a part of
 * it.  Whoever asks more often than once a period gets averages over one period to two; the first
 * to ask gets them since the pool began.
 */
void console_stats_look(struct stats_window *window, const struct local_pool_stats *stats,
                        deadline at, struct local_pool_stats *ret_since, duration *ret_during);
