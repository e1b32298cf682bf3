/*
 * The YAML document of the configuration reader: parsing, finding nodes, and reporting problems at
 * them.
 */
#include "instance/config_reader.h"

#include <stdarg.h>
#include <stdio.h>

/* Maximum of characters of a value that a message quotes. */
#define QUOTE_MAX 60

static struct config_place place_of(struct config_reader *reader, const yaml_node_t *node)
{
    struct config_place place = {.file = reader->file};
    if (node != NULL) {
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

static void parse_failed(struct config_reader *reader, const yaml_parser_t *parser)
{
    const char *what = parser->problem != NULL ? parser->problem : "out of memory";
    const char *context = parser->context != NULL ? parser->context : "";
    bool reading = parser->error == YAML_READER_ERROR;
    /* Only one of the two marks is set, depending on which stage of libyaml failed. */
    const yaml_mark_t *mark = parser->problem_mark.line > 0 || parser->problem_mark.column > 0
                                  ? &parser->problem_mark
                                  : &parser->mark;
    struct config_place place = {.file = reader->file,
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
static void refuse_more(struct config_reader *reader, yaml_parser_t *parser)
{
    yaml_document_t more;
    if (!yaml_parser_load(parser, &more)) {
        parse_failed(reader, parser);
        return;
    }
    const yaml_node_t *root = yaml_document_get_root_node(&more);
    if (root != NULL)
        config_error(reader, root, NULL, "found a second document; accepted: one");
    yaml_document_delete(&more);
}

static void yaml_buffer_wipe(yaml_char_t *start, yaml_char_t *end)
{
    if (start != NULL)
        explicit_bzero(start, (size_t)(end - start));
}

void config_yaml_parse(struct config_reader *reader, struct span text)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        config_error(reader, NULL, NULL, "out of memory");
        return;
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, text.size > 0 ? text.at : (const uint8_t *)"", text.size);
    if (!yaml_parser_load(&parser, &reader->document)) {
        parse_failed(reader, &parser);
    } else {
        reader->root = yaml_document_get_root_node(&reader->document);
        if (reader->root != NULL) {
            refuse_more(reader, &parser);
        } else {
            config_error(reader, NULL, NULL, "found nothing; accepted: a mapping of settings");
            yaml_document_delete(&reader->document);
        }
    }
    yaml_buffer_wipe(parser.raw_buffer.start, parser.raw_buffer.end);
    yaml_buffer_wipe(parser.buffer.start, parser.buffer.end);
    yaml_parser_delete(&parser);
}

void config_yaml_delete(struct config_reader *reader)
{
    yaml_document_t *document = &reader->document;
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
