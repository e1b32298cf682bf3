#include "instance/ini_parts.h"

#include "instance/config_reader.h"

#include <ctype.h>
#include <stdlib.h>

#define INI_FILE_MAX  ((size_t)4 * 1024 * 1024)
#define INI_DEPTH_MAX 10 /* maximum of nested includes */
#define INI_MAX       100000u

/* The file that is being read. */
struct ini_reader {
    struct ini *ini;
    struct buffer *problems;
    const char *path;
    char *section; /* owned; NULL before the first section */
    uint32_t line;
    int depth;
};

static fault ini_read_into(struct ini *ini, const char *path, int depth, struct buffer *problems);

static struct span trim(struct span text)
{
    while (text.size > 0 && isspace(text.at[0]))
        text = span_skip(text, 1);
    while (text.size > 0 && isspace(text.at[text.size - 1]))
        text.size -= 1;
    return text;
}

static char *text_of(struct span span)
{
    return strndup((const char *)span.at, span.size);
}

static fault ini_complain(const struct ini_reader *reader, const char *what)
{
    buffer_printf(reader->problems, "%s:%u: %s\n", reader->path, reader->line, what);
    return FAULT_CONFIG;
}

static fault ini_add(struct ini_reader *reader, struct span key, struct span value)
{
    struct ini *ini = reader->ini;
    invariant(reader->section != NULL && key.size > 0);
    if (ini->count >= INI_MAX)
        return ini_complain(reader, "too many settings in one file");
    struct ini_entry *more = reallocarray(ini->entries, ini->count + 1, sizeof(*more));
    if (more == NULL)
        return FAULT_MEMORY;
    ini->entries = more;
    struct ini_entry *entry = &more[ini->count];
    *entry = (struct ini_entry){.section = strdup(reader->section),
                                .key = text_of(key),
                                .value = text_of(value),
                                .file = strdup(reader->path),
                                .line = reader->line};
    ini->count += 1;
    invariant(ini->count <= INI_MAX);
    bool whole =
        entry->section != NULL && entry->key != NULL && entry->value != NULL && entry->file != NULL;
    return whole ? OK : FAULT_MEMORY;
}

/* Reads an included file: relative to the current directory, or else to the file that names it. */
static fault ini_include(struct ini_reader *reader, struct span name)
{
    char path[4096], beside[4096 + 2];
    invariant(reader->depth <= INI_DEPTH_MAX);
    snprintf(path, sizeof(path), "%.*s", (int)MIN_OF(name.size, sizeof(path) - 1),
             (const char *)name.at);
    const char *slash = strrchr(reader->path, '/');
    uint32_t owner;
    bool there = os->file_mode(path, &owner) >= 0;
    if (there || slash == NULL || path[0] == '/')
        return ini_read_into(reader->ini, path, reader->depth + 1, reader->problems);
    int size = snprintf(beside, sizeof(beside), "%.*s/%s", (int)(slash - reader->path),
                        reader->path, path);
    if (size < 0 || (size_t)size >= sizeof(beside))
        return ini_complain(reader, "the name of the included file is too long");
    return ini_read_into(reader->ini, beside, reader->depth + 1, reader->problems);
}

static fault ini_section(struct ini_reader *reader, struct span line)
{
    invariant(line.size > 0 && line.at[0] == '[');
    if (line.at[line.size - 1] != ']' || line.size < 3)
        return ini_complain(reader,
                            "malformed section; accepted: a name in brackets, such as [pgbouncer]");
    free(reader->section);
    reader->section = text_of(trim(span_of(line.at + 1, line.size - 2)));
    return reader->section == NULL ? FAULT_MEMORY : OK;
}

static fault ini_setting(struct ini_reader *reader, struct span line)
{
    const uint8_t *sign = memchr(line.at, '=', line.size);
    if (sign == NULL)
        return ini_complain(reader, "found neither a section nor a setting; accepted: key = value");
    if (reader->section == NULL)
        return ini_complain(reader, "a setting before the first section");
    invariant(sign >= line.at && sign < line.at + line.size);
    struct span key = trim(span_of(line.at, (size_t)(sign - line.at)));
    if (key.size == 0)
        return ini_complain(reader, "a setting without a key");
    return ini_add(reader, key, trim(span_skip(line, (size_t)(sign - line.at) + 1)));
}

static fault ini_line(struct ini_reader *reader, struct span line)
{
    const struct span include = SPAN("%include");
    line = trim(line);
    if (line.size == 0 || line.at[0] == ';' || line.at[0] == '#')
        return OK;
    if (span_starts(line, include) && line.size > include.size && isspace(line.at[include.size]))
        return ini_include(reader, trim(span_skip(line, include.size)));
    return line.at[0] == '[' ? ini_section(reader, line) : ini_setting(reader, line);
}

/* Reads every line, even after a problem, so that all problems are reported. */
static fault ini_lines(struct ini_reader *reader, struct span text)
{
    fault worst = OK;
    while (text.size > 0) {
        const uint8_t *end = memchr(text.at, '\n', text.size);
        size_t size = end == NULL ? text.size : (size_t)(end - text.at);
        reader->line += 1;
        fault read = ini_line(reader, span_of(text.at, size));
        if (read != OK && read != FAULT_CONFIG)
            return read;
        worst = read == OK ? worst : read;
        text = span_skip(text, size + 1);
    }
    return worst;
}

static fault ini_read_into(struct ini *ini, const char *path, int depth, struct buffer *problems)
{
    struct buffer text = BUFFER_INIT(INI_FILE_MAX);
    struct ini_reader reader = {.ini = ini, .problems = problems, .path = path, .depth = depth};
    if (depth > INI_DEPTH_MAX)
        return fault_raise(FAULT_CONFIG, "%s: include files are nested more than %d deep", path,
                           INI_DEPTH_MAX);
    int status = config_file_read(path, &text);
    fault read = status == 0 ? ini_lines(&reader, buffer_span(&text))
                             : fault_raise(FAULT_SYSTEM, "cannot read %s: %s", path,
                                           strerrordesc_np(-status));
    free(reader.section);
    buffer_fini(&text);
    return read;
}

fault ini_read(const char *path, struct ini *ret, struct buffer *problems)
{
    *ret = (struct ini){0};
    fault read = ini_read_into(ret, path, 0, problems);
    if (read == FAULT_CONFIG && problems->size > 0)
        return fault_raise(FAULT_CONFIG, "%s can't be parsed", path);
    return read;
}

void ini_free(struct ini *ini)
{
    for (size_t i = 0; i < ini->count; i++) {
        free(ini->entries[i].section);
        free(ini->entries[i].key);
        free(ini->entries[i].value);
        free(ini->entries[i].file);
    }
    free(ini->entries);
    *ini = (struct ini){0};
}

struct ini_entry *ini_find(const struct ini *ini, const char *section, const char *key)
{
    for (size_t i = ini->count; i-- > 0;)
        if (strcmp(ini->entries[i].section, section) == 0 && strcmp(ini->entries[i].key, key) == 0)
            return &ini->entries[i];
    return NULL;
}
