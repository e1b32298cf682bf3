/* auth_scram.c - SCRAM-SHA-256 with clients, bound to the TLS connection where there is one. */
#include "auth/auth_parts.h"
#include "link/link.h"
#include "machine/ids.h"

#include <stdlib.h>

/* --- verifiers -------------------------------------------------------------------------------- */

/* Finds the verifier of a secret.  An unknown user, or one without a usable secret, gets the mock
 * verifier and `*ret_known` false: the exchange is the same, and fails. */
static fault scram_find_verifier(const struct auth_request *request, const char *secret,
                                 struct scram_verifier *ret, bool *ret_known)
{
    *ret_known = true;
    if (auth_secret_is_scram(secret) && scram_read_verifier(span_text(secret), ret) == OK)
        return OK;
    if (secret != NULL && !auth_secret_is_md5(secret) && !auth_secret_is_scram(secret))
        return auth_plain_verifier(request, secret, ret);
    *ret_known = false;
    auth_mock_verifier(request, ret);
    return OK;
}

/* --- the exchange ----------------------------------------------------------------------------- */

#define MECHANISM      "SCRAM-SHA-256"
#define MECHANISM_PLUS "SCRAM-SHA-256-PLUS"

/* Reads SASLInitialResponse: the mechanism, a length, and the client's first message. */
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
    uint8_t channel[STREAM_ENDPOINT_MAX];
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

static fault scram_talk(const struct auth_request *request, struct scram_exchange *exchange,
                        struct buffer *last)
{
    struct wire_frame frame;
    struct span first;
    uint8_t random[SCRAM_NONCE];
    random_bytes(random, sizeof(random));
    struct scram_offer offer = {.verifier = &exchange->verifier, .random = random};
    offer.channel =
        span_of(exchange->channel, stream_tls_endpoint(request->stream, exchange->channel));
    invariant(offer.channel.size <= sizeof(exchange->channel));
    struct span mechanisms = offer.channel.size > 0 ? SPAN(MECHANISM_PLUS "\0" MECHANISM "\0\0")
                                                    : SPAN(MECHANISM "\0\0");
    TRY(auth_ask(request, WIRE_AUTH_SASL, mechanisms, &exchange->message, &frame));
    TRY(scram_read_initial(&frame, &offer, &first));
    TRY(scram_begin(exchange, first, &offer));
    invariant(exchange->out.size > 0 || buffer_fault(&exchange->out) != OK);
    TRY(auth_ask(request, WIRE_AUTH_SASL_CONTINUE, buffer_span(&exchange->out), &exchange->message,
                 &frame));
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

/* Keeps the client's SCRAM keys, to log in to servers that have the same verifier. */
static void keep_keys(const struct auth_request *request, const struct scram_exchange *exchange,
                      const char *secret)
{
    struct scram_keys keys = {.iterations = exchange->verifier.iterations,
                              .salt_size = exchange->verifier.salt_size};
    invariant(auth_secret_is_scram(secret) && keys.salt_size <= sizeof(keys.salt));
    memcpy(keys.salt, exchange->verifier.salt, sizeof(keys.salt));
    memcpy(keys.client_key, exchange->scram.client_key, SCRAM_KEY);
    memcpy(keys.server_key, exchange->verifier.server_key, SCRAM_KEY);
    local_pool_keep_keys(request->pool, request->config, secret, &keys);
    explicit_bzero(&keys, sizeof(keys));
}

fault auth_scram(struct auth_request *request, const char *secret)
{
    struct scram_exchange *exchange = malloc(sizeof(*exchange));
    bool known = false;
    if (exchange == NULL)
        return FAULT_MEMORY;
    exchange->scram.nonce[0] = '\0'; /* all other fields are written before they are read */
    exchange->message = BUFFER_INIT(AUTH_PASSWORD_MAX + 1024);
    exchange->out = BUFFER_INIT(SCRAM_MESSAGE_MAX * 2);
    fault result = scram_find_verifier(request, secret, &exchange->verifier, &known);
    if (result == OK) {
        invariant(exchange->verifier.iterations > 0);
        result = scram_talk(request, exchange, request->out);
    }
    if (result == FAULT_PASSWORD || (result == OK && !known))
        result = auth_wrong(request->user);
    if (result == OK && auth_secret_is_scram(secret) && request->pool != NULL)
        keep_keys(request, exchange, secret);
    buffer_fini(&exchange->message);
    buffer_fini(&exchange->out);
    explicit_bzero(&exchange->verifier, sizeof(exchange->verifier));
    explicit_bzero(exchange->scram.client_key, SCRAM_KEY); /* other fields were sent in clear */
    free(exchange);
    return result;
}
