#include "wire/scram.h"

#include "wire/base64.h"
#include "wire/saslprep.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdio.h>

#define VERIFIER_PREFIX     SPAN("SCRAM-SHA-256$")
#define NONCE_TEXT          WIRE_BASE64_SIZE(SCRAM_NONCE)
#define KEY_TEXT            WIRE_BASE64_SIZE(SCRAM_KEY)
#define SALT_TEXT_MAX       WIRE_BASE64_SIZE(SCRAM_SALT_MAX)
#define ITERATIONS_MAX_TEXT 8

static_assert(SCRAM_KEY == SHA256_DIGEST_LENGTH, "every key is one digest");
static_assert(SCRAM_NONCE % 3 == 0, "a nonce needs no padding");
static_assert(SCRAM_ITERATIONS_MAX <= INT32_MAX, "OpenSSL counts in int");
static_assert(SCRAM_NONCE_MAX + NONCE_TEXT < sizeof(((struct scram_server *)0)->nonce),
              "both nonces fit in one");
static_assert(SCRAM_NONCE_MAX + NONCE_TEXT + SALT_TEXT_MAX + ITERATIONS_MAX_TEXT + 16 <
                  SCRAM_MESSAGE_MAX,
              "server-first always fits");
static_assert(14 + ITERATIONS_MAX_TEXT + SALT_TEXT_MAX + 2 * KEY_TEXT + 4 < SCRAM_VERIFIER_MAX,
              "a verifier always fits");

/* --- keys ------------------------------------------------------------------------------------- */

/* Returns SHA-256, fetched once: fetching by name costs more than the digest of a short text. */
static const EVP_MD *scram_sha256(void)
{
    static EVP_MD *fetched;
    EVP_MD *digest = __atomic_load_n(&fetched, __ATOMIC_ACQUIRE);
    if (LIKELY(digest != NULL))
        return digest;
    EVP_MD *none = NULL;
    digest = EVP_MD_fetch(NULL, "SHA256", NULL);
    invariant(digest != NULL);
    if (__atomic_compare_exchange_n(&fetched, &none, digest, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE))
        return digest;
    EVP_MD_free(digest);
    return none;
}

/* Writes the digest of `first` followed by `second`. */
static void digest_two(EVP_MD_CTX *context, struct span first, struct span second,
                       uint8_t ret[SCRAM_KEY])
{
    int made = EVP_DigestInit_ex(context, scram_sha256(), NULL) == 1 &&
               EVP_DigestUpdate(context, first.at, first.size) == 1 &&
               EVP_DigestUpdate(context, second.at, second.size) == 1 &&
               EVP_DigestFinal_ex(context, ret, NULL) == 1;
    invariant(made);
}

/* HMAC (RFC 2104) for keys shorter than a block.  OpenSSL's HMAC looks up HMAC and SHA-256 by name
 * at each call, which costs three times as much.  All sizes here are bounded, so OpenSSL can fail
 * only for lack of memory; a key that was not made must never be used, so that is an invariant. */
static void scram_hmac(const uint8_t key[SCRAM_KEY], struct span text, uint8_t ret[SCRAM_KEY])
{
    uint8_t inner[SHA256_CBLOCK], outer[SHA256_CBLOCK];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    invariant(context != NULL);
    for (size_t i = 0; i < SHA256_CBLOCK; i++) {
        uint8_t byte = i < SCRAM_KEY ? key[i] : 0;
        inner[i] = byte ^ 0x36;
        outer[i] = byte ^ 0x5c;
    }
    digest_two(context, span_of(inner, sizeof(inner)), text, ret);
    digest_two(context, span_of(outer, sizeof(outer)), span_of(ret, SCRAM_KEY), ret);
    EVP_MD_CTX_free(context);
    OPENSSL_cleanse(inner, sizeof(inner));
    OPENSSL_cleanse(outer, sizeof(outer));
}

static void scram_digest(const uint8_t key[SCRAM_KEY], uint8_t ret[SCRAM_KEY])
{
    int made = EVP_Digest(key, SCRAM_KEY, ret, NULL, scram_sha256(), NULL);
    invariant(made == 1);
}

void scram_derive(struct span password, const uint8_t *salt, size_t salt_size, uint32_t iterations,
                  struct scram_keys *ret)
{
    invariant(salt_size <= SCRAM_SALT_MAX && password.size <= INT32_MAX);
    invariant(iterations >= 1 && iterations <= SCRAM_ITERATIONS_MAX);
    char room[WIRE_SASLPREP_MAX];
    uint8_t salted[SCRAM_KEY];
    struct span prepared = wire_saslprep(password, room);
    int made =
        PKCS5_PBKDF2_HMAC((const char *)prepared.at, (int)prepared.size, salt, (int)salt_size,
                          (int)iterations, scram_sha256(), SCRAM_KEY, salted);
    invariant(made == 1);
    *ret = (struct scram_keys){.iterations = iterations, .salt_size = salt_size};
    memcpy(ret->salt, salt, salt_size);
    scram_hmac(salted, SPAN("Client Key"), ret->client_key);
    scram_hmac(salted, SPAN("Server Key"), ret->server_key);
    OPENSSL_cleanse(salted, sizeof(salted));
    if (prepared.at == (const uint8_t *)room)
        OPENSSL_cleanse(room, prepared.size);
}

void scram_verifier_of(const struct scram_keys *keys, struct scram_verifier *ret)
{
    *ret = (struct scram_verifier){.iterations = keys->iterations, .salt_size = keys->salt_size};
    memcpy(ret->salt, keys->salt, sizeof(ret->salt));
    memcpy(ret->server_key, keys->server_key, SCRAM_KEY);
    scram_digest(keys->client_key, ret->stored_key);
}

bool scram_keys_fit(const struct scram_keys *keys, const uint8_t *salt, size_t salt_size,
                    uint32_t iterations)
{
    return iterations > 0 && keys->iterations == iterations &&
           span_equal(span_of(keys->salt, keys->salt_size), span_of(salt, salt_size));
}

void scram_mock_verifier(const uint8_t secret[32], struct span user, struct scram_verifier *ret)
{
    uint8_t seed[SCRAM_KEY], salt[SCRAM_KEY];
    scram_hmac(secret, user, seed);
    scram_hmac(seed, SPAN("salt"), salt);
    *ret = (struct scram_verifier){.iterations = SCRAM_ITERATIONS, .salt_size = SCRAM_SALT};
    memcpy(ret->salt, salt, SCRAM_SALT);
    scram_hmac(seed, SPAN("stored key"), ret->stored_key);
    scram_hmac(seed, SPAN("server key"), ret->server_key);
}

/* --- texts ------------------------------------------------------------------------------------ */

/* Reads a number of digits only: no sign, no blank, no overflow. */
static bool scram_read_iterations(struct span text, uint32_t *ret)
{
    uint32_t number = 0;
    if (text.size == 0 || text.size > ITERATIONS_MAX_TEXT)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
        number = number * 10 + (uint32_t)(text.at[i] - '0');
    }
    *ret = number;
    return number >= 1 && number <= SCRAM_ITERATIONS_MAX;
}

static bool scram_read_salt(struct span text, uint8_t salt[SCRAM_SALT_MAX], size_t *size)
{
    return wire_base64_decode(text, salt, SCRAM_SALT_MAX, size) && *size > 0;
}

static bool scram_read_key(struct span text, uint8_t key[SCRAM_KEY])
{
    size_t size;
    return wire_base64_decode(text, key, SCRAM_KEY, &size) && size == SCRAM_KEY;
}

/* Takes the text before `end` and skips `end`; takes all of it if there is none. */
static struct span scram_until(struct span *rest, char end)
{
    const uint8_t *found = rest->size == 0 ? NULL : memchr(rest->at, end, rest->size);
    size_t size = found == NULL ? rest->size : (size_t)(found - rest->at);
    struct span before = span_of(rest->at, size);
    *rest = span_skip(*rest, size + 1);
    return before;
}

fault scram_read_verifier(struct span text, struct scram_verifier *ret)
{
    struct scram_verifier verifier = {0};
    if (!span_starts(text, VERIFIER_PREFIX))
        return FAULT_PROTOCOL;
    text = span_skip(text, VERIFIER_PREFIX.size);
    if (!scram_read_iterations(scram_until(&text, ':'), &verifier.iterations) ||
        !scram_read_salt(scram_until(&text, '$'), verifier.salt, &verifier.salt_size) ||
        !scram_read_key(scram_until(&text, ':'), verifier.stored_key) ||
        !scram_read_key(text, verifier.server_key))
        return FAULT_PROTOCOL;
    *ret = verifier;
    return OK;
}

void scram_print_verifier(const struct scram_verifier *verifier, char *text)
{
    char salt[SALT_TEXT_MAX + 1], stored[KEY_TEXT + 1], server[KEY_TEXT + 1];
    invariant(verifier->salt_size <= SCRAM_SALT_MAX);
    wire_base64_encode(span_of(verifier->salt, verifier->salt_size), salt);
    wire_base64_encode(span_of(verifier->stored_key, SCRAM_KEY), stored);
    wire_base64_encode(span_of(verifier->server_key, SCRAM_KEY), server);
    int size = snprintf(text, SCRAM_VERIFIER_MAX, "SCRAM-SHA-256$%u:%s$%s:%s", verifier->iterations,
                        salt, stored, server);
    invariant(size > 0 && size < SCRAM_VERIFIER_MAX);
}

/* --- messages: attributes, each a letter, '=' and a value, separated by commas ---------------- */

/* Returns whether a message has a size that can be kept, and no NUL: it is kept as a string. */
static bool scram_is_message(struct span message)
{
    return message.size > 0 && message.size < SCRAM_MESSAGE_MAX &&
           memchr(message.at, 0, message.size) == NULL;
}

/* Takes the next attribute, of any letter, and returns the letter; 0 if there is none. */
static char scram_any_attribute(struct span *rest, struct span *value)
{
    if (rest->size < 2 || rest->at[1] != '=')
        return 0;
    char letter = (char)rest->at[0];
    if (!((letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z')))
        return 0;
    *rest = span_skip(*rest, 2);
    *value = scram_until(rest, ',');
    return letter;
}

static bool scram_attribute(struct span *rest, char letter, struct span *value)
{
    return rest->size > 0 && (char)rest->at[0] == letter &&
           scram_any_attribute(rest, value) == letter;
}

/* Returns whether a nonce is printable ASCII and short enough.  It has no comma: that ends an
 * attribute. */
static bool scram_is_nonce(struct span nonce)
{
    for (size_t i = 0; i < nonce.size; i++)
        if (nonce.at[i] < 0x21 || nonce.at[i] > 0x7e)
            return false;
    return nonce.size > 0 && nonce.size <= SCRAM_NONCE_MAX;
}

static void scram_keep(char *text, size_t room, struct span value)
{
    invariant(value.size < room);
    memcpy(text, value.at, value.size);
    text[value.size] = '\0';
}

static char *put(char *to, struct span text)
{
    memcpy(to, text.at, text.size);
    return to + text.size;
}

#define SCRAM_SAID_MAX (3 * SCRAM_MESSAGE_MAX + 3)

/* Joins what both sides sign (AuthMessage in RFC 5802): both first messages, and client-final
 * without its proof. */
static struct span scram_said(char said[SCRAM_SAID_MAX], const char *client_first_bare,
                              const char *server_first, struct span client_final)
{
    invariant(client_final.size < SCRAM_MESSAGE_MAX);
    char *to = put(said, span_text(client_first_bare));
    to = put(to, SPAN(","));
    to = put(to, span_text(server_first));
    to = put(to, SPAN(","));
    to = put(to, client_final);
    return span_of(said, (size_t)(to - said));
}

/* --- authenticating a client ------------------------------------------------------------------ */

/* Writes what client-final repeats, in base64: the gs2 header, and the channel if one is bound
 * to. */
static void scram_bind(const char *header, struct span channel, char ret[SCRAM_BINDING_TEXT])
{
    uint8_t all[64 + SCRAM_CHANNEL_MAX];
    size_t size = strlen(header);
    invariant(size <= 64 && channel.size <= SCRAM_CHANNEL_MAX);
    memcpy(all, header, size);
    if (channel.size > 0)
        memcpy(all + size, channel.at, channel.size);
    invariant(WIRE_BASE64_SIZE(size + channel.size) < SCRAM_BINDING_TEXT);
    wire_base64_encode(span_of(all, size + channel.size), ret);
}

#define CHANNEL_HEADER "p=tls-server-end-point,,"

/* Reads the gs2 header of a client that did not choose -PLUS.  'n': the client has no channel
 * binding.  'y': it believes that the server has none.  If the server offered -PLUS, a man in the
 * middle removed the offer: AUTH. */
static fault scram_read_flag(struct span *rest, const struct scram_offer *offer, const char **ret)
{
    if (rest->at[0] == 'p')
        return FAULT_UNSUPPORTED;
    if ((rest->at[0] != 'n' && rest->at[0] != 'y') || rest->at[1] != ',')
        return FAULT_PROTOCOL;
    if (rest->at[0] == 'y' && offer->channel.size > 0)
        return FAULT_AUTH;
    /* An authorization identity: a request to act for another role. */
    if (rest->at[2] == 'a')
        return FAULT_UNSUPPORTED;
    if (rest->at[2] != ',')
        return FAULT_PROTOCOL;
    *ret = rest->at[0] == 'n' ? "n,," : "y,,";
    return OK;
}

/* Reads the gs2 header, up to client-first-bare. */
static fault scram_read_gs2(struct span *rest, const struct scram_offer *offer, const char **ret)
{
    struct span header = SPAN(CHANNEL_HEADER);
    if (rest->size < 3)
        return FAULT_PROTOCOL;
    if (!offer->plus) {
        TRY(scram_read_flag(rest, offer, ret));
        *rest = span_skip(*rest, 3);
        return OK;
    }
    if (rest->at[0] != 'p')
        return FAULT_PROTOCOL;
    if (!span_starts(*rest, header))
        return FAULT_UNSUPPORTED;
    *ret = CHANNEL_HEADER;
    *rest = span_skip(*rest, header.size);
    return OK;
}

/* Reads name and nonce.  Ignores the name, since the startup packet has it.  Extensions that are
 * not mandatory may follow. */
static fault scram_read_client_first(struct span bare, struct span *ret_nonce)
{
    struct span rest = bare, value;
    if (rest.size > 0 && rest.at[0] == 'm')
        return FAULT_UNSUPPORTED;
    if (!scram_attribute(&rest, 'n', &value) || !scram_attribute(&rest, 'r', ret_nonce) ||
        !scram_is_nonce(*ret_nonce))
        return FAULT_PROTOCOL;
    while (rest.size > 0)
        if (scram_any_attribute(&rest, &value) == 0)
            return FAULT_PROTOCOL;
    return OK;
}

fault scram_server_begin(struct scram_server *scram, struct span client_first,
                         const struct scram_offer *offer, struct buffer *out)
{
    const struct scram_verifier *verifier = offer->verifier;
    struct span nonce;
    const char *gs2;
    char ours[NONCE_TEXT + 1], salt[SALT_TEXT_MAX + 1];
    invariant(verifier->salt_size <= SCRAM_SALT_MAX);
    invariant(!offer->plus || offer->channel.size > 0);
    if (!scram_is_message(client_first))
        return FAULT_PROTOCOL;
    TRY(scram_read_gs2(&client_first, offer, &gs2));
    TRY(scram_read_client_first(client_first, &nonce));
    scram->bound = offer->plus;
    scram_bind(gs2, offer->plus ? offer->channel : SPAN_NONE, scram->binding);
    scram_keep(scram->client_first_bare, sizeof(scram->client_first_bare), client_first);
    wire_base64_encode(span_of(offer->random, SCRAM_NONCE), ours);
    *put(put(scram->nonce, nonce), span_text(ours)) = '\0';
    wire_base64_encode(span_of(verifier->salt, verifier->salt_size), salt);
    int size = snprintf(scram->server_first, sizeof(scram->server_first), "r=%s,s=%s,i=%u",
                        scram->nonce, salt, verifier->iterations);
    invariant(size > 0 && size < SCRAM_MESSAGE_MAX);
    buffer_append(out, scram->server_first, (size_t)size);
    return OK;
}

/* Splits client-final at its proof, which must be last. */
static fault scram_read_client_final(const struct scram_server *scram, struct span message,
                                     struct span *ret_unproven, uint8_t proof[SCRAM_KEY])
{
    struct span rest = message, value;
    if (!scram_is_message(message) || !scram_attribute(&rest, 'c', &value))
        return FAULT_PROTOCOL;
    if (!span_is(value, scram->binding))
        return scram->bound ? FAULT_AUTH : FAULT_PROTOCOL;
    if (!scram_attribute(&rest, 'r', &value) || !span_is(value, scram->nonce))
        return FAULT_PROTOCOL;
    for (;;) {
        size_t before = message.size - rest.size;
        char letter = scram_any_attribute(&rest, &value);
        if (letter == 0)
            return FAULT_PROTOCOL;
        if (letter != 'p')
            continue;
        if (rest.size > 0 || !scram_read_key(value, proof))
            return FAULT_PROTOCOL;
        *ret_unproven = span_of(message.at, before - 1);
        return OK;
    }
}

fault scram_server_final(struct scram_server *scram, struct span client_final,
                         const struct scram_verifier *verifier, struct buffer *out)
{
    struct span unproven;
    uint8_t proof[SCRAM_KEY], signature[SCRAM_KEY], stored[SCRAM_KEY];
    char text[KEY_TEXT + 1], room[SCRAM_SAID_MAX];
    /* No client-first was accepted, so we sent no nonce that client-final could repeat. */
    if (scram->nonce[0] == '\0')
        return FAULT_PROTOCOL;
    TRY(scram_read_client_final(scram, client_final, &unproven, proof));
    struct span said = scram_said(room, scram->client_first_bare, scram->server_first, unproven);
    scram_hmac(verifier->stored_key, said, signature);
    for (size_t i = 0; i < SCRAM_KEY; i++)
        proof[i] ^= signature[i];
    scram_digest(proof, stored);
    if (CRYPTO_memcmp(stored, verifier->stored_key, SCRAM_KEY) != 0)
        return FAULT_PASSWORD;
    memcpy(scram->client_key, proof, SCRAM_KEY);
    OPENSSL_cleanse(proof, sizeof(proof));
    scram_hmac(verifier->server_key, said, signature);
    wire_base64_encode(span_of(signature, sizeof(signature)), text);
    buffer_append_text(out, "v=");
    buffer_append_text(out, text);
    return OK;
}

/* --- logging in to a server ------------------------------------------------------------------- */

void scram_client_begin(struct scram_client *scram, const uint8_t random[SCRAM_NONCE], char flag,
                        struct span channel, struct buffer *out)
{
    const char *header = flag == 'p' ? CHANNEL_HEADER : flag == 'y' ? "y,," : "n,,";
    invariant((flag == 'p') == (channel.size > 0));
    *scram = (struct scram_client){0};
    scram_bind(header, channel, scram->binding);
    wire_base64_encode(span_of(random, SCRAM_NONCE), scram->nonce);
    int size = snprintf(scram->client_first_bare, sizeof(scram->client_first_bare), "n=,r=%s",
                        scram->nonce);
    invariant(size > 0 && (size_t)size < sizeof(scram->client_first_bare));
    buffer_append_text(out, header);
    buffer_append_text(out, scram->client_first_bare);
}

fault scram_client_challenge(struct scram_client *scram, struct span server_first)
{
    struct span rest = server_first, nonce, salt, iterations;
    struct span ours = span_text(scram->nonce);
    if (ours.size == 0 || !scram_is_message(server_first))
        return FAULT_PROTOCOL;
    if (!scram_attribute(&rest, 'r', &nonce) || !scram_attribute(&rest, 's', &salt) ||
        !scram_attribute(&rest, 'i', &iterations) || rest.size > 0)
        return FAULT_PROTOCOL;
    if (!scram_is_nonce(nonce) || nonce.size <= ours.size || !span_starts(nonce, ours))
        return FAULT_PROTOCOL;
    if (!scram_read_salt(salt, scram->salt, &scram->salt_size) ||
        !scram_read_iterations(iterations, &scram->iterations)) {
        scram->iterations = 0;
        return FAULT_PROTOCOL;
    }
    scram_keep(scram->full_nonce, sizeof(scram->full_nonce), nonce);
    scram_keep(scram->server_first, sizeof(scram->server_first), server_first);
    return OK;
}

fault scram_client_final(struct scram_client *scram, const struct scram_keys *keys,
                         struct buffer *out)
{
    char unproven[SCRAM_NONCE_MAX + SCRAM_BINDING_TEXT + 16], text[KEY_TEXT + 1];
    char room[SCRAM_SAID_MAX];
    uint8_t stored[SCRAM_KEY], proof[SCRAM_KEY];
    if (!scram_keys_fit(keys, scram->salt, scram->salt_size, scram->iterations))
        return FAULT_AUTH;
    int size = snprintf(unproven, sizeof(unproven), "c=%s,r=%s", scram->binding, scram->full_nonce);
    invariant(size > 0 && (size_t)size < sizeof(unproven));
    struct span final = span_of(unproven, (size_t)size);
    struct span said = scram_said(room, scram->client_first_bare, scram->server_first, final);
    scram_digest(keys->client_key, stored);
    scram_hmac(stored, said, proof);
    for (size_t i = 0; i < SCRAM_KEY; i++)
        proof[i] ^= keys->client_key[i];
    scram_hmac(keys->server_key, said, scram->server_signature);
    wire_base64_encode(span_of(proof, sizeof(proof)), text);
    buffer_append_span(out, final);
    buffer_append_text(out, ",p=");
    buffer_append_text(out, text);
    return OK;
}

fault scram_client_check(struct scram_client *scram, struct span server_final)
{
    static const uint8_t none[SCRAM_KEY];
    uint8_t signature[SCRAM_KEY];
    struct span rest = server_final, value;
    if (!scram_is_message(server_final))
        return FAULT_PROTOCOL;
    if (server_final.at[0] == 'e')
        return FAULT_AUTH;
    if (!scram_attribute(&rest, 'v', &value) || rest.size > 0 || !scram_read_key(value, signature))
        return FAULT_PROTOCOL;
    /* Until our proof is sent the expected signature is all zeros, which a server that skips ahead
     * could send. */
    if (CRYPTO_memcmp(scram->server_signature, none, SCRAM_KEY) == 0)
        return FAULT_AUTH;
    return CRYPTO_memcmp(scram->server_signature, signature, SCRAM_KEY) == 0 ? OK : FAULT_AUTH;
}
