#pragma once
/*
 * budget.h - whether the descriptors suffice for what the configuration promises.
 *
 * Every client and every server is one, and so is a cancel request under way.  Servers come first:
 * a client that is refused knows why, one whose server can't be reached does not.
 */
#include "pooler/config.h"

/** Raises the limit as far as it goes and says what is left for clients: `ret_clients`, at most as
 *  many as configured; fewer are warned of with all the numbers.  Fault: LIMIT, when not even one
 *  client could be served. */
fault budget_make(const struct config *config, uint32_t *ret_clients) MUST_USE;
