#pragma once
/*
 * log.h - events: a stable dotted name and typed pairs, one line each, never waiting.
 *
 * Lines go to any number of targets, each with a level, a format and a bounded queue of its own
 * that a writer thread empties; what does not fit is counted and reported.  base, machine and wire
 * never log.  Levels are syslog's (LOG_ERR, LOG_NOTICE, ...).  Design:
 * docs/internals/log-dns-offload.md
 */
#include "base/compiler.h"

#include <stdint.h>
#include <syslog.h>

enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON, LOG_FORMAT_LOGFMT };
enum log_kind { LOG_TO_STDERR, LOG_TO_FILE, LOG_TO_SYSLOG, LOG_TO_JOURNAL };
enum log_protocol { LOG_RFC3164, LOG_RFC5424 };

#define LOG_TARGETS_MAX 8
#define LOG_INHERIT     255 /* a level, or a format, of the settings alone */
#define LOG_IDENT_MAX   48

/* Where lines go.  Plain ints: the settings are read into them. */
struct log_target {
    int to;           /* enum log_kind */
    int level;        /* the least urgent one that is written */
    int format;       /* enum log_format */
    const char *path; /* a file, or a datagram socket; NULL: /dev/log, or the journal's */
    int facility;     /* LOG_DAEMON, ... */
    int protocol;     /* enum log_protocol, of syslog */
    const char *ident;
};

/** From now on: the least urgent level to write (LOG_DEBUG writes all), how, and to which file
 *  (NULL: stderr).  Returns 0 or -errno of the file. */
int log_configure(int level, enum log_format format, const char *path);
/** The same for several targets, at most LOG_TARGETS_MAX; files are opened anew.  The texts are
 *  copied.  Returns 0, or -errno with the target that failed, and nothing has changed. */
int log_set_targets(const struct log_target *targets, size_t count, size_t *ret_failed);
/** Opens the files of the present targets anew: somebody has moved them away. */
int log_reopen(void);
/** Flushes and ends the writers; later lines are written at once. */
void log_finish(void);
bool log_wants(int level);

/** A line of at least LOG_NOTICE that says the same as one within this time (microseconds; 0: off)
 *  is counted instead; ids, process ids and ports do not make it another. */
void log_count_repeats(int64_t period_us);
/** Tells the counts whose time is over; `all`: the others too. */
void log_tell_repeats(bool all);

/** log_event(LOG_NOTICE, "server.closed", "server=%s reason=\"%s\"", ...): `format` is a list of
 *  key=value pairs, values with blanks in double quotes. */
void log_event(int level, const char *name, const char *format, ...) PRINTF_LIKE(3, 4);
