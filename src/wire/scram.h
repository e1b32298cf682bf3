#pragma once
/*
 * scram.h - SCRAM-SHA-256 (RFC 5802, 7677) as PostgreSQL speaks it, both sides, as pure steps.
 *
 * No randomness and no sockets: nonces are given.  Key derivation (PBKDF2) is the one slow call and
 * is separate, so that it can be offloaded and its result kept.  Secrets are compared in constant
 * time.
 */
#include "wire/message.h"

#define SCRAM_KEY            32
#define SCRAM_SALT           16   /* bytes we choose */
#define SCRAM_SALT_MAX       64   /* bytes we accept */
#define SCRAM_NONCE          18   /* random bytes, 24 characters in base64 */
#define SCRAM_NONCE_MAX      256  /* characters of a peer's nonce */
#define SCRAM_ITERATIONS     4096 /* ours, PostgreSQL's default */
#define SCRAM_ITERATIONS_MAX 10000000u
#define SCRAM_MESSAGE_MAX    1024 /* bytes of any one message */
#define SCRAM_VERIFIER_MAX   256  /* characters of "SCRAM-SHA-256$..." */

/* The stored form of a password on a server. */
struct scram_verifier {
    uint32_t iterations;
    uint8_t salt[SCRAM_SALT_MAX];
    size_t salt_size;
    uint8_t stored_key[SCRAM_KEY];
    uint8_t server_key[SCRAM_KEY];
};
/* Keys with which a client logs in.  Valid for one salt and iteration count only. */
struct scram_keys {
    uint32_t iterations;
    uint8_t salt[SCRAM_SALT_MAX];
    size_t salt_size;
    uint8_t client_key[SCRAM_KEY];
    uint8_t server_key[SCRAM_KEY];
};

/** Reads "SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey". */
fault scram_read_verifier(struct span text, struct scram_verifier *ret) MUST_USE;
/** Writes at most SCRAM_VERIFIER_MAX characters, NUL included. */
void scram_print_verifier(const struct scram_verifier *verifier, char *text);
/** Derives the keys of a password.  Slow (0.8 ms at 4096 iterations).  Applies SASLprep if the
 *  password is valid UTF-8, else uses its bytes, as PostgreSQL does. */
void scram_derive(struct span password, const uint8_t *salt, size_t salt_size, uint32_t iterations,
                  struct scram_keys *ret);
void scram_verifier_of(const struct scram_keys *keys, struct scram_verifier *ret);
/** Returns whether the keys have this salt and iteration count, and so can answer that verifier or
 *  challenge. */
bool scram_keys_fit(const struct scram_keys *keys, const uint8_t *salt, size_t salt_size,
                    uint32_t iterations);
/** Makes a stable, fake verifier for a user that does not exist (mock authentication). */
void scram_mock_verifier(const uint8_t secret[32], struct span user, struct scram_verifier *ret);

/* --- channel binding (RFC 5802, 6; RFC 5929: tls-server-end-point) ---------------------------- */

#define SCRAM_CHANNEL_MAX  64  /* bytes of a certificate's digest */
#define SCRAM_BINDING_TEXT 128 /* base64 of a gs2 header and such a digest, NUL included */

/* --- authenticating a client ------------------------------------------------------------------ */

struct scram_server {
    char client_first_bare[SCRAM_MESSAGE_MAX];
    char server_first[SCRAM_MESSAGE_MAX];
    char nonce[SCRAM_NONCE_MAX * 2];  /* both parts */
    char binding[SCRAM_BINDING_TEXT]; /* base64 of the client's gs2 header ("biws") and channel */
    bool bound;                       /* to a channel */
    uint8_t client_key[SCRAM_KEY];    /* known after a valid client-final */
};
struct scram_offer {
    const struct scram_verifier *verifier;
    const uint8_t *random; /* SCRAM_NONCE bytes */
    struct span channel;   /* the certificate's digest; empty: -PLUS was not offered */
    bool plus;             /* the client chose -PLUS */
};
/** Reads client-first (SASLInitialResponse's data), writes server-first.  Faults: PROTOCOL;
 *  UNSUPPORTED (another channel binding, a binding that was not offered, another role to act for, a
 *  mandatory extension); AUTH (the client believes that -PLUS was not offered: a man in the middle
 *  removed the offer). */
fault scram_server_begin(struct scram_server *scram, struct span client_first,
                         const struct scram_offer *offer, struct buffer *out) MUST_USE;
/** Calls scram_server_begin() without a channel to bind to. */
static inline fault scram_server_first(struct scram_server *scram, struct span client_first,
                                       const struct scram_verifier *verifier,
                                       const uint8_t random[SCRAM_NONCE], struct buffer *out)
{
    struct scram_offer offer = {.verifier = verifier, .random = random};
    return scram_server_begin(scram, client_first, &offer, out);
}
/** Reads client-final, checks the proof, writes server-final.  Faults: PASSWORD; PROTOCOL; AUTH
 *  (the client sees another certificate than ours: a man in the middle). */
fault scram_server_final(struct scram_server *scram, struct span client_final,
                         const struct scram_verifier *verifier, struct buffer *out) MUST_USE;

/* --- logging in to a server ------------------------------------------------------------------- */

struct scram_client {
    char nonce[40];
    char client_first_bare[96];
    char server_first[SCRAM_MESSAGE_MAX];
    char full_nonce[SCRAM_NONCE_MAX + 1];
    char binding[SCRAM_BINDING_TEXT]; /* as in struct scram_server */
    uint8_t salt[SCRAM_SALT_MAX];
    size_t salt_size;
    uint32_t iterations;
    uint8_t server_signature[SCRAM_KEY];
};
/** Writes client-first ("n,,n=,r=...").  `flag`: 'n' (no channel to bind to), 'y' (a channel, but
 *  the server does not offer -PLUS), or 'p' (bound to `channel`, the digest of the server's
 *  certificate). */
void scram_client_begin(struct scram_client *scram, const uint8_t random[SCRAM_NONCE], char flag,
                        struct span channel, struct buffer *out);
static inline void scram_client_first(struct scram_client *scram, const uint8_t random[SCRAM_NONCE],
                                      struct buffer *out)
{
    scram_client_begin(scram, random, 'n', SPAN_NONE, out);
}
/** Reads server-first, which holds salt and iteration count.  Fault: PROTOCOL. */
fault scram_client_challenge(struct scram_client *scram, struct span server_first) MUST_USE;
/** Writes client-final.  Fault AUTH: `keys` do not fit the challenge. */
fault scram_client_final(struct scram_client *scram, const struct scram_keys *keys,
                         struct buffer *out) MUST_USE;
/** Checks the signature in server-final.  Faults: AUTH (the server does not know the password, or
 *  reports an error), PROTOCOL. */
fault scram_client_check(struct scram_client *scram, struct span server_final) MUST_USE;

/* --- md5 (pg_md5_encrypt) --------------------------------------------------------------------- */

#define MD5_TEXT 36 /* "md5", 32 digits, NUL */
/** Writes "md5" and the digest of password and user: what userlist.txt and pg_authid store. */
void md5_secret(struct span password, struct span user, char ret[MD5_TEXT]);
/** Writes what a client sends, made from the stored form and the 4 bytes of salt. */
void md5_answer(const char secret[MD5_TEXT], const uint8_t salt[4], char ret[MD5_TEXT]);
/** Compares in constant time. */
bool secret_equal(struct span a, struct span b);
