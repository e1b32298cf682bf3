#pragma once
/*
 * own_writes.h - how far in PostgreSQL's log a replica must be for a client's next read.
 *
 * A client must see its own writes, and never less than it has seen before.  So the position of the
 * log is asked behind everything that the client does, on the primary and on replicas.  Positions
 * can be compared only on one timeline of one system.  Pure.  Design: docs/internals/splitting.md
 */
#include "base/span.h"

/* A place in the log of a PostgreSQL system.  `at` 0: unknown. */
struct wal_position {
    uint64_t system;   /* system identifier */
    uint64_t at;       /* LSN */
    uint32_t line;     /* timeline */
    uint64_t instance; /* of a replica: when it was started; 0: unknown, or a primary */
};

/** Asks a primary for the end of its log, written or not, and a replica for what it has replayed:
 *  one row, for wal_position_read.  Depends on no parameter of the session. */
extern const char wal_position_sql[];
/** The same, for a server that was asked before and is a primary. */
extern const char wal_position_again_sql[];
/** Reads the row (the body of DataRow).  `known`: what the server said before.  False: the row is
 *  something else. */
bool wal_position_read(struct span row, const struct wal_position *known, bool *ret_replica,
                       struct wal_position *ret);

/* What a client has seen. */
struct own_writes {
    struct wal_position seen;
    bool unknown; /* something has been done since, and where the log was then is not known */
};

/** Notes that the client has got a server: what it does there is behind `seen`. */
void own_writes_begin(struct own_writes *writes);
/** Notes the position that the server told behind all that the client did there. */
void own_writes_told(struct own_writes *writes, const struct wal_position *told);
/** Returns whether a server at this position has all that the client has seen. */
bool own_writes_within(const struct own_writes *writes, const struct wal_position *server);
