#pragma once
/*
 * http.h - the status of an HTTP/1 answer (RFC 9112), for requests whose body does not matter.
 *
 * Pure.  Reads the answer's head: the status line and the header fields up to the blank line.  The
 * head must be well-formed; what the fields say is not used.
 */
#include "base/fault.h"
#include "base/span.h"

/** Reads the head from the bytes that have come so far.  *ret_status: 100 to 599.  Faults, without
 *  a detail: AGAIN (the blank line has not come yet), PROTOCOL (this is no HTTP/1 answer, whatever
 *  follows). */
fault wire_read_http_status(struct span answer, uint32_t *ret_status) MUST_USE;
