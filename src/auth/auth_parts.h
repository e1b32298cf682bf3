#pragma once
/*
 * auth_parts.h - declarations shared by the authentication methods; private to this folder.
 */
#include "auth/auth.h"
#include "wire/message.h"
#include "wire/scram.h"

#define AUTH_PASSWORD_MAX 65536u /* bytes of a password message */

/* Checks that need DNS, network interfaces or a server's roles, and their results for one login; on
 * the login's stack. */
struct auth_world {
    struct auth_request *request;
    struct hba_world world; /* callbacks for this login */
    bool named;             /* `host` was looked up */
    char host[254];         /* confirmed host name of the client; "": none */
};
void auth_world_init(struct auth_world *world, struct auth_request *request);

/* --- auth_ask.c ------------------------------------------------------------------------------- */

/** Raises PASSWORD, with the message that is the same for every failed authentication. */
fault auth_wrong(struct span user);
/** Sends an authentication request and reads the client's response into `message`. */
fault auth_ask(const struct auth_request *request, uint32_t kind, struct span rest,
               struct buffer *message, struct wire_frame *ret) MUST_USE;
/** Reads the text of a password message up to its NUL.  Fault PROTOCOL if anything follows. */
fault auth_read_text(const struct wire_frame *frame, struct span *ret) MUST_USE;
/** Asks for the password in clear text.  `*ret` points into `message`, which the caller wipes. */
fault auth_ask_password(struct auth_request *request, struct buffer *message,
                        struct span *ret) MUST_USE;
/** Overwrites and frees a buffer that holds a secret. */
void auth_wipe(struct buffer *message);
bool auth_secret_is_scram(const char *secret); /* NULL-safe, as the next */
bool auth_secret_is_md5(const char *secret);

/* --- the methods ------------------------------------------------------------------------------ */

/** Authenticates by SCRAM-SHA-256.  `secret` NULL: the user does not exist or has no secret; fails
 *  after the same exchange. */
fault auth_scram(struct auth_request *request, const char *secret) MUST_USE;
/** Returns the iteration count of SCRAM secrets in the auth file or at servers; 0: there are
 *  none. */
uint32_t auth_usual_iterations(const struct auth_request *request);
/** Returns the verifier of a plain secret; suspends while it is derived.  Faults: TIMEOUT,
 *  CANCELLED, MEMORY. */
fault auth_plain_verifier(const struct auth_request *request, const char *secret,
                          struct scram_verifier *ret) MUST_USE;
/** Returns the verifier for a user who does not exist or has no usable secret. */
void auth_mock_verifier(const struct auth_request *request, struct scram_verifier *ret);
fault auth_certificate(struct auth_request *request) MUST_USE;
/** Checks the client certificate as clientcert= requires, for any method. */
fault auth_check_certificate(struct auth_request *request) MUST_USE;
fault auth_peer(struct auth_request *request) MUST_USE;
/** Authenticates by PAM or LDAP, as request->how says. */
fault auth_verified(struct auth_request *request) MUST_USE;
