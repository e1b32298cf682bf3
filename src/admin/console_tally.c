#include "admin/console_tally.h"

#include <stdlib.h>

struct key {
    struct span first;
    struct span second;
};

static uint64_t key_hash(const struct key *key)
{
    return hash_bytes(key->second.at, key->second.size, hash_span(key->first));
}

static bool row_is(const struct map_link *link, const void *wanted)
{
    const struct console_tally_row *row = MAP_ENTRY(link, struct console_tally_row, link);
    const struct key *key = wanted;
    return span_equal(row->first, key->first) && span_equal(row->second, key->second);
}

void console_tally_init(struct console_tally *times, size_t row_size)
{
    invariant(row_size >= sizeof(struct console_tally_row));
    *times = (struct console_tally){.map = MAP_INIT(CONSOLE_TALLY_MAX), .row_size = row_size};
    list_init(&times->rows);
}

void console_tally_fini(struct console_tally *times)
{
    struct node *node;
    map_fini(&times->map);
    while ((node = list_pop(&times->rows)) != NULL)
        free(LIST_ENTRY(node, struct console_tally_row, node));
}

static struct span keep(uint8_t *at, struct span text)
{
    if (text.size > 0)
        memcpy(at, text.at, text.size);
    return span_of(at, text.size);
}

void *console_tally_find(const struct console_tally *times, struct span first, struct span second)
{
    struct key key = {first, second};
    struct map_link *link = map_find(&times->map, key_hash(&key), row_is, &key);
    return link == NULL ? NULL : MAP_ENTRY(link, struct console_tally_row, link);
}

void *console_tally_row(struct console_tally *times, struct span first, struct span second)
{
    struct key key = {first, second};
    struct console_tally_row *row = console_tally_find(times, first, second);
    if (row != NULL)
        return row;
    row = calloc(1, times->row_size + first.size + second.size + 1);
    fault added = row == NULL ? FAULT_MEMORY : map_insert(&times->map, &row->link, key_hash(&key));
    if (added != OK) {
        times->failed = added;
        free(row);
        return NULL;
    }
    uint8_t *texts = (uint8_t *)row + times->row_size;
    row->first = keep(texts, first);
    row->second = keep(texts + first.size, second);
    list_push(&times->rows, &row->node);
    return row;
}

fault console_tally_fault(const struct console_tally *times)
{
    if (times->failed == FAULT_LIMIT)
        return fault_raise(FAULT_LIMIT, "more than %u rows to show", CONSOLE_TALLY_MAX);
    return times->failed;
}
