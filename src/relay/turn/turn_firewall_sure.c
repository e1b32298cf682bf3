/*
 * turn_firewall_sure.c - whether a text means to the server what it means to the analysis.
 *
 * The server converts a text from client_encoding before it reads it.  In some encodings that only
 * clients can have, the second byte of a character may be that of a letter or of a backslash.  With
 * standard_conforming_strings off, a backslash in '...' escapes what follows.  A client that could
 * set either unseen might hide a statement in what looks like a string.
 */
#include "pool/local_pool.h"
#include "pool/server.h"
#include "query/outline.h"
#include "relay/client.h"
#include "relay/turn/turn_firewall_parts.h"
#include "wire/startup.h"

/* Whether a byte above 127 stands in front of one that may be the second byte of its character. */
static bool depends_on_encoding(struct span text)
{
    for (size_t i = 0; i + 1 < text.size; i++)
        if (text.at[i] >= 0x80 && text.at[i + 1] >= 0x30 && text.at[i + 1] < 0x80)
            return true;
    return false;
}

/* The value of a parameter in the client's session.  Empty: not known. */
static struct span value_of(const struct client *client, struct span name)
{
    const struct span *own = params_find(client->params, name);
    struct span rest = buffer_span(&client->pool->reported.parameters), known, value;
    if (own != NULL)
        return *own;
    while (wire_next_parameter(&rest, &known, &value))
        if (span_equal(known, name))
            return value;
    return SPAN_NONE;
}

/* Whether no byte below 128 is a part of another character, by the name of an encoding. */
static bool is_plain(struct span encoding)
{
    static const char *const plain[] = {
        "utf8",         "unicode", "sqlascii", "latin",  "iso8859",    "koi8",       "euc",
        "muleinternal", "win125",  "win866",   "win874", "windows125", "windows866", "windows874"};
    char name[24];
    size_t size = 0;
    for (size_t i = 0; i < encoding.size && size < sizeof(name); i++) {
        uint8_t byte = encoding.at[i], low = byte | 0x20;
        if (low >= 'a' && low <= 'z')
            name[size++] = (char)low;
        else if (byte >= '0' && byte <= '9')
            name[size++] = (char)byte;
    }
    for (size_t i = 0; i < ARRAY_SIZE(plain); i++)
        if (span_starts(span_of(name, size), span_text(plain[i])))
            return true;
    return false;
}

bool turn_firewall_sure(const struct client *client, const struct server *server, struct span text)
{
    bool encoded = depends_on_encoding(text);
    bool escaped = text.size > 0 && memchr(text.at, '\\', text.size) != NULL;
    if (!encoded && !escaped)
        return true;
    /* A message that is under way may change them, and its report has not come. */
    if (server != NULL && server->session.altered && !ledger_empty(&server->session.ledger))
        return false;
    return (!encoded || is_plain(value_of(client, SPAN("client_encoding")))) &&
           (!escaped || span_is(value_of(client, SPAN("standard_conforming_strings")), "on"));
}

bool turn_firewall_alters(const struct query_outline *outline)
{
    static const enum query_verb verbs[] = {QUERY_VERB_SET,     QUERY_VERB_RESET,
                                            QUERY_VERB_DISCARD, QUERY_VERB_EXECUTE,
                                            QUERY_VERB_DO,      QUERY_VERB_CALL};
    if (outline == NULL || !outline->parsed || outline->partial)
        return true;
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        if (query_outline_does(outline, verbs[i]))
            return true;
    for (uint16_t i = 0; i < outline->functions_count; i++)
        if (span_is(outline->functions[i].name, "set_config"))
            return true;
    return false;
}
