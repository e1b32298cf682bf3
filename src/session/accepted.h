#pragma once
/*
 * accepted.h - parameter values that servers of a pool have accepted, and how servers spell them.
 *
 * A login whose values are all in the map needs no server to check them.  Names compare without
 * case.  A full map is emptied before the next value is added; servers are then asked again.
 */
#include "base/buffer.h"
#include "base/map.h"
#include "session/params.h"

#define ACCEPTED_MAX        4096u  /* values */
#define ACCEPTED_SHARED_MAX 65536u /* bytes of values that relays share through the router */

/** Returns whether servers have accepted this value.  *ret_canonical: the value as servers spell
 *  it, valid until the map changes. */
bool accepted_find(const struct map *all, const struct param *param, struct span *ret_canonical);
/** Records that a server accepted the value and spells it `canonical`.  Copies all three strings;
 *  without memory the value is not recorded. */
void accepted_add(struct map *all, const struct param *param, struct span canonical);
void accepted_clear(struct map *all);
/** Whether servers accept each value of this parameter that they have accepted once, and its RESET,
 *  as long as they live.  False: that may depend on rights or on objects, which change (role,
 *  default_tablespace, a parameter of an extension, one of superusers), or isn't known. */
bool accepted_lasts(struct span name);

/* A value in flat form: name, value and canonical value, each with a NUL behind it. */
struct accepted_value {
    struct param param;
    struct span canonical;
    struct span flat; /* all three */
};
/** Takes the next value from flat bytes.  False: there is none. */
bool accepted_next(struct span *rest, struct accepted_value *ret);
/** Adds a flat value to those that relays share (a buffer of ACCEPTED_SHARED_MAX).  Drops all
 * others first if there is no room.  False: it is there already. */
bool accepted_share(struct buffer *shared, struct span flat);
