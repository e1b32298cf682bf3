#include "admin/console_groups_parts.h"

#include <stdlib.h>

struct key {
    struct span first;
    struct span second;
    uint32_t kind;
};

static uint64_t key_hash(const struct key *key)
{
    return hash_data(key->second.at, key->second.size, hash_span(key->first) + key->kind);
}

static bool row_is(const struct map_link *link, const void *wanted)
{
    const struct console_groups_row *row = MAP_ENTRY(link, struct console_groups_row, link);
    const struct key *key = wanted;
    return row->kind == key->kind && span_equal(row->first, key->first) &&
           span_equal(row->second, key->second);
}

void console_groups_init(struct console_groups *groups, size_t row_size)
{
    invariant(row_size >= sizeof(struct console_groups_row));
    *groups = (struct console_groups){.map = MAP_INIT(CONSOLE_GROUPS_MAX), .row_size = row_size};
    list_init(&groups->rows);
}

void console_groups_fini(struct console_groups *groups)
{
    struct node *node;
    map_fini(&groups->map);
    while ((node = list_pop(&groups->rows)) != NULL)
        free(LIST_ENTRY(node, struct console_groups_row, node));
}

static struct span keep(uint8_t *at, struct span text)
{
    if (text.size > 0)
        memcpy(at, text.at, text.size);
    return span_of(at, text.size);
}

static void *groups_find(const struct console_groups *groups, const struct key *key)
{
    struct map_link *link = map_find(&groups->map, key_hash(key), row_is, key);
    return link == NULL ? NULL : MAP_ENTRY(link, struct console_groups_row, link);
}

void *console_groups_find(const struct console_groups *groups, struct span first,
                          struct span second)
{
    return groups_find(groups, &(struct key){first, second, 0});
}

void *console_groups_row(struct console_groups *groups, struct span first, struct span second)
{
    return console_groups_row_of(groups, first, second, 0);
}

void *console_groups_row_of(struct console_groups *groups, struct span first, struct span second,
                            uint32_t kind)
{
    struct key key = {first, second, kind};
    struct console_groups_row *row = groups_find(groups, &key);
    if (row != NULL)
        return row;
    row = calloc(1, groups->row_size + first.size + second.size + 1);
    fault added = row == NULL ? FAULT_MEMORY : map_insert(&groups->map, &row->link, key_hash(&key));
    if (added != OK) {
        groups->failed = added;
        free(row);
        return NULL;
    }
    uint8_t *texts = (uint8_t *)row + groups->row_size;
    row->first = keep(texts, first);
    row->second = keep(texts + first.size, second);
    row->kind = kind;
    list_push(&groups->rows, &row->node);
    return row;
}

fault console_groups_fault(const struct console_groups *groups)
{
    if (groups->failed == FAULT_LIMIT)
        return fault_raise(FAULT_LIMIT, "more than %u rows to show", CONSOLE_GROUPS_MAX);
    return groups->failed;
}
