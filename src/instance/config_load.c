#include "instance/config_load.h"

#include "instance/config_reader.h"
#include "machine/process.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

/* Sets the file's absolute path, and the directory that relative paths start from. */
static fault places_set(struct config_reader *reader, const char *path)
{
    char here[PATH_MAX] = "";
    struct buffer whole = BUFFER_INIT((size_t)2 * PATH_MAX);
    if (path[0] != '/')
        TRY(process_directory(here, sizeof(here)));
    buffer_printf(&whole, "%s%s%s", here, path[0] == '/' ? "" : "/", path);
    char *absolute = config_arena_text(reader->arena, buffer_span(&whole));
    char *directory = config_arena_text(reader->arena, buffer_span(&whole));
    buffer_fini(&whole);
    reader->file = config_arena_text(reader->arena, span_text(path));
    if (absolute == NULL || directory == NULL || reader->file == NULL)
        return fault_raise(FAULT_MEMORY, "%s: out of memory", path);
    *strrchr(directory, '/') = '\0';
    reader->config->path = absolute;
    reader->directory = directory;
    return OK;
}

static void text_read(struct config_reader *reader)
{
    struct buffer text = BUFFER_INIT(CONFIG_FILE_MAX);
    int status = config_file_read(reader->config->path, &text);
    if (status != 0)
        config_error(reader, NULL, NULL, "cannot read it: %s", strerrordesc_np(-status));
    else
        config_yaml_parse(reader, buffer_span(&text));
    /* The text may hold passwords. */
    if (text.at != NULL)
        explicit_bzero(text.at, text.capacity);
    buffer_fini(&text);
}

/* The console's database names, unless the file sets others. */
static const char *console_databases[] = {"trunkline", "pgbouncer"};

static void config_read(struct config_reader *reader, struct span overrides)
{
    struct config *config = reader->config;
    text_read(reader);
    if (reader->root == NULL)
        return;
    config_override(reader, overrides);
    config_preset(reader, config_settings, config);
    config->console_databases = console_databases;
    config->console_database_count = ARRAY_SIZE(console_databases);
    config_read_mapping(reader, config_settings, reader->root, NULL, config);
    config_check(reader);
    config_read_secrets(reader);
    config_read_hba(reader);
    config_add_replication(reader);
    if (config->relays == 0)
        config->relays = MIN_OF(process_processors(), (uint32_t)RELAYS_MAX);
    if (reader->problems.errors == 0)
        config_make_rows(reader);
}

static fault config_verdict(struct config_reader *reader)
{
    fault failed = config_arena_fault(reader->arena);
    size_t errors = reader->problems.errors;
    if (failed != OK)
        return fault_raise(failed, "%s: the configuration needs more than %zu MiB", reader->file,
                           CONFIG_ARENA_MAX >> 20);
    if (errors > 0)
        return fault_raise(FAULT_CONFIG, "%s: %zu problem%s", reader->file, errors,
                           errors == 1 ? "" : "s");
    return OK;
}

fault config_load_with(const char *path, uint64_t version, struct span overrides,
                       struct config **ret, struct buffer *problems)
{
    struct config *config = calloc(1, sizeof(*config));
    struct config_reader *reader = calloc(1, sizeof(*reader));
    struct config_arena *arena = config_arena_new();
    if (config == NULL || reader == NULL || arena == NULL) {
        free(config);
        free(reader);
        config_arena_end(arena);
        return fault_raise(FAULT_MEMORY, "%s: out of memory", path);
    }
    *config = (struct config){.references = 1,
                              .version = version,
                              .secrets = MAP_INIT(CONFIG_USERS_MAX),
                              .arena = arena,
                              .arena_free = config_arena_end};
    reader->config = config;
    reader->arena = arena;
    reader->problems.arena = arena;

    fault loaded = places_set(reader, path);
    if (loaded == OK) {
        config_read(reader, overrides);
        config_problems_print(&reader->problems, problems);
        loaded = config_verdict(reader);
    }
    if (reader->root != NULL)
        config_yaml_delete(reader);
    free(reader);
    if (loaded == OK)
        *ret = config;
    else
        config_unref(&config);
    return loaded;
}

fault config_load(const char *path, uint64_t version, struct config **ret, struct buffer *problems)
{
    return config_load_with(path, version, SPAN_NONE, ret, problems);
}

/* --- what a reload can't change --------------------------------------------------------------- */

/* Copies the fields of rows that are not reloadable.  Lists and special settings are all
 * reloadable. */
static void fields_keep(const struct setting *rows, const char *running, char *loaded,
                        struct config_arena *arena)
{
    for (const struct setting *row = rows; row->name != NULL; row++) {
        if (row->kind == SETTING_GROUP) {
            fields_keep(row->rows, running + row->at, loaded + row->at, arena);
        } else if (setting_is_number(row) && !row->reloadable) {
            setting_store(row, loaded, setting_load(row, running));
        } else if (setting_is_text(row) && !row->reloadable) {
            const char *text = *(const char *const *)(running + row->at);
            *(const char **)(loaded + row->at) =
                text == NULL ? NULL : config_arena_text(arena, span_text(text));
        }
    }
}

static const char *value_or_unset(const char *value)
{
    return *value == '\0' ? "unset" : value;
}

static void row_keep(struct config_row *row, const struct config_row *old, struct config *loaded,
                     struct buffer *problems)
{
    if (strcmp(old->key, row->key) != 0 || strcmp(old->value, row->value) == 0)
        return;
    buffer_printf(problems, "%s: warning: %s: stays %s until the next start, not %s\n",
                  loaded->path, row->key, value_or_unset(old->value), value_or_unset(row->value));
    const char *value = config_arena_text(loaded->arena, span_text(old->value));
    if (value != NULL)
        row->value = value;
}

fault config_keep_unreloadable(const struct config *running, struct config *loaded,
                               struct buffer *problems)
{
    fields_keep(config_settings, (const char *)running, (char *)loaded, loaded->arena);
    for (size_t i = 0; i < loaded->row_count; i++) {
        if (loaded->rows[i].reloadable)
            continue;
        for (size_t j = 0; j < running->row_count; j++)
            row_keep(&loaded->rows[i], &running->rows[j], loaded, problems);
    }
    return config_arena_fault(loaded->arena);
}
