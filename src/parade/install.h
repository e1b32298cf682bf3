#pragma once
/*
 * install.h - puts the SQL of a parade into a database, or a newer version over an older one.
 *
 * All of it in one transaction: a failed installation leaves nothing.  Design:
 * docs/internals/parade-cli.md
 */
#include "base/buffer.h"
#include "parade/session.h"
#include "parade/sql.h"

/* What a database has. */
struct parade_installed {
    uint32_t version; /* 0: nothing */
    bool catalog;     /* with a version: it is a catalog, not a shard instance */
    bool named;       /* kv_config.my_info has its row */
    int64_t number;   /* of a named shard instance */
};

/** Looks.  Suspends.  Faults: those of parade_session_ask. */
fault parade_install_look(struct parade_session *session, struct parade_installed *ret,
                          deadline by) MUST_USE;
/** Installs or upgrades to the newest version; `wanted` is PARADE_FOR_SHARD or PARADE_FOR_CATALOG.
 *  The grants are written anew also where the version is the newest.  Appends the server's
 *  notices, a line each.  Suspends.  Faults: those of parade_session_run; CONFIG: the
 *  database is of the other kind, or has a newer version than this program. */
fault parade_install(struct parade_session *session, enum parade_for wanted, struct buffer *notices,
                     deadline by) MUST_USE;
/** Appends the names of the files that parade_install would run, a line each.  Faults: CONFIG. */
fault parade_install_plan(const struct parade_installed *installed, enum parade_for wanted,
                          struct buffer *names) MUST_USE;
