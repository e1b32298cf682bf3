#pragma once
/*
 * scram_login.h - the client's half of SCRAM-SHA-256, cheap enough to generate load.
 *
 * The keys of a (salt, iterations) pair are derived once and kept, as drivers do that cache them:
 * a login then costs the generator three hashes instead of 4,096.
 */
#include "bytes.h"

struct scram_login {
    char nonce[32];     /* ours, text */
    char signature[64]; /* what the server has to prove, base64 */
};

/** Writes a whole SASLInitialResponse. */
void scram_login_first(struct scram_login *login, struct bytes *out);
/** Answers AuthenticationSASLContinue; false: not for us. */
bool scram_login_continue(struct scram_login *login, const char *password, const char *body,
                          size_t length, struct bytes *out);
/** Whether AuthenticationSASLFinal proves that the server knows us. */
bool scram_login_final(const struct scram_login *login, const char *body, size_t length);
