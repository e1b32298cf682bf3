/* config_text.c - checks that a scalar can be stored as a text. */
#include "instance/config_reader.h"

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
