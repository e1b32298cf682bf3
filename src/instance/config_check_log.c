/*
 * Checks which settings of a log target belong together.
 */
#include "instance/config_reader.h"

/* sizeof(sun_path) less the NUL. */
#define SOCKET_MAX 107

static void check_target(struct config_reader *reader, const struct log_target *target,
                         const yaml_node_t *node, const struct config_key *up)
{
    struct config_key key = {.up = up, .name = "path"};
    const yaml_node_t *place = config_yaml_place(reader, node, "path");
    bool socket = target->to == LOG_TO_SYSLOG || target->to == LOG_TO_JOURNAL;
    if (target->to == LOG_TO_FILE && target->path == NULL)
        config_error(reader, node, &key, "missing; accepted: the path of the log file");
    else if (target->to == LOG_TO_STDERR && target->path != NULL)
        config_error(reader, place, &key, "has no effect on standard error");
    else if (socket && target->path != NULL && strlen(target->path) > SOCKET_MAX)
        config_error(reader, place, &key,
                     "found a path of %zu bytes; accepted: at most %d, as a socket's name",
                     strlen(target->path), SOCKET_MAX);
}

void config_check_log(struct config_reader *reader)
{
    struct config *config = reader->config;
    const struct config_key top = {.name = "log"};
    struct config_key list_key = {.up = &top, .name = "targets"};
    const yaml_node_t *group = config_yaml_find(reader, reader->root, "log");
    const yaml_node_t *list = group != NULL ? config_yaml_find(reader, group, "targets") : NULL;
    for (size_t i = 0; i < config->log_target_count; i++) {
        struct log_target *target = &config->log_targets[i];
        struct config_key key = {.up = &list_key, .index = i};
        const yaml_node_t *node = config_yaml_item(reader, list, i);
        if (node->type == YAML_MAPPING_NODE)
            check_target(reader, target, node, &key);
        if (target->level == LOG_INHERIT)
            target->level = config->log_level;
        if (target->format == LOG_INHERIT)
            target->format = config->log_format;
    }
    if (config->log_target_count > 0 && config->log_file != NULL) {
        struct config_key key = {.up = &top, .name = "file"};
        config_warning(reader, config_yaml_place(reader, group, "file"), &key,
                       "has no effect because targets are set");
    }
}
