#pragma once
/*
 * feed_query.h - what a feed asks its server: what it is, how far it is, and the setup that it
 * needs.
 *
 * Pure: texts, and the reading of rows.  Design: docs/internals/feed.md
 */
#include "base/buffer.h"
#include "flight/feed_snapshot.h"

/* Both connections ask this first: they must have reached the same server. */
struct feed_facts {
    bool standby;
    uint64_t system; /* identifier */
    uint32_t timeline;
    uint64_t instance; /* when the server was started, microseconds since 1970 */
    uint32_t version;  /* server_version_num */
    bool logical;      /* wal_level is logical */
    uint64_t segment;  /* size of the log's files, bytes */
    uint32_t page;     /* size of its pages, bytes */
    bool setup;        /* all of feed_setup_sql() is there and enabled */
};
const char *feed_facts_query(void);
/** Reads the body of its row.  Faults: PROTOCOL. */
fault feed_read_facts(struct span body, struct feed_facts *ret) MUST_USE;
/** Returns why a feed can't start at this server; NULL: it can. */
const char *feed_facts_refusal(const struct feed_facts *facts);

#define FEED_DIGEST_MAX   127u
#define FEED_SNAPSHOT_MAX 255u

/* The row of a probe. */
struct feed_probe_row {
    uint64_t inserted; /* the end of the log, not normalised */
    uint64_t flushed;
    struct feed_snapshot snapshot;
    char seen[FEED_SNAPSHOT_MAX + 1]; /* the snapshot's text; empty: it is longer */
    char digest[FEED_DIGEST_MAX + 1]; /* of roles, memberships, defaults of roles and databases, and
                                         event triggers; empty: that of the snapshot `seen` that
                                         was asked with, which is this one */
    char configured[FEED_DIGEST_MAX + 1]; /* when the configuration was read */
};
/** What a connection prepares once, before its probes. */
const char *feed_probe_prepare(void);
/** Appends a probe.  `seen` is the text of a snapshot whose digest the caller has, or empty.  Equal
 *  snapshots see the same rows, so the server makes no digest for an equal one. */
void feed_put_probe(struct buffer *text, const char *seen);
/** Reads the body of its row.  Faults: PROTOCOL. */
fault feed_read_probe(struct span body, struct feed_probe_row *ret) MUST_USE;

/** Returns the query whether the setup is there, as in the facts; for a new digest. */
const char *feed_setup_query(void);
/** Reads the body of its row.  Faults: PROTOCOL. */
fault feed_read_setup(struct span body, bool *ret) MUST_USE;

/* Commits a message, so that all of the log before it is flushed, where synchronous_commit is
 * local. Returns the id of its transaction. */
#define FEED_MARKER_QUERY                                                                          \
    "SELECT pg_current_xact_id() FROM pg_logical_emit_message(true, 'trunkline.marker', '')"
/** Reads the body of its row.  Faults: PROTOCOL. */
fault feed_read_marker(struct span body, uint64_t *ret) MUST_USE;

/** The statements that an administrator runs once in each database with a feed, as a superuser: the
 *  event triggers that tell of DDL, and the function of the digests.  Running them again is
 *  harmless. */
const char *feed_setup_sql(void);
