#pragma once
/*
 * cli_takeover.h - the stored secret of a user, asked of a server.
 *
 * With the server's own verifier in the auth file, the keys that a client proves to us are those
 * that open the server: logins pass through and no password need be stored anywhere.
 */
#include "base/buffer.h"

struct takeover {
    const char *server; /* "host", "host:port", "[IPv6]:port", "/directory" or "/directory:port" */
    const char *admin;  /* may read pg_authid */
    struct span password; /* the admin's; empty: none is needed */
    const char *user;     /* whose secret it is */
};

/** Appends what pg_authid says; on a thread that is no machine.  Faults, with the story: those of
 *  a login, UPSTREAM (the server refused the query), AUTH (no such user, or one without a secret).
 */
fault cli_take_over(const struct takeover *takeover, struct buffer *secret) MUST_USE;
