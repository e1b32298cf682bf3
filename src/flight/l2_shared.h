#pragma once
/*
 * l2_shared.h - what all threads share of the second tier: its settings and its counts.
 *
 * Any thread.  Design: docs/internals/flight.md
 */
#include "base/time.h"
#include "machine/tls.h"

struct l2_sentinel {
    const char *host; /* a name or an address */
    uint16_t port;
};

struct l2_settings {
    const char *host; /* a name or an address; a path: of a Unix socket; NULL: Sentinels know it */
    uint16_t port;
    const struct l2_sentinel *sentinels; /* at least one, if `host` is NULL */
    uint32_t sentinel_count;
    const char *master;            /* its name at the Sentinels */
    const char *sentinel_password; /* NULL: none */
    const char *user;              /* NULL: Redis's default user */
    const char *password;          /* NULL: none */
    uint32_t database;
    const char *prefix; /* of all keys */
    duration budget;
    uint64_t compress_min; /* bytes of an answer from which it is compressed; 0: none is */
    enum tls_mode tls_mode;
    struct tls_context *tls; /* NULL when disabled */
};

/* Since the start; atomics. */
enum l2_count {
    L2_COUNT_HITS,      /* answers that Redis had */
    L2_COUNT_MISSES,    /* Redis had none */
    L2_COUNT_OLD,       /* it was too old, or of an earlier epoch */
    L2_COUNT_MALFORMED, /* values that were not sound, by enum l2_flaw */
    L2_COUNT_VERSION,
    L2_COUNT_CHECKSUM,
    L2_COUNT_OTHER_KEY,
    L2_COUNT_TOO_LONG, /* answers that are longer than a value may be */
    L2_COUNT_STORED,   /* sent, and Redis has said OK */
    L2_COUNT_REFUSED,  /* sent, and Redis has said an error: it is full */
    L2_COUNT_TIMEOUTS, /* requests that took longer than the budget */
    L2_COUNT_FAILURES, /* connections that failed, or were lost with requests under way */
    L2_COUNT_SKIPPED,  /* requests that were not sent because of earlier failures */
    L2_COUNT_FULL,     /* requests that were not sent because too many were under way */
    L2_COUNT_CONNECTS,
    L2_COUNT_FLUSHES,
    L2_COUNTS,
};

struct l2; /* opaque but for l2_parts.h */

/** Copies the settings.  NULL without memory. */
struct l2 *l2_new(const struct l2_settings *settings);
void l2_free(struct l2 **l2); /* NULL-safe; no link may be left */
void l2_count(struct l2 *l2, enum l2_count what);
uint64_t l2_counted(const struct l2 *l2, enum l2_count what);
/** The word for a count on the console. */
const char *l2_count_word(enum l2_count what);
/** Whether a link of some thread has lost Redis, and none has reached it since. */
bool l2_is_lost(const struct l2 *l2);
