#pragma once
/*
 * signature.h - what a statement takes and gives, as PostgreSQL describes it.
 *
 * The answer to a Describe of a statement is collected and made into two digests.  `whole` is of
 * every byte, the tables that columns come from included: equal statements have it equal.  `shape`
 * is of what a client relies on: types of parameters; names, types and modifiers of columns.  It is
 * what PostgreSQL compares before it says that a cached plan must not change its result type.
 */
#include "base/buffer.h"
#include "session/digest.h"

struct signature {
    struct digest whole;
    struct digest shape;
};

/* A description of 1600 columns and 65,535 parameters fits. */
#define SIGNATURE_MAX (1u << 20)

/** Of messages ParameterDescription and RowDescription or NoData, headers included.  Consumes the
 *  bytes.  false: they are not that. */
bool signature_read(struct buffer *messages, struct signature *ret);
