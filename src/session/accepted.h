#pragma once
/*
 * accepted.h - parameter values that servers of a pool have accepted, and how servers spell them.
 *
 * A login whose values are all in the map needs no server to check them.  Names compare without
 * case.  A full map is emptied before the next value is added; servers are then asked again.
 */
#include "base/map.h"
#include "session/params.h"

#define ACCEPTED_MAX 4096u /* values */

/** Returns whether servers have accepted this value.  *ret_canonical: the value as servers spell
 *  it, valid until the map changes. */
bool accepted_find(const struct map *all, const struct param *param, struct span *ret_canonical);
/** Records that a server accepted the value and spells it `canonical`.  Copies all three strings;
 *  without memory the value is not recorded. */
void accepted_add(struct map *all, const struct param *param, struct span canonical);
void accepted_clear(struct map *all);
