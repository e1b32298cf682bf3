#include "parade/target.h"

#include "base/number.h"

#include <stddef.h>
#include <stdio.h>

#define WORD_MAX 2048u

/* --- one value -------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    size_t at;
    size_t size;
} texts[] = {
#define TEXT(name, field)                                                                          \
    {                                                                                              \
        name, offsetof(struct parade_target, field), sizeof(((struct parade_target *)0)->field)    \
    }
    TEXT("host", host),         TEXT("user", user),       TEXT("dbname", database),
    TEXT("password", password), TEXT("sslmode", sslmode), TEXT("sslrootcert", authorities),
#undef TEXT
};

static const char *const modes[] = {"disable", "allow",     "prefer",
                                    "require", "verify-ca", "verify-full"};

static bool mode_known(struct span value)
{
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
        if (span_is(value, modes[i]))
            return true;
    return false;
}

static fault set_number(struct span name, struct span value, uint64_t max, uint64_t *ret)
{
    uint64_t number;
    if (!number_read(value, 10, &number) || number == 0 || number > max)
        return fault_raise(FAULT_CONFIG, "found %.*s %.*s; accepted: 1 to %u", SPAN_ARG(name),
                           SPAN_ARG(value), (unsigned)max);
    *ret = number;
    return OK;
}

fault parade_target_set(struct parade_target *target, struct span name, struct span value)
{
    uint64_t number;
    if (span_is(name, "port")) {
        TRY(set_number(name, value, UINT16_MAX, &number));
        target->port = (uint16_t)number;
        return OK;
    }
    if (span_is(name, "connect_timeout")) {
        TRY(set_number(name, value, 3600, &number));
        target->patience = (uint32_t)number;
        return OK;
    }
    if (span_is(name, "sslmode") && !mode_known(value))
        return fault_raise(FAULT_CONFIG,
                           "found sslmode %.*s; accepted: disable, allow, prefer, require, "
                           "verify-ca, verify-full",
                           SPAN_ARG(value));
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        if (!span_is(name, texts[i].name))
            continue;
        if (value.size == 0 || value.size >= texts[i].size ||
            memchr(value.at, '\0', value.size) != NULL)
            return fault_raise(FAULT_CONFIG, "found %s of %zu bytes; accepted: 1 to %zu",
                               texts[i].name, value.size, texts[i].size - 1);
        char *to = (char *)target + texts[i].at;
        memcpy(to, value.at, value.size);
        to[value.size] = '\0';
        return OK;
    }
    return fault_raise(FAULT_CONFIG,
                       "found %.*s in a connection string; accepted: host, port, user, password, "
                       "dbname, sslmode, sslrootcert, connect_timeout",
                       SPAN_ARG(name));
}

/* --- postgresql://... ------------------------------------------------------------------------- */

static int hex_of(uint8_t digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit |= 0x20;
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* Decodes %XX. */
static fault decode(struct span text, char *word, struct span *ret)
{
    size_t used = 0;
    for (size_t i = 0; i < text.size && used < WORD_MAX; i++) {
        uint8_t byte = text.at[i];
        if (byte == '%') {
            int high = i + 2 < text.size ? hex_of(text.at[i + 1]) : -1;
            int low = i + 2 < text.size ? hex_of(text.at[i + 2]) : -1;
            if (high < 0 || low < 0)
                return fault_raise(FAULT_CONFIG, "found %% without two hexadecimal digits in a "
                                                 "connection string");
            byte = (uint8_t)(high << 4 | low);
            i += 2;
        }
        word[used++] = (char)byte;
    }
    *ret = span_of(word, used);
    return OK;
}

static fault set_decoded(struct parade_target *target, const char *name, struct span value)
{
    char word[WORD_MAX];
    struct span plain = SPAN_NONE;
    if (value.size == 0)
        return OK;
    TRY(decode(value, word, &plain));
    return parade_target_set(target, span_text(name), plain);
}

/* Cuts `text` at the first `mark`: returns what is before it; `text` is what follows, or none. */
static struct span cut(struct span *text, char mark)
{
    const uint8_t *end = text->size > 0 ? memchr(text->at, mark, text->size) : NULL;
    struct span before = *text;
    if (end == NULL) {
        *text = SPAN_NONE;
        return before;
    }
    before.size = (size_t)(end - text->at);
    *text = span_skip(*text, before.size + 1);
    return before;
}

/* HOST, HOST:PORT or [IPV6]:PORT. */
static fault read_place(struct parade_target *target, struct span place)
{
    struct span host;
    if (place.size > 0 && place.at[0] == '[') {
        place = span_skip(place, 1);
        host = cut(&place, ']');
        if (place.size > 0)
            place = span_skip(place, 1);
    } else {
        host = cut(&place, ':');
    }
    TRY(set_decoded(target, "host", host));
    return set_decoded(target, "port", place);
}

static fault read_uri(struct span text, struct parade_target *target)
{
    struct span options = text;
    struct span main = cut(&options, '?');
    struct span database = main;
    struct span place = cut(&database, '/');
    if (place.size > 0 && memchr(place.at, '@', place.size) != NULL) {
        struct span user = cut(&place, '@');
        struct span password = user;
        user = cut(&password, ':');
        TRY(set_decoded(target, "user", user));
        TRY(set_decoded(target, "password", password));
    }
    TRY(read_place(target, place));
    TRY(set_decoded(target, "dbname", database));
    while (options.size > 0) {
        struct span value = cut(&options, '&');
        struct span name = cut(&value, '=');
        char word[WORD_MAX];
        struct span plain = SPAN_NONE;
        TRY(decode(value, word, &plain));
        TRY(parade_target_set(target, name, plain));
    }
    return OK;
}

/* --- name=value ... --------------------------------------------------------------------------- */

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

static struct span skip_blanks(struct span text)
{
    while (text.size > 0 && is_blank(text.at[0]))
        text = span_skip(text, 1);
    return text;
}

/* A value, which may stand in single quotes; a backslash takes the next byte as it is. */
static fault read_value(struct span *text, char *word, struct span *ret)
{
    size_t used = 0;
    bool quoted = text->size > 0 && text->at[0] == '\'';
    *text = span_skip(*text, quoted);
    while (text->size > 0 && used < WORD_MAX) {
        uint8_t byte = text->at[0];
        if (quoted ? byte == '\'' : is_blank(byte))
            break;
        if (byte == '\\' && text->size > 1) {
            *text = span_skip(*text, 1);
            byte = text->at[0];
        }
        word[used++] = (char)byte;
        *text = span_skip(*text, 1);
    }
    if (quoted && (text->size == 0 || text->at[0] != '\''))
        return fault_raise(FAULT_CONFIG, "found a quote without its end in a connection string");
    *text = span_skip(*text, quoted);
    *ret = span_of(word, used);
    return OK;
}

static fault read_pairs(struct span text, struct parade_target *target)
{
    for (text = skip_blanks(text); text.size > 0; text = skip_blanks(text)) {
        char word[WORD_MAX];
        struct span value = SPAN_NONE;
        if (memchr(text.at, '=', text.size) == NULL)
            return fault_raise(FAULT_CONFIG,
                               "found \"%.*s\"; accepted: postgresql://HOST/DATABASE, or "
                               "host=HOST dbname=DATABASE",
                               SPAN_ARG(text));
        struct span name = cut(&text, '=');
        while (name.size > 0 && is_blank(name.at[name.size - 1]))
            name.size -= 1;
        text = skip_blanks(text);
        TRY(read_value(&text, word, &value));
        TRY(parade_target_set(target, name, value));
    }
    return OK;
}

/* --- the whole -------------------------------------------------------------------------------- */

fault parade_target_read(struct span text, struct parade_target *ret)
{
    static const char *const schemes[] = {"postgresql://", "postgres://"};
    for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
        if (span_starts(text, span_text(schemes[i])))
            return read_uri(span_skip(text, strlen(schemes[i])), ret);
    return read_pairs(text, ret);
}

const char *parade_target_text(const struct parade_target *target, char *text, size_t size)
{
    bool six = strchr(target->host, ':') != NULL;
    snprintf(text, size, "%s%s%s:%u/%s", six ? "[" : "", target->host, six ? "]" : "", target->port,
             target->database);
    return text;
}
