#include "instance/config_load.h"

#include "instance/config_reader.h"
#include "machine/process.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

/* Sets the names of the main file. */
static fault places_set(struct config_reader *reader, const char *path)
{
    char here[PATH_MAX] = "";
    struct buffer whole = BUFFER_INIT((size_t)2 * PATH_MAX);
    if (path[0] != '/')
        TRY(process_directory(here, sizeof(here)));
    buffer_printf(&whole, "%s%s%s", here, path[0] == '/' ? "" : "/", path);
    reader->files[0] = (struct config_file){
        .name = config_arena_text(reader->arena, span_text(path)),
        .path = config_arena_text(reader->arena, buffer_span(&whole)),
    };
    reader->file_count = 1;
    buffer_fini(&whole);
    reader->config->path = reader->files[0].path;
    if (reader->files[0].name == NULL || reader->files[0].path == NULL)
        return fault_raise(FAULT_MEMORY, "%s: out of memory", path);
    return OK;
}

/* Stores the paths of all files that were read. */
static void files_keep(struct config_reader *reader)
{
    struct config *config = reader->config;
    config->files = config_arena_array(reader->arena, reader->file_count, sizeof(*config->files));
    for (size_t i = 0; config->files != NULL && i < reader->file_count; i++)
        config->files[config->file_count++] = reader->files[i].path;
}

/* Gives each route its counterpart for replication connections.  Each such connection has a server
 * of its own, opened for it and closed with it: a session pool beside the route's own, so that
 * neither is affected by servers, limits and failures of the other.  A stream is one query that may
 * last for months, so the timeouts of queries and idle clients do not apply. */
static void add_replication(struct config_reader *reader)
{
    struct config *config = reader->config;
    struct config_arena *arena = reader->arena;
    struct route_config *likes =
        config_arena_array(arena, config->route_count, sizeof(struct route_config));
    for (size_t i = 0; likes != NULL && i < config->route_count; i++) {
        struct route_config *route = &config->routes[i];
        if (route->replication_max == 0)
            continue;
        likes[i] = *route;
        likes[i].is_replication = true;
        likes[i].mode = POOL_SESSION;
        likes[i].fresh = true;
        likes[i].pool_size = likes[i].client_max = route->replication_max;
        likes[i].pool_min = likes[i].spares = likes[i].pool_reserve = 0;
        likes[i].prepared_max = 0;
        likes[i].client_idle_timeout = likes[i].query_timeout = NO_LIMIT;
        likes[i].transaction_timeout = likes[i].idle_transaction_timeout = NO_LIMIT;
        route->replication = &likes[i];
    }
}

static bool is_strict(const struct cache_rule *rule)
{
    return rule->mode == CACHE_STRICT || (rule->mode == CACHE_SHADOW && rule->of == CACHE_STRICT);
}

/* Returns the rules for servers that may be standbys: strict ones are off there, since a feed tells
 * of the primary only. */
static struct cache_config rules_of_standbys(struct config_reader *reader,
                                             const struct cache_config *cache)
{
    struct cache_config ret = *cache;
    bool strict = false;
    for (size_t i = 0; i < cache->rule_count; i++)
        strict = strict || is_strict(&cache->rules[i]);
    if (!strict)
        return ret;
    ret.rules = config_arena_array(reader->arena, cache->rule_count, sizeof(*ret.rules));
    if (ret.rules == NULL)
        ret.rule_count = 0;
    for (size_t i = 0; i < ret.rule_count; i++) {
        ret.rules[i] = cache->rules[i];
        if (is_strict(&ret.rules[i]))
            ret.rules[i].mode = CACHE_OFF;
    }
    return ret;
}

static void make_targeted(struct route_config *like, const struct route_config *route,
                          enum fleet_target target)
{
    *like = *route;
    like->target = target;
    like->is_targeted = true;
    like->reads.where = READS_PRIMARY;
    like->aside = NULL;
}

/* Marks the routes of each service that has a route with cache rules. */
static void watch_services(struct config *config)
{
    for (size_t i = 0; i < config->route_count; i++) {
        struct route_config *cached = &config->routes[i];
        cached->is_examined = cached->cache.rule_count > 0 || cached->firewall.mode != FIREWALL_OFF;
        config->warms = config->warms || cached->cache.warm_count > 0 || cached->cache.warm_max > 0;
        for (size_t j = 0; cached->cache.rule_count > 0 && j < config->route_count; j++)
            if (config->routes[j].service == cached->service)
                config->routes[j].is_watched = true;
    }
}

/* Marks all routes of services whose writers are all inside, also those of look-ups. */
static void watch_inside(struct route_config *routes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (routes[i].service == NULL || routes[i].service->writers != WRITERS_INSIDE)
            continue;
        routes[i].is_watched = routes[i].is_inside = true;
    }
}

/* Makes the rules of the proof from the declared names. */
static void set_read_rules(struct config_reader *reader, struct reads_config *reads)
{
    struct span *names = config_arena_array(reader->arena, reads->name_count, sizeof(*names));
    for (size_t i = 0; names != NULL && i < reads->name_count; i++)
        names[i] = span_text(reads->names[i]);
    reads->rules = (struct query_read_rules){
        .declared = names,
        .count = names == NULL ? 0 : reads->name_count,
        .hints = reads->hints,
    };
}

/* Gives each route that splits reads its counterpart for them: pools of their own, of standbys.
 * State that would keep a client at a standby is refused there, where only a transaction that
 * began READ ONLY can make it. */
static void add_reads(struct config_reader *reader)
{
    struct config *config = reader->config;
    for (size_t i = 0; i < config->route_count; i++) {
        struct route_config *route = &config->routes[i];
        struct reads_config *reads = &route->reads;
        if (reads->where == READS_PRIMARY || route->auth == AUTH_BLOCK)
            continue;
        struct route_config *aside = config_arena_array(reader->arena, 1, sizeof(*aside));
        if (aside == NULL)
            return;
        set_read_rules(reader, reads);
        *aside = *route;
        aside->is_reads = true;
        aside->target = reads->where == READS_REPLICA ? TARGET_STANDBY : TARGET_PREFER_STANDBY;
        aside->reads.where = READS_PRIMARY;
        aside->replication = aside->targets = NULL;
        aside->pool_min = aside->spares = 0;
        if (reads->pool_size > 0)
            aside->pool_size = reads->pool_size;
        for (unsigned kind = 0; kind < QUERY_KINDS; kind++)
            if (aside->session.policy[kind] == PIN_PIN)
                aside->session.policy[kind] = PIN_REJECT;
        route->aside = aside;
        route->is_examined = true;
    }
}

/* Gives each route its counterparts for clients that ask for another target, also for replication.
 * The role of its servers is a part of a pool's identity, so each has pools of its own. */
static void add_targets(struct config_reader *reader)
{
    struct config *config = reader->config;
    for (size_t i = 0; i < config->route_count; i++) {
        struct route_config *route = &config->routes[i];
        if (route->auth == AUTH_BLOCK)
            continue;
        const struct cache_config standbys = rules_of_standbys(reader, &route->cache);
        size_t count = route->replication == NULL ? TARGETS : 2 * TARGETS;
        struct route_config *likes =
            config_arena_array(reader->arena, count, sizeof(struct route_config));
        for (enum fleet_target target = TARGET_ANY; likes != NULL && target < TARGETS; target++) {
            make_targeted(&likes[target], route, target);
            if (!target_needs_primary(target))
                likes[target].cache = standbys;
            if (route->replication == NULL)
                continue;
            make_targeted(&likes[TARGETS + target], route->replication, target);
            likes[target].replication = &likes[TARGETS + target];
        }
        route->targets = likes;
    }
}

/* The console's database names, unless the file sets others. */
static const char *console_databases[] = {"trunkline", "pgbouncer"};

static void config_read(struct config_reader *reader, struct span overrides)
{
    struct config *config = reader->config;
    config_load_files(reader);
    files_keep(reader);
    if (reader->root == NULL)
        return;
    config_override(reader, overrides);
    config_preset(reader, config_settings, config);
    config->console_databases = console_databases;
    config->console_database_count = ARRAY_SIZE(console_databases);
    config_read_mapping(reader, config_settings, reader->root, NULL, config);
    config_check(reader);
    config_read_secrets(reader);
    config_read_hba(reader);
    watch_services(reader->config);
    watch_inside(config->routes, config->route_count);
    watch_inside(config->lookups, config->lookup_count);
    add_replication(reader);
    add_targets(reader);
    add_reads(reader);
    if (config->relays == 0)
        config->relays = MIN_OF(process_processors(), (uint32_t)RELAYS_MAX);
    if (reader->problems.errors == 0)
        config_make_rows(reader);
}

static fault config_verdict(struct config_reader *reader)
{
    fault failed = config_arena_fault(reader->arena);
    size_t errors = reader->problems.errors;
    if (failed != OK)
        return fault_raise(failed, "%s: the configuration needs more than %zu MiB",
                           reader->files[0].name, CONFIG_ARENA_MAX >> 20);
    if (errors > 0)
        return fault_raise(FAULT_CONFIG, "%s: %zu problem%s", reader->files[0].name, errors,
                           errors == 1 ? "" : "s");
    return OK;
}

fault config_load_with(const char *path, uint64_t version, struct span overrides,
                       struct config **ret, struct buffer *problems)
{
    struct config *config = calloc(1, sizeof(*config));
    struct config_reader *reader = calloc(1, sizeof(*reader));
    struct config_arena *arena = config_arena_new();
    if (config == NULL || reader == NULL || arena == NULL) {
        free(config);
        free(reader);
        config_arena_end(arena);
        return fault_raise(FAULT_MEMORY, "%s: out of memory", path);
    }
    *config = (struct config){.references = 1,
                              .version = version,
                              .secrets = MAP_INIT(CONFIG_USERS_MAX),
                              .arena = arena,
                              .arena_free = config_arena_end};
    reader->config = config;
    reader->arena = arena;
    reader->problems.arena = arena;

    fault loaded = places_set(reader, path);
    if (loaded == OK) {
        config_read(reader, overrides);
        config_problems_print(&reader->problems, problems);
        loaded = config_verdict(reader);
    }
    if (reader->root != NULL)
        config_yaml_delete(&reader->document);
    free(reader);
    if (loaded == OK)
        *ret = config;
    else
        config_unref(&config);
    return loaded;
}

fault config_load(const char *path, uint64_t version, struct config **ret, struct buffer *problems)
{
    return config_load_with(path, version, SPAN_NONE, ret, problems);
}

/* --- what a reload can't change --------------------------------------------------------------- */

/* Copies the fields of rows that are not reloadable.  Lists and special settings are all
 * reloadable, but for the Sentinels, which are read at the start only. */
static void fields_keep(const struct setting *rows, const char *running, char *loaded,
                        struct config_arena *arena)
{
    for (const struct setting *row = rows; row->name != NULL; row++) {
        if (row->kind == SETTING_GROUP) {
            fields_keep(row->rows, running + row->at, loaded + row->at, arena);
        } else if (setting_is_number(row) && !row->reloadable) {
            setting_store(row, loaded, setting_load(row, running));
        } else if (setting_is_text(row) && !row->reloadable) {
            const char *text = *(const char *const *)(running + row->at);
            *(const char **)(loaded + row->at) =
                text == NULL ? NULL : config_arena_text(arena, span_text(text));
        }
    }
}

static const char *value_or_unset(const char *value)
{
    return *value == '\0' ? "unset" : value;
}

static void row_keep(struct config_row *row, const struct config_row *old, struct config *loaded,
                     struct buffer *problems)
{
    if (strcmp(old->key, row->key) != 0 || strcmp(old->value, row->value) == 0)
        return;
    buffer_printf(problems, "%s: warning: %s: stays %s until the next start, not %s\n",
                  loaded->path, row->key, value_or_unset(old->value), value_or_unset(row->value));
    const char *value = config_arena_text(loaded->arena, span_text(old->value));
    if (value != NULL)
        row->value = value;
}

fault config_keep_unreloadable(const struct config *running, struct config *loaded,
                               struct buffer *problems)
{
    fields_keep(config_settings, (const char *)running, (char *)loaded, loaded->arena);
    for (size_t i = 0; i < loaded->row_count; i++) {
        if (loaded->rows[i].reloadable)
            continue;
        for (size_t j = 0; j < running->row_count; j++)
            row_keep(&loaded->rows[i], &running->rows[j], loaded, problems);
    }
    if (running->redis.sentinel_count != loaded->redis.sentinel_count)
        buffer_printf(
            problems,
            "%s: warning: cache_redis.sentinels: stay %zu until the next start, not %zu\n",
            loaded->path, running->redis.sentinel_count, loaded->redis.sentinel_count);
    return config_arena_fault(loaded->arena);
}
