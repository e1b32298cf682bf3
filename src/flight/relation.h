#pragma once
/*
 * relation.h - the number that stands for a table in generations.h.
 *
 * Pure.  The feed, writes in path and verdicts make it of the same two names, so that they agree
 * without asking a server.
 */
#include "base/span.h"

/** Returns the number of a table, a digest of its schema and its name as the catalog has them, in
 *  the encoding of the database.  If two tables have the same, a write to one also changes the
 *  other. */
uint32_t flight_relation_number(struct span schema, struct span name);
