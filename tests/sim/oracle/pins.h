#pragma once
/*
 * pins.h - clients keep no more servers of a pool than pin_share allows.
 */
#include "base/span.h"

struct model;

/** Returns the number of servers of a pool that may be pinned. */
uint32_t pins_max(void);
/** Checks the number of pinned servers. */
void pins_check(const struct model *model);
/** Checks the number in a refusal. */
void pins_check_refusal(struct span message);
