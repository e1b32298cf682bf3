/*
 * SCRAM: the first byte says who reads what.  A '*' in a message stands for the nonce that the
 * exchange needs at that place, which a fuzzer could not guess.
 */
#include "fuzz.h"
#include "wire/scram.h"

static const uint8_t random_bytes[SCRAM_NONCE] = "eighteen bytes of ";
static const uint8_t secret[32] = "thirty-two bytes that are secret";

static void expand(struct buffer *out, struct span message, const char *nonce)
{
    buffer_clear(out);
    for (size_t i = 0; i < message.size; i++) {
        if (message.at[i] == '*')
            buffer_append_text(out, nonce);
        else
            buffer_append_byte(out, message.at[i]);
    }
}

/* Client-first, a line feed, client-final. */
static void check_server(struct span input, struct buffer *text, struct buffer *out)
{
    struct scram_verifier verifier;
    struct scram_server server = {0};
    const uint8_t *line = input.size == 0 ? NULL : memchr(input.at, '\n', input.size);
    struct span first = line == NULL ? input : span_of(input.at, (size_t)(line - input.at));
    struct span second = line == NULL ? SPAN_NONE : span_skip(input, first.size + 1);
    scram_mock_verifier(secret, SPAN("user"), &verifier);
    fault found = scram_server_first(&server, first, &verifier, random_bytes, out);
    invariant(found == OK || found == FAULT_PROTOCOL || found == FAULT_UNSUPPORTED);
    invariant((found == OK) == (out->size > 0) && out->size < SCRAM_MESSAGE_MAX);
    expand(text, second, server.nonce);
    buffer_clear(out);
    found = scram_server_final(&server, buffer_span(text), &verifier, out);
    invariant((found == FAULT_PASSWORD || found == FAULT_PROTOCOL) && out->size == 0);
}

static void check_client(struct span input, struct buffer *text, struct buffer *out)
{
    struct scram_client client;
    scram_client_first(&client, random_bytes, out);
    expand(text, input, client.nonce);
    if (scram_client_challenge(&client, buffer_span(text)) != OK)
        return;
    invariant(client.iterations >= 1 && client.iterations <= SCRAM_ITERATIONS_MAX);
    invariant(client.salt_size >= 1 && client.salt_size <= SCRAM_SALT_MAX);
    struct scram_keys keys = {.iterations = client.iterations, .salt_size = client.salt_size};
    memcpy(keys.salt, client.salt, sizeof(keys.salt));
    buffer_clear(out);
    invariant(scram_client_final(&client, &keys, out) == OK);
    invariant(out->size > 0 && out->size < SCRAM_MESSAGE_MAX);
}

static void check_final(struct span input)
{
    struct scram_client client = {.nonce = "x", .server_signature = {1}};
    fault found = scram_client_check(&client, input);
    invariant(found == OK || found == FAULT_AUTH || found == FAULT_PROTOCOL);
}

static void check_verifier(struct span input)
{
    struct scram_verifier verifier;
    char text[SCRAM_VERIFIER_MAX];
    if (scram_read_verifier(input, &verifier) != OK)
        return;
    struct scram_verifier again;
    scram_print_verifier(&verifier, text);
    invariant(scram_read_verifier(span_text(text), &again) == OK);
    invariant(again.iterations == verifier.iterations && again.salt_size == verifier.salt_size);
    invariant(memcmp(again.salt, verifier.salt, sizeof(again.salt)) == 0);
    invariant(memcmp(again.stored_key, verifier.stored_key, SCRAM_KEY) == 0);
    invariant(memcmp(again.server_key, verifier.server_key, SCRAM_KEY) == 0);
}

static void check_password(struct span input)
{
    struct scram_keys keys, again;
    scram_derive(input, random_bytes, SCRAM_SALT, 1, &keys);
    scram_derive(input, random_bytes, SCRAM_SALT, 1, &again);
    invariant(memcmp(keys.client_key, again.client_key, SCRAM_KEY) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct span input = span_of(data + 1, size - 1);
    struct buffer text = BUFFER_INIT(1 << 16), out = BUFFER_INIT(1 << 12);
    switch (data[0]) {
    case 's':
        check_server(input, &text, &out);
        break;
    case 'c':
        check_client(input, &text, &out);
        break;
    case 'f':
        check_final(input);
        break;
    case 'v':
        check_verifier(input);
        break;
    case 'p':
        check_password(input);
        break;
    default:
        break;
    }
    buffer_fini(&text);
    buffer_fini(&out);
    return 0;
}
