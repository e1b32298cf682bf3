/*
 * config_override.c - values set by SET while the pooler runs; they replace those of the file.
 *
 * They are put into the document before it is read, so that they are read, checked and rejected
 * like values of the file.
 */
#include "instance/config_reader.h"

#include <stdlib.h>

/* Returns a node's number: adding to a document may move its nodes. */
static int number_of(const struct config_reader *reader, const yaml_node_t *node)
{
    return (int)(node - reader->document.nodes.start) + 1;
}

static int text_add(struct config_reader *reader, struct span text)
{
    return yaml_document_add_scalar(
        &reader->document, NULL, (const yaml_char_t *)(text.size == 0 ? (const void *)"" : text.at),
        (int)text.size, YAML_PLAIN_SCALAR_STYLE);
}

/* Finds a mapping's value by its name or a list's element by its number; NULL: none. */
static int *place_find(struct config_reader *reader, int parent, struct span name)
{
    yaml_node_t *node = yaml_document_get_node(&reader->document, parent);
    if (node->type == YAML_SEQUENCE_NODE) {
        size_t index = (size_t)strtoul((const char *)name.at, NULL, 10);
        return index < config_yaml_count(node) ? node->data.sequence.items.start + index : NULL;
    }
    if (node->type != YAML_MAPPING_NODE)
        return NULL;
    yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    for (; pair < node->data.mapping.pairs.top; pair++)
        if (span_equal(config_yaml_text(yaml_document_get_node(&reader->document, pair->key)),
                       name))
            return &pair->value;
    return NULL;
}

/* Adds a key to a mapping, with `value`, or with an empty mapping if that is NULL. Returns 0 if the
 * parent is no mapping or there is no memory. */
static int place_make(struct config_reader *reader, int parent, struct span name,
                      const struct span *value)
{
    if (yaml_document_get_node(&reader->document, parent)->type != YAML_MAPPING_NODE)
        return 0;
    int key = text_add(reader, name);
    int made = value != NULL
                   ? text_add(reader, *value)
                   : yaml_document_add_mapping(&reader->document, NULL, YAML_BLOCK_MAPPING_STYLE);
    if (key == 0 || made == 0 ||
        !yaml_document_append_mapping_pair(&reader->document, parent, key, made))
        return 0;
    return made;
}

/* Takes the first part off "routes[0].pool_size"; a number is a part of its own. */
static struct span part_next(struct span *path)
{
    size_t size = 0;
    while (size < path->size && memchr(".[]", path->at[size], 3) == NULL)
        size++;
    struct span part = span_of(path->at, size);
    *path = span_skip(*path, size);
    while (path->size > 0 && memchr(".[]", path->at[0], 3) != NULL)
        *path = span_skip(*path, 1);
    return part;
}

static bool override_put(struct config_reader *reader, struct span path, struct span value)
{
    int at = number_of(reader, reader->root);
    while (path.size > 0) {
        struct span part = part_next(&path);
        bool last = path.size == 0;
        int *place = place_find(reader, at, part);
        if (place == NULL) {
            at = place_make(reader, at, part, last ? &value : NULL);
        } else if (last) {
            int made = text_add(reader, value);
            *place_find(reader, at, part) = made; /* the list may have moved */
            at = made;
        } else {
            at = *place;
        }
        if (at == 0)
            return false;
    }
    reader->root = yaml_document_get_root_node(&reader->document);
    return true;
}

void config_override(struct config_reader *reader, struct span overrides)
{
    struct span key, value;
    while (overrides.size > 0) {
        const char *text = (const char *)overrides.at;
        key = span_text(text);
        value = span_text(text + key.size + 1);
        overrides = span_skip(overrides, key.size + value.size + 2);
        if (reader->root->type == YAML_MAPPING_NODE && !override_put(reader, key, value))
            config_error(reader, NULL, NULL, "there is no setting \"%.*s\" to change",
                         SPAN_ARG(key));
    }
}
