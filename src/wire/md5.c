/*
 * md5.c - PostgreSQL's md5 passwords.
 *
 * Uses OpenSSL's low-level MD5 functions: the caller owns their state, so they can't lack
 * memory, and no provider can disable MD5.  EVP can fail for both reasons.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/crypto.h>
#include <openssl/md5.h>

#include "wire/scram.h"

static_assert(MD5_TEXT == 3 + 2 * MD5_DIGEST_LENGTH + 1, "the word, the digits, the NUL");

/* Writes "md5" and the hexadecimal digest of `first` followed by `second`. */
static void md5_print(struct span first, struct span second, char ret[MD5_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t digest[MD5_DIGEST_LENGTH];
    MD5_CTX state;
    MD5_Init(&state);
    MD5_Update(&state, first.at, first.size);
    MD5_Update(&state, second.at, second.size);
    MD5_Final(digest, &state);
    memcpy(ret, "md5", 3);
    for (size_t i = 0; i < sizeof(digest); i++) {
        ret[3 + 2 * i] = digits[digest[i] >> 4];
        ret[4 + 2 * i] = digits[digest[i] & 15];
    }
    ret[MD5_TEXT - 1] = '\0';
    OPENSSL_cleanse(&state, sizeof(state));
    OPENSSL_cleanse(digest, sizeof(digest));
}

void md5_secret(struct span password, struct span user, char ret[MD5_TEXT])
{
    md5_print(password, user, ret);
}

void md5_answer(const char secret[MD5_TEXT], const uint8_t salt[4], char ret[MD5_TEXT])
{
    /* The digest covers the 32 digits without "md5", then the salt. */
    md5_print(span_of(secret + 3, MD5_TEXT - 4), span_of(salt, 4), ret);
}

bool secret_equal(struct span a, struct span b)
{
    return a.size == b.size && (a.size == 0 || CRYPTO_memcmp(a.at, b.at, a.size) == 0);
}
