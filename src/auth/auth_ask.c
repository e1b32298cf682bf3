/* auth_ask.c - what all methods share: a request to the client, its answer, the error. */
#include "auth/auth_parts.h"
#include "link/link.h"

fault auth_wrong(struct span user)
{
    return fault_raise(FAULT_PASSWORD, "password authentication failed for user \"%.*s\"",
                       SPAN_ARG(user));
}

fault auth_ask(const struct auth_request *request, uint32_t kind, struct span rest,
               struct buffer *message, struct wire_frame *ret)
{
    struct buffer out = BUFFER_INIT(4096);
    invariant(kind != WIRE_AUTH_OK); /* only auth_client() sends that */
    wire_put_authentication(&out, kind, rest);
    fault sent = link_send(request->stream, &out, request->by);
    buffer_fini(&out);
    TRY(sent);
    TRY(link_read_answer(request->stream, message, AUTH_PASSWORD_MAX, ret, request->by));
    if (ret->type != WIRE_PASSWORD)
        return fault_raise(FAULT_PROTOCOL, "expected a password, got a '%c' message", ret->type);
    return OK;
}

fault auth_read_text(const struct wire_frame *frame, struct span *ret)
{
    struct wire_reader in = wire_reader_over(frame->body);
    invariant(frame->type == WIRE_PASSWORD);
    *ret = wire_get_string(&in);
    return wire_done(&in) == OK ? OK : fault_raise(FAULT_PROTOCOL, "malformed password message");
}

bool auth_secret_is_scram(const char *secret)
{
    return secret != NULL && span_starts(span_text(secret), SPAN("SCRAM-SHA-256$"));
}

bool auth_secret_is_md5(const char *secret)
{
    return secret != NULL && strlen(secret) == MD5_TEXT - 1 &&
           span_starts(span_text(secret), SPAN("md5"));
}

fault auth_ask_password(struct auth_request *request, struct buffer *message, struct span *ret)
{
    struct wire_frame frame;
    TRY(auth_ask(request, WIRE_AUTH_PASSWORD, SPAN_NONE, message, &frame));
    return auth_read_text(&frame, ret);
}

void auth_wipe(struct buffer *message)
{
    if (message->at != NULL)
        explicit_bzero(message->at, message->capacity);
    buffer_fini(message);
}
