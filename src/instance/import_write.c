#include "instance/import_write.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

static bool is_plain(const char *value)
{
    const char *it = value;
    if (*it == '-' || *it == '\0')
        return false;
    while (isalnum((unsigned char)*it) || strchr("_./-", *it) != NULL) {
        if (*it == '\0')
            return true;
        it++;
    }
    return false;
}

void import_put_text(struct buffer *out, const char *value)
{
    if (is_plain(value)) {
        buffer_append_text(out, value);
        return;
    }
    buffer_append_byte(out, '"');
    for (; *value != '\0'; value++) {
        if (*value == '"' || *value == '\\')
            buffer_append_byte(out, '\\');
        buffer_append_byte(out, (uint8_t)*value);
    }
    buffer_append_byte(out, '"');
}

void import_put_line(struct buffer *out, int indent, const char *key, const char *value)
{
    buffer_printf(out, "%*s%s: ", indent, "", key);
    import_put_text(out, value);
    buffer_append_byte(out, '\n');
}

bool import_next_name(const char **list, char *ret, size_t size)
{
    const char *at = *list + strspn(*list, ", \t");
    size_t length = strcspn(at, ", \t");
    *list = at + length;
    snprintf(ret, size, "%.*s", (int)length, at);
    return length > 0;
}

static void put_names(struct buffer *out, const char *value)
{
    char name[256];
    const char *between = "";
    buffer_append_byte(out, '[');
    while (import_next_name(&value, name, sizeof(name))) {
        buffer_append_text(out, between);
        import_put_text(out, name);
        between = ", ";
    }
    buffer_append_byte(out, ']');
}

/* Writes a time: PgBouncer's are seconds, with fractions.  A value that is no number is copied;
 * `check` reports it. */
static void put_time(struct buffer *out, const struct import_row *row, const char *value,
                     double unit)
{
    char *end;
    double number = strtod(value, &end) * unit;
    if (end == value || *end != '\0')
        import_put_text(out, value);
    else if (number <= 0 && row->zero != NULL)
        buffer_append_text(out, row->zero);
    else if (number == (double)(int64_t)number)
        buffer_printf(out, "%.0fs", number);
    else
        buffer_printf(out, "%.0fms", number * 1000);
}

static void put_value(struct buffer *out, const struct import_row *row, const char *value)
{
    switch (row->shape) {
    case IMPORT_SECONDS:
        put_time(out, row, value, 1);
        break;
    case IMPORT_MILLISECONDS:
        put_time(out, row, value, 0.001);
        break;
    case IMPORT_SWITCH:
        buffer_append_text(out, strcmp(value, "0") == 0 ? "no" : "yes");
        break;
    case IMPORT_NAMES:
        put_names(out, value);
        break;
    case IMPORT_AS_IT_IS:
        import_put_text(out, row->zero != NULL && strcmp(value, "0") == 0 ? row->zero : value);
        break;
    }
}

void import_put_setting(struct buffer *out, int indent, const struct import_row *row,
                        const char *value)
{
    buffer_printf(out, "%*s%s: ", indent, "", row->ours);
    put_value(out, row, value);
    buffer_append_byte(out, '\n');
}
