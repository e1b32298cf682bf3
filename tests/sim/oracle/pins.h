#pragma once
/*
 * pins.h - that clients do not keep more servers of a pool than pin_share lets them.
 */
#include "base/span.h"

struct model;

/** Servers of one pool that may be kept, as the configuration is now. */
uint32_t pins_max(void);
/** At a moment at which nothing is under way, or any other. */
void pins_check(const struct model *model);
/** What a statement is told that was refused. */
void pins_check_refusal(struct span message);
