#pragma once
/*
 * budget.h - whether the descriptors suffice for what the configuration promises.
 *
 * Every client and every server is one, and so is a cancel request under way.  Servers come first:
 * a client that is refused knows why, one whose server can't be reached does not.  The pooler holds
 * to it: connections are counted from when they are accepted, servers before they are dialled.
 */
#include "config/config.h"
#include "pooler/pooler.h"

/** Raises the limit as far as it goes and says what is left for whom; fewer clients than configured
 *  are warned of with all the numbers.  Fault: LIMIT, when not even one client could be served. */
fault budget_make(const struct config *config, struct pooler_budget *ret) MUST_USE;
