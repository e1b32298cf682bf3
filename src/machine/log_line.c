#include "machine/log_line.h"

#include "base/check.h"
#include "base/map.h"

#include <stdio.h>
#include <time.h>

/* Bytes that are kept free, so that the last value and the line can always be closed. */
#define LOG_LINE_RESERVE 8

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

/* Returns the number of a character that viewers of logs may take for a control: C1 controls, among
 * them the end of a line and of a terminal's sequences, separators of lines, and marks that change
 * the direction of writing; 0 for others.  All of them have two or three bytes. */
static unsigned control_number(const uint8_t *at, size_t length)
{
    static const struct {
        uint16_t first, last;
    } ranges[] = {{0x0080, 0x009f}, {0x061c, 0x061c}, {0x200e, 0x200f},
                  {0x2028, 0x202e}, {0x2066, 0x2069}, {0xfeff, 0xfeff}};
    unsigned number = 0;
    if (length == 2)
        number = (at[0] & 0x1fu) << 6 | (at[1] & 0x3fu);
    else if (length == 3)
        number = (at[0] & 0x0fu) << 12 | (at[1] & 0x3fu) << 6 | (at[2] & 0x3fu);
    for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
        if (number >= ranges[i].first && number <= ranges[i].last)
            return number;
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

/* The length of what stands in front of the first byte that may need an escape. */
static size_t plain_length(const uint8_t *at, const uint8_t *end)
{
    const uint8_t *from = at;
    while (at < end && *at >= 0x20 && *at < 0x7f && *at != '"' && *at != '\\')
        at++;
    return (size_t)(at - from);
}

/* Appends as many of these bytes as there is room for.  False: not all. */
static bool line_put_part(struct log_line *line, const uint8_t *bytes, size_t size)
{
    size_t room = line->max - LOG_LINE_RESERVE - line->size;
    return line_put(line, (const char *)bytes, MIN_OF(size, room)) && size <= room;
}

/* Appends a value escaped, so that the line stays one line and JSON stays valid UTF-8. */
static void line_put_escaped(struct log_line *line, struct span text)
{
    const uint8_t *at = text.at;
    const uint8_t *end = at + text.size;
    bool fits = true;
    while (fits && at < end) {
        size_t plain = plain_length(at, end);
        fits = line_put_part(line, at, plain);
        at += plain;
        if (!fits || at == end)
            break;
        const char *escape = short_escape(*at);
        size_t length = *at < 0x20 || *at == 0x7f ? 0 : utf8_length(at, (size_t)(end - at));
        unsigned control = control_number(at, length);
        char code[8];
        if (control > 0 && line->format == LOG_FORMAT_TEXT)
            length = 0;
        if (escape != NULL) {
            fits = line_put_text(line, escape);
        } else if (length > 0 && control > 0) {
            snprintf(code, sizeof(code), "\\u%04x", control & 0xffff);
            fits = line_put_text(line, code);
        } else if (length > 0) {
            fits = line_put(line, (const char *)at, length);
        } else {
            bool hex = line->format == LOG_FORMAT_TEXT;
            snprintf(code, sizeof(code), hex ? "\\x%02x" : "\\u%04x",
                     *at < 0x80 || hex ? *at : 0xfffd);
            fits = line_put_text(line, code);
        }
        at += length > 0 ? length : 1;
    }
}

/* --- pairs ------------------------------------------------------------------------------------ */

/* Room for the text of a number or an id. */
#define VALUE_ROOM 48

/* Writes the digits of a number at the end of `room`; `sign`: '-' or 0, `unit`: '%' or 0. */
static struct span digits_of(uint64_t number, char sign, char unit, char room[VALUE_ROOM])
{
    size_t at = VALUE_ROOM;
    if (unit != 0)
        room[--at] = unit;
    do {
        room[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    if (sign != 0)
        room[--at] = sign;
    return span_of((uint8_t *)&room[at], VALUE_ROOM - at);
}

/* Returns the value as a text, of at most LOG_VALUE_MAX bytes; `room` holds it where needed. */
static struct span value_text(const struct log_pair *pair, char room[VALUE_ROOM])
{
    switch (pair->type) {
    case LOG_SIGNED:
        return pair->number < 0 ? digits_of(-(uint64_t)pair->number, '-', 0, room)
                                : digits_of((uint64_t)pair->number, 0, 0, room);
    case LOG_UNSIGNED:
        return digits_of(pair->count, 0, 0, room);
    case LOG_PERCENT:
        return digits_of(pair->count, 0, '%', room);
    case LOG_ID:
        uuid_text(pair->id, room);
        break;
    default:
        return span_of(pair->text.at, MIN_OF(pair->text.size, (size_t)LOG_VALUE_MAX));
    }
    return span_text(room);
}

static bool text_is_plain(struct span text)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.at[i];
        if (byte <= ' ' || byte >= 0x7f || byte == '"' || byte == '\\' || byte == '=')
            return false;
    }
    return text.size > 0;
}

/* Whether the value is written without quotes. */
static bool is_bare(const struct log_line *line, enum log_type type, struct span text)
{
    if (line->fields || type == LOG_SIGNED || type == LOG_UNSIGNED)
        return true;
    return type != LOG_QUOTE && line->format != LOG_FORMAT_JSON && text_is_plain(text);
}

static void line_put_value(struct log_line *line, enum log_type type, struct span text)
{
    if (is_bare(line, type, text)) {
        line_put_escaped(line, text);
        return;
    }
    line_put(line, "\"", 1);
    line_put_escaped(line, text);
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
    if (line->fields) {
        line_put_field(line, key);
    } else if (line->format == LOG_FORMAT_JSON) {
        line_put(line, ",\"", 2);
        line_put(line, (const char *)key.at, key.size);
        line_put(line, "\":", 2);
    } else {
        line_put(line, " ", 1);
        if (line_put(line, (const char *)key.at, key.size))
            line_put(line, "=", 1);
    }
}

/* Adds a pair to the line's likeness, without the ids and ports that differ for each connection. */
static void line_liken(struct log_line *line, struct span key, struct span text)
{
    if (span_is(key, "client") || span_is(key, "server") || span_is(key, "server_pid"))
        return;
    if (span_is(key, "from"))
        while (text.size > 0 && text.at[text.size - 1] != ':')
            text.size -= 1;
    line->likeness = line->likeness * 31 + (hash_span(key) ^ (hash_span(text) * 3));
}

static void line_put_pair(struct log_line *line, const struct log_pair *pair)
{
    char room[VALUE_ROOM];
    struct span key = span_text(pair->key), text = value_text(pair, room);
    invariant(key.at != NULL);
    if (line->likens && !line->fields)
        line_liken(line, key, text);
    /* Leaves out the pair if there is no room for the key, its quotes and an empty value. */
    if (line->size + key.size + 32 > line->max - LOG_LINE_RESERVE)
        return;
    line_put_key(line, key);
    line_put_value(line, pair->type, text);
    if (line->fields)
        line_close(line, "\n");
}

static void line_put_pairs(struct log_line *line, const struct log_head *head)
{
    for (size_t i = 0; i < head->count; i++)
        if (head->pairs[i].type != LOG_NOTHING)
            line_put_pair(line, &head->pairs[i]);
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
    if (line->dress == LOG_DRESS_PLAIN)
        return;
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

static void line_put_fields(struct log_line *line, const struct log_head *head)
{
    line->fields = true;
    line->max = LOG_BYTES_MAX;
    line_put_text(line, "TRUNKLINE_EVENT=");
    line_put_text(line, head->name);
    line_close(line, "\n");
    line_put_pairs(line, head);
    line->fields = false;
}

void log_line_build(struct log_line *line, const struct log_head *head)
{
    line->size = 0;
    line->fields = false;
    line->likens = !head->audit;
    line->likeness = hash_span(span_text(head->name));
    line->max = LOG_BYTES_MAX;
    line_put_dress(line, head);
    line->max = line->size + LOG_LINE_MAX;
    line_put_head(line, head);
    line_put_pairs(line, head);
    if (line->format == LOG_FORMAT_JSON)
        line_close(line, "}");
    if (line->dress == LOG_DRESS_PLAIN || line->dress == LOG_DRESS_JOURNAL)
        line_close(line, "\n");
    if (line->dress == LOG_DRESS_JOURNAL)
        line_put_fields(line, head);
    if (line->dress != LOG_DRESS_PLAIN)
        line->bytes[line->size++] = '\0';
    invariant(line->size <= LOG_BYTES_MAX);
}
