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

/* What a server stores. */
struct scram_verifier {
    uint32_t iterations;
    uint8_t salt[SCRAM_SALT_MAX];
    size_t salt_size;
    uint8_t stored_key[SCRAM_KEY];
    uint8_t server_key[SCRAM_KEY];
};
/* What a client can log in with: for one salt and iteration count only. */
struct scram_keys {
    uint32_t iterations;
    uint8_t salt[SCRAM_SALT_MAX];
    size_t salt_size;
    uint8_t client_key[SCRAM_KEY];
    uint8_t server_key[SCRAM_KEY];
};

/** "SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey" */
fault scram_read_verifier(struct span text, struct scram_verifier *ret) MUST_USE;
/** Writes at most SCRAM_VERIFIER_MAX characters, NUL included. */
void scram_print_verifier(const struct scram_verifier *verifier, char *text);
/** Slow (0.8 ms at 4096).  SASLprep where the password is valid UTF-8, else raw, as PostgreSQL. */
void scram_derive(struct span password, const uint8_t *salt, size_t salt_size, uint32_t iterations,
                  struct scram_keys *ret);
void scram_verifier_of(const struct scram_keys *keys, struct scram_verifier *ret);
/** Salt and iterations are the same: these keys answer to that verifier or challenge. */
bool scram_keys_fit(const struct scram_keys *keys, const uint8_t *salt, size_t salt_size,
                    uint32_t iterations);
/** A stable, fake salt for a user that does not exist (mock authentication). */
void scram_mock_verifier(const uint8_t secret[32], struct span user, struct scram_verifier *ret);

/* --- channel binding (RFC 5802, 6; RFC 5929: tls-server-end-point) ---------------------------- */

#define SCRAM_CHANNEL_MAX 64 /* bytes of a certificate's digest */
#define SCRAM_BINDING_TEXT                                                                         \
    128 /* base64 of a gs2 header with such a digest behind it, NUL included */

/* --- we authenticate a client ----------------------------------------------------------------- */

struct scram_server {
    char client_first_bare[SCRAM_MESSAGE_MAX];
    char server_first[SCRAM_MESSAGE_MAX];
    char nonce[SCRAM_NONCE_MAX * 2];  /* both parts */
    char binding[SCRAM_BINDING_TEXT]; /* base64 of the client's gs2 header ("biws") and channel */
    bool bound;                       /* to a channel */
    uint8_t client_key[SCRAM_KEY];    /* known after a good final message */
};
struct scram_offer {
    const struct scram_verifier *verifier;
    const uint8_t *random; /* SCRAM_NONCE bytes */
    struct span channel;   /* the certificate's digest; empty: -PLUS was not offered */
    bool plus;             /* the client has chosen -PLUS */
};
/** Reads client-first (SASLInitialResponse's data), writes server-first.
 *  PROTOCOL; UNSUPPORTED (another channel binding, or one that was not offered); AUTH (the client
 *  was told by somebody in between that -PLUS was not offered). */
fault scram_server_begin(struct scram_server *scram, struct span client_first,
                         const struct scram_offer *offer, struct buffer *out) MUST_USE;
/** The same where there is no channel to bind to. */
static inline fault scram_server_first(struct scram_server *scram, struct span client_first,
                                       const struct scram_verifier *verifier,
                                       const uint8_t random[SCRAM_NONCE], struct buffer *out)
{
    struct scram_offer offer = {.verifier = verifier, .random = random};
    return scram_server_begin(scram, client_first, &offer, out);
}
/** Reads client-final, checks the proof, writes server-final.  PASSWORD; PROTOCOL; AUTH (the client
 *  has another channel than we: somebody is in between). */
fault scram_server_final(struct scram_server *scram, struct span client_final,
                         const struct scram_verifier *verifier, struct buffer *out) MUST_USE;

/* --- we log in to a server -------------------------------------------------------------------- */

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
/** Writes client-first ("n,,n=,r=...").  `flag`: 'n' (no channel to bind to), 'y' (there is one,
 * but the server offers no -PLUS), or 'p', with the digest of the server's certificate. */
void scram_client_begin(struct scram_client *scram, const uint8_t random[SCRAM_NONCE], char flag,
                        struct span channel, struct buffer *out);
static inline void scram_client_first(struct scram_client *scram, const uint8_t random[SCRAM_NONCE],
                                      struct buffer *out)
{
    scram_client_begin(scram, random, 'n', SPAN_NONE, out);
}
/** Reads server-first: salt and iterations are known after it. PROTOCOL. */
fault scram_client_challenge(struct scram_client *scram, struct span server_first) MUST_USE;
/** Writes client-final, with keys that fit the challenge. */
fault scram_client_final(struct scram_client *scram, const struct scram_keys *keys,
                         struct buffer *out) MUST_USE;
/** Checks server-final's signature.  AUTH when it is not that of the real server. */
fault scram_client_check(struct scram_client *scram, struct span server_final) MUST_USE;

/* --- md5 (pg_md5_encrypt) --------------------------------------------------------------------- */

#define MD5_TEXT 36 /* "md5", 32 digits, NUL */
/** "md5" and the digest of password and user: what userlist.txt and pg_authid store. */
void md5_secret(struct span password, struct span user, char ret[MD5_TEXT]);
/** What a client sends, from that stored form and the 4 bytes of salt. */
void md5_answer(const char secret[MD5_TEXT], const uint8_t salt[4], char ret[MD5_TEXT]);
/** Constant time. */
bool secret_equal(struct span a, struct span b);
