#include "relay/turn/turn_firewall_names.h"

#include "query/outline.h"
#include "relay/client.h"
#include "session/statements.h"

#include <stdlib.h>

struct judged_name {
    struct map_link link;
    uint32_t count;
    bool unknown; /* it may stand for a text that is not among these */
    bool closed;  /* a Close was sent: the next Parse replaces all */
    struct query_outline *outlines[FIREWALL_NAME_OUTLINES];
    uint16_t size;
    char name[];
};

struct turn_firewall_names {
    struct map map;
};

/* PostgreSQL compares so many bytes. */
static struct span kept_of(struct span name)
{
    return span_of(name.at, MIN_OF(name.size, STATEMENT_NAME_KEPT));
}

static bool is_name(const struct map_link *link, const void *key)
{
    const struct judged_name *judged = MAP_ENTRY(link, struct judged_name, link);
    return span_equal(span_of(judged->name, judged->size), *(const struct span *)key);
}

static struct judged_name *find(const struct client *client, struct span name)
{
    if (client->judged_names == NULL)
        return NULL;
    struct map_link *link = map_find(&client->judged_names->map, hash_span(name), is_name, &name);
    return link == NULL ? NULL : MAP_ENTRY(link, struct judged_name, link);
}

static void end(struct map_link *link)
{
    struct judged_name *judged = MAP_ENTRY(link, struct judged_name, link);
    while (judged->count > 0)
        query_outline_unref(&judged->outlines[--judged->count]);
    free(judged);
}

static struct judged_name *insert(struct client *client, struct span name)
{
    if (client->judged_names == NULL)
        client->judged_names = calloc(1, sizeof(*client->judged_names));
    if (client->judged_names == NULL)
        return NULL;
    client->judged_names->map.max = CLIENT_STATEMENTS_MAX;
    struct judged_name *judged = calloc(1, sizeof(*judged) + name.size);
    if (judged == NULL ||
        map_insert(&client->judged_names->map, &judged->link, hash_span(name)) != OK) {
        free(judged);
        return NULL;
    }
    judged->size = (uint16_t)name.size;
    if (name.size > 0)
        memcpy(judged->name, name.at, name.size);
    return judged;
}

static void clear(struct judged_name *judged)
{
    while (judged->count > 0)
        query_outline_unref(&judged->outlines[--judged->count]);
    judged->unknown = judged->closed = false;
}

void turn_firewall_names_close(const struct client *client, struct span name)
{
    struct judged_name *judged = find(client, kept_of(name));
    if (judged != NULL)
        judged->closed = true;
}

static bool has(const struct judged_name *judged, const struct query_outline *outline)
{
    for (uint32_t i = 0; i < judged->count; i++)
        if (judged->outlines[i] == outline ||
            (outline->parsed && judged->outlines[i]->fingerprint == outline->fingerprint))
            return true;
    return false;
}

void turn_firewall_names_add(struct client *client, struct span name, struct query_outline *outline)
{
    struct span kept = kept_of(name);
    struct judged_name *judged = find(client, kept);
    if (judged == NULL)
        judged = insert(client, kept);
    if (judged == NULL)
        return;
    if (kept.size == 0 || judged->closed) /* a Parse destroys the unnamed one even if it fails */
        clear(judged);
    if (outline == NULL)
        judged->unknown = true;
    else if (has(judged, outline))
        return;
    else if (judged->count == FIREWALL_NAME_OUTLINES)
        judged->unknown = true;
    else
        judged->outlines[judged->count++] = query_outline_ref(outline);
}

uint32_t turn_firewall_names_find(const struct client *client, struct span name,
                                  struct query_outline *const **ret)
{
    const struct judged_name *judged = find(client, kept_of(name));
    if (judged == NULL || judged->unknown)
        return 0;
    *ret = judged->outlines;
    return judged->count;
}

void turn_firewall_names_forget(struct client *client)
{
    if (client->judged_names == NULL)
        return;
    map_clear(&client->judged_names->map, end);
    free(TAKE(client->judged_names));
}
