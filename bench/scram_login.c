#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include "scram_login.h"

enum { KEYS_KEPT = 8, TEXT_MAX = 512, HASH = SHA256_DIGEST_LENGTH };

struct keys {
    char salt[128]; /* base64, as it came */
    int iterations; /* 0: unused */
    uint8_t client[HASH];
    uint8_t stored[HASH];
    uint8_t server[HASH];
};

static struct keys kept[KEYS_KEPT];
static size_t kept_next;

static void sign(const uint8_t key[HASH], const char *text, size_t length, uint8_t out[HASH])
{
    unsigned size = HASH;
    HMAC(EVP_sha256(), key, HASH, (const uint8_t *)text, length, out, &size);
}

static const struct keys *keys_of(const char *password, const char *salt, int iterations)
{
    for (size_t i = 0; i < KEYS_KEPT; i++)
        if (kept[i].iterations == iterations && strcmp(kept[i].salt, salt) == 0)
            return &kept[i];
    struct keys *keys = &kept[kept_next++ % KEYS_KEPT];
    uint8_t raw[128];
    uint8_t salted[HASH];
    int size = EVP_DecodeBlock(raw, (const uint8_t *)salt, (int)strlen(salt));
    for (size_t end = strlen(salt); size > 0 && end > 0 && salt[end - 1] == '='; end--)
        size--;
    if (size <= 0 || PKCS5_PBKDF2_HMAC(password, (int)strlen(password), raw, size, iterations,
                                       EVP_sha256(), HASH, salted) != 1)
        return NULL;
    snprintf(keys->salt, sizeof(keys->salt), "%s", salt);
    keys->iterations = iterations;
    sign(salted, "Client Key", 10, keys->client);
    sign(salted, "Server Key", 10, keys->server);
    SHA256(keys->client, HASH, keys->stored);
    return keys;
}

void scram_login_first(struct scram_login *login, struct bytes *out)
{
    uint8_t random[18];
    RAND_bytes(random, sizeof(random));
    EVP_EncodeBlock((uint8_t *)login->nonce, random, sizeof(random));
    char text[64];
    int length = snprintf(text, sizeof(text), "n,,n=,r=%s", login->nonce);
    size_t start = bytes_begin(out, 'p');
    bytes_text(out, "SCRAM-SHA-256");
    bytes_u32(out, (uint32_t)length);
    bytes_add(out, text, (size_t)length);
    bytes_end(out, start);
}

bool scram_login_continue(struct scram_login *login, const char *password, const char *body,
                          size_t length, struct bytes *out)
{
    char first[TEXT_MAX];
    char nonce[TEXT_MAX];
    char salt[128];
    int iterations = 0;
    snprintf(first, sizeof(first), "%.*s", (int)length, body);
    if (sscanf(first, "r=%511[^,],s=%127[^,],i=%d", nonce, salt, &iterations) != 3 ||
        strncmp(nonce, login->nonce, strlen(login->nonce)) != 0 || iterations <= 0)
        return false;
    const struct keys *keys = keys_of(password, salt, iterations);
    if (keys == NULL)
        return false;
    char bare[TEXT_MAX + 16];
    char proved[3 * TEXT_MAX];
    snprintf(bare, sizeof(bare), "c=biws,r=%s", nonce);
    int size = snprintf(proved, sizeof(proved), "n=,r=%s,%s,%s", login->nonce, first, bare);
    uint8_t proof[HASH];
    uint8_t signature[HASH];
    sign(keys->stored, proved, (size_t)size, proof);
    for (size_t i = 0; i < HASH; i++)
        proof[i] ^= keys->client[i];
    sign(keys->server, proved, (size_t)size, signature);
    EVP_EncodeBlock((uint8_t *)login->signature, signature, HASH);
    char encoded[64];
    EVP_EncodeBlock((uint8_t *)encoded, proof, HASH);
    size_t start = bytes_begin(out, 'p');
    bytes_add(out, bare, strlen(bare));
    bytes_add(out, ",p=", 3);
    bytes_add(out, encoded, strlen(encoded));
    bytes_end(out, start);
    return true;
}

bool scram_login_final(const struct scram_login *login, const char *body, size_t length)
{
    size_t size = strlen(login->signature);
    return length == size + 2 && memcmp(body, "v=", 2) == 0 &&
           memcmp(body + 2, login->signature, size) == 0;
}
