#pragma once
/*
 * auth_parts.h - what the methods of authentication share; private to this folder.
 */
#include "auth/auth.h"
#include "wire/message.h"
#include "wire/scram.h"

#define AUTH_PASSWORD_MAX 65536u /* bytes of a password message */

/* What a login has asked the world; on its stack. */
struct auth_world {
    struct auth_request *request;
    struct hba_world world; /* of this login */
    bool named;             /* `host` was asked for */
    char host[254];         /* the peer's own name; "": none */
};
void auth_world_init(struct auth_world *world, struct auth_request *request);

/* --- auth.c ----------------------------------------------------------------------------------- */

/** PASSWORD, in the words that every wrong proof gets. */
fault auth_wrong(struct span user);
/** Sends an authentication request and reads the answer into `message`. */
fault auth_ask(const struct auth_request *request, uint32_t kind, struct span rest,
               struct buffer *message, struct wire_frame *ret) MUST_USE;
/** Asks for the password itself; `*ret` points into `message`, which the caller wipes. */
fault auth_ask_password(struct auth_request *request, struct buffer *message,
                        struct span *ret) MUST_USE;
void auth_wipe(struct buffer *message);
bool auth_secret_is_scram(const char *secret); /* NULL-safe, as the next */
bool auth_secret_is_md5(const char *secret);

/* --- the methods ------------------------------------------------------------------------------ */

/** `secret` NULL: a user who does not exist, or has none. */
fault auth_scram(struct auth_request *request, const char *secret) MUST_USE;
/** Iterations of SCRAM secrets here; 0: there are none. */
uint32_t auth_usual_iterations(const struct auth_request *request);
/** Of a plain secret; suspends while it is derived.  Faults: TIMEOUT, CANCELLED, MEMORY. */
fault auth_plain_verifier(const struct auth_request *request, const char *secret,
                          struct scram_verifier *ret) MUST_USE;
void auth_mock_verifier(const struct auth_request *request, struct scram_verifier *ret);
fault auth_certificate(struct auth_request *request) MUST_USE;
/** As clientcert= asks, whatever the method. */
fault auth_check_certificate(struct auth_request *request) MUST_USE;
fault auth_peer(struct auth_request *request) MUST_USE;
/** By PAM or LDAP, as `how` says. */
fault auth_verified(struct auth_request *request) MUST_USE;
