#pragma once
/*
 * log_repeat.h - which lines were said before, and how often since: private to log.c.
 *
 * A table for the whole process under a lock of its own, which is held for a look-up.  A full table
 * gives up the kind that was first said longest ago.
 */
#include "base/span.h"

/* Kinds of lines that are remembered. */
#define LOG_REPEATS_MAX 64
#define LOG_SAMPLE_MAX  512

struct log_repeat {
    uint64_t likeness;
    uint64_t count; /* lines that were not written since */
    int64_t since;  /* monotonic, us; 0: free */
    int level;
    char name[64];
    char sample[LOG_SAMPLE_MAX]; /* the pairs of the line that was written, as text */
};

/** Microseconds; 0: nothing is a repeat. */
void log_repeat_period(int64_t period_us);
bool log_repeat_on(void);
/** Whether this line is new and shall be written.  `ret_over`: what there is to tell first, if its
 *  count is not 0. */
bool log_repeat_admit(const struct log_repeat *said, int64_t now_us, struct log_repeat *ret_over);
/** Takes one whose time is over, or (all) any; false: there is none. */
bool log_repeat_take(int64_t now_us, bool all, struct log_repeat *ret);
