#pragma once
/*
 * accepted.h - values of parameters that servers of a pool have taken, and how servers spell them.
 *
 * A login whose values are all here needs no server to try them.  Names compare without case.  What
 * does not fit is forgotten with all the others: a server is asked again, nothing else.
 */
#include "base/map.h"
#include "session/params.h"

#define ACCEPTED_MAX 4096u /* values */

/** Whether this value was taken; *ret_canonical: as servers spell it, until the next change. */
bool accepted_find(const struct map *all, const struct param *param, struct span *ret_canonical);
/** It was taken, and is spelled like this.  Copies; without memory nothing is remembered. */
void accepted_add(struct map *all, const struct param *param, struct span canonical);
void accepted_clear(struct map *all);
