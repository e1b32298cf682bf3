/*
 * config_include.c - the files of a configuration: the main file, and those that `include` names.
 *
 * All files become one document.  Lists and mappings of names are appended to each other in the
 * order of the files; a mapping of settings is merged key by key.  A key that two files set stands
 * twice in the document, which the reader refuses with both places.
 */
#include "instance/config_reader.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>

#define INCLUDE_KEY "include"
/* Files that include files, and paths of one `include`. */
#define INCLUDE_DEPTH_MAX 10
#define INCLUDE_PATHS_MAX 100
#define INCLUDE_PATH_MAX  4095

/* The number of the mapping into which all files are merged: the document's first node. */
#define WHOLE 1

static const struct config_key include_key = {.name = INCLUDE_KEY};
static const struct setting path_row = {.kind = SETTING_SPECIAL,
                                        .min = 1,
                                        .max = INCLUDE_PATH_MAX,
                                        .unit = "a path or a pattern, or a list of them"};

/* --- the files -------------------------------------------------------------------------------- */

/* Returns the directory part of a path with its slash; the empty span if it has none. */
static struct span directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return span_of(path, slash == NULL ? 0 : (size_t)(slash - path) + 1);
}

static const char *path_join(struct config_reader *reader, struct span directory, const char *path)
{
    struct buffer whole = BUFFER_INIT((size_t)3 * 4096);
    if (path[0] != '/')
        buffer_append_span(&whole, directory);
    buffer_append_text(&whole, path);
    const char *kept = config_arena_text(reader->arena, buffer_span(&whole));
    buffer_fini(&whole);
    return kept;
}

/* The file that `up` calls `path`. */
static struct config_file file_named(struct config_reader *reader, const struct config_file *up,
                                     const char *path)
{
    return (struct config_file){.name = path_join(reader, directory_of(up->name), path),
                                .path = path_join(reader, directory_of(up->path), path),
                                .depth = up->depth + 1};
}

const struct config_file *config_file_of(const struct config_reader *reader,
                                         const yaml_node_t *node)
{
    /* Values of SET stand in no file. */
    if (node == NULL || node->start_mark.index == 0)
        return &reader->files[0];
    invariant(node->start_mark.index <= reader->file_count);
    return &reader->files[node->start_mark.index - 1];
}

const char *config_line_of(struct config_reader *reader, const yaml_node_t *node,
                           const yaml_node_t *from)
{
    const struct config_file *file = config_file_of(reader, node);
    bool same = file == config_file_of(reader, from);
    struct buffer text = BUFFER_INIT((size_t)3 * 4096);
    buffer_printf(&text, "%s%s%zu", same ? "line" : file->name, same ? " " : ":",
                  node->start_mark.line + 1);
    const char *kept = config_arena_text(reader->arena, buffer_span(&text));
    buffer_fini(&text);
    return kept != NULL ? kept : "another line";
}

const char *config_path_absolute(struct config_reader *reader, const yaml_node_t *node,
                                 const char *path)
{
    return path_join(reader, directory_of(config_file_of(reader, node)->path), path);
}

/* --- merging ---------------------------------------------------------------------------------- */

static yaml_node_t *node_at(struct config_reader *reader, int number)
{
    return yaml_document_get_node(&reader->document, number);
}

/* Makes an empty list or mapping in the place of another one, which may be used elsewhere too. */
static int container_new(struct config_reader *reader, int like)
{
    yaml_document_t *document = &reader->document;
    yaml_mark_t mark = node_at(reader, like)->start_mark;
    int made = node_at(reader, like)->type == YAML_SEQUENCE_NODE
                   ? yaml_document_add_sequence(document, NULL, YAML_BLOCK_SEQUENCE_STYLE)
                   : yaml_document_add_mapping(document, NULL, YAML_BLOCK_MAPPING_STYLE);
    invariant(made == 0 || made != like);
    if (made != 0)
        node_at(reader, made)->start_mark = mark;
    return made;
}

static bool items_append(struct config_reader *reader, int into, int from)
{
    for (size_t i = 0; i < config_yaml_count(node_at(reader, from)); i++) {
        int item = node_at(reader, from)->data.sequence.items.start[i];
        if (!yaml_document_append_sequence_item(&reader->document, into, item))
            return false;
    }
    return true;
}

static bool pairs_append(struct config_reader *reader, int into, int from)
{
    yaml_node_t *node = node_at(reader, from);
    invariant(node->type == YAML_MAPPING_NODE && into != from);
    const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    for (; pair < node->data.mapping.pairs.top; pair++)
        if (!yaml_document_append_mapping_pair(&reader->document, into, pair->key, pair->value))
            return false;
    return true;
}

/* Returns a key's first pair before `end`; NULL: none. */
static const yaml_node_pair_t *pair_before(struct config_reader *reader,
                                           const yaml_node_pair_t *pairs,
                                           const yaml_node_pair_t *end, struct span name)
{
    for (; pairs < end; pairs++) {
        const yaml_node_t *key = node_at(reader, pairs->key);
        if (key->type == YAML_SCALAR_NODE && span_equal(config_yaml_text(key), name))
            return pairs;
    }
    return NULL;
}

static bool mapping_merge(struct config_reader *reader, const struct setting *rows, int into,
                          int from);

/* Adds the content of the list or mapping `from` to `into`, which is of the same type. */
static bool container_merge(struct config_reader *reader, const struct setting *row, int into,
                            int from)
{
    invariant(into != from && node_at(reader, into)->type == node_at(reader, from)->type);
    if (node_at(reader, from)->type == YAML_SEQUENCE_NODE)
        return items_append(reader, into, from);
    return row->kind == SETTING_GROUP ? mapping_merge(reader, row->rows, into, from)
                                      : pairs_append(reader, into, from);
}

/* Whether values of several files are one value: the node's type is the one that the row takes. */
static bool merges(struct config_reader *reader, const struct setting *row, int value)
{
    yaml_node_type_t type = node_at(reader, value)->type;
    if (row == NULL)
        return false;
    if (row->kind == SETTING_GROUP || row->kind == SETTING_NAMED)
        return type == YAML_MAPPING_NODE;
    return (row->kind == SETTING_LIST || row->kind == SETTING_SPECIAL) &&
           type == YAML_SEQUENCE_NODE;
}

/* Whether a key is an `include` of an included file, which includes_load has to follow. */
static bool nested_include(struct config_reader *reader, const struct setting *row, int key)
{
    return row != NULL && row->special == &config_special_include &&
           config_file_of(reader, node_at(reader, key)) != &reader->files[0];
}

/* Adds a pair of the mapping `from` to the mapping `into`. */
static bool pair_merge(struct config_reader *reader, const struct setting *rows, int into, int from,
                       size_t index)
{
    const yaml_node_t *target = node_at(reader, into);
    const yaml_node_pair_t *first = node_at(reader, from)->data.mapping.pairs.start;
    int key = first[index].key, value = first[index].value;
    struct span name = config_yaml_text(node_at(reader, key));
    const struct setting *row =
        node_at(reader, key)->type == YAML_SCALAR_NODE ? settings_find(rows, name) : NULL;
    const yaml_node_pair_t *again = pair_before(reader, first, first + index, name);
    const yaml_node_pair_t *old =
        pair_before(reader, target->data.mapping.pairs.start, target->data.mapping.pairs.top, name);
    if (nested_include(reader, row, key)) {
        if (again != NULL)
            config_error(reader, node_at(reader, key), &include_key,
                         "this key is already set in %s",
                         config_line_of(reader, node_at(reader, again->key), node_at(reader, key)));
        return true;
    }
    if (again == NULL && merges(reader, row, value)) {
        if (old != NULL && merges(reader, row, old->value))
            return container_merge(reader, row, old->value, value);
        int made = container_new(reader, value);
        if (made == 0 || !container_merge(reader, row, made, value))
            return false;
        value = made;
    }
    return yaml_document_append_mapping_pair(&reader->document, into, key, value) != 0;
}

static bool mapping_merge(struct config_reader *reader, const struct setting *rows, int into,
                          int from)
{
    yaml_node_t *node = node_at(reader, from);
    invariant(rows != NULL && node->type == YAML_MAPPING_NODE);
    size_t count = (size_t)(node->data.mapping.pairs.top - node->data.mapping.pairs.start);
    for (size_t i = 0; i < count; i++)
        if (!pair_merge(reader, rows, into, from, i))
            return false;
    return true;
}

/* --- include ---------------------------------------------------------------------------------- */

static bool file_load(struct config_reader *reader, const struct config_file *file,
                      const yaml_node_t *at);

struct names {
    struct config_reader *reader;
    const char *pattern;
    const char **list;
    size_t count;
    size_t left_out;
};

static void name_add(void *argument, const char *name)
{
    struct names *names = argument;
    if (fnmatch(names->pattern, name, FNM_PERIOD) != 0)
        return;
    const char *kept = config_arena_text(names->reader->arena, span_text(name));
    if (names->count == CONFIG_FILES_MAX || kept == NULL)
        names->left_out += 1;
    else
        names->list[names->count++] = kept;
    invariant(names->count <= CONFIG_FILES_MAX);
}

static int names_order(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Loads the files that a pattern matches, in the order of their names. */
static void pattern_load(struct config_reader *reader, const struct config_file *up,
                         const char *pattern, const yaml_node_t *at)
{
    struct span directory = directory_of(pattern);
    const char *parent = config_arena_text(reader->arena, directory);
    struct names names = {.reader = reader, .pattern = pattern + directory.size};
    names.list = calloc(CONFIG_FILES_MAX, sizeof(*names.list));
    struct config_file listed = {0};
    if (parent != NULL)
        listed = file_named(reader, up, directory.size == 0 ? "." : parent);
    if (names.list == NULL || listed.path == NULL) {
        free(names.list);
        config_error(reader, at, &include_key, "out of memory");
        return;
    }
    int status = os->file_list(listed.path, name_add, &names);
    if (status < 0 && status != -ENOENT)
        config_error(reader, at, &include_key, "cannot list %s: %s", listed.name,
                     strerrordesc_np(-status));
    if (names.left_out > 0)
        config_error(reader, at, &include_key, "%s: found %zu files; accepted: up to %d", pattern,
                     names.count + names.left_out, CONFIG_FILES_MAX);
    qsort(names.list, names.count, sizeof(*names.list), names_order);
    for (size_t i = 0; i < names.count; i++) {
        const char *path = path_join(reader, directory, names.list[i]);
        struct config_file file = {0};
        if (path != NULL)
            file = file_named(reader, up, path);
        if (!file_load(reader, &file, at))
            break;
    }
    free(names.list);
}

static void path_load(struct config_reader *reader, const struct config_file *up, yaml_node_t *at)
{
    const char *path = config_read_text(reader, &path_row, at, &include_key, path_row.max);
    if (path == NULL)
        return;
    while (strncmp(path, "./", 2) == 0)
        path += 2;
    struct span directory = directory_of(path);
    size_t plain = strcspn(path, "*?[");
    if (plain < directory.size) {
        config_error(reader, at, &include_key,
                     "found \"%s\"; accepted: a pattern in the last part of the path only", path);
    } else if (path[plain] != '\0') {
        pattern_load(reader, up, path, at);
    } else {
        struct config_file file = file_named(reader, up, path);
        file_load(reader, &file, at);
    }
}

/* Loads the files that the file with this root includes. */
static void includes_load(struct config_reader *reader, size_t number, int root)
{
    const struct config_file up = reader->files[number];
    yaml_node_t *node = config_yaml_find(reader, node_at(reader, root), INCLUDE_KEY);
    if (node == NULL)
        return;
    int list = (int)(node - reader->document.nodes.start) + 1;
    invariant(node_at(reader, list) == node);
    size_t count = node->type == YAML_SEQUENCE_NODE ? config_yaml_count(node) : 1;
    if (count > INCLUDE_PATHS_MAX) {
        config_error(reader, node, &include_key, "found %zu paths; accepted: up to %d", count,
                     INCLUDE_PATHS_MAX);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        /* Loading a file moves the nodes. */
        node = node_at(reader, list);
        yaml_node_t at =
            *(node->type == YAML_SEQUENCE_NODE ? config_yaml_item(reader, node, i) : node);
        path_load(reader, &up, &at);
    }
}

/* --- one file --------------------------------------------------------------------------------- */

/* Reads and parses a file.  Returns the number of its root among the nodes, 0 if there is none. */
static int text_load(struct config_reader *reader, size_t number, const yaml_node_t *at)
{
    const struct config_file *file = &reader->files[number];
    struct buffer text = BUFFER_INIT(CONFIG_FILE_MAX - reader->bytes);
    int status = config_file_read(file->path, &text);
    int root = 0;
    if (status == -EFBIG && at != NULL)
        config_error(reader, at, &include_key,
                     "%s is too large; accepted: %zu MiB, all files together", file->name,
                     CONFIG_FILE_MAX >> 20);
    else if (status != 0 && at != NULL)
        config_error(reader, at, &include_key, "cannot read %s: %s", file->name,
                     strerrordesc_np(-status));
    else if (status != 0)
        config_error(reader, NULL, NULL, "cannot read it: %s", strerrordesc_np(-status));
    else
        root = config_yaml_parse(reader, buffer_span(&text), number);
    reader->bytes += status == 0 ? text.size : 0;
    /* The text may hold passwords. */
    if (text.at != NULL)
        explicit_bzero(text.at, text.capacity);
    buffer_fini(&text);
    return root;
}

/* Adds a file to the reader's list.  Returns false after adding a problem. */
static bool file_add(struct config_reader *reader, const struct config_file *file,
                     const yaml_node_t *at)
{
    for (size_t i = 0; i < reader->file_count; i++) {
        const struct config_file *other = &reader->files[i];
        if (strcmp(other->path, file->path) != 0)
            continue;
        if (i == 0)
            config_error(reader, at, &include_key, "%s is the main file", file->name);
        else
            config_error(reader, at, &include_key, "%s is already included, in %s:%u", file->name,
                         other->from, other->from_line);
        return false;
    }
    if (file->depth > INCLUDE_DEPTH_MAX || reader->file_count == CONFIG_FILES_MAX) {
        bool deep = file->depth > INCLUDE_DEPTH_MAX;
        config_error(reader, at, &include_key, "%s: accepted: %s %d", file->name,
                     deep ? "a nesting depth of files up to" : "a number of files up to",
                     deep ? INCLUDE_DEPTH_MAX : CONFIG_FILES_MAX);
        return false;
    }
    struct config_file *added = &reader->files[reader->file_count++];
    *added = *file;
    if (at != NULL) {
        added->from = config_file_of(reader, at)->name;
        added->from_line = (uint32_t)at->start_mark.line + 1;
    }
    return true;
}

/* Loads an included file and merges it.  Returns false if no further one may be tried. */
static bool file_load(struct config_reader *reader, const struct config_file *file,
                      const yaml_node_t *at)
{
    if (file->name == NULL || file->path == NULL)
        return false;
    if (!file_add(reader, file, at))
        return reader->file_count < CONFIG_FILES_MAX;
    size_t number = reader->file_count - 1;
    int root = text_load(reader, number, at);
    if (root == 0)
        return true;
    if (node_at(reader, root)->type != YAML_MAPPING_NODE) {
        static const struct setting mapping = {.kind = SETTING_GROUP};
        config_refuse(reader, node_at(reader, root), NULL, &mapping);
        return true;
    }
    if (!mapping_merge(reader, config_settings, WHOLE, root))
        config_error(reader, at, &include_key, "out of memory");
    includes_load(reader, number, root);
    return true;
}

void config_load_files(struct config_reader *reader)
{
    if (!yaml_document_initialize(&reader->document, NULL, NULL, NULL, 1, 1)) {
        config_error(reader, NULL, NULL, "out of memory");
        return;
    }
    int whole = yaml_document_add_mapping(&reader->document, NULL, YAML_BLOCK_MAPPING_STYLE);
    invariant(whole == 0 || whole == WHOLE);
    int root = whole == 0 ? 0 : text_load(reader, 0, NULL);
    if (root == 0) {
        config_yaml_delete(&reader->document);
        return;
    }
    reader->root = node_at(reader, root);
    if (reader->root->type != YAML_MAPPING_NODE)
        return;
    node_at(reader, WHOLE)->start_mark = reader->root->start_mark;
    if (!mapping_merge(reader, config_settings, WHOLE, root))
        config_error(reader, NULL, NULL, "out of memory");
    includes_load(reader, 0, root);
    /* Loading files has moved the nodes. */
    reader->root = node_at(reader, WHOLE);
}

/* --- the setting ------------------------------------------------------------------------------ */

/* Keeps the paths of the main file for SHOW CONFIG; includes_load has checked them. */
static void include_read(struct config_reader *reader, const struct setting *setting,
                         yaml_node_t *node, const struct config_key *key, void *object)
{
    struct config *config = object;
    size_t count = node->type == YAML_SEQUENCE_NODE ? config_yaml_count(node) : 1;
    config->includes = config_arena_array(reader->arena, count, sizeof(*config->includes));
    for (size_t i = 0; config->includes != NULL && i < count; i++) {
        const yaml_node_t *item =
            node->type == YAML_SEQUENCE_NODE ? config_yaml_item(reader, node, i) : node;
        const char *text = config_arena_text(reader->arena, config_yaml_text(item));
        if (text != NULL)
            config->includes[config->include_count++] = text;
    }
}

static void include_print(const struct setting *setting, const void *object, struct buffer *out)
{
    const struct config *config = object;
    for (size_t i = 0; i < config->include_count; i++)
        buffer_printf(out, "%s%s", i > 0 ? ", " : "", config->includes[i]);
}

const struct setting_special config_special_include = {.read = include_read,
                                                       .print = include_print};
