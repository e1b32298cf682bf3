#pragma once
/*
 * l2_sentinel.h - asks Redis Sentinels where the master is.
 *
 * The Sentinels are asked one after the other, each for its part of the time, and the first answer
 * counts.  A master that is none any more answers writes with an error, which ends the connection,
 * and then the Sentinels are asked again.  Suspends.
 */
#include "flight/l2_shared.h"
#include "machine/stream.h"

/* A name or an address with its end. */
#define L2_HOST_SIZE 254u

struct l2_place {
    char host[L2_HOST_SIZE];
    uint16_t port;
};

/** Finds the master of this name.  Faults: UPSTREAM (no Sentinel knows it), or those of the last
 *  Sentinel that was asked. */
fault l2_sentinel_find(const struct l2_settings *settings, struct l2_place *ret,
                       deadline by) MUST_USE;
/** Finds an address of a host; a path is one of a Unix socket.  Faults: those of dns_resolve. */
fault l2_address_find(const char *host, uint16_t port, struct address *ret, deadline by) MUST_USE;
