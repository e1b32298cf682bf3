#pragma once
/*
 * log_line.h - one event as one line of text, JSON or logfmt, dressed for its target; pure, for
 * log.c and its tests.
 *
 * The pairs are read from the *format*, not from the finished text, so that no value can pass for
 * another pair, end the line, or break the JSON, whatever bytes it holds.
 */
#include "machine/log.h"

#include <stdarg.h>

/* Longest message, newline included; values are cut to fit. */
#define LOG_LINE_MAX 4096
/* The same and what a target wants around it: a head, or the pairs once more as fields. */
#define LOG_BYTES_MAX (3 * LOG_LINE_MAX)
/* Longest single value. */
#define LOG_VALUE_MAX 2048

/* What stands around the message: nothing and a newline, a syslog header and a NUL, or the fields
 * of the journal's own protocol and a NUL. */
enum log_dress { LOG_DRESS_PLAIN, LOG_DRESS_RFC3164, LOG_DRESS_RFC5424, LOG_DRESS_JOURNAL };

struct log_line {
    enum log_format format;
    enum log_dress dress;
    size_t size;
    size_t max;        /* of `size` at present */
    size_t pairs_at;   /* where the first pair begins */
    bool fields;       /* the pairs are written as fields of the journal at present */
    uint64_t likeness; /* the same for events that say the same; see log_count_repeats() */
    char bytes[LOG_BYTES_MAX];
};

/* What every line starts with. */
struct log_head {
    int64_t wall_us;
    int process;
    int level;
    const char *name;
    int facility; /* this and the rest: for syslog and the journal */
    const char *ident;
    const char *host;
};

/** Writes the whole line, its end included.  `pairs` as in log_event; `values` is consumed. */
void log_line_build(struct log_line *line, const struct log_head *head, const char *pairs,
                    va_list values);
