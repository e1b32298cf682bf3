#pragma once
/*
 * signature.h - digests of a statement's parameters and result columns, as PostgreSQL describes
 * them.
 *
 * The reply to a Describe of a statement is collected and made into two digests.  `whole` covers
 * every byte, including the tables that columns come from; equal statements have equal `whole`.
 * `shape` covers what a client relies on: types of parameters; names, types and modifiers of
 * columns.  PostgreSQL compares the same before it raises "cached plan must not change result
 * type".
 */
#include "base/buffer.h"
#include "session/digest.h"

struct signature {
    struct digest whole;
    struct digest shape;
};

/* Bytes of a reply, at most: enough for 1600 columns and 65,535 parameters. */
#define SIGNATURE_MAX (1u << 20)

/** Makes the signature from two messages with their headers: ParameterDescription, and
 *  RowDescription or NoData.  Consumes the bytes.  false: the bytes are not these messages. */
bool signature_read(struct buffer *messages, struct signature *ret);
