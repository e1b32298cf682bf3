#include "pooler/auth.h"

#include "link/link.h"
#include "machine/ids.h"
#include "pooler/pooler.h"
#include "pooler/relay.h"
#include "wire/scram.h"

#include <stdlib.h>

#define PASSWORD_MOST 65536u /* bytes of a password message */

static fault auth_wrong(struct span user)
{
    return fault_raise(FAULT_PASSWORD, "password authentication failed for user \"%.*s\"",
                       SPAN_ARG(user));
}

static fault auth_ask(struct client *client, uint32_t kind, struct span rest,
                      struct buffer *message, struct wire_frame *ret, deadline by)
{
    struct buffer out = BUFFER_INIT(4096);
    wire_put_authentication(&out, kind, rest);
    fault sent = link_send(&client->stream, &out, by);
    buffer_fini(&out);
    TRY(sent);
    TRY(link_read_answer(&client->stream, message, PASSWORD_MOST, ret, by));
    if (ret->type != WIRE_PASSWORD)
        return fault_raise(FAULT_PROTOCOL, "expected a password, got a '%c' message", ret->type);
    return OK;
}

/* The text up to its NUL; a password message holds nothing else. */
static fault auth_read_text(const struct wire_frame *frame, struct span *ret)
{
    struct wire_reader in = wire_reader_over(frame->body);
    *ret = wire_get_string(&in);
    return wire_done(&in) == OK ? OK : fault_raise(FAULT_PROTOCOL, "malformed password message");
}

static bool secret_is_scram(const char *secret)
{
    return secret != NULL && span_starts(span_text(secret), SPAN("SCRAM-SHA-256$"));
}

static bool secret_is_md5(const char *secret)
{
    return secret != NULL && strlen(secret) == MD5_TEXT - 1 &&
           span_starts(span_text(secret), SPAN("md5"));
}

/* --- clear text
 * ------------------------------------------------------------------------------------------ */

/* Whether this password answers to what is stored, whatever form that has. */
static bool password_matches(struct span password, struct span user, const char *secret)
{
    struct scram_verifier verifier, own;
    struct scram_keys keys;
    char md5[MD5_TEXT];
    if (secret == NULL)
        return false;
    if (secret_is_md5(secret)) {
        md5_secret(password, user, md5);
        return secret_equal(span_text(md5), span_text(secret));
    }
    if (!secret_is_scram(secret))
        return secret_equal(password, span_text(secret));
    if (scram_read_verifier(span_text(secret), &verifier) != OK)
        return false;
    scram_derive(password, verifier.salt, verifier.salt_size, verifier.iterations, &keys);
    scram_verifier_of(&keys, &own);
    return secret_equal(span_of(own.stored_key, SCRAM_KEY),
                        span_of(verifier.stored_key, SCRAM_KEY));
}

/* The password itself may log in to servers too. */
static void keep_password(struct share *share, struct span password)
{
    if (share == NULL || share->route->server_password != NULL || share->password != NULL)
        return;
    share->password = strndup((const char *)password.at, password.size);
    if (share->password != NULL)
        share->secret.password = span_text(share->password);
}

static fault auth_password(struct client *client, struct span user, const char *secret, deadline by)
{
    struct buffer message = BUFFER_INIT(PASSWORD_MOST + 1024);
    struct wire_frame frame;
    struct span password;
    fault result = auth_ask(client, WIRE_AUTH_PASSWORD, SPAN_NONE, &message, &frame, by);
    if (result == OK)
        result = auth_read_text(&frame, &password);
    if (result == OK && !password_matches(password, user, secret))
        result = auth_wrong(user);
    if (result == OK)
        keep_password(client->share, password);
    if (message.at != NULL)
        explicit_bzero(message.at, message.capacity);
    buffer_fini(&message);
    return result;
}

/* --- md5
 * ---------------------------------------------------------------------------------------------------
 */

static fault auth_md5(struct client *client, struct span user, const char *secret, deadline by)
{
    struct buffer message = BUFFER_INIT(PASSWORD_MOST + 1024);
    struct wire_frame frame;
    struct span answer;
    uint8_t salt[4];
    char stored[MD5_TEXT], expected[MD5_TEXT];
    random_bytes(salt, sizeof(salt));
    fault result =
        auth_ask(client, WIRE_AUTH_MD5, span_of(salt, sizeof(salt)), &message, &frame, by);
    if (result == OK)
        result = auth_read_text(&frame, &answer);
    if (result == OK) {
        if (secret_is_md5(secret))
            memcpy(stored, secret, sizeof(stored));
        else
            md5_secret(span_text(secret == NULL ? "" : secret), user, stored);
        md5_answer(stored, salt, expected);
        if (secret == NULL || !secret_equal(answer, span_text(expected)))
            result = auth_wrong(user);
    }
    buffer_fini(&message);
    return result;
}

/* --- SCRAM
 * -------------------------------------------------------------------------------------------------
 */

/* Decoded once for each pool and version of the configuration. */
static bool scram_known_verifier(struct client *client, const char *secret,
                                 struct scram_verifier *ret)
{
    struct share *share = client->share; /* NULL: the console */
    uint64_t version = client->relay->config->version;
    if (share != NULL && share->verifier_version == version) {
        *ret = share->verifier;
        return true;
    }
    if (scram_read_verifier(span_text(secret), ret) != OK)
        return false;
    if (share != NULL) {
        share->verifier = *ret;
        share->verifier_version = version;
    }
    return true;
}

/* A user that is unknown, or has no usable secret, goes through the same motions and fails. */
static bool scram_find_verifier(struct client *client, struct span user, const char *secret,
                                struct scram_verifier *ret)
{
    struct share *share = client->share; /* NULL: the console */
    if (secret_is_scram(secret) && scram_known_verifier(client, secret, ret))
        return true;
    if (secret == NULL || secret_is_md5(secret)) {
        scram_mock_verifier(pooler_mock_secret(client->relay->pooler), user, ret);
        return false;
    }
    /* A plain secret: derived once for each pool, and kept. */
    if (share != NULL && share->have_verifier) {
        *ret = share->verifier;
        return true;
    }
    struct scram_keys keys;
    uint8_t salt[SCRAM_SALT];
    random_bytes(salt, sizeof(salt));
    scram_derive(span_text(secret), salt, sizeof(salt), SCRAM_ITERATIONS, &keys);
    scram_verifier_of(&keys, ret);
    if (share != NULL) {
        share->verifier = *ret;
        share->have_verifier = true;
    }
    return true;
}

#define MECHANISM      "SCRAM-SHA-256"
#define MECHANISM_PLUS "SCRAM-SHA-256-PLUS"

/* SASLInitialResponse: the mechanism, a length, and the first message. */
static fault scram_read_initial(const struct wire_frame *frame, struct scram_offer *offer,
                                struct span *ret)
{
    struct wire_reader in = wire_reader_over(frame->body);
    struct span mechanism = wire_get_string(&in);
    uint32_t size = wire_get_u32(&in);
    *ret = wire_get_rest(&in);
    if (in.failed || size != ret->size)
        return fault_raise(FAULT_PROTOCOL, "malformed SASL response");
    offer->plus = offer->channel.size > 0 && span_is(mechanism, MECHANISM_PLUS);
    if (!offer->plus && !span_is(mechanism, MECHANISM))
        return fault_raise(FAULT_PROTOCOL, "SASL mechanism \"%.*s\" was not offered",
                           (int)MIN_OF(mechanism.size, 40), (const char *)mechanism.at);
    return OK;
}

struct scram_exchange {
    struct scram_server scram;
    struct scram_verifier verifier;
    struct buffer message;
    struct buffer out;
    uint8_t channel[STREAM_ENDPOINT_MOST];
};

static fault scram_begin(struct scram_exchange *exchange, struct span first,
                         const struct scram_offer *offer)
{
    fault begun = scram_server_begin(&exchange->scram, first, offer, &exchange->out);
    if (begun == FAULT_AUTH)
        return fault_raise(begun, "the client believes that channel binding was not offered, but "
                                  "it was: somebody may be in between");
    return begun == OK ? OK : fault_raise(begun, "malformed or unsupported SCRAM message");
}

static fault scram_talk(struct client *client, struct scram_exchange *exchange, struct buffer *last,
                        deadline by)
{
    struct wire_frame frame;
    struct span first;
    uint8_t random[SCRAM_NONCE];
    random_bytes(random, sizeof(random));
    struct scram_offer offer = {.verifier = &exchange->verifier, .random = random};
    offer.channel =
        span_of(exchange->channel, stream_tls_endpoint(&client->stream, exchange->channel));
    struct span mechanisms = offer.channel.size > 0 ? SPAN(MECHANISM_PLUS "\0" MECHANISM "\0\0")
                                                    : SPAN(MECHANISM "\0\0");
    TRY(auth_ask(client, WIRE_AUTH_SASL, mechanisms, &exchange->message, &frame, by));
    TRY(scram_read_initial(&frame, &offer, &first));
    TRY(scram_begin(exchange, first, &offer));
    TRY(auth_ask(client, WIRE_AUTH_SASL_CONTINUE, buffer_span(&exchange->out), &exchange->message,
                 &frame, by));
    buffer_clear(&exchange->out);
    fault ended =
        scram_server_final(&exchange->scram, frame.body, &exchange->verifier, &exchange->out);
    if (ended == FAULT_AUTH)
        return fault_raise(ended, "SCRAM channel binding check failed");
    TRY(ended);
    TRY(buffer_fault(&exchange->out));
    wire_put_authentication(last, WIRE_AUTH_SASL_FINAL, buffer_span(&exchange->out));
    return OK;
}

/* The client's key, just proven, logs in to servers that hold the same verifier. */
static void keep_keys(struct share *share, const struct scram_exchange *exchange)
{
    struct scram_keys *keys = &share->secret.keys;
    if (share->secret.password.size > 0 || share->route->server_user != NULL)
        return;
    keys->iterations = exchange->verifier.iterations;
    keys->salt_size = exchange->verifier.salt_size;
    memcpy(keys->salt, exchange->verifier.salt, sizeof(keys->salt));
    memcpy(keys->client_key, exchange->scram.client_key, SCRAM_KEY);
    memcpy(keys->server_key, exchange->verifier.server_key, SCRAM_KEY);
    share->secret.have_keys = true;
}

static fault auth_scram(struct client *client, struct span user, const char *secret,
                        struct buffer *out, deadline by)
{
    struct scram_exchange *exchange = malloc(sizeof(*exchange));
    if (exchange == NULL)
        return FAULT_MEMORY;
    exchange->scram.nonce[0] = '\0'; /* the rest is written before it is read */
    exchange->message = BUFFER_INIT(PASSWORD_MOST + 1024);
    exchange->out = BUFFER_INIT(SCRAM_MESSAGE_MOST * 2);
    bool known = scram_find_verifier(client, user, secret, &exchange->verifier);
    fault result = scram_talk(client, exchange, out, by);
    if (result == FAULT_PASSWORD || (result == OK && !known))
        result = auth_wrong(user);
    if (result == OK && secret_is_scram(secret) && client->share != NULL)
        keep_keys(client->share, exchange);
    buffer_fini(&exchange->message);
    buffer_fini(&exchange->out);
    explicit_bzero(exchange, sizeof(*exchange));
    free(exchange);
    return result;
}

static const char *auth_secret(const struct auth_request *request)
{
    const struct secret *stored = config_secret(request->config, request->user);
    return stored == NULL ? NULL : stored->text;
}

static fault auth_by_method(struct auth_request *request)
{
    struct client *client = request->client;
    struct span user = request->user;
    const char *secret = auth_secret(request);
    switch (request->how.method) {
    case AUTH_TRUST:
        return OK;
    case AUTH_PASSWORD:
        return auth_password(client, user, secret, request->by);
    case AUTH_MD5:
        if (secret_is_scram(secret))
            return auth_scram(client, user, secret, request->out, request->by);
        return auth_md5(client, user, secret, request->by);
    case AUTH_SCRAM:
        return auth_scram(client, user, secret, request->out, request->by);
    case AUTH_CERT:
        return auth_certificate(request);
    case AUTH_PEER:
        return auth_peer(request);
    default:
        return fault_raise(FAULT_AUTH, "user \"%.*s\" is blocked", SPAN_ARG(user));
    }
}

fault auth_client(struct auth_request *request)
{
    TRY(auth_check_certificate(request));
    TRY(auth_by_method(request));
    wire_put_authentication(request->out, WIRE_AUTH_OK, SPAN_NONE);
    return OK;
}
