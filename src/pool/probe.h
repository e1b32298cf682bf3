#pragma once
/*
 * probe.h - asks each backend of a service what it is: role, system, timeline, position.
 *
 * Runs on the pooler machine: a coroutine for each backend, with a connection of its own that
 * counts neither for a pool nor for the service's limits.  The answers go to fleet/, which decides.
 * Only services with a probe user have probes.  Design: docs/internals/roles.md
 */
#include "config/config.h"
#include "fleet/fleet.h"

/*
 * The query of a probe: one row of these columns.
 *
 *   1  in recovery: t, f
 *   2  default_transaction_read_only: on, off
 *   3  system identifier, a bigint
 *   4  timeline: a primary's of the WAL that it writes, since its control file shows the old one
 *      for long after a promotion; a replica's of the WAL that it receives, else of its recovery
 *   5  position, in bytes: a primary's end of WAL; a replica's last replayed, or null
 *   6  when the server was started, in microseconds
 *
 * Every user may run it; the timeline that a replica receives is shown to members of
 * pg_read_all_stats only.  The text is constant, so that others can answer it.
 */
#define PROBE_QUERY                                                                                \
    "SELECT r, current_setting('default_transaction_read_only'),"                                  \
    " (SELECT system_identifier FROM pg_control_system()),"                                        \
    " CASE WHEN r THEN coalesce((SELECT received_tli FROM pg_stat_wal_receiver),"                  \
    " (SELECT greatest(c.timeline_id, m.min_recovery_end_timeline)"                                \
    " FROM pg_control_checkpoint() AS c, pg_control_recovery() AS m))"                             \
    " ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END,"        \
    " pg_wal_lsn_diff(CASE WHEN r THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,"    \
    " '0/0'),"                                                                                     \
    " (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint,"                         \
    " CASE WHEN NOT r THEN pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0') END"                \
    " FROM (SELECT pg_is_in_recovery() AS r OFFSET 0) AS recovery"

struct live_service;
struct probes;

/** Reads the body of the row's DataRow.  Sets all but the times.  Faults: PROTOCOL. */
fault probe_read(struct span body, struct backend_sample *ret) MUST_USE;

/** Makes the probes of a service, none at first.  NULL: no memory. */
struct probes *probes_new(struct live_service *live);
/** Cancels the probes, which end by themselves.  NULL-safe. */
void probes_free(struct probes **probes);
/** Follows the service's backends and settings: starts, keeps and ends probes. */
void probes_follow(struct probes *probes, struct config *config,
                   const struct service_config *settings);
/** Probes this backend now, or all of them if it is 0: something has shown that its role may have
 *  changed.  A probe that is under way is repeated after it.  At most five times a second: an
 *  earlier request waits. */
void probes_ask(struct probes *probes, uint64_t backend);
