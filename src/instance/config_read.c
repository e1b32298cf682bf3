/*
 * config_read.c - reads YAML nodes into the objects of config/config.h, by the rows of the table
 * of settings.
 */
#include "instance/config_reader.h"

/* --- texts ------------------------------------------------------------------------------------ */

static bool text_fits(const struct setting *setting, struct span text, int64_t max)
{
    if (text.size == 0 || text.size > (size_t)max)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        bool control = text.at[i] < ' ' || text.at[i] == 127;
        if (text.at[i] == '\0' || (control && setting->kind != SETTING_SECRET))
            return false;
    }
    return true;
}

const char *config_read_text(struct config_reader *reader, const struct setting *setting,
                             yaml_node_t *node, const struct config_key *key, int64_t max)
{
    struct span text = config_yaml_text(node);
    if (config_yaml_nothing(node) || !text_fits(setting, text, max)) {
        config_refuse(reader, node, key, setting);
        return NULL;
    }
    return config_arena_text(reader->arena, text);
}

/* --- scalars ---------------------------------------------------------------------------------- */

/* Warns once per file that other users can read it although it holds a plain secret. */
static void warn_of_open_file(struct config_reader *reader, const yaml_node_t *node,
                              const struct config_key *key)
{
    int mode;
    struct config_file *file = &reader->files[config_file_of(reader, node) - reader->files];
    if (file->open_told || config_file_private(reader, file->path, &mode))
        return;
    file->open_told = true;
    config_warning(reader, node, key,
                   "is a secret in a file of mode %04o, which other users can read",
                   (unsigned)mode);
}

static void read_scalar(struct config_reader *reader, const struct setting *setting,
                        yaml_node_t *node, const struct config_key *key, void *object)
{
    if (setting_is_number(setting)) {
        int64_t value;
        if (config_yaml_nothing(node) || !setting_read(setting, config_yaml_text(node), &value))
            config_refuse(reader, node, key, setting);
        else
            setting_store(setting, object, value);
        return;
    }
    bool elsewhere = setting->kind == SETTING_SECRET && node->type == YAML_MAPPING_NODE;
    const char *text = elsewhere ? config_read_source(reader, setting, node, key)
                                 : config_read_text(reader, setting, node, key, setting->max);
    if (text == NULL)
        return;
    if (setting->kind == SETTING_SECRET && !elsewhere)
        warn_of_open_file(reader, node, key);
    if (setting->kind == SETTING_PATTERN && strcmp(text, "*") == 0)
        text = NULL;
    if (setting->kind == SETTING_PATH)
        text = config_path_absolute(reader, node, text);
    *(const char **)((char *)object + setting->at) = text;
}

/* --- parts ------------------------------------------------------------------------------------ */

/* Allocates `count` elements with their defaults and stores them in the object; NULL: none. */
static char *elements_new(struct config_reader *reader, const struct setting *setting, void *object,
                          size_t count)
{
    char *elements = config_arena_array(reader->arena, count, setting->size);
    if (elements == NULL)
        return NULL;
    *(void **)((char *)object + setting->at) = elements;
    *(size_t *)((char *)object + setting->count_at) = count;
    for (size_t i = 0; i < count; i++)
        config_preset(reader, setting->rows, elements + i * setting->size);
    return elements;
}

static bool count_fits(struct config_reader *reader, const struct setting *setting,
                       const yaml_node_t *node, const struct config_key *key, size_t count)
{
    if (count >= (size_t)setting->min && count <= (size_t)setting->max)
        return true;
    config_error(reader, node, key, "found %zu entries; accepted: %lld to %lld", count,
                 (long long)setting->min, (long long)setting->max);
    return false;
}

static void read_list(struct config_reader *reader, const struct setting *setting,
                      yaml_node_t *node, const struct config_key *key, void *object)
{
    if (node->type != YAML_SEQUENCE_NODE) {
        config_refuse(reader, node, key, setting);
        return;
    }
    size_t count = config_yaml_count(node);
    char *elements = count_fits(reader, setting, node, key, count)
                         ? elements_new(reader, setting, object, count)
                         : NULL;
    if (elements == NULL)
        return;
    for (size_t i = 0; i < count; i++) {
        struct config_key item = {.up = key, .index = i};
        config_read_mapping(reader, setting->rows, config_yaml_item(reader, node, i), &item,
                            elements + i * setting->size);
    }
}

/* Rejects a name that a mapping has before. */
static void refuse_used(struct config_reader *reader, const yaml_node_t *mapping,
                        const yaml_node_t *name, const struct config_key *key)
{
    const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
    const yaml_node_t *other = yaml_document_get_node(&reader->document, pair->key);
    while (!span_is(config_yaml_text(other), key->name))
        other = yaml_document_get_node(&reader->document, (++pair)->key);
    config_error(reader, name, key, "this name is already used in %s",
                 config_line_of(reader, other, name));
}

static void read_named(struct config_reader *reader, const struct setting *setting,
                       yaml_node_t *node, const struct config_key *key, void *object)
{
    static const struct setting name_row = {.kind = SETTING_TEXT, .min = 1, .max = 63};
    if (node->type != YAML_MAPPING_NODE) {
        config_refuse(reader, node, key, setting);
        return;
    }
    const yaml_node_pair_t *pairs = node->data.mapping.pairs.start;
    size_t count = (size_t)(node->data.mapping.pairs.top - pairs);
    char *elements = count_fits(reader, setting, node, key, count)
                         ? elements_new(reader, setting, object, count)
                         : NULL;
    if (elements == NULL)
        return;
    for (size_t i = 0; i < count; i++) {
        yaml_node_t *name = yaml_document_get_node(&reader->document, pairs[i].key);
        yaml_node_t *value = yaml_document_get_node(&reader->document, pairs[i].value);
        const char *text = config_read_text(reader, &name_row, name, key, name_row.max);
        struct config_key item = {.up = key, .name = text};
        if (text == NULL)
            continue;
        if (config_yaml_find(reader, node, text) != value)
            refuse_used(reader, node, name, &item);
        *(const char **)(elements + i * setting->size) = text;
        config_read_mapping(reader, setting->rows, value, &item, elements + i * setting->size);
    }
}

static void read_value(struct config_reader *reader, const struct setting *setting,
                       yaml_node_t *node, const struct config_key *key, void *object)
{
    switch (setting->kind) {
    case SETTING_GROUP:
        config_read_mapping(reader, setting->rows, node, key, (char *)object + setting->at);
        break;
    case SETTING_LIST:
        read_list(reader, setting, node, key, object);
        break;
    case SETTING_NAMED:
        read_named(reader, setting, node, key, object);
        break;
    case SETTING_SPECIAL:
        setting->special->read(reader, setting, node, key, object);
        break;
    default:
        read_scalar(reader, setting, node, key, object);
    }
}

/* --- mappings --------------------------------------------------------------------------------- */

void config_preset(struct config_reader *reader, const struct setting *rows, void *object)
{
    for (const struct setting *row = rows; row->name != NULL; row++) {
        if (row->kind == SETTING_GROUP) {
            config_preset(reader, row->rows, (char *)object + row->at);
        } else if (setting_is_number(row)) {
            int64_t value = 0;
            bool sound = setting_read(row, span_text(row->preset), &value);
            invariant(sound);
            setting_store(row, object, value);
        } else if (setting_is_text(row)) {
            bool any = row->kind == SETTING_PATTERN && strcmp(row->preset, "*") == 0;
            *(const char **)((char *)object + row->at) = any ? NULL : row->preset;
        }
    }
}

static void refuse_unknown(struct config_reader *reader, const struct setting *rows,
                           const yaml_node_t *node, const struct config_key *key)
{
    const char *nearest = settings_nearest(rows, span_text(key->name));
    if (nearest != NULL) {
        config_error(reader, node, key, "unknown key; did you mean \"%s\"?", nearest);
        return;
    }
    struct buffer known = BUFFER_INIT(CONFIG_PROBLEM_TEXT);
    for (const struct setting *row = rows; row->name != NULL; row++)
        buffer_printf(&known, "%s%s", row == rows ? "" : ", ", row->name);
    config_error(reader, node, key, "unknown key; accepted: %.*s", SPAN_ARG(buffer_span(&known)));
    buffer_fini(&known);
}

/* Checks that every key is known and set once. */
static void check_keys(struct config_reader *reader, const struct setting *rows,
                       const yaml_node_t *node, const struct config_key *key)
{
    const yaml_node_pair_t *first = node->data.mapping.pairs.start;
    for (const yaml_node_pair_t *pair = first; pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *name = yaml_document_get_node(&reader->document, pair->key);
        const char *text = config_arena_text(reader->arena, config_yaml_text(name));
        if (text == NULL)
            return;
        if (name->type != YAML_SCALAR_NODE) {
            config_error(reader, name, key, "found a list or a mapping as a key; accepted: a name");
            continue;
        }
        struct config_key item = {.up = key, .name = text};
        if (settings_find(rows, span_text(text)) == NULL) {
            refuse_unknown(reader, rows, name, &item);
            continue;
        }
        for (const yaml_node_pair_t *before = first; before < pair; before++) {
            const yaml_node_t *other = yaml_document_get_node(&reader->document, before->key);
            if (!span_is(config_yaml_text(other), text))
                continue;
            config_error(reader, name, &item, "this key is already set in %s",
                         config_line_of(reader, other, name));
            break;
        }
    }
}

static void refuse_missing(struct config_reader *reader, const struct setting *row,
                           const yaml_node_t *node, const struct config_key *key)
{
    struct buffer accepted = BUFFER_INIT(CONFIG_PROBLEM_TEXT);
    setting_accepts(row, &accepted);
    config_error(reader, node, key, "missing; accepted: %.*s", SPAN_ARG(buffer_span(&accepted)));
    buffer_fini(&accepted);
}

void config_read_mapping(struct config_reader *reader, const struct setting *rows,
                         yaml_node_t *node, const struct config_key *key, void *object)
{
    static const struct setting mapping = {.kind = SETTING_GROUP};
    if (node->type != YAML_MAPPING_NODE) {
        config_refuse(reader, node, key, &mapping);
        return;
    }
    check_keys(reader, rows, node, key);
    for (const struct setting *row = rows; row->name != NULL; row++) {
        struct config_key item = {.up = key, .name = row->name};
        yaml_node_t *value = config_yaml_find(reader, node, row->name);
        if (value != NULL)
            read_value(reader, row, value, &item, object);
        else if (row->required)
            refuse_missing(reader, row, node, &item);
    }
}
