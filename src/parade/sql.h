#pragma once
/*
 * sql.h - the SQL of a parade, which the build puts into the program.
 *
 * Source: src/parade/sql, in the order of its MIGRATIONS.  Design: docs/internals/parade-cli.md
 */
#include "base/span.h"

/* Which databases have a file. */
enum parade_for { PARADE_FOR_BOTH, PARADE_FOR_SHARD, PARADE_FOR_CATALOG };

struct parade_file {
    uint32_t version; /* 0: grants.sql, which runs last at every installation */
    enum parade_for kind;
    const char *name;
    const char *text;
};

extern const struct parade_file parade_files[];
extern const size_t parade_file_count;

/** The newest version of the SQL that this program has. */
uint32_t parade_newest_version(void);
