/* config_ignored.c - ignore_startup_parameters: startup parameters that are accepted and
 * dropped. */
#include "instance/config_reader.h"

#define IGNORED_MAX      256
#define IGNORED_NAME_MAX 127

static void ignored_read(struct config_reader *reader, const struct setting *setting,
                         yaml_node_t *node, const struct config_key *key, void *object)
{
    static const struct setting name_row = {
        .kind = SETTING_TEXT, .min = 1, .max = IGNORED_NAME_MAX};
    struct config *config = object;
    size_t count = node->type == YAML_SEQUENCE_NODE ? config_yaml_count(node) : IGNORED_MAX + 1;
    if (count > IGNORED_MAX) {
        config_refuse(reader, node, key, setting);
        return;
    }
    config->ignored_parameters = config_arena_array(reader->arena, count, sizeof(const char *));
    for (size_t i = 0; config->ignored_parameters != NULL && i < count; i++) {
        struct config_key item = {.up = key, .index = i};
        const char *text = config_read_text(reader, &name_row, config_yaml_item(reader, node, i),
                                            &item, IGNORED_NAME_MAX);
        if (text != NULL)
            config->ignored_parameters[config->ignored_count++] = text;
    }
}

static void ignored_print(const struct setting *setting, const void *object, struct buffer *out)
{
    const struct config *config = object;
    for (size_t i = 0; i < config->ignored_count; i++)
        buffer_printf(out, "%s%s", i > 0 ? ", " : "", config->ignored_parameters[i]);
}

const struct setting_special config_special_ignored = {.read = ignored_read,
                                                       .print = ignored_print};
