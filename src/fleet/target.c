#include "fleet/target.h"

#include "base/check.h"

static const char *const names[TARGETS] = {
    [TARGET_DEFAULT] = "default",
    [TARGET_ANY] = "any",
    [TARGET_READ_WRITE] = "read-write",
    [TARGET_READ_ONLY] = "read-only",
    [TARGET_PRIMARY] = "primary",
    [TARGET_STANDBY] = "standby",
    [TARGET_PREFER_STANDBY] = "prefer-standby",
};

enum fleet_target target_named(struct span name)
{
    for (enum fleet_target target = TARGET_ANY; target < TARGETS; target++)
        if (span_is(name, names[target]))
            return target;
    return TARGETS;
}

const char *target_name(enum fleet_target target)
{
    invariant(target < TARGETS);
    return names[target];
}

bool target_needs_primary(enum fleet_target target)
{
    return target == TARGET_DEFAULT || target == TARGET_PRIMARY || target == TARGET_READ_WRITE;
}

bool target_accepts(enum fleet_target target, bool replica, bool read_only, bool fallback)
{
    switch (target) {
    case TARGET_ANY:
        return true;
    case TARGET_READ_WRITE:
        return !replica && !read_only;
    case TARGET_READ_ONLY:
        return replica || read_only;
    case TARGET_PRIMARY:
        return !replica;
    case TARGET_STANDBY:
        return replica;
    case TARGET_PREFER_STANDBY:
    case TARGET_DEFAULT:
        return fallback || replica == (target == TARGET_PREFER_STANDBY);
    case TARGETS:
        break;
    }
    invariant(false);
    return false;
}
