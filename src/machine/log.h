#pragma once
/*
 * log.h - log events: one line with a stable dotted name and key=value pairs; never blocks.
 *
 * Lines go to up to LOG_TARGETS_MAX targets.  Each target has a level, a format and a bounded queue
 * that a writer thread empties; lines that do not fit are counted and reported.  Levels are
 * syslog's (LOG_ERR, LOG_NOTICE, ...).  Design: docs/internals/log-dns-offload.md
 */
#include "base/compiler.h"

#include <stdint.h>
#include <syslog.h>

enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON, LOG_FORMAT_LOGFMT };
enum log_kind { LOG_TO_STDERR, LOG_TO_FILE, LOG_TO_SYSLOG, LOG_TO_JOURNAL };
enum log_protocol { LOG_RFC3164, LOG_RFC5424 };

#define LOG_TARGETS_MAX 8
#define LOG_INHERIT     255 /* settings only: the level or format of `log` applies */
#define LOG_IDENT_MAX   48

/* A log target.  The fields are plain ints because the settings are read into them. */
struct log_target {
    int to;           /* enum log_kind */
    int level;        /* the least urgent level that is written */
    int format;       /* enum log_format */
    const char *path; /* of a file or datagram socket; NULL: /dev/log, or the journal's socket */
    int facility;     /* LOG_DAEMON, ... */
    int protocol;     /* enum log_protocol; syslog only */
    const char *ident;
};

/** Sets a single target: the least urgent level to write (LOG_DEBUG writes all), the format, and
 *  the file (NULL: stderr).  Returns 0 or -errno of the file. */
int log_configure(int level, enum log_format format, const char *path);
/** Sets several targets, at most LOG_TARGETS_MAX; opens their files again.  The texts are copied.
 *  Returns 0, or -errno and the index of the target that failed; nothing changes if a file can't be
 *  opened. */
int log_set_targets(const struct log_target *targets, size_t count, size_t *ret_failed);
/** Opens the files of the current targets again, after log rotation.  Returns 0 or -errno. */
int log_reopen(void);
/** Flushes and ends the writers; later lines are written by their callers. */
void log_finish(void);
/** Whether any target writes this level. */
bool log_wants(int level);

/** Counts repeated lines instead of writing them: lines of LOG_NOTICE or more urgent that equal a
 *  line within `period_us` (microseconds; 0: off).  Ids, process ids and ports are not compared. */
void log_count_repeats(int64_t period_us);
/** Logs the counts whose period is over; `all`: the others too. */
void log_tell_repeats(bool all);

/** Logs an event: log_event(LOG_NOTICE, "server.closed", "server=%s reason=\"%s\"", ...).  `format`
 *  is a list of key=value pairs; values with blanks are in double quotes. */
void log_event(int level, const char *name, const char *format, ...) PRINTF_LIKE(3, 4);
