#include "parade/topology.h"

#include "base/number.h"

#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

struct reader {
    yaml_document_t *document;
    struct parade_topology *topology;
    struct parade_target presets;
};

static struct span text_of(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE)
        return SPAN_NONE;
    return span_of(node->data.scalar.value, node->data.scalar.length);
}

static fault refuse(const yaml_node_t *node, const char *what)
{
    return fault_raise(FAULT_CONFIG, "line %zu: %s", node->start_mark.line + 1, what);
}

/* Keeps a name of at most PARADE_WORD_MAX bytes. */
static fault word_keep(const yaml_node_t *node, char ret[PARADE_WORD_MAX + 1])
{
    struct span text = text_of(node);
    if (text.size == 0 || text.size > PARADE_WORD_MAX || memchr(text.at, '\0', text.size) != NULL)
        return refuse(node, "accepted: a name of 1 to 63 bytes");
    memcpy(ret, text.at, text.size);
    ret[text.size] = '\0';
    return OK;
}

/* Calls `each` for every pair of a mapping. */
static fault pairs_read(struct reader *reader, const yaml_node_t *mapping,
                        fault (*each)(struct reader *reader, const yaml_node_t *key,
                                      const yaml_node_t *value, void *argument),
                        void *argument)
{
    if (mapping->type != YAML_MAPPING_NODE)
        return refuse(mapping, "accepted: a mapping");
    const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
    for (; pair < mapping->data.mapping.pairs.top; pair++)
        TRY(each(reader, yaml_document_get_node(reader->document, pair->key),
                 yaml_document_get_node(reader->document, pair->value), argument));
    return OK;
}

/* --- connections ------------------------------------------------------------------------------ */

static fault connection_read(const yaml_node_t *node, struct parade_target *target)
{
    fault read = parade_target_read(text_of(node), target);
    if (read != OK) {
        struct fault_detail detail = fault_detail_save();
        return refuse(node, detail.text);
    }
    if (target->database[0] != '\0')
        return refuse(node, "found dbname; the databases have the names of the shards");
    return OK;
}

static fault zone_read(struct reader *reader, const yaml_node_t *key, const yaml_node_t *value,
                       void *argument)
{
    struct parade_topology *topology = reader->topology;
    struct parade_zone *zone = &topology->zones[topology->zone_count];
    if (topology->zone_count == PARADE_ZONES_MAX)
        return refuse(key, "found a 33rd zone; accepted: up to 32");
    if (parade_topology_zone(topology, text_of(key)) >= 0)
        return refuse(key, "this zone stands there twice");
    TRY(word_keep(key, zone->name));
    zone->target = reader->presets;
    TRY(connection_read(value, &zone->target));
    topology->zone_count += 1;
    return OK;
}

/* --- members ---------------------------------------------------------------------------------- */

static fault member_read(struct reader *reader, const yaml_node_t *key, const yaml_node_t *value,
                         void *argument)
{
    struct parade_topology *topology = reader->topology;
    struct parade_member *member = &topology->members[topology->member_count];
    int zone = parade_topology_zone(topology, text_of(key));
    uint64_t number;
    if (topology->member_count == PARADE_MEMBERS_MAX)
        return refuse(key, "found more than 1024 shard instances");
    if (zone < 0)
        return refuse(key, "no zone has this name");
    if (!number_read(text_of(value), 10, &number) || number == 0 || number > INT32_MAX)
        return refuse(value, "accepted: the number of the shard instance, 1 to 2147483647");
    *member = (struct parade_member){.zone = (uint32_t)zone, .number = (uint32_t)number};
    TRY(word_keep(argument, member->shard));
    for (size_t i = 0; i < topology->member_count; i++) {
        const struct parade_member *other = &topology->members[i];
        if (other->number == number)
            return refuse(value, "another shard instance has this number");
        if (other->zone == member->zone && strcmp(other->shard, member->shard) == 0)
            return refuse(key, "this zone stands there twice");
    }
    topology->member_count += 1;
    return OK;
}

static fault shard_read(struct reader *reader, const yaml_node_t *key, const yaml_node_t *value,
                        void *argument)
{
    char name[PARADE_WORD_MAX + 1];
    TRY(word_keep(key, name));
    if (strcmp(name, reader->topology->catalog) == 0)
        return refuse(key, "the catalog has this name");
    return pairs_read(reader, value, member_read, (void *)(uintptr_t)key);
}

/* --- the whole -------------------------------------------------------------------------------- */

static const yaml_node_t *find(struct reader *reader, const yaml_node_t *root, const char *name)
{
    const yaml_node_pair_t *pair = root->data.mapping.pairs.start;
    for (; pair < root->data.mapping.pairs.top; pair++)
        if (span_is(text_of(yaml_document_get_node(reader->document, pair->key)), name))
            return yaml_document_get_node(reader->document, pair->value);
    return NULL;
}

static fault key_check(struct reader *reader, const yaml_node_t *key, const yaml_node_t *value,
                       void *argument)
{
    static const char *const known[] = {"connection", "replicator", "catalog", "zones", "shards"};
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (span_is(text_of(key), known[i]))
            return OK;
    return refuse(key, "accepted: connection, replicator, catalog, zones, shards");
}

static fault head_read(struct reader *reader, const yaml_node_t *root)
{
    struct parade_topology *topology = reader->topology;
    const yaml_node_t *connection = find(reader, root, "connection");
    const yaml_node_t *replicator = find(reader, root, "replicator");
    const yaml_node_t *catalog = find(reader, root, "catalog");
    struct parade_target tried = PARADE_TARGET_INIT;
    if (connection != NULL)
        TRY(connection_read(connection, &reader->presets));
    if (catalog != NULL)
        TRY(word_keep(catalog, topology->catalog));
    if (replicator == NULL)
        return OK;
    TRY(connection_read(replicator, &tried));
    struct span text = text_of(replicator);
    if (text.size == 0 || text.size >= sizeof(topology->replicator))
        return refuse(replicator, "accepted: 1 to 1023 bytes");
    memcpy(topology->replicator, text.at, text.size);
    topology->replicator[text.size] = '\0';
    return OK;
}

static fault root_read(struct reader *reader)
{
    const yaml_node_t *root = yaml_document_get_root_node(reader->document);
    if (root == NULL || root->type != YAML_MAPPING_NODE)
        return fault_raise(FAULT_CONFIG, "found no mapping; accepted: zones and shards");
    TRY(pairs_read(reader, root, key_check, NULL));
    TRY(head_read(reader, root));
    const yaml_node_t *zones = find(reader, root, "zones"), *shards = find(reader, root, "shards");
    if (zones == NULL || shards == NULL)
        return refuse(root, "zones or shards are missing");
    TRY(pairs_read(reader, zones, zone_read, NULL));
    TRY(pairs_read(reader, shards, shard_read, NULL));
    return reader->topology->member_count > 0 ? OK : refuse(shards, "found no shard instance");
}

static fault document_read(yaml_parser_t *parser, const struct parade_target *presets,
                           struct parade_topology *topology)
{
    yaml_document_t document;
    if (!yaml_parser_load(parser, &document))
        return fault_raise(FAULT_CONFIG, "line %zu: %s", parser->problem_mark.line + 1,
                           parser->problem != NULL ? parser->problem : "no valid YAML");
    struct reader reader = {&document, topology, *presets};
    reader.presets.database[0] = '\0';
    fault read = root_read(&reader);
    yaml_document_delete(&document);
    explicit_bzero(&reader.presets, sizeof(reader.presets));
    return read;
}

fault parade_topology_read(struct span text, const struct parade_target *presets,
                           struct parade_topology **ret)
{
    struct parade_topology *topology = calloc(1, sizeof(*topology));
    yaml_parser_t parser;
    if (topology == NULL || !yaml_parser_initialize(&parser)) {
        free(topology);
        return fault_raise(FAULT_MEMORY, "no memory for a topology");
    }
    memcpy(topology->catalog, "kv_catalog", sizeof("kv_catalog"));
    memcpy(topology->replicator, "user=kv_replicationd", sizeof("user=kv_replicationd"));
    yaml_parser_set_input_string(&parser, text.size > 0 ? text.at : (const uint8_t *)"", text.size);
    fault read = document_read(&parser, presets, topology);
    yaml_parser_delete(&parser);
    if (read != OK)
        parade_topology_free(&topology);
    *ret = topology;
    return read;
}

void parade_topology_free(struct parade_topology **topology)
{
    if (*topology != NULL)
        explicit_bzero(*topology, sizeof(**topology));
    free(*topology);
    *topology = NULL;
}

int parade_topology_zone(const struct parade_topology *topology, struct span name)
{
    for (size_t i = 0; i < topology->zone_count; i++)
        if (span_is(name, topology->zones[i].name))
            return (int)i;
    return -1;
}

void parade_topology_target(const struct parade_topology *topology,
                            const struct parade_member *member, struct parade_target *ret)
{
    *ret = topology->zones[member->zone].target;
    snprintf(ret->database, sizeof(ret->database), "%s", member->shard);
}

fault parade_topology_replicator(const struct parade_topology *topology,
                                 const struct parade_member *member, struct parade_target *ret)
{
    parade_topology_target(topology, member, ret);
    ret->password[0] = '\0'; /* the administrator's */
    return parade_target_read(span_text(topology->replicator), ret);
}
