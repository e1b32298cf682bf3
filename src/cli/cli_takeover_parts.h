#pragma once
/*
 * cli_takeover_parts.h - copies a user's stored secret from a server.
 *
 * If the auth file has the server's own verifier, the keys that a client proves at login are also
 * valid at the server: the pooler logs in there with them, and no password needs to be stored.
 */
#include "base/buffer.h"

struct takeover {
    const char *server; /* "host", "host:port", "[IPv6]:port", "/directory" or "/directory:port" */
    const char *admin;  /* has permission to read pg_authid */
    struct span password; /* of `admin`; empty: none is needed */
    const char *user;     /* the user whose secret is copied */
};

/** Appends the secret in pg_authid.  Must not run on a machine's thread.  Faults, with the detail:
 *  those of a login, UPSTREAM (the server rejected the query), AUTH (no such user, or one without a
 *  secret). */
fault cli_take_over(const struct takeover *takeover, struct buffer *secret) MUST_USE;
