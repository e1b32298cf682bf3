#pragma once
/*
 * flight_values_parts.h - the values that a client has bound, kept for as long as its statement is
 * executed.
 *
 * Pure.  The first ones only: a statement whose key is a later one counts as one that reads the
 * whole table.
 */
#include "flight/verdict.h"
#include "relay/turn/turn_batch_parts.h"

#define FLIGHT_VALUES_MAX 64u

struct flight_values {
    struct buffer bytes; /* those of `parse` and `bind` of a struct turn_batch */
    size_t parse;        /* how many are of `parse` */
};

/** Copies what a statement has bound; nothing of a simple query.  The buffer's fault says whether
 *  there was memory. */
void flight_values_init(struct flight_values *values, const struct turn_batch *batch);
void flight_values_fini(struct flight_values *values);
/** Finds the values, which point into `values`, and returns their number. */
uint32_t flight_values_read(const struct flight_values *values,
                            struct verdict_value ret[FLIGHT_VALUES_MAX]);
/** The same for values that are not kept: of a Parse's body behind the name, and a Bind's behind
 * its names. */
uint32_t flight_values_of(struct span parse, struct span bind,
                          struct verdict_value ret[FLIGHT_VALUES_MAX]);
/** Makes the digest of the value of the primary key, for generations.h.  False: the statement
 * counts as one of the whole table. */
bool flight_values_key(const struct verdict *verdict, const struct verdict_value *values,
                       uint32_t count, uint64_t *ret);
