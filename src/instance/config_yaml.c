/*
 * config_yaml.c - the YAML document of the configuration reader: parsing, finding nodes, and
 * reporting problems at them.
 */
#include "instance/config_reader.h"

#include <stdarg.h>
#include <stdio.h>

/* Maximum of characters of a value that a message quotes. */
#define QUOTE_MAX 60

static struct config_place place_of(struct config_reader *reader, const yaml_node_t *node)
{
    struct config_place place = {.file = config_file_of(reader, node)->name};
    if (node != NULL && node->start_mark.index > 0) {
        place.line = (uint32_t)node->start_mark.line + 1;
        place.column = (uint32_t)node->start_mark.column + 1;
    }
    return place;
}

struct remark {
    enum config_severity severity;
    const yaml_node_t *node;
    const struct config_key *key;
};

static void remark_add(struct config_reader *reader, const struct remark *remark,
                       const char *format, va_list values)
{
    char text[CONFIG_PROBLEM_TEXT];
    vsnprintf(text, sizeof(text), format, values);
    config_problems_add(&reader->problems, remark->severity, place_of(reader, remark->node),
                        remark->key, text);
}

void config_error(struct config_reader *reader, const yaml_node_t *node,
                  const struct config_key *key, const char *format, ...)
{
    const struct remark remark = {CONFIG_ERROR, node, key};
    va_list values;
    va_start(values, format);
    remark_add(reader, &remark, format, values);
    va_end(values);
}

void config_warning(struct config_reader *reader, const yaml_node_t *node,
                    const struct config_key *key, const char *format, ...)
{
    const struct remark remark = {CONFIG_WARNING, node, key};
    va_list values;
    va_start(values, format);
    remark_add(reader, &remark, format, values);
    va_end(values);
}

/* Appends what was found: "a mapping", or the text in quotes, cut and without control
 * characters. */
static void found_print(const yaml_node_t *node, bool secret, struct buffer *out)
{
    if (node->type == YAML_MAPPING_NODE) {
        buffer_append_text(out, "a mapping");
        return;
    }
    if (node->type == YAML_SEQUENCE_NODE) {
        buffer_append_text(out, "a list");
        return;
    }
    struct span text = config_yaml_text(node);
    if (config_yaml_nothing(node)) {
        buffer_append_text(out, "nothing");
        return;
    }
    if (secret) {
        buffer_printf(out, "%zu bytes", text.size);
        return;
    }
    buffer_append_byte(out, '"');
    for (size_t i = 0; i < MIN_OF(text.size, (size_t)QUOTE_MAX); i++)
        buffer_append_byte(out, text.at[i] < ' ' || text.at[i] == 127 ? '?' : text.at[i]);
    buffer_append_text(out, text.size > QUOTE_MAX ? "...\"" : "\"");
}

void config_refuse(struct config_reader *reader, const yaml_node_t *node,
                   const struct config_key *key, const struct setting *setting)
{
    struct buffer text = BUFFER_INIT(CONFIG_PROBLEM_TEXT);
    buffer_append_text(&text, "found ");
    found_print(node, setting->kind == SETTING_SECRET, &text);
    buffer_append_text(&text, "; accepted: ");
    setting_accepts(setting, &text);
    config_error(reader, node, key, "%.*s", SPAN_ARG(buffer_span(&text)));
    buffer_fini(&text);
}

/* --- the document ----------------------------------------------------------------------------- */

static void parse_failed(struct config_reader *reader, const yaml_parser_t *parser, size_t file)
{
    const char *what = parser->problem != NULL ? parser->problem : "out of memory";
    const char *context = parser->context != NULL ? parser->context : "";
    bool reading = parser->error == YAML_READER_ERROR;
    /* Only one of the two marks is set, depending on which stage of libyaml failed. */
    const yaml_mark_t *mark = parser->problem_mark.line > 0 || parser->problem_mark.column > 0
                                  ? &parser->problem_mark
                                  : &parser->mark;
    struct config_place place = {.file = reader->files[file].name,
                                 .line = reading ? 0 : (uint32_t)mark->line + 1,
                                 .column = reading ? 0 : (uint32_t)mark->column + 1};
    char text[CONFIG_PROBLEM_TEXT];
    if (reading)
        snprintf(text, sizeof(text), "YAML: %s, at byte %zu", what, parser->problem_offset);
    else
        snprintf(text, sizeof(text), "YAML: %s%s%s%s", context, *context != '\0' ? ": " : "", what,
                 strstr(context, "alias") != NULL ? "; write \"*\" in quotes" : "");
    config_problems_add(&reader->problems, CONFIG_ERROR, place, NULL, text);
}

/* Rejects a second document, which would be silently ignored. */
static void refuse_more(struct config_reader *reader, yaml_parser_t *parser, size_t file)
{
    yaml_document_t more;
    if (!yaml_parser_load(parser, &more)) {
        parse_failed(reader, parser, file);
        return;
    }
    yaml_node_t *root = yaml_document_get_root_node(&more);
    if (root != NULL) {
        root->start_mark.index = file + 1;
        config_error(reader, root, NULL, "found a second document; accepted: one");
    }
    yaml_document_delete(&more);
}

static void yaml_buffer_wipe(yaml_char_t *start, yaml_char_t *end)
{
    if (start != NULL)
        explicit_bzero(start, (size_t)(end - start));
}

/* Adds a copy of a list's or a mapping's content, whose numbers grow by `base`. */
static bool content_copy(yaml_document_t *into, const yaml_node_t *node, int number, int base)
{
    if (node->type == YAML_SEQUENCE_NODE) {
        const yaml_node_item_t *item = node->data.sequence.items.start;
        for (; item < node->data.sequence.items.top; item++)
            if (!yaml_document_append_sequence_item(into, number, base + *item))
                return false;
    } else if (node->type == YAML_MAPPING_NODE) {
        const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
        for (; pair < node->data.mapping.pairs.top; pair++)
            if (!yaml_document_append_mapping_pair(into, number, base + pair->key,
                                                   base + pair->value))
                return false;
    }
    return true;
}

static int node_copy(yaml_document_t *into, const yaml_node_t *node)
{
    switch (node->type) {
    case YAML_SEQUENCE_NODE:
        return yaml_document_add_sequence(into, node->tag, node->data.sequence.style);
    case YAML_MAPPING_NODE:
        return yaml_document_add_mapping(into, node->tag, node->data.mapping.style);
    default:
        return yaml_document_add_scalar(into, node->tag, node->data.scalar.value,
                                        (int)node->data.scalar.length, node->data.scalar.style);
    }
}

/* Copies a document's nodes to the end of the reader's; their marks then name the file.  Returns
 * the root's number, 0 without memory. */
static int document_copy(struct config_reader *reader, const yaml_document_t *from, size_t file)
{
    yaml_document_t *into = &reader->document;
    int base = (int)(into->nodes.top - into->nodes.start);
    for (const yaml_node_t *node = from->nodes.start; node < from->nodes.top; node++) {
        int number = node_copy(into, node);
        if (number == 0)
            return 0;
        yaml_node_t *copy = yaml_document_get_node(into, number);
        copy->start_mark = node->start_mark;
        copy->start_mark.index = file + 1;
    }
    int number = base;
    for (const yaml_node_t *node = from->nodes.start; node < from->nodes.top; node++)
        if (!content_copy(into, node, ++number, base))
            return 0;
    invariant(number == (int)(into->nodes.top - into->nodes.start));
    return base + 1;
}

/* Takes the parser's document into the reader's.  Returns the root's number, 0 for none. */
static int document_take(struct config_reader *reader, yaml_parser_t *parser, size_t file)
{
    yaml_document_t document;
    int root = 0;
    invariant(file < reader->file_count);
    if (!yaml_parser_load(parser, &document)) {
        parse_failed(reader, parser, file);
        return 0;
    }
    if (yaml_document_get_root_node(&document) != NULL) {
        root = document_copy(reader, &document, file);
        if (root == 0)
            config_error(reader, NULL, NULL, "out of memory");
        refuse_more(reader, parser, file);
    } else if (file == 0) {
        config_error(reader, NULL, NULL, "found nothing; accepted: a mapping of settings");
    }
    config_yaml_delete(&document);
    return root;
}

int config_yaml_parse(struct config_reader *reader, struct span text, size_t file)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        config_error(reader, NULL, NULL, "out of memory");
        return 0;
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, text.size > 0 ? text.at : (const uint8_t *)"", text.size);
    int root = document_take(reader, &parser, file);
    yaml_buffer_wipe(parser.raw_buffer.start, parser.raw_buffer.end);
    yaml_buffer_wipe(parser.buffer.start, parser.buffer.end);
    yaml_parser_delete(&parser);
    return root;
}

void config_yaml_delete(yaml_document_t *document)
{
    for (yaml_node_t *node = document->nodes.start; node < document->nodes.top; node++)
        if (node->type == YAML_SCALAR_NODE)
            explicit_bzero(node->data.scalar.value, node->data.scalar.length);
    yaml_document_delete(document);
}

yaml_node_t *config_yaml_find(struct config_reader *reader, const yaml_node_t *mapping,
                              const char *name)
{
    if (mapping->type != YAML_MAPPING_NODE)
        return NULL;
    const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
    for (; pair < mapping->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(&reader->document, pair->key);
        if (key->type == YAML_SCALAR_NODE && span_is(config_yaml_text(key), name))
            return yaml_document_get_node(&reader->document, pair->value);
    }
    return NULL;
}

const yaml_node_t *config_yaml_place(struct config_reader *reader, const yaml_node_t *mapping,
                                     const char *name)
{
    const yaml_node_t *node = config_yaml_find(reader, mapping, name);
    return node != NULL ? node : mapping;
}

size_t config_yaml_count(const yaml_node_t *sequence)
{
    invariant(sequence->type == YAML_SEQUENCE_NODE);
    return (size_t)(sequence->data.sequence.items.top - sequence->data.sequence.items.start);
}

yaml_node_t *config_yaml_item(struct config_reader *reader, const yaml_node_t *sequence,
                              size_t index)
{
    invariant(index < config_yaml_count(sequence));
    return yaml_document_get_node(&reader->document, sequence->data.sequence.items.start[index]);
}

struct span config_yaml_text(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE)
        return SPAN_NONE;
    return span_of(node->data.scalar.value, node->data.scalar.length);
}

bool config_yaml_nothing(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    struct span text = config_yaml_text(node);
    return text.size == 0 || span_is(text, "~") || span_is_nocase(text, "null");
}
