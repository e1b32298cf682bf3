#pragma once
/*
 * target.h - which backends of a service a pool may use, by their role.
 *
 * The names and meanings are libpq's target_session_attrs.  TARGET_DEFAULT is the rule for pools
 * that name none: the primary; a replica only if the service has no other backend.
 */
#include "base/span.h"

enum fleet_target {
    TARGET_DEFAULT,
    TARGET_ANY,
    TARGET_READ_WRITE, /* a primary whose sessions do not begin read-only */
    TARGET_READ_ONLY,  /* a replica, or a primary whose sessions begin read-only */
    TARGET_PRIMARY,
    TARGET_STANDBY,
    TARGET_PREFER_STANDBY, /* a standby; any backend while no standby is online */
    TARGETS,
};

/** Returns the target of this name ("any", "read-write", ...); TARGETS: there is none. */
enum fleet_target target_named(struct span name);
/** Returns whether only the primary will do.  TARGET_DEFAULT's exception is none here. */
bool target_needs_primary(enum fleet_target target);
/** Returns the name; "default" for TARGET_DEFAULT. */
const char *target_name(enum fleet_target target);
/** Returns whether a backend found like this may be used.  `fallback`: no standby is online, for
 *  TARGET_PREFER_STANDBY; the service has no other backend, for TARGET_DEFAULT. */
bool target_accepts(enum fleet_target target, bool replica, bool read_only, bool fallback);
