#include "link/login.h"

#include "machine/ids.h"

#include <string.h>

#define SCRAM_MECHANISM "SCRAM-SHA-256"
#define SCRAM_PLUS      "SCRAM-SHA-256-PLUS"

/* --- clear text and md5 ----------------------------------------------------------------------- */

static fault answer_missing(const struct login *login, const char *method)
{
    return fault_raise(FAULT_AUTH, "the server asks for %s, but there is none for user \"%.*s\"",
                       method, SPAN_ARG(login->what->user));
}

static fault answer_password(struct login *login, struct span text)
{
    size_t start = wire_begin(&login->out, WIRE_PASSWORD);
    wire_put_string(&login->out, text);
    wire_end(&login->out, start);
    return link_send(login->stream, &login->out, login->by);
}

/* Refuses a method without channel binding if the target requires binding: no password is sent
 * then. */
static fault answer_unbound(const struct login *login)
{
    if (login->what->target->binding != LINK_BINDING_REQUIRE)
        return OK;
    return fault_raise(FAULT_AUTH, "channel binding is required, and the server asks for something "
                                   "else than SCRAM-SHA-256-PLUS");
}

static fault answer_clear(struct login *login)
{
    const struct link_secret *secret = login->what->secret;
    TRY(answer_unbound(login));
    if (secret == NULL || secret->password.size == 0)
        return answer_missing(login, "a plain password");
    return answer_password(login, secret->password);
}

static fault answer_md5(struct login *login, struct span salt)
{
    const struct link_secret *secret = login->what->secret;
    char stored[MD5_TEXT], text[MD5_TEXT];
    TRY(answer_unbound(login));
    if (salt.size != 4)
        return fault_raise(FAULT_PROTOCOL, "md5 salt of %zu bytes", salt.size);
    if (secret != NULL && secret->md5[0] != '\0')
        memcpy(stored, secret->md5, sizeof(stored));
    else if (secret != NULL && secret->password.size > 0)
        md5_secret(secret->password, login->what->user, stored);
    else
        return answer_missing(login, "a plain or md5 password");
    md5_answer(stored, salt.at, text);
    explicit_bzero(stored, sizeof(stored));
    return answer_password(login, span_text(text));
}

/* --- SCRAM's keys ----------------------------------------------------------------------------- */

static fault answer_derive(struct login *login)
{
    struct link_secret *secret = login->what->secret;
    const struct scram_client *scram = &login->scram;
    struct scram_keys like = {.iterations = scram->iterations, .salt_size = scram->salt_size};
    memcpy(like.salt, scram->salt, sizeof(like.salt));
    TRY(link_derive(secret->password, &like, &secret->keys, login->by));
    secret->have_keys = true;
    return OK;
}

static fault answer_keys(struct login *login)
{
    const struct link_secret *secret = login->what->secret;
    const struct scram_client *scram = &login->scram;
    if (secret->have_keys &&
        scram_keys_fit(&secret->keys, scram->salt, scram->salt_size, scram->iterations))
        return OK;
    if (secret->password.size > 0)
        return answer_derive(login);
    return fault_raise(FAULT_AUTH,
                       "the server's SCRAM salt for user \"%.*s\" is not that of the known keys",
                       SPAN_ARG(login->what->user));
}

/* --- SCRAM's messages ------------------------------------------------------------------------- */

/* Chooses channel binding as libpq does: bound if both sides support it.  Otherwise 'y' tells a
 * server that supports it that its offer was not seen. */
static fault answer_binding(struct login *login, struct span mechanisms,
                            uint8_t channel[STREAM_ENDPOINT_MAX], size_t *ret_size)
{
    enum link_binding binding = login->what->target->binding;
    bool offered = wire_sasl_offers(mechanisms, SCRAM_PLUS);
    *ret_size = binding == LINK_BINDING_DISABLE ? 0 : stream_tls_endpoint(login->stream, channel);
    login->scram_flag = *ret_size == 0 ? 'n' : offered ? 'p' : 'y';
    if (login->scram_flag == 'p')
        return OK;
    *ret_size = 0;
    if (binding != LINK_BINDING_REQUIRE)
        return OK;
    return fault_raise(FAULT_AUTH, "channel binding is required, and %s",
                       login->stream->tls == NULL ? "the connection has no TLS"
                                                  : "the server does not offer it");
}

static fault answer_sasl(struct login *login, struct span mechanisms)
{
    const struct link_secret *secret = login->what->secret;
    uint8_t random[SCRAM_NONCE], channel[STREAM_ENDPOINT_MAX];
    size_t channel_size;
    struct buffer first = BUFFER_INIT(SCRAM_MESSAGE_MAX);
    if (login->phase != LOGIN_SCRAM_NONE)
        return fault_raise(FAULT_PROTOCOL, "the server starts SASL a second time");
    TRY(answer_binding(login, mechanisms, channel, &channel_size));
    if (login->scram_flag != 'p' && !wire_sasl_offers(mechanisms, SCRAM_MECHANISM)) {
        struct wire_reader in = wire_reader_over(mechanisms);
        struct span name = wire_get_string(&in);
        return fault_raise(FAULT_UNSUPPORTED, "SASL mechanism \"%.*s\" is not supported",
                           SPAN_ARG(name));
    }
    if (secret == NULL || (!secret->have_keys && secret->password.size == 0))
        return answer_missing(login, "SCRAM-SHA-256 with a plain password or SCRAM keys");

    random_bytes(random, sizeof(random));
    scram_client_begin(&login->scram, random, login->scram_flag, span_of(channel, channel_size),
                       &first);
    size_t start = wire_begin(&login->out, WIRE_PASSWORD);
    wire_put_text(&login->out, login->scram_flag == 'p' ? SCRAM_PLUS : SCRAM_MECHANISM);
    wire_put_u32(&login->out, (uint32_t)first.size);
    wire_put_bytes(&login->out, buffer_span(&first));
    wire_end(&login->out, start);
    fault made = buffer_fault(&first);
    buffer_fini(&first);
    TRY(made);
    login->phase = LOGIN_SCRAM_FIRST;
    return link_send(login->stream, &login->out, login->by);
}

static fault answer_sasl_continue(struct login *login, struct span server_first)
{
    if (login->phase != LOGIN_SCRAM_FIRST)
        return fault_raise(FAULT_PROTOCOL, "SASL goes on without having begun");
    if (scram_client_challenge(&login->scram, server_first) != OK)
        return fault_raise(FAULT_PROTOCOL, "malformed SCRAM challenge");
    TRY(answer_keys(login));
    size_t start = wire_begin(&login->out, WIRE_PASSWORD);
    TRY(scram_client_final(&login->scram, &login->what->secret->keys, &login->out));
    wire_end(&login->out, start);
    login->phase = LOGIN_SCRAM_FINAL;
    return link_send(login->stream, &login->out, login->by);
}

static fault answer_sasl_final(struct login *login, struct span server_final)
{
    if (login->phase != LOGIN_SCRAM_FINAL)
        return fault_raise(FAULT_PROTOCOL, "SASL ends before our proof");
    fault what = scram_client_check(&login->scram, server_final);
    if (what == FAULT_AUTH)
        return fault_raise(what, "the server does not know the password of user \"%.*s\" itself",
                           SPAN_ARG(login->what->user));
    if (what != OK)
        return fault_raise(what, "malformed SCRAM signature");
    login->phase = LOGIN_SCRAM_CHECKED;
    return OK;
}

/* Checks that AuthenticationOk may come now.  A server that could skip its own proof would not need
 * to know any password. */
static fault answer_ok(const struct login *login)
{
    if (login->phase == LOGIN_SCRAM_NONE)
        return answer_unbound(login);
    if (login->phase == LOGIN_SCRAM_CHECKED)
        return OK;
    return fault_raise(FAULT_AUTH, "the server ended SCRAM without having proven itself");
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

fault link_answer(struct login *login, const struct wire_auth_request *request)
{
    switch (request->kind) {
    case WIRE_AUTH_OK:
        return answer_ok(login);
    case WIRE_AUTH_PASSWORD:
        return answer_clear(login);
    case WIRE_AUTH_MD5:
        return answer_md5(login, request->rest);
    case WIRE_AUTH_SASL:
        return answer_sasl(login, request->rest);
    case WIRE_AUTH_SASL_CONTINUE:
        return answer_sasl_continue(login, request->rest);
    case WIRE_AUTH_SASL_FINAL:
        return answer_sasl_final(login, request->rest);
    default:
        return fault_raise(FAULT_UNSUPPORTED, "authentication method %u (%s) is not supported",
                           request->kind, answer_method_text(request->kind));
    }
}
