#pragma once
/*
 * log.h - log events: one line with a stable dotted name and key=value pairs; never blocks.
 *
 * Lines go to up to LOG_TARGETS_MAX targets.  Each target has a level, a format and a bounded queue
 * that a writer thread empties; lines that do not fit are counted and reported.  Only at a target
 * of the audit that is set to wait does the caller's thread wait for room instead.  Levels are
 * syslog's (LOG_ERR, LOG_NOTICE, ...).  Design: docs/internals/log-dns-offload.md
 */
#include "base/compiler.h"
#include "base/uuid.h"

#include <stdint.h>
#include <syslog.h>

enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON, LOG_FORMAT_LOGFMT };
enum log_kind { LOG_TO_STDERR, LOG_TO_FILE, LOG_TO_SYSLOG, LOG_TO_JOURNAL };
enum log_protocol { LOG_RFC3164, LOG_RFC5424 };
/* Which lines a target takes: events of its level, or the lines of the audit. */
enum log_events { LOG_EVENTS_LOG, LOG_EVENTS_AUDIT };
/* What becomes of a line when the queue of its target is full. */
enum log_full { LOG_FULL_DROPS, LOG_FULL_WAITS };

#define LOG_TARGETS_MAX 8
#define LOG_INHERIT     255 /* settings only: the level or format of `log` applies */
#define LOG_IDENT_MAX   48
#define LOG_HELD_MAX    ((size_t)1024 * 1024) /* bytes of lines kept during a start */

/* A log target.  The fields are plain ints because the settings are read into them. */
struct log_target {
    int to;           /* enum log_kind */
    int level;        /* the least urgent level that is written */
    int format;       /* enum log_format */
    const char *path; /* of a file or datagram socket; NULL: /dev/log, or the journal's socket */
    int facility;     /* LOG_DAEMON, ... */
    int protocol;     /* enum log_protocol; syslog only */
    int events;       /* enum log_events */
    int when_full;    /* enum log_full */
    const char *ident;
};

/** Sets a single target: the least urgent level to write (LOG_DEBUG writes all), the format, and
 *  the file (NULL: stderr).  Returns 0 or -errno of the file. */
int log_configure(int level, enum log_format format, const char *path);
/** Sets several targets, at most LOG_TARGETS_MAX; opens their files again.  The texts are copied.
 *  Returns 0, or -errno and the index of the target that failed; nothing changes if a file can't be
 *  opened. */
int log_set_targets(const struct log_target *targets, size_t count, size_t *ret_failed);
/** Keeps lines for files from now on, up to LOG_HELD_MAX bytes, so that a start that fails does not
 *  write into the file of a running instance. */
void log_hold(void);
/** Ends log_hold.  Writes the kept lines to the files or, if the start failed, to standard error as
 *  text; all later lines then go there, too. */
void log_release(bool started);
/** Opens the files of the current targets again, after log rotation.  Returns 0 or -errno. */
int log_reopen(void);
/** Lets no thread wait for room any more, until the targets are set or opened again: a shutdown, or
 * a change of the targets, must not wait for what takes no lines. */
void log_stop_waiting(void);
/** Flushes and ends the writers; later lines are written by their callers. */
void log_finish(void);
/** Whether any target writes this level. */
bool log_wants(int level);

/** Counts repeated lines instead of writing them: lines of LOG_NOTICE or more urgent that equal a
 *  line within `period_us` (microseconds; 0: off).  Ids, process ids and ports are not compared. */
void log_count_repeats(int64_t period_us);
/** Logs the counts whose period is over; `all`: the others too. */
void log_tell_repeats(bool all);

/* --- events ----------------------------------------------------------------------------------- */

enum log_type { LOG_NOTHING, LOG_TEXT, LOG_QUOTE, LOG_SIGNED, LOG_UNSIGNED, LOG_PERCENT, LOG_ID };

/* A key and its value; made by the functions below.  What a text or id points to must live until
 * log_event returns. */
struct log_pair {
    const char *key;
    enum log_type type;
    union {
        struct span text;
        int64_t number;
        uint64_t count; /* also of LOG_PERCENT */
        const struct uuid *id;
    };
};

/** A text; in quotes if it is not plain, and in JSON always. */
static inline struct log_pair log_span(const char *key, struct span text)
{
    return (struct log_pair){.key = key, .type = LOG_TEXT, .text = text};
}

/** NULL is written as (null). */
static inline struct log_pair log_text(const char *key, const char *text)
{
    return log_span(key, span_text(text == NULL ? "(null)" : text));
}

/** A sentence: always in quotes. */
static inline struct log_pair log_quote_span(const char *key, struct span text)
{
    return (struct log_pair){.key = key, .type = LOG_QUOTE, .text = text};
}

static inline struct log_pair log_quote(const char *key, const char *text)
{
    return log_quote_span(key, span_text(text == NULL ? "(null)" : text));
}

static inline struct log_pair log_id(const char *key, const struct uuid *id)
{
    return (struct log_pair){.key = key, .type = LOG_ID, .id = id};
}

/** A number with a percent sign behind it. */
static inline struct log_pair log_percent(const char *key, uint64_t percent)
{
    return (struct log_pair){.key = key, .type = LOG_PERCENT, .count = percent};
}

static inline struct log_pair log_signed(const char *key, int64_t number)
{
    return (struct log_pair){.key = key, .type = LOG_SIGNED, .number = number};
}

static inline struct log_pair log_unsigned(const char *key, uint64_t number)
{
    return (struct log_pair){.key = key, .type = LOG_UNSIGNED, .count = number};
}

/** A whole number of any integer type. */
#define log_number(key, value)                                                                     \
    _Generic((value), signed char                                                                  \
             : log_signed, short                                                                   \
             : log_signed, int                                                                     \
             : log_signed, long                                                                    \
             : log_signed, long long                                                               \
             : log_signed, unsigned char                                                           \
             : log_unsigned, unsigned short                                                        \
             : log_unsigned, unsigned                                                              \
             : log_unsigned, unsigned long                                                         \
             : log_unsigned, unsigned long long                                                    \
             : log_unsigned)(key, value)

/** No pair, for one that is written under a condition. */
static inline struct log_pair log_nothing(void)
{
    return (struct log_pair){.type = LOG_NOTHING};
}

/** Whether a target takes the lines of the audit. */
bool log_audits(void);
/** Writes a line of the audit to the targets that take them. */
void log_audit(const char *name, const struct log_pair *pairs, size_t count);

/** Logs an event that log_wants; log_event is the usual way. */
void log_pairs(int level, const char *name, const struct log_pair *pairs, size_t count);

/** Logs an event: log_event(LOG_NOTICE, "server.closed", log_id("server", &server->id),
 *  log_quote("reason", reason)).  The pairs are not evaluated if no target writes the level. */
#define log_event(level, name, ...)                                                                \
    do {                                                                                           \
        const int level_ = (level);                                                                \
        if (log_wants(level_)) {                                                                   \
            const struct log_pair pairs_[] = {__VA_ARGS__};                                        \
            log_pairs(level_, name, pairs_, ARRAY_SIZE(pairs_));                                   \
        }                                                                                          \
    } while (0)
