#pragma once
/*
 * log_line.h - one event as one line of text or JSON; pure, for log.c and its tests.
 *
 * The pairs are read from the *format*, not from the finished text, so that no value can pass for
 * another pair, end the line, or break the JSON, whatever bytes it holds.
 */
#include "machine/log.h"

#include <stdarg.h>

/* Longest line, newline included; values are cut to fit. */
#define LOG_LINE_MOST 4096
/* Longest single value. */
#define LOG_VALUE_MOST 2048

struct log_line {
    enum log_format format;
    size_t size;
    char bytes[LOG_LINE_MOST];
};

/* What every line starts with. */
struct log_head {
    int64_t wall_us;
    int process;
    int level;
    const char *name;
};

/** Writes the whole line, its newline included.  `pairs` as in log_event; `values` is consumed. */
void log_line_build(struct log_line *line, const struct log_head *head, const char *pairs,
                    va_list values);
