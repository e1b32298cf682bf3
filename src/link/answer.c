/* answer.c - answers a server's authentication requests. */
#include "link/attempt_parts.h"

#include "machine/ids.h"

#include <string.h>

#define SCRAM_MECHANISM "SCRAM-SHA-256"
#define SCRAM_PLUS      "SCRAM-SHA-256-PLUS"

/* --- clear text and md5 ----------------------------------------------------------------------- */

static fault answer_missing(const struct link_attempt *attempt, const char *method)
{
    return fault_raise(FAULT_AUTH, "the server requests %s, but there is none for user \"%.*s\"",
                       method, SPAN_ARG(attempt->what->user));
}

static fault answer_password(struct link_attempt *attempt, struct span text)
{
    size_t start = wire_begin(&attempt->out, WIRE_PASSWORD);
    wire_put_string(&attempt->out, text);
    wire_end(&attempt->out, start);
    return link_send(attempt->stream, &attempt->out, attempt->by);
}

/* Refuses a method without channel binding if the target requires binding: no password is sent
 * then. */
static fault answer_unbound(const struct link_attempt *attempt)
{
    if (attempt->what->target->binding != LINK_BINDING_REQUIRE)
        return OK;
    return fault_raise(FAULT_AUTH, "channel binding is required, and the server requests another "
                                   "method than SCRAM-SHA-256-PLUS");
}

static fault answer_clear(struct link_attempt *attempt)
{
    const struct link_secret *secret = attempt->what->secret;
    TRY(answer_unbound(attempt));
    if (secret == NULL || secret->password.size == 0)
        return answer_missing(attempt, "a plain password");
    return answer_password(attempt, secret->password);
}

static fault answer_md5(struct link_attempt *attempt, struct span salt)
{
    const struct link_secret *secret = attempt->what->secret;
    char stored[MD5_TEXT], text[MD5_TEXT];
    TRY(answer_unbound(attempt));
    if (salt.size != 4)
        return fault_raise(FAULT_PROTOCOL, "md5 salt of %zu bytes", salt.size);
    if (secret != NULL && secret->md5[0] != '\0')
        memcpy(stored, secret->md5, sizeof(stored));
    else if (secret != NULL && secret->password.size > 0)
        md5_secret(secret->password, attempt->what->user, stored);
    else
        return answer_missing(attempt, "a plain or md5 password");
    md5_answer(stored, salt.at, text);
    explicit_bzero(stored, sizeof(stored));
    return answer_password(attempt, span_text(text));
}

/* --- SCRAM's keys ----------------------------------------------------------------------------- */

static fault answer_derive(struct link_attempt *attempt)
{
    struct link_secret *secret = attempt->what->secret;
    const struct scram_client *scram = &attempt->scram;
    struct scram_keys like = {.iterations = scram->iterations, .salt_size = scram->salt_size};
    memcpy(like.salt, scram->salt, sizeof(like.salt));
    invariant(secret->password.size > 0 && scram->salt_size <= sizeof(like.salt));
    TRY(link_derive(secret->password, &like, &secret->keys, attempt->by));
    secret->have_keys = true;
    return OK;
}

static fault answer_keys(struct link_attempt *attempt)
{
    const struct link_secret *secret = attempt->what->secret;
    const struct scram_client *scram = &attempt->scram;
    if (secret->have_keys &&
        scram_keys_fit(&secret->keys, scram->salt, scram->salt_size, scram->iterations))
        return OK;
    if (secret->password.size > 0)
        return answer_derive(attempt);
    return fault_raise(FAULT_AUTH,
                       "the server's SCRAM salt for user \"%.*s\" is not that of the known keys",
                       SPAN_ARG(attempt->what->user));
}

/* --- SCRAM's messages ------------------------------------------------------------------------- */

/* Chooses channel binding as libpq does: bound if both sides support it.  Otherwise 'y' tells a
 * server that supports it that its offer was not seen. */
static fault answer_binding(struct link_attempt *attempt, struct span mechanisms,
                            uint8_t channel[STREAM_ENDPOINT_MAX], size_t *ret_size)
{
    enum link_binding binding = attempt->what->target->binding;
    bool offered = wire_sasl_offers(mechanisms, SCRAM_PLUS);
    *ret_size = binding == LINK_BINDING_DISABLE ? 0 : stream_tls_endpoint(attempt->stream, channel);
    attempt->scram_flag = *ret_size == 0 ? 'n' : offered ? 'p' : 'y';
    if (attempt->scram_flag == 'p') {
        invariant(attempt->stream->tls != NULL && offered);
        return OK;
    }
    *ret_size = 0;
    if (binding != LINK_BINDING_REQUIRE)
        return OK;
    return fault_raise(FAULT_AUTH, "channel binding is required, and %s",
                       attempt->stream->tls == NULL ? "the connection has no TLS"
                                                    : "the server does not offer it");
}

static fault answer_sasl(struct link_attempt *attempt, struct span mechanisms)
{
    const struct link_secret *secret = attempt->what->secret;
    uint8_t random[SCRAM_NONCE], channel[STREAM_ENDPOINT_MAX];
    size_t channel_size;
    struct buffer first = BUFFER_INIT(SCRAM_MESSAGE_MAX);
    if (attempt->phase != LOGIN_SCRAM_NONE)
        return fault_raise(FAULT_PROTOCOL, "the server sent a second AuthenticationSASL");
    TRY(answer_binding(attempt, mechanisms, channel, &channel_size));
    if (attempt->scram_flag != 'p' && !wire_sasl_offers(mechanisms, SCRAM_MECHANISM)) {
        struct wire_reader in = wire_reader_over(mechanisms);
        struct span name = wire_get_string(&in);
        return fault_raise(FAULT_UNSUPPORTED, "SASL mechanism \"%.*s\" is not supported",
                           SPAN_ARG(name));
    }
    if (secret == NULL || (!secret->have_keys && secret->password.size == 0))
        return answer_missing(attempt, "SCRAM-SHA-256 with a plain password or SCRAM keys");

    /* Required binding is in use, or the login has failed before. */
    invariant(attempt->scram_flag == 'p' || attempt->what->target->binding != LINK_BINDING_REQUIRE);
    random_bytes(random, sizeof(random));
    scram_client_begin(&attempt->scram, random, attempt->scram_flag, span_of(channel, channel_size),
                       &first);
    size_t start = wire_begin(&attempt->out, WIRE_PASSWORD);
    wire_put_text(&attempt->out, attempt->scram_flag == 'p' ? SCRAM_PLUS : SCRAM_MECHANISM);
    wire_put_u32(&attempt->out, (uint32_t)first.size);
    wire_put_bytes(&attempt->out, buffer_span(&first));
    wire_end(&attempt->out, start);
    fault made = buffer_fault(&first);
    buffer_fini(&first);
    TRY(made);
    attempt->phase = LOGIN_SCRAM_FIRST;
    return link_send(attempt->stream, &attempt->out, attempt->by);
}

static fault answer_sasl_continue(struct link_attempt *attempt, struct span server_first)
{
    if (attempt->phase != LOGIN_SCRAM_FIRST)
        return fault_raise(FAULT_PROTOCOL, "AuthenticationSASLContinue without AuthenticationSASL");
    if (scram_client_challenge(&attempt->scram, server_first) != OK)
        return fault_raise(FAULT_PROTOCOL, "malformed SCRAM challenge");
    TRY(answer_keys(attempt));
    invariant(attempt->what->secret->have_keys);
    size_t start = wire_begin(&attempt->out, WIRE_PASSWORD);
    TRY(scram_client_final(&attempt->scram, &attempt->what->secret->keys, &attempt->out));
    wire_end(&attempt->out, start);
    attempt->phase = LOGIN_SCRAM_FINAL;
    return link_send(attempt->stream, &attempt->out, attempt->by);
}

static fault answer_sasl_final(struct link_attempt *attempt, struct span server_final)
{
    if (attempt->phase != LOGIN_SCRAM_FINAL)
        return fault_raise(FAULT_PROTOCOL,
                           "AuthenticationSASLFinal before the client proof was sent");
    fault what = scram_client_check(&attempt->scram, server_final);
    if (what == FAULT_AUTH)
        return fault_raise(what, "the server sent a wrong SCRAM signature for user \"%.*s\"",
                           SPAN_ARG(attempt->what->user));
    if (what != OK)
        return fault_raise(what, "malformed SCRAM signature");
    attempt->phase = LOGIN_SCRAM_CHECKED;
    return OK;
}

/* Checks that AuthenticationOk may come now.  A server that could skip its own proof would not need
 * to know any password. */
static fault answer_ok(const struct link_attempt *attempt)
{
    if (attempt->phase == LOGIN_SCRAM_NONE)
        return answer_unbound(attempt);
    if (attempt->phase == LOGIN_SCRAM_CHECKED)
        return OK;
    return fault_raise(FAULT_AUTH, "the server ended SCRAM without sending its signature");
}

static const char *answer_method_text(uint32_t kind)
{
    switch (kind) {
    case 2:
        return "Kerberos V5";
    case 6:
        return "SCM credentials";
    case 7:
        return "GSSAPI";
    case 9:
        return "SSPI";
    default:
        return "unknown";
    }
}

fault link_answer(struct link_attempt *attempt, const struct wire_auth_request *request)
{
    switch (request->kind) {
    case WIRE_AUTH_OK:
        return answer_ok(attempt);
    case WIRE_AUTH_PASSWORD:
        return answer_clear(attempt);
    case WIRE_AUTH_MD5:
        return answer_md5(attempt, request->rest);
    case WIRE_AUTH_SASL:
        return answer_sasl(attempt, request->rest);
    case WIRE_AUTH_SASL_CONTINUE:
        return answer_sasl_continue(attempt, request->rest);
    case WIRE_AUTH_SASL_FINAL:
        return answer_sasl_final(attempt, request->rest);
    default:
        return fault_raise(FAULT_UNSUPPORTED, "authentication method %u (%s) is not supported",
                           request->kind, answer_method_text(request->kind));
    }
}
