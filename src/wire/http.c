#include "wire/http.h"

#define HTTP_VERSION SPAN("HTTP/1.")

/* Of "HTTP/1.1 200": the reason may follow behind a space. */
#define STATUS_LINE_MIN 12u

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

/* Whether a field's name may contain this byte. */
static bool is_token(uint8_t byte)
{
    bool letter = (byte | 0x20) >= 'a' && (byte | 0x20) <= 'z';
    return letter || is_digit(byte) || (byte != 0 && strchr("!#$%&'*+-.^_`|~", byte) != NULL);
}

/* Whether all bytes are visible, a space, a tab, or beyond ASCII. */
static bool is_text(struct span line)
{
    for (size_t i = 0; i < line.size; i++)
        if ((line.at[i] < ' ' && line.at[i] != '\t') || line.at[i] == 0x7f)
            return false;
    return true;
}

/* Takes one line, which ends with CR LF, off the rest.  Faults: AGAIN, PROTOCOL. */
static fault line_take(struct span *rest, struct span *ret)
{
    const uint8_t *end = rest->size == 0 ? NULL : memchr(rest->at, '\n', rest->size);
    if (end == NULL)
        return FAULT_AGAIN;
    size_t size = (size_t)(end - rest->at);
    if (size == 0 || rest->at[size - 1] != '\r')
        return FAULT_PROTOCOL;
    *ret = span_of(rest->at, size - 1);
    *rest = span_skip(*rest, size + 1);
    return is_text(*ret) ? OK : FAULT_PROTOCOL;
}

static fault status_line_read(struct span line, uint32_t *ret)
{
    if (line.size < STATUS_LINE_MIN || !span_starts(line, HTTP_VERSION) || !is_digit(line.at[7]) ||
        line.at[8] != ' ' || (line.size > STATUS_LINE_MIN && line.at[STATUS_LINE_MIN] != ' '))
        return FAULT_PROTOCOL;
    const uint8_t *digits = line.at + 9;
    if (digits[0] < '1' || digits[0] > '5' || !is_digit(digits[1]) || !is_digit(digits[2]))
        return FAULT_PROTOCOL;
    *ret = (uint32_t)(digits[0] - '0') * 100 + (uint32_t)(digits[1] - '0') * 10 +
           (uint32_t)(digits[2] - '0');
    return OK;
}

/* Whether the line is "name: value". */
static bool is_field(struct span line)
{
    size_t name = 0;
    while (name < line.size && is_token(line.at[name]))
        name++;
    return name > 0 && name < line.size && line.at[name] == ':';
}

fault wire_read_http_status(struct span answer, uint32_t *ret_status)
{
    struct span rest = answer, line;
    uint32_t status;
    struct span begin = span_of(answer.at, answer.size < 7 ? answer.size : 7);
    if (!span_starts(HTTP_VERSION, begin))
        return FAULT_PROTOCOL;
    TRY(line_take(&rest, &line));
    TRY(status_line_read(line, &status));
    for (;;) {
        TRY(line_take(&rest, &line));
        if (line.size == 0)
            break;
        if (!is_field(line))
            return FAULT_PROTOCOL;
    }
    *ret_status = status;
    return OK;
}
