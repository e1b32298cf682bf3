#pragma once
/*
 * attempt_parts.h - an attempt to log in to a server, shared by its messages (login.c) and its
 * authentication (answer.c).
 *
 * Private to link/.  Lives on the stack of the coroutine that logs in.
 */
#include "link/link.h"

enum login_scram {
    LOGIN_SCRAM_NONE,
    LOGIN_SCRAM_FIRST,   /* client-first was sent */
    LOGIN_SCRAM_FINAL,   /* our proof was sent, the server's is expected */
    LOGIN_SCRAM_CHECKED, /* the server has proven itself */
};

struct link_attempt {
    struct stream *stream;
    const struct link_login *what;
    deadline by;
    struct buffer in;
    size_t taken; /* bytes of `in` that were consumed as messages */
    struct buffer out;
    bool asked;       /* the server requested authentication, or sent AuthenticationOk */
    uint32_t version; /* the protocol version asked for */
    enum login_scram phase;
    char scram_flag; /* of the gs2 header: n, y or p */
    struct scram_client scram;
    struct link_reported reported;
};

/**
 * Answers an authentication request.  AuthenticationOk needs no answer, but is a fault before SCRAM
 * has ended.
 *
 * Suspends: sends, and may derive keys on another thread.  Faults: AUTH (no credentials to answer
 * with, or the server could not prove itself), UNSUPPORTED, PROTOCOL, and those of sending.
 */
fault link_answer(struct link_attempt *attempt, const struct wire_auth_request *request) MUST_USE;
