#include "link/proxy.h"

#include "base/check.h"

#include <string.h>

#define V2_HEAD 16u

static const uint8_t v2_signature[12] = {'\r', '\n', '\r', '\n', 0,   '\r',
                                         '\n', 'Q',  'U',  'I',  'T', '\n'};

/* --- version 1: a line of text ---------------------------------------------------------------- */

/* Takes a word, up to the next blank or the end of the line.  Returns false if it is empty. */
static bool next_word(struct span *line, struct span *ret)
{
    const uint8_t *blank = memchr(line->at, ' ', line->size);
    *ret = span_of(line->at, blank != NULL ? (size_t)(blank - line->at) : line->size);
    *line = span_skip(*line, MIN_OF(ret->size + 1, line->size));
    return ret->size > 0;
}

static bool read_port(struct span word, uint16_t *ret)
{
    uint32_t port = 0;
    if (word.size == 0 || word.size > 5 || (word.size > 1 && word.at[0] == '0'))
        return false;
    for (size_t i = 0; i < word.size; i++) {
        if (word.at[i] < '0' || word.at[i] > '9')
            return false;
        port = port * 10 + (word.at[i] - '0');
    }
    *ret = (uint16_t)port;
    return port <= UINT16_MAX;
}

static bool read_address(struct span word, bool six, struct address *ret)
{
    char text[64];
    if (word.size >= sizeof(text))
        return false;
    memcpy(text, word.at, word.size);
    text[word.size] = '\0';
    /* Headers have numbers without a scope. */
    if (strspn(text, six ? "0123456789abcdefABCDEF:." : "0123456789.") != word.size)
        return false;
    return address_parse_number(text, 0, ret) && ret->family == (six ? ADDRESS_IPV6 : ADDRESS_IPV4);
}

static fault text_decode(struct span line, struct link_proxied *ret)
{
    struct span word, from, to, from_port, to_port;
    struct address ignored;
    uint16_t port, other;
    line = span_skip(line, strlen("PROXY "));
    if (!next_word(&line, &word))
        return FAULT_PROTOCOL;
    if (span_is(word, "UNKNOWN")) {
        ret->what = LINK_PROXY_UNKNOWN;
        return OK;
    }
    bool six = span_is(word, "TCP6");
    if (!six && !span_is(word, "TCP4"))
        return FAULT_PROTOCOL;
    if (!next_word(&line, &from) || !next_word(&line, &to) || !next_word(&line, &from_port) ||
        !next_word(&line, &to_port) || line.size > 0)
        return FAULT_PROTOCOL;
    if (!read_address(from, six, &ret->from) || !read_address(to, six, &ignored) ||
        !read_port(from_port, &port) || !read_port(to_port, &other))
        return FAULT_PROTOCOL;
    ret->from.port = port;
    ret->what = LINK_PROXY_FOR;
    return OK;
}

/* Returns the bytes of the shortest line that begins like this. */
static size_t text_min(struct span bytes)
{
    if (bytes.size < strlen("PROXY TCP4 "))
        return strlen("PROXY UNKNOWN\r\n");
    if (memcmp(bytes.at, "PROXY TCP4 ", strlen("PROXY TCP4 ")) == 0)
        return strlen("PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n");
    if (memcmp(bytes.at, "PROXY TCP6 ", strlen("PROXY TCP6 ")) == 0)
        return strlen("PROXY TCP6 :: :: 1 1\r\n");
    return strlen("PROXY UNKNOWN\r\n");
}

static fault text_walk(struct span bytes, struct link_proxied *ret, size_t *ret_more)
{
    const uint8_t *end = memchr(bytes.at, '\n', bytes.size);
    if (end != NULL) {
        size_t size = (size_t)(end - bytes.at);
        if (size + 1 != bytes.size || size < strlen("PROXY U\r") || end[-1] != '\r')
            return FAULT_PROTOCOL;
        return text_decode(span_of(bytes.at, size - 1), ret);
    }
    if (bytes.size >= LINK_PROXY_MAX - 1)
        return FAULT_PROTOCOL;
    invariant(bytes.size > 0);
    size_t min = text_min(bytes);
    bool returned = bytes.at[bytes.size - 1] == '\r';
    *ret_more = bytes.size < min ? min - bytes.size : 1;
    if (bytes.size >= min && !returned && bytes.size + 2 < LINK_PROXY_MAX)
        *ret_more = 2;
    return FAULT_AGAIN;
}

/* --- version 2: binary ------------------------------------------------------------------------ */

/* Writes the size of the two addresses and ports; 0: a family without addresses to decode.  Returns
 * false for an unknown family. */
static bool addresses_size(uint8_t family, uint32_t *ret)
{
    switch (family) {
    case 0x11: /* TCP over IPv4 */
        *ret = 12;
        return true;
    case 0x21: /* TCP over IPv6 */
        *ret = 36;
        return true;
    case 0x00: /* unspecified */
    case 0x31: /* a Unix socket: its paths do not identify the client */
        *ret = 0;
        return true;
    default:
        return false;
    }
}

static void addresses_read(const uint8_t *at, uint8_t family, struct link_proxied *ret)
{
    invariant(family == 0x11 || family == 0x21);
    size_t size = family == 0x11 ? 4 : 16;
    ret->what = LINK_PROXY_FOR;
    ret->from = (struct address){.family = family == 0x11 ? ADDRESS_IPV4 : ADDRESS_IPV6};
    memcpy(ret->from.bytes, at, size);
    ret->from.port = (uint16_t)(at[2 * size] << 8 | at[2 * size + 1]);
}

static fault binary_walk(struct span bytes, struct link_proxied *ret, size_t *ret_more)
{
    uint32_t known;
    *ret_more = V2_HEAD - MIN_OF(bytes.size, (size_t)V2_HEAD);
    if (*ret_more > 0)
        return FAULT_AGAIN;
    uint8_t command = bytes.at[12];
    uint8_t family = bytes.at[13];
    uint32_t length = (uint32_t)bytes.at[14] << 8 | bytes.at[15];
    bool local = command == 0x20;
    if (!local && command != 0x21)
        return FAULT_PROTOCOL;
    if (local)
        known = 0;
    else if (!addresses_size(family, &known) || length < known)
        return FAULT_PROTOCOL;
    if (bytes.size < V2_HEAD + known) {
        *ret_more = V2_HEAD + known - bytes.size;
        return FAULT_AGAIN;
    }
    if (bytes.size > V2_HEAD + known)
        return FAULT_PROTOCOL;
    ret->what = local ? LINK_PROXY_SELF : LINK_PROXY_UNKNOWN;
    if (known > 0)
        addresses_read(bytes.at + V2_HEAD, family, ret);
    invariant(known <= length && bytes.size == V2_HEAD + known);
    ret->behind = length - known;
    return OK;
}

/* --- both ------------------------------------------------------------------------------------- */

fault link_proxy_decode(struct span bytes, struct link_proxied *ret, size_t *ret_more)
{
    static const char text[] = "PROXY ";
    size_t text_size = MIN_OF(bytes.size, sizeof(text) - 1);
    size_t binary_size = MIN_OF(bytes.size, sizeof(v2_signature));
    *ret_more = 0;
    *ret = (struct link_proxied){.behind = 0};
    if (bytes.size == 0) {
        *ret_more = sizeof(v2_signature);
        return FAULT_AGAIN;
    }
    if (memcmp(bytes.at, v2_signature, binary_size) == 0)
        return binary_walk(bytes, ret, ret_more);
    if (memcmp(bytes.at, text, text_size) == 0)
        return text_walk(bytes, ret, ret_more);
    return FAULT_PROTOCOL;
}

static fault skip(struct stream *stream, uint32_t size, deadline by)
{
    uint8_t nothing[256];
    while (size > 0) {
        uint32_t step = MIN_OF(size, (uint32_t)sizeof(nothing));
        TRY(stream_read_all(stream, nothing, step, by));
        size -= step;
    }
    return OK;
}

fault link_read_proxy(struct stream *stream, struct link_proxied *ret, deadline by)
{
    uint8_t bytes[LINK_PROXY_MAX];
    size_t have = 0, more, got;
    fault what;
    while ((what = link_proxy_decode(span_of(bytes, have), ret, &more)) == FAULT_AGAIN) {
        invariant(more > 0 && have + more <= sizeof(bytes));
        fault read = stream_read(stream, bytes + have, more, &got, by);
        if (read == FAULT_CLOSED && have == 0)
            return fault_raise(FAULT_CLOSED, "%s", ""); /* a probe: no detail */
        if (read == FAULT_CLOSED)
            return fault_raise(FAULT_CLOSED, "closed within its PROXY header, after %zu bytes",
                               have);
        TRY(read);
        have += got;
    }
    if (what != OK)
        return fault_raise(what, "no PROXY header, or a malformed one, where one is due");
    return skip(stream, ret->behind, by);
}
