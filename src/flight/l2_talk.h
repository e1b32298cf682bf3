#pragma once
/*
 * l2_talk.h - one command to Redis or a Sentinel and its reply, while nothing else is under way.
 *
 * Suspends.
 */
#include "flight/l2_reply.h"
#include "machine/stream.h"

/** Sends a command and waits for its reply, which the caller owns; `ret` NULL: it is dropped.
 *  Faults: UPSTREAM (the reply is an error, in the detail), PROTOCOL, TIMEOUT and those of the
 *  stream. */
fault l2_talk(struct stream *stream, struct l2_reader *reader, const struct span *words,
              uint32_t count, struct l2_reply **ret, deadline by) MUST_USE;
