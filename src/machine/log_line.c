#include "machine/log_line.h"

#include "base/check.h"
#include "base/map.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

/* Bytes that are kept free, so that the last value and the line can always be closed. */
#define LOG_LINE_RESERVE 8

/* The value that is being formatted; its kind becomes TEXT at a byte that numbers do not have. */
struct log_value {
    size_t size;
    enum { LOG_VALUE_NUMBER, LOG_VALUE_TEXT } kind;
    bool quoted; /* in the format string */
    char bytes[LOG_VALUE_MAX];
};

static const char *const log_level_names[] = {"EMERG",   "ALERT",  "CRIT", "ERROR",
                                              "WARNING", "NOTICE", "INFO", "DEBUG"};

/* --- the line --------------------------------------------------------------------------------- */

/* Appends all of `bytes` or nothing, so that no escape sequence is truncated. */
static bool line_put(struct log_line *line, const char *bytes, size_t size)
{
    if (line->size + size > line->max - LOG_LINE_RESERVE)
        return false;
    memcpy(line->bytes + line->size, bytes, size);
    line->size += size;
    return true;
}

static bool line_put_text(struct log_line *line, const char *text)
{
    return line_put(line, text, strlen(text));
}

/* Appends a closing text; uses the reserve. */
static void line_close(struct log_line *line, const char *text)
{
    size_t size = strlen(text);
    invariant(line->size + size <= line->max);
    memcpy(line->bytes + line->size, text, size);
    line->size += size;
}

/* The length of the UTF-8 character at `at`, 0 if there is no valid one. */
static size_t utf8_length(const uint8_t *at, size_t size)
{
    static const struct {
        uint8_t mask, lead, least_second, most_second;
        uint8_t length;
    } forms[] = {
        {0x80, 0x00, 0, 0, 1},       {0xe0, 0xc0, 0x80, 0xbf, 2}, {0xff, 0xe0, 0xa0, 0xbf, 3},
        {0xff, 0xed, 0x80, 0x9f, 3}, {0xf0, 0xe0, 0x80, 0xbf, 3}, {0xff, 0xf0, 0x90, 0xbf, 4},
        {0xff, 0xf4, 0x80, 0x8f, 4}, {0xf8, 0xf0, 0x80, 0xbf, 4},
    };
    if (*at == 0xc0 || *at == 0xc1 || *at > 0xf4)
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        if ((*at & forms[i].mask) != forms[i].lead)
            continue;
        size_t length = forms[i].length;
        if (length > size)
            return 0;
        if (length > 1 && (at[1] < forms[i].least_second || at[1] > forms[i].most_second))
            return 0;
        for (size_t k = 2; k < length; k++)
            if ((at[k] & 0xc0) != 0x80)
                return 0;
        return length;
    }
    return 0;
}

/* The two-character escape that both formats share, NULL if the byte has none. */
static const char *short_escape(uint8_t byte)
{
    switch (byte) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        return NULL;
    }
}

/* Appends a value escaped, so that the line stays one line and JSON stays valid UTF-8. */
static void line_put_escaped(struct log_line *line, const char *bytes, size_t size)
{
    const uint8_t *at = (const uint8_t *)bytes;
    const uint8_t *end = at + size;
    bool fits = true;
    while (fits && at < end) {
        const char *escape = short_escape(*at);
        size_t length = *at < 0x20 || *at == 0x7f ? 0 : utf8_length(at, (size_t)(end - at));
        char code[8];
        if (escape != NULL) {
            fits = line_put_text(line, escape);
        } else if (length > 0) {
            fits = line_put(line, (const char *)at, length);
        } else {
            bool text = line->format == LOG_FORMAT_TEXT;
            snprintf(code, sizeof(code), text ? "\\x%02x" : "\\u%04x",
                     *at < 0x80 || text ? *at : 0xfffd);
            fits = line_put_text(line, code);
        }
        at += length > 0 ? length : 1;
    }
}

/* --- values ----------------------------------------------------------------------------------- */

static void value_put(struct log_value *value, const char *bytes, size_t size)
{
    size = MIN_OF(size, sizeof(value->bytes) - value->size);
    memcpy(value->bytes + value->size, bytes, size);
    value->size += size;
}

/* NOLINTBEGIN(clang-analyzer-valist.Uninitialized): the analyzer does not follow the pointer */

static intmax_t take_signed(va_list *values, const char *length)
{
    if (strcmp(length, "ll") == 0)
        return va_arg(*values, long long);
    switch (*length) {
    case 'l':
        return va_arg(*values, long);
    case 'z':
        return va_arg(*values, ssize_t);
    case 'j':
        return va_arg(*values, intmax_t);
    case 't':
        return va_arg(*values, ptrdiff_t);
    default:
        return va_arg(*values, int);
    }
}

static uintmax_t take_unsigned(va_list *values, const char *length)
{
    if (strcmp(length, "ll") == 0)
        return va_arg(*values, unsigned long long);
    switch (*length) {
    case 'l':
        return va_arg(*values, unsigned long);
    case 'z':
        return va_arg(*values, size_t);
    case 'j':
        return va_arg(*values, uintmax_t);
    default:
        return va_arg(*values, unsigned);
    }
}

/* The parts of one conversion specification. */
struct conversion {
    char flags[8];
    char length[3];
    int width;
    int precision; /* -1: none */
    char letter;
};

/* Reads a width or precision: a number, or a star with its argument. */
static int take_count(const char **at, va_list *values)
{
    int count = 0;
    if (**at == '*') {
        *at += 1;
        return va_arg(*values, int);
    }
    for (; **at >= '0' && **at <= '9'; *at += 1)
        count = count < 1000 ? count * 10 + (**at - '0') : count;
    return count;
}

/* Reads a conversion specification after its '%'; moves *at behind it. */
static struct conversion take_conversion(const char **at, va_list *values)
{
    struct conversion found = {.precision = -1};
    size_t size = strspn(*at, "-+ #0");
    memcpy(found.flags, *at, MIN_OF(size, sizeof(found.flags) - 1));
    *at += size;
    found.width = take_count(at, values);
    if (**at == '.') {
        *at += 1;
        found.precision = take_count(at, values);
    }
    size = strspn(*at, "hljzt");
    memcpy(found.length, *at, MIN_OF(size, sizeof(found.length) - 1));
    *at += size;
    found.letter = **at;
    invariant(found.letter != '\0');
    *at += 1;
    return found;
}

static void value_put_string(struct log_value *value, const char *text, int precision)
{
    if (text == NULL) {
        value_put(value, "(null)", 6);
        return;
    }
    size_t max = precision < 0 ? LOG_VALUE_MAX : (size_t)precision;
    value_put(value, text, strnlen(text, MIN_OF(max, LOG_VALUE_MAX)));
}

static void value_put_integer(struct log_value *value, const struct conversion *as, va_list *values)
{
    char form[24];
    char text[128];
    int precision = as->letter == 'c' ? -1 : as->precision;
    bool is_signed = as->letter == 'd' || as->letter == 'i' || as->letter == 'c';
    snprintf(form, sizeof(form), "%%%s*.*%s%c", as->flags, as->letter == 'c' ? "" : "j",
             as->letter);
    int width = MIN_OF(as->width, 64);
    precision = MIN_OF(precision, 64);
    if (as->letter == 'c')
        snprintf(text, sizeof(text), "%c", va_arg(*values, int));
    else if (is_signed)
        snprintf(text, sizeof(text), form, width, precision, take_signed(values, as->length));
    else
        snprintf(text, sizeof(text), form, width, precision, take_unsigned(values, as->length));
    value_put(value, text, strlen(text));
}

static void value_put_real(struct log_value *value, const struct conversion *as, va_list *values)
{
    char form[24];
    char text[128];
    snprintf(form, sizeof(form), "%%%s*.*%c", as->flags, as->letter);
    snprintf(text, sizeof(text), form, MIN_OF(as->width, 64), MIN_OF(as->precision, 32),
             va_arg(*values, double));
    value_put(value, text, strlen(text));
}

/* Formats one conversion; *at points behind its '%'. */
static void value_put_conversion(struct log_value *value, const char **at, va_list *values)
{
    struct conversion as = take_conversion(at, values);
    char text[24];
    if (strchr("diu", as.letter) == NULL)
        value->kind = LOG_VALUE_TEXT;
    switch (as.letter) {
    case '%':
        value_put(value, "%", 1);
        return;
    case 's':
        value_put_string(value, va_arg(*values, const char *), as.precision);
        return;
    case 'p':
        snprintf(text, sizeof(text), "%p", va_arg(*values, void *));
        value_put(value, text, strlen(text));
        return;
    case 'e':
    case 'f':
    case 'g':
        value_put_real(value, &as, values);
        return;
    default:
        invariant(strchr("dicuxXo", as.letter) != NULL);
        value_put_integer(value, &as, values);
    }
}

/* NOLINTEND(clang-analyzer-valist.Uninitialized) */

/* Formats the value from `at` to a byte of `ends` or the format's end; returns where it ended. */
static const char *value_take(struct log_value *value, const char *at, const char *ends,
                              va_list *values)
{
    value->size = 0;
    value->kind = LOG_VALUE_NUMBER;
    while (*at != '\0' && strchr(ends, *at) == NULL) {
        if (*at == '%') {
            at += 1;
            value_put_conversion(value, &at, values);
            continue;
        }
        if (*at != '-' && (*at < '0' || *at > '9'))
            value->kind = LOG_VALUE_TEXT;
        value_put(value, at, 1);
        at += 1;
    }
    return at;
}

/* --- pairs ------------------------------------------------------------------------------------ */

static bool value_is_number(const struct log_value *value)
{
    size_t digits = value->size;
    const char *at = value->bytes;
    if (value->kind != LOG_VALUE_NUMBER)
        return false;
    if (digits > 0 && *at == '-') {
        at += 1;
        digits -= 1;
    }
    if (digits == 0 || (digits > 1 && *at == '0'))
        return false;
    for (size_t i = 0; i < digits; i++)
        if (at[i] < '0' || at[i] > '9')
            return false;
    return true;
}

static bool value_is_plain(const struct log_value *value)
{
    for (size_t i = 0; i < value->size; i++) {
        uint8_t byte = (uint8_t)value->bytes[i];
        if (byte <= ' ' || byte >= 0x7f || byte == '"' || byte == '\\' || byte == '=')
            return false;
    }
    return value->size > 0;
}

static void line_put_value(struct log_line *line, const struct log_value *value)
{
    bool bare = line->fields ||
                (!value->quoted && (line->format == LOG_FORMAT_JSON ? value_is_number(value)
                                                                    : value_is_plain(value)));
    if (bare) {
        line_put_escaped(line, value->bytes, value->size);
        return;
    }
    line_put(line, "\"", 1);
    line_put_escaped(line, value->bytes, value->size);
    line_close(line, "\"");
}

/* Writes a key as a journal field: capitals, digits and underscores only. */
static void line_put_field(struct log_line *line, struct span key)
{
    line_put_text(line, "TRUNKLINE_");
    for (size_t i = 0; i < key.size; i++) {
        uint8_t byte = key.at[i];
        bool plain = (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z');
        char put = plain ? (char)byte : '_';
        if (byte >= 'a' && byte <= 'z')
            put = (char)(byte - 'a' + 'A');
        line_put(line, &put, 1);
    }
    line_put(line, "=", 1);
}

static void line_put_key(struct log_line *line, struct span key)
{
    struct span name = key.size > 0 ? key : SPAN("text");
    if (line->fields) {
        line_put_field(line, name);
    } else if (line->format == LOG_FORMAT_JSON) {
        line_put(line, ",\"", 2);
        line_put(line, (const char *)name.at, name.size);
        line_put(line, "\":", 2);
    } else {
        bool keyed = key.size > 0 || line->format == LOG_FORMAT_LOGFMT;
        line_put(line, " ", 1);
        if (keyed && line_put(line, (const char *)name.at, name.size))
            line_put(line, "=", 1);
    }
}

/* Adds a pair to the line's likeness, without the ids and ports that differ for each connection. */
static void line_liken(struct log_line *line, struct span key, const struct log_value *value)
{
    struct span text = span_of(value->bytes, value->size);
    if (span_is(key, "client") || span_is(key, "server") || span_is(key, "pid"))
        return;
    if (span_is(key, "from"))
        while (text.size > 0 && text.at[text.size - 1] != ':')
            text.size -= 1;
    line->likeness = line->likeness * 31 + (hash_span(key) ^ (hash_span(text) * 3));
}

/* Writes one pair, or a bare word without a key; returns where the next one begins. */
static const char *line_put_pair(struct log_line *line, const char *at, va_list *values)
{
    struct log_value value;
    size_t size = strcspn(at, "= \"%");
    struct span key = at[size] == '=' ? span_of(at, size) : SPAN_NONE;
    at += key.size > 0 ? key.size + 1 : 0;
    value.quoted = *at == '"';
    at = value_take(&value, at + (value.quoted ? 1 : 0), value.quoted ? "\"" : " ", values);
    at += value.quoted && *at == '"' ? 1 : 0;
    if (!line->fields)
        line_liken(line, key, &value);
    /* Leaves out the pair if there is no room for the key, its quotes and an empty value. */
    if (line->size + key.size + 32 > line->max - LOG_LINE_RESERVE)
        return at;
    line_put_key(line, key);
    line_put_value(line, &value);
    if (line->fields)
        line_close(line, "\n");
    return at;
}

static void line_put_pairs(struct log_line *line, const char *pairs, va_list values)
{
    /* Passed by address, so that each call takes its values after those of the last one. */
    va_list rest;
    va_copy(rest, values);
    for (const char *at = pairs + strspn(pairs, " "); *at != '\0'; at += strspn(at, " "))
        at = line_put_pair(line, at, &rest);
    va_end(rest);
}

/* --- the header ------------------------------------------------------------------------------- */

/* A cache of the last second as text: its conversion is the most expensive part of a line. */
struct log_second {
    time_t second;
    char date[11];
    char time[9];
    char local[16]; /* RFC 3164: local time; English in every locale */
};

static void second_local(struct log_second *last)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm parts;
    localtime_r(&last->second, &parts);
    snprintf(last->local, sizeof(last->local), "%.3s %2u %02u:%02u:%02u",
             months + (size_t)3 * ((unsigned)parts.tm_mon % 12), (unsigned)parts.tm_mday % 32,
             (unsigned)parts.tm_hour % 24, (unsigned)parts.tm_min % 60,
             (unsigned)parts.tm_sec % 61);
}

static const struct log_second *second_text(time_t second)
{
    static _Thread_local struct log_second last = {.second = -1};
    struct tm parts;
    if (last.second == second)
        return &last;
    gmtime_r(&second, &parts);
    last.second = second;
    strftime(last.date, sizeof(last.date), "%Y-%m-%d", &parts);
    strftime(last.time, sizeof(last.time), "%H:%M:%S", &parts);
    second_local(&last);
    return &last;
}

/* Writes the header that the target needs before the message. */
static void line_put_dress(struct log_line *line, const struct log_head *head)
{
    const struct log_second *second = second_text((time_t)(head->wall_us / 1000000));
    int thousandths = (int)(head->wall_us / 1000 % 1000);
    int priority = head->facility | (head->level & 7);
    char text[512] = "";
    if (line->dress == LOG_DRESS_RFC3164)
        snprintf(text, sizeof(text), "<%d>%s %s[%d]: ", priority, second->local, head->ident,
                 head->process);
    else if (line->dress == LOG_DRESS_RFC5424)
        snprintf(text, sizeof(text), "<%d>1 %sT%s.%03dZ %s %s %d %.32s - ", priority, second->date,
                 second->time, thousandths, head->host, head->ident, head->process, head->name);
    else if (line->dress == LOG_DRESS_JOURNAL)
        snprintf(text, sizeof(text),
                 "PRIORITY=%d\nSYSLOG_FACILITY=%d\nSYSLOG_IDENTIFIER=%s\nMESSAGE=", head->level & 7,
                 LOG_FAC(head->facility), head->ident);
    line_put_text(line, text);
}

/* Writes the message up to its first pair.  The text format omits time and process id for targets
 * that record them; JSON and logfmt are always complete. */
static void line_put_head(struct log_line *line, const struct log_head *head)
{
    const struct log_second *second = second_text((time_t)(head->wall_us / 1000000));
    int thousandths = (int)(head->wall_us / 1000 % 1000);
    const char *level = log_level_names[head->level & 7];
    char text[256];
    if (line->format == LOG_FORMAT_JSON)
        snprintf(text, sizeof(text),
                 "{\"ts\":\"%sT%s.%03dZ\",\"level\":\"%s\",\"pid\":%d,\"event\":\"%s\"",
                 second->date, second->time, thousandths, level, head->process, head->name);
    else if (line->format == LOG_FORMAT_LOGFMT)
        snprintf(text, sizeof(text), "ts=%sT%s.%03dZ level=%s pid=%d event=%s", second->date,
                 second->time, thousandths, level, head->process, head->name);
    else if (line->dress == LOG_DRESS_PLAIN)
        snprintf(text, sizeof(text), "%s %s.%03d UTC [%d] %s %s", second->date, second->time,
                 thousandths, head->process, level, head->name);
    else
        snprintf(text, sizeof(text), "%s %s", level, head->name);
    line_put_text(line, text);
    line->pairs_at = line->size;
}

/* --- the whole line --------------------------------------------------------------------------- */

static void line_put_fields(struct log_line *line, const struct log_head *head, const char *pairs,
                            va_list values)
{
    line->fields = true;
    line->max = LOG_BYTES_MAX;
    line_put_text(line, "TRUNKLINE_EVENT=");
    line_put_text(line, head->name);
    line_close(line, "\n");
    line_put_pairs(line, pairs, values);
    line->fields = false;
}

void log_line_build(struct log_line *line, const struct log_head *head, const char *pairs,
                    va_list values)
{
    line->size = 0;
    line->fields = false;
    line->likeness = hash_span(span_text(head->name));
    line->max = LOG_BYTES_MAX;
    line_put_dress(line, head);
    line->max = line->size + LOG_LINE_MAX;
    line_put_head(line, head);
    line_put_pairs(line, pairs, values);
    if (line->format == LOG_FORMAT_JSON)
        line_close(line, "}");
    if (line->dress == LOG_DRESS_PLAIN || line->dress == LOG_DRESS_JOURNAL)
        line_close(line, "\n");
    if (line->dress == LOG_DRESS_JOURNAL)
        line_put_fields(line, head, pairs, values);
    if (line->dress != LOG_DRESS_PLAIN)
        line->bytes[line->size++] = '\0';
    invariant(line->size <= LOG_BYTES_MAX);
}
