/* Log lines: whatever a value holds, the line is one line, bounded, and its JSON stays closed. */
#include "base/check.h"
#include "base/span.h"
#include "fuzz.h"
#include "machine/log_line.h"

#include <stdlib.h>
#include <string.h>

/* Builds a line with a plain, a quoted and a cut text. */
static void build(struct log_line *line, enum log_format format, const char *text, size_t cut)
{
    const struct log_pair pairs[] = {log_text("a", text), log_quote("b", text),
                                     log_span("c", span_of(text, cut))};
    line->format = format;
    log_line_build(line, &(struct log_head){.wall_us = 1,
                                            .name = "fuzz.line",
                                            .ident = "fuzz",
                                            .host = "-",
                                            .pairs = pairs,
                                            .count = ARRAY_SIZE(pairs)});
}

/* Outside of quotes nothing of a value may stand; inside, quotes and controls are escaped. */
static void check_json(struct span line)
{
    bool quoted = false;
    uint32_t quotes = 0;
    for (size_t i = 0; i < line.size; i++) {
        invariant(line.at[i] >= ' ' && line.at[i] != 0x7f);
        if (quoted && line.at[i] == '\\') {
            i += 1;
            invariant(i < line.size && strchr("\"\\nrtu", line.at[i]) != NULL);
        } else if (line.at[i] == '"') {
            quoted = !quoted;
            quotes += 1;
        }
    }
    /* Four for each member; the process id has no quotes of its own. */
    invariant(!quoted && quotes % 4 == 2 && line.at[line.size - 1] == '}');
}

/* Lines of NAME=VALUE, and one NUL at the end. */
static void check_journal(struct log_line *line, const char *text, size_t cut)
{
    line->dress = LOG_DRESS_JOURNAL;
    build(line, LOG_FORMAT_LOGFMT, text, cut);
    line->dress = LOG_DRESS_PLAIN;
    invariant(line->size <= LOG_BYTES_MAX);
    invariant(memchr(line->bytes, '\0', line->size) == line->bytes + line->size - 1);
    for (const char *at = line->bytes; *at != '\0'; at = strchr(at, '\n') + 1) {
        size_t name = strspn(at, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_");
        invariant(name > 0 && at[name] == '=');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct log_line line;
    char *text = malloc(size + 1);
    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    size_t cut = strnlen(text, size / 2);
    build(&line, LOG_FORMAT_TEXT, text, cut);
    invariant(line.size <= LOG_LINE_MAX);
    invariant(memchr(line.bytes, '\n', line.size) == line.bytes + line.size - 1);
    build(&line, LOG_FORMAT_JSON, text, cut);
    invariant(line.size <= LOG_LINE_MAX && line.bytes[line.size - 1] == '\n');
    check_json(span_of(line.bytes, line.size - 1));
    check_journal(&line, text, cut);
    free(text);
    return 0;
}
