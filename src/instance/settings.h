#pragma once
/*
 * settings.h - the table of all settings of the configuration file.
 *
 * The reader, the defaults, the messages, SHOW CONFIG and docs/configuration.md are made from it,
 * so a new setting is one row here and one field in config/config.h.
 */
#include "base/settings.h"

struct config_reader;
struct config_key;
struct config_arena;
struct yaml_node_s;

/* A setting whose value is neither a number nor a text. */
struct setting_special {
    /** Reads the node into the object; adds problems to the reader. */
    void (*read)(struct config_reader *reader, const struct setting *setting,
                 struct yaml_node_s *node, const struct config_key *key, void *object);
    /** Appends the value for SHOW CONFIG; nothing if there is none. */
    void (*print)(const struct setting *setting, const void *object, struct buffer *out);
};

/* The rows of the file itself, over struct config; ends with a NULL name. */
extern const struct setting config_settings[];

extern const struct setting_special config_special_hosts;        /* struct service_config */
extern const struct setting_special config_special_name_servers; /* struct service_config */
extern const struct setting_special config_special_service;      /* struct route_config */
extern const struct setting_special config_special_names;        /* a list of names */
extern const struct setting_special config_special_proxies;      /* struct listen_config */
extern const struct setting_special config_special_ignored;      /* struct config */
extern const struct setting_special config_special_include;      /* struct config */
