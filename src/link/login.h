#pragma once
/*
 * login.h - a login under way, as its conversation (login.c) and its proofs (answer.c) see it.
 *
 * Private to link/.  Lives on the stack of the coroutine that logs in.
 */
#include "link/link.h"

enum login_scram {
    LOGIN_SCRAM_NONE,
    LOGIN_SCRAM_FIRST,   /* client-first was sent */
    LOGIN_SCRAM_FINAL,   /* our proof was sent, the server's is due */
    LOGIN_SCRAM_CHECKED, /* the server has proven itself */
};

struct login {
    struct stream *stream;
    const struct link_login *what;
    deadline by;
    struct buffer in;
    size_t taken; /* bytes of `in` that were read as messages */
    struct buffer out;
    bool asked;       /* the server asked for a proof, or waived it */
    uint32_t version; /* asked for */
    enum login_scram phase;
    char scram_flag; /* gs2: n, y or p */
    struct scram_client scram;
    struct link_greeting greeting;
};

/**
 * Answers one authentication request; AuthenticationOk needs none, but comes too early within
 * SCRAM. Suspends: sends, and may derive keys on another thread. Faults: AUTH (nothing to answer
 * with, or the server could not prove itself), UNSUPPORTED, PROTOCOL, and those of sending.
 */
fault link_answer(struct login *login, const struct wire_auth_request *request) MUST_USE;
