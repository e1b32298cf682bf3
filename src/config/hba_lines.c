/*
 * hba_lines.c - splits files in the form of pg_hba.conf and pg_ident.conf, and all that they
 * include, into lines of fields of tokens.
 */
#include "config/hba_parts.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FIELDS_MAX     256u
#define TOKEN_MAX      10240u
#define PROBLEM_MAX    512
#define PATH_BYTES_MAX 4095

/* A file that is being read. */
struct source {
    struct hba_lines *lines;
    const char *file; /* in the hba's memory */
    uint32_t line;    /* where the current line begins */
    unsigned depth;
    struct span rest;    /* of the file */
    struct buffer whole; /* the line, its continuations joined */
};

/* Tokens collected so far. */
struct gather {
    struct hba_token *all;
    size_t count;
    size_t room;
};

void hba_problem(const struct hba_reader *reader, const char *file, uint32_t line,
                 const char *format, ...)
{
    char text[PROBLEM_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    reader->problem(reader->argument, file, line, text);
}

bool hba_is_keyword(const struct hba_token *token, const char *word)
{
    return !token->quoted && strcmp(token->text, word) == 0;
}

bool hba_compile(struct hba_lines *lines, const struct hba_line *line, struct hba_token *token)
{
    char why[128];
    if (token->text[0] != '/')
        return true;
    token->regex = hba_regex(lines->hba, token->text, why, sizeof(why));
    if (token->regex == NULL)
        hba_problem(lines->reader, line->file, line->line, "regular expression \"%s\": %s",
                    token->text + 1, why);
    return token->regex != NULL;
}

/* --- tokens ----------------------------------------------------------------------------------- */

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\f' || byte == '\v';
}

enum token_end { TOKEN_NONE, TOKEN_LAST, TOKEN_COMMA, TOKEN_BROKEN };

/* Removes a token from `rest`.  Returns whether a comma follows it. */
static enum token_end token_take(struct span *rest, struct buffer *text, bool *ret_quoted)
{
    bool inside = false, any = false;
    buffer_clear(text);
    while (rest->size > 0 && (is_blank(rest->at[0]) || rest->at[0] == ','))
        *rest = span_skip(*rest, 1);
    *ret_quoted = rest->size > 0 && rest->at[0] == '"';
    while (rest->size > 0 && (inside || !is_blank(rest->at[0]))) {
        uint8_t byte = rest->at[0];
        if (byte == '#' && !inside) {
            *rest = SPAN_NONE;
            break;
        }
        *rest = span_skip(*rest, 1);
        if (byte == ',' && !inside)
            return TOKEN_COMMA;
        any = true;
        if (byte == '"' && inside && rest->size > 0 && rest->at[0] == '"') {
            buffer_append_byte(text, '"');
            *rest = span_skip(*rest, 1);
        } else if (byte == '"') {
            inside = !inside;
        } else {
            buffer_append_byte(text, byte);
        }
    }
    if (inside || buffer_fault(text) != OK)
        return TOKEN_BROKEN;
    return any ? TOKEN_LAST : TOKEN_NONE;
}

static bool gather_add(struct gather *gather, struct hba *hba, struct span text, bool quoted)
{
    if (gather->count == HBA_TOKENS_MAX)
        return false;
    if (gather->count == gather->room) {
        size_t room = MAX_OF(gather->room * 2, (size_t)4);
        struct hba_token *all = realloc(gather->all, room * sizeof(*all));
        if (all == NULL)
            return false;
        gather->all = all;
        gather->room = room;
    }
    char *kept = hba_text(hba, text);
    if (kept == NULL)
        return false;
    gather->all[gather->count++] = (struct hba_token){.text = kept, .quoted = quoted};
    return true;
}

/* --- files ------------------------------------------------------------------------------------ */

static void source_problem(const struct source *source, const char *text, const char *about)
{
    hba_problem(source->lines->reader, source->file, source->line, "%s%s%s%s", text,
                about[0] != '\0' ? " \"" : "", about, about[0] != '\0' ? "\"" : "");
}

/* Returns a path that a file names, relative to the file's directory. */
static char *path_beside(const struct source *source, const char *name)
{
    char path[PATH_BYTES_MAX + 1];
    const char *slash = strrchr(source->file, '/');
    int directory = slash == NULL ? 0 : (int)(slash - source->file) + 1;
    int size = name[0] == '/'
                   ? snprintf(path, sizeof(path), "%s", name)
                   : snprintf(path, sizeof(path), "%.*s%s", directory, source->file, name);
    if (size < 0 || (size_t)size >= sizeof(path))
        return NULL;
    return hba_text(source->lines->hba, span_of(path, (size_t)size));
}

/* Reads the next line without its end.  A line that ends in a backslash continues on the next
 * line. */
static bool source_next(struct source *source, uint32_t *line)
{
    bool more = true, any = false;
    buffer_clear(&source->whole);
    while (more && source->rest.size > 0) {
        const uint8_t *end = memchr(source->rest.at, '\n', source->rest.size);
        size_t size = end == NULL ? source->rest.size : (size_t)(end - source->rest.at);
        struct span text = span_of(source->rest.at, size);
        source->rest = span_skip(source->rest, size + 1);
        source->line = any ? source->line : *line + 1;
        *line += 1;
        any = true;
        if (text.size > 0 && text.at[text.size - 1] == '\r')
            text.size -= 1;
        more = text.size > 0 && text.at[text.size - 1] == '\\';
        buffer_append(&source->whole, text.at, text.size - (more ? 1 : 0));
    }
    return any;
}

static void source_lines(struct source *source,
                         void (*each)(struct source *source, struct span line, void *argument),
                         void *argument)
{
    uint32_t line = 0;
    while (source_next(source, &line)) {
        struct span text = buffer_span(&source->whole);
        if (buffer_fault(&source->whole) != OK)
            source_problem(source, "the line is too long", "");
        else if (text.size > 0 && memchr(text.at, '\0', text.size) != NULL)
            source_problem(source, "found a NUL byte", "");
        else
            each(source, text, argument);
    }
}

/* Reads a file and calls `each` for each of its lines.  `optional`: the file may be missing. */
static void file_read(const struct source *from, const char *path, bool optional,
                      void (*each)(struct source *source, struct span line, void *argument),
                      void *argument)
{
    const struct hba_reader *reader = from->lines->reader;
    struct buffer text = BUFFER_INIT(HBA_FILE_MAX);
    if (path == NULL || from->depth > HBA_DEPTH_MAX) {
        source_problem(from, path == NULL ? "a path that is too long" : "files nest too deep at",
                       path == NULL ? "" : path);
        return;
    }
    int status = reader->read(reader->argument, path, &text);
    if (status == 0) {
        struct source source = {.lines = from->lines,
                                .file = path,
                                .depth = from->depth,
                                .rest = buffer_span(&text),
                                .whole = BUFFER_INIT(HBA_FILE_MAX)};
        source_lines(&source, each, argument);
        buffer_fini(&source.whole);
    } else if (!optional || status != -ENOENT) {
        hba_problem(reader, from->file, from->line, "cannot read %s: %s", path,
                    strerrordesc_np(-status));
    }
    buffer_fini(&text);
}

/* --- fields ----------------------------------------------------------------------------------- */

static void line_gather(struct source *source, struct span line, void *argument);

/* Reads the tokens of one field.  The tokens of "@file" take its place. */
static bool field_gather(struct source *source, struct span *rest, struct gather *gather)
{
    struct buffer text = BUFFER_INIT(TOKEN_MAX);
    enum token_end end;
    bool quoted;
    do {
        end = token_take(rest, &text, &quoted);
        struct span token = buffer_span(&text);
        if (end == TOKEN_BROKEN)
            source_problem(source, "a quote that does not end, or a word that is too long", "");
        if (end == TOKEN_BROKEN || end == TOKEN_NONE)
            break;
        if (!quoted && token.size > 1 && token.at[0] == '@') {
            char *name = hba_text(source->lines->hba, span_skip(token, 1));
            struct source inner = *source;
            inner.depth += 1;
            if (name != NULL)
                file_read(&inner, path_beside(source, name), false, line_gather, gather);
        } else if (!gather_add(gather, source->lines->hba, token, quoted)) {
            source_problem(source, "out of memory, or a list that is too long", "");
            end = TOKEN_BROKEN;
        }
    } while (end == TOKEN_COMMA);
    buffer_fini(&text);
    return end != TOKEN_BROKEN;
}

static void line_gather(struct source *source, struct span line, void *argument)
{
    while (line.size > 0)
        if (!field_gather(source, &line, argument))
            return;
}

/* --- lines ------------------------------------------------------------------------------------ */

static void line_read(struct source *source, struct span text, void *argument);

static void directory_read(struct source *source, const char *path)
{
    const struct hba_reader *reader = source->lines->reader;
    struct buffer names = BUFFER_INIT(HBA_FILE_MAX);
    int status = path == NULL ? -ENAMETOOLONG : reader->list(reader->argument, path, &names);
    if (status != 0)
        hba_problem(reader, source->file, source->line, "cannot list %s: %s",
                    path == NULL ? "it" : path, strerrordesc_np(-status));
    struct span rest = buffer_span(&names);
    while (status == 0 && rest.size > 0) {
        char whole[PATH_BYTES_MAX + 1];
        const char *name = (const char *)rest.at;
        size_t size = strnlen(name, rest.size);
        rest = span_skip(rest, size + 1);
        /* Reads *.conf, and no hidden file, as PostgreSQL does. */
        if (size < 6 || name[0] == '.' || memcmp(name + size - 5, ".conf", 5) != 0)
            continue;
        int length = snprintf(whole, sizeof(whole), "%s/%s", path, name);
        if (length > 0 && (size_t)length < sizeof(whole))
            file_read(source, hba_text(source->lines->hba, span_of(whole, (size_t)length)), false,
                      line_read, NULL);
    }
    buffer_fini(&names);
}

/* Handles include, include_if_exists and include_dir.  Returns whether the line was one of them. */
static bool line_includes(struct source *source, const struct hba_line *line)
{
    const char *word = line->fields[0].tokens[0].text;
    bool directory = strcmp(word, "include_dir") == 0;
    bool optional = strcmp(word, "include_if_exists") == 0;
    if (!directory && !optional && strcmp(word, "include") != 0)
        return false;
    if (line->count != 2 || line->fields[1].count != 1) {
        source_problem(source, "accepted is one name behind", word);
        return true;
    }
    char *path = path_beside(source, line->fields[1].tokens[0].text);
    struct source inner = *source;
    inner.depth += 1;
    if (directory)
        directory_read(&inner, path);
    else
        file_read(&inner, path, optional, line_read, NULL);
    return true;
}

/* Copies the collected tokens into the memory of the hba. */
static bool field_keep(struct hba *hba, const struct gather *gather, struct hba_field *field)
{
    field->count = gather->count;
    field->tokens = hba_take(hba, MAX_OF(gather->count, (size_t)1) * sizeof(struct hba_token));
    if (field->tokens != NULL && gather->count > 0)
        memcpy(field->tokens, gather->all, gather->count * sizeof(struct hba_token));
    return field->tokens != NULL;
}

static bool line_fields(struct source *source, struct span text, struct hba_line *line)
{
    struct gather gather = {0};
    bool sound = true;
    while (sound && text.size > 0) {
        gather.count = 0;
        sound = field_gather(source, &text, &gather);
        if (!sound || (gather.count == 0 && text.size == 0))
            break;
        if (line->count == FIELDS_MAX) {
            source_problem(source, "too many words", "");
            sound = false;
        } else if (gather.count == 0) {
            source_problem(source, "a list that is empty", "");
            sound = false;
        } else {
            sound = field_keep(source->lines->hba, &gather, &line->fields[line->count]);
            line->count += sound ? 1 : 0;
        }
    }
    free(gather.all);
    return sound;
}

static void line_read(struct source *source, struct span text, void *argument)
{
    struct hba_field *fields = calloc(FIELDS_MAX, sizeof(*fields));
    struct hba_line line = {.file = source->file, .line = source->line, .fields = fields};
    if (fields == NULL)
        source->lines->hba->failed = true;
    else if (line_fields(source, text, &line) && line.count > 0 && !line_includes(source, &line))
        source->lines->take(source->lines, &line);
    free(fields);
}

void hba_read_lines(struct hba_lines *lines, const char *path)
{
    struct source from = {.lines = lines, .file = path};
    file_read(&from, hba_text(lines->hba, span_text(path)), false, line_read, NULL);
}

void hba_read_text(struct hba_lines *lines, const char *text, const char *place)
{
    struct source source = {.lines = lines, .file = place};
    struct hba_field *fields = calloc(FIELDS_MAX, sizeof(*fields));
    struct hba_line line = {.file = place, .fields = fields};
    if (fields == NULL)
        lines->hba->failed = true;
    else if (line_fields(&source, span_text(text), &line))
        lines->take(lines, &line);
    free(fields);
}
