#pragma once
/*
 * log_line.h - formats an event as a line of text, JSON or logfmt, with the header that its target
 * needs; pure; private to machine/ and its tests.
 *
 * Values are escaped, so that none can add a pair, end the line, or break the JSON, whatever bytes
 * it contains.
 */
#include "machine/log.h"

/* Longest message, newline included; values are truncated to fit. */
#define LOG_LINE_MAX 4096
/* Longest message with what its target needs: a header, or the pairs again as journal fields. */
#define LOG_BYTES_MAX (3 * LOG_LINE_MAX)
/* Longest single value. */
#define LOG_VALUE_MAX 2048

/* The frame of a message: a newline after it (plain), a syslog header and a NUL, or the fields of
 * the journal's native protocol and a NUL. */
enum log_dress { LOG_DRESS_PLAIN, LOG_DRESS_RFC3164, LOG_DRESS_RFC5424, LOG_DRESS_JOURNAL };

struct log_line {
    enum log_format format;
    enum log_dress dress;
    size_t size;
    size_t max;        /* limit of `size`, for the part that is being written */
    size_t pairs_at;   /* offset of the first pair */
    bool fields;       /* pairs are being written as journal fields */
    bool likens;       /* `likeness` is wanted */
    uint64_t likeness; /* equal for events that log_count_repeats() treats as equal */
    char bytes[LOG_BYTES_MAX];
};

/* An event, and the data of its header. */
struct log_head {
    int64_t wall_us;
    int process;
    int level;
    bool audit; /* a line of the audit, not of the log */
    const char *name;
    const struct log_pair *pairs;
    size_t count; /* of `pairs` */
    int facility; /* this and the following: syslog and the journal only */
    const char *ident;
    const char *host;
};

/** Writes a line with its end. */
void log_line_build(struct log_line *line, const struct log_head *head);
