#pragma once
/*
 * finder_parts.h - how the backends of a service are found: one table of functions for each way.
 *
 * A finder belongs to one live service, on the pooler machine.  The live service's coroutine calls
 * `step` again and again and gives the service what was found.  A further way of finding backends
 * is a table like these and its row in finder.c; nothing else asks which way it is.
 * Design: docs/internals/fleet.md
 */
#include "config/config.h"
#include "fleet/found.h"

struct co;
struct finder_kind;
struct table_sink;

/* The first member of each kind's own struct. */
struct finder {
    const struct finder_kind *kind;
};

/* What a step has brought. */
struct finder_news {
    const struct backend_found *found; /* all backends; valid until the next step */
    size_t count;
    bool changed;      /* `found` is to be given to the service */
    bool by_address;   /* an address keeps its backend whatever its name is */
    bool partial;      /* some names failed: only for a service without an online backend */
    bool ended;        /* a round of questions has ended */
    const char *where; /* the name that failed, and why; NULL: nothing failed */
    const char *wrong;
    deadline next; /* when to step again, unless the coroutine is woken before */
};

struct finder_kind {
    /** Keeps a reference to the configuration.  Faults: MEMORY. */
    fault (*make)(struct config *config, const struct service_config *settings,
                  struct finder **ret) MUST_USE;
    /** Answers that come later are dropped. */
    void (*end)(struct finder *finder);
    /** Takes a new version's settings for the same kind, while a step may be suspended. */
    void (*set)(struct finder *finder, struct config *config,
                const struct service_config *settings);
    /** Asks what is due, and wakes `waiting` with every answer.  May suspend.  Faults: CANCELLED,
     *  MEMORY. */
    fault (*step)(struct finder *finder, struct co *waiting, struct finder_news *ret) MUST_USE;
    /** Asks for a round soon, because the backends are in doubt.  The caller wakes the coroutine.
     */
    void (*demand)(struct finder *finder);
    /** Returns the number of rounds that have begun, or have ended.  NULL: rounds are not awaited.
     */
    uint64_t (*begun)(const struct finder *finder);
    uint64_t (*ended)(const struct finder *finder);
    /** Adds rows of RESOLVE; the cells of SHOW RESOLVERS from `rounds`; rows of SHOW DNS_HOSTS and
     *  SHOW DNS_ZONES (NULL: it has none). */
    void (*show)(const struct finder *finder, struct table_sink *sink);
    void (*show_state)(const struct finder *finder, struct table_sink *sink);
    void (*show_hosts)(const struct finder *finder, struct table_sink *sink);
    void (*show_zones)(const struct finder *finder, struct table_sink *sink);
};

extern const struct finder_kind finder_hosts;   /* a list of hosts: finder_hosts.c */
extern const struct finder_kind finder_records; /* records of a name: finder_records.c */

/** Returns the kind that the setting `resolver` names. */
const struct finder_kind *finder_kind_of(const struct service_config *settings);
/** Returns the word of the setting. */
const char *finder_text(const struct service_config *settings);
