#pragma once
/*
 * target.h - a database to connect to, as a connection string names it.
 *
 * Pure.  Reads both forms of libpq: postgresql://USER:PASSWORD@HOST:PORT/DATABASE?NAME=VALUE, and
 * NAME=VALUE pairs.  Design: docs/internals/parade-cli.md
 */
#include "base/fault.h"

#define PARADE_HOST_MAX     253u
#define PARADE_NAME_MAX     127u
#define PARADE_PASSWORD_MAX 1023u
#define PARADE_PATH_MAX     511u

struct parade_target {
    char host[PARADE_HOST_MAX + 1]; /* a name, a number, or the directory of a Unix socket */
    uint16_t port;
    char user[PARADE_NAME_MAX + 1];
    char database[PARADE_NAME_MAX + 1];
    char password[PARADE_PASSWORD_MAX + 1]; /* "": none */
    char sslmode[16];
    char authorities[PARADE_PATH_MAX + 1]; /* of sslrootcert; "": none */
    uint32_t patience;                     /* of connect_timeout, seconds */
};
#define PARADE_TARGET_INIT                                                                         \
    ((struct parade_target){.host = "localhost", .port = 5432, .sslmode = "prefer", .patience = 10})

/** Reads a connection string over `ret`: what the string does not name keeps its value.
 *  Faults: CONFIG, with the name, the value and what is accepted; `ret` is undefined then. */
fault parade_target_read(struct span text, struct parade_target *ret) MUST_USE;
/** Sets one value by libpq's name for it.  Faults: as parade_target_read. */
fault parade_target_set(struct parade_target *target, struct span name, struct span value) MUST_USE;
/** Formats "host:port/database", for messages: it has no password. */
const char *parade_target_text(const struct parade_target *target, char *text, size_t size);
#define PARADE_TARGET_TEXT 400
