#pragma once
/*
 * patroni_parts.h - one question to Patroni's REST interface, about the server that it governs.
 *
 * Each question has a connection of its own: one GET, one answer, the end.  Only the status of the
 * answer counts: 200 is yes, 503 is no.  Everything else is a fault, and says nothing about the
 * server.  Runs in the coroutine of a probe.  Design: docs/internals/roles.md
 */
#include "config/config.h"
#include "fleet/ruling.h"

/* Bytes of an answer, and of its head: the status line and the header fields. */
#define PATRONI_ANSWER_MAX 65536u
#define PATRONI_HEAD_MAX   8192u

struct patroni_question {
    enum ruling_question about;
    struct address server; /* PostgreSQL's; Patroni has the same address and the port set */
    const char *host;      /* its name as configured: for TLS, and in the request */
    const struct patroni_config *settings; /* valid until the answer */
    struct socket_options socket;
};

/** Whether Patroni is to be asked about a server with this address. */
bool patroni_governs(const struct patroni_config *settings, const struct address *server);
/** Asks.  Suspends.  RULING_PRIMARY: GET /primary, whether it holds the leader's lock.
 *  RULING_READS: GET /replica, whether it is a running standby without the tag noloadbalance, and
 *  no further behind than `lag_limit`.  Faults: those of stream_connect and stream_tls_connect,
 *  PROTOCOL (no HTTP, or another status), LIMIT, MEMORY, TIMEOUT, CANCELLED.  Needs a CO_LARGE
 *  stack. */
fault patroni_ask(const struct patroni_question *question, struct backend_ruling *ret,
                  deadline by) MUST_USE;
