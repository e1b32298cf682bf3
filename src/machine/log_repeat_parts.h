#pragma once
/*
 * log_repeat_parts.h - counts repeated log lines; private to log.c.
 *
 * One table for the process under a lock that is held during a look-up only.  A full table evicts
 * the entry whose line was written longest ago.
 */
#include "base/span.h"

/* Distinct lines that are remembered. */
#define LOG_REPEATS_MAX 64
#define LOG_SAMPLE_MAX  512

struct log_repeat {
    uint64_t likeness;
    uint64_t count; /* repeats that were not written since */
    int64_t since;  /* when the line was written: monotonic, us; 0: the entry is free */
    int level;
    char name[64];
    char sample[LOG_SAMPLE_MAX]; /* the pairs of the written line, as text */
};

/** Sets how long a line counts as repeated, in microseconds; 0: never. */
void log_repeat_period(int64_t period_us);
bool log_repeat_on(void);
/** Returns true if the line is new and must be written; else counts it.  *ret_over is the entry
 *  that the new line replaces: to be logged first if its count is not 0. */
bool log_repeat_admit(const struct log_repeat *said, int64_t now_us, struct log_repeat *ret_over);
/** Removes an entry whose period is over (`all`: any entry) and that has a count; false: none. */
bool log_repeat_take(int64_t now_us, bool all, struct log_repeat *ret);
