/* config_hba.c - the HBA and ident files, and the options of routes. */
#include "instance/config_reader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define NAMES_MAX 65536u /* files of one directory */

/* --- what the parser asks for ----------------------------------------------------------------- */

static int hba_file_read(void *argument, const char *path, struct buffer *into)
{
    return config_file_read(path, into);
}

struct names {
    char **all;
    size_t count;
    size_t room;
    int status;
};

static void names_add(void *argument, const char *name)
{
    struct names *names = argument;
    if (names->count == names->room && names->status == 0) {
        size_t room = MAX_OF(names->room * 2, (size_t)64);
        char **all = room > NAMES_MAX ? NULL : realloc(names->all, room * sizeof(char *));
        if (all == NULL) {
            names->status = -ENOMEM;
            return;
        }
        names->all = all;
        names->room = room;
    }
    if (names->status != 0)
        return;
    names->all[names->count] = strdup(name);
    if (names->all[names->count] == NULL)
        names->status = -ENOMEM;
    else
        names->count += 1;
}

static int names_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int hba_file_list(void *argument, const char *path, struct buffer *into)
{
    struct names names = {0};
    int status = os->file_list(path, names_add, &names);
    if (status == 0)
        status = names.status;
    if (names.count > 0)
        qsort(names.all, names.count, sizeof(char *), names_order);
    for (size_t i = 0; i < names.count; i++) {
        buffer_append(into, names.all[i], strlen(names.all[i]) + 1);
        free(names.all[i]);
    }
    free(names.all);
    return status;
}

static void hba_file_problem(void *argument, const char *file, uint32_t line, const char *text)
{
    struct config_reader *reader = argument;
    struct config_place place = {.file = config_arena_text(reader->arena, span_text(file)),
                                 .line = line};
    if (place.file != NULL)
        config_problems_add(&reader->problems, CONFIG_ERROR, place, NULL, text);
}

/* The route at which problems of its options are reported. */
struct route_place {
    struct config_reader *reader;
    const yaml_node_t *node;
    struct config_key key;
};

static void route_problem(void *argument, const char *file, uint32_t line, const char *text)
{
    const struct route_place *place = argument;
    config_error(place->reader, place->node, &place->key, "%s", text);
}

/* --- what must fit each other ----------------------------------------------------------------- */

static bool certificates_asked(const struct config *config)
{
    for (size_t i = 0; i < config->listen_count; i++)
        if (config->listens[i].tls.mode != TLS_MODE_DISABLE &&
            config->listens[i].tls.authorities != NULL)
            return true;
    return false;
}

static bool needs_certificate(const struct auth_how *how)
{
    return how->method == AUTH_CERT || how->clientcert != AUTH_CLIENTCERT_NONE;
}

static bool needs_secret(enum auth_method method)
{
    return method == AUTH_PASSWORD || method == AUTH_MD5 || method == AUTH_SCRAM;
}

#ifdef WITH_PAM
static const bool has_pam = true;
#else
static const bool has_pam = false;
#endif
#ifdef WITH_LDAP
static const bool has_ldap = true;
#else
static const bool has_ldap = false;
#endif

static const char *how_lacks(const struct config *config, const struct auth_how *how)
{
    if (how->method == AUTH_PAM && !has_pam)
        return "this program was built without PAM";
    if (how->method == AUTH_LDAP && !has_ldap)
        return "this program was built without LDAP";
    if (needs_certificate(how) && !certificates_asked(config))
        return "this method needs client certificates, but no listener with TLS has certificate "
               "authorities (ca)";
    if (needs_secret(how->method) && config->auth_file == NULL && config->query.user == NULL)
        return "this method needs an auth_file or an auth_query, but neither is set";
    return NULL;
}

static void check_rules(struct config_reader *reader)
{
    const struct config *config = reader->config;
    const struct hba_rule *rule;
    char text[256];
    for (size_t i = 0; (rule = hba_rule(config->hba, i)) != NULL; i++) {
        const char *lacks = how_lacks(config, &rule->how);
        if (lacks != NULL)
            hba_file_problem(reader, rule->file, rule->line, lacks);
        if (rule->how.map == NULL || hba_has_map(config->hba, rule->how.map))
            continue;
        snprintf(text, sizeof(text), "ident_file has no map \"%s\"", rule->how.map);
        hba_file_problem(reader, rule->file, rule->line, text);
    }
    if (!hba_needs_roles(config->hba) || config->query.user != NULL)
        return;
    const struct config_key key = {.name = "hba_file"};
    config_error(reader, config_yaml_place(reader, reader->root, "hba_file"), &key,
                 "+name and samerole need an auth_query to look up role members, but none is set");
}

static void check_route_how(struct config_reader *reader, const yaml_node_t *node,
                            const struct config_key *up, struct route_config *route)
{
    struct route_place place = {.reader = reader,
                                .node = config_yaml_place(reader, node, "auth_options"),
                                .key = {.up = up, .name = "auth_options"}};
    struct hba_reader options = {.problem = route_problem, .argument = &place};
    route->how = (struct auth_how){.method = route->auth};
    if (route->password_command != NULL && route->server_password != NULL) {
        struct config_key both = {.up = up, .name = "password_command"};
        config_error(reader, config_yaml_place(reader, node, "password_command"), &both,
                     "can't be combined with server_password");
    }
    if (route->auth == AUTH_HBA) {
        struct config_key key = {.up = up, .name = "auth"};
        if (reader->config->hba_file == NULL)
            config_error(reader, config_yaml_place(reader, node, "auth"), &key,
                         "this method needs an hba_file, but none is set");
        if (route->auth_options != NULL)
            config_error(reader, place.node, &place.key,
                         "can't be set with auth: hba; options belong in the lines of hba_file");
        return;
    }
    hba_read_options(reader->config->hba, route->auth_options == NULL ? "" : route->auth_options,
                     &options, "", &route->how);
    const char *lacks = how_lacks(reader->config, &route->how);
    struct config_key key = {.up = up, .name = "auth"};
    if (lacks != NULL && !needs_secret(route->how.method))
        config_error(reader, config_yaml_place(reader, node, "auth"), &key, "%s", lacks);
    if (route->how.map != NULL && !hba_has_map(reader->config->hba, route->how.map))
        config_error(reader, place.node, &place.key, "ident_file has no map \"%s\"",
                     route->how.map);
}

/* --- the whole -------------------------------------------------------------------------------- */

/* Adds two lookup routes for each service: auth_query has pools of its own.  One asks the primary,
 * the other one any server: clients of standbys can log in while there is no primary. */
static void add_lookups(struct config_reader *reader)
{
    struct config *config = reader->config;
    const struct setting *routes = settings_find(config_settings, SPAN("routes"));
    if (config->query.user == NULL)
        return;
    config->lookups =
        config_arena_array(reader->arena, 2 * config->service_count, sizeof(struct route_config));
    for (size_t i = 0; config->lookups != NULL && i < 2 * config->service_count; i++) {
        struct route_config *lookup = &config->lookups[config->lookup_count++];
        config_preset(reader, routes->rows, lookup);
        lookup->is_lookup = true;
        lookup->service = &config->services[i / 2];
        lookup->target = i % 2 == 0 ? TARGET_DEFAULT : TARGET_ANY;
        lookup->auth = lookup->how.method = AUTH_TRUST;
        lookup->mode = POOL_TRANSACTION;
        lookup->pool_size = config->query.pool_size;
        lookup->pool_reserve = 0;
        lookup->claim_timeout = config->query.timeout;
        lookup->claim_notice = NO_LIMIT; /* no client is there to get a NOTICE */
        lookup->server_password = config->query.password;
    }
}

static void check_query(struct config_reader *reader)
{
    const struct config_key key = {.name = "auth_query"};
    const yaml_node_t *node = config_yaml_find(reader, reader->root, "auth_query");
    if (node != NULL && reader->config->query.user == NULL)
        config_error(reader, node, &key, "missing; accepted: the user that runs the query");
}

void config_read_hba(struct config_reader *reader)
{
    struct config *config = reader->config;
    struct hba_reader files = {.read = hba_file_read,
                               .list = hba_file_list,
                               .problem = hba_file_problem,
                               .argument = reader};
    const struct config_key top = {.name = "routes"};
    config->hba = hba_new();
    if (config->hba == NULL) {
        config_error(reader, NULL, NULL, "out of memory");
        return;
    }
    if (reader->root->type != YAML_MAPPING_NODE)
        return;
    check_query(reader);
    add_lookups(reader);
    if (config->ident_file != NULL)
        hba_read_maps(config->hba, config->ident_file, &files);
    if (config->hba_file != NULL)
        hba_read_rules(config->hba, config->hba_file, &files);
    check_rules(reader);
    const yaml_node_t *list = config_yaml_find(reader, reader->root, "routes");
    for (size_t i = 0; i < config->route_count; i++) {
        struct config_key key = {.up = &top, .index = i};
        const yaml_node_t *node = config_yaml_item(reader, list, i);
        if (node->type == YAML_MAPPING_NODE)
            check_route_how(reader, node, &key, &config->routes[i]);
    }
}
