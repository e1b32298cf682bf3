#include "session/accepted.h"

#include "session/counted.h"
#include "wire/message.h"

struct accepted {
    struct map_link link;
    struct span name;
    struct span value;
    struct span canonical;
    uint8_t bytes[];
};

static bool accepted_is(const struct map_link *link, const void *key)
{
    const struct accepted *accepted = MAP_ENTRY(link, struct accepted, link);
    const struct param *param = key;
    return accepted->name.size == param->name.size &&
           strncasecmp((const char *)accepted->name.at, (const char *)param->name.at,
                       param->name.size) == 0 &&
           span_equal(accepted->value, param->value);
}

static uint64_t accepted_hash(const struct param *param)
{
    return hash_data(param->value.at, param->value.size, param->name.size);
}

bool accepted_find(const struct map *all, const struct param *param, struct span *ret_canonical)
{
    struct map_link *link = map_find(all, accepted_hash(param), accepted_is, param);
    if (link == NULL)
        return false;
    *ret_canonical = MAP_ENTRY(link, struct accepted, link)->canonical;
    return true;
}

static void accepted_end(struct map_link *link)
{
    struct accepted *gone = MAP_ENTRY(link, struct accepted, link);
    counted_free(gone, sizeof(*gone) + gone->name.size + gone->value.size + gone->canonical.size);
}

void accepted_add(struct map *all, const struct param *param, struct span canonical)
{
    struct span ignored;
    if (accepted_find(all, param, &ignored))
        return;
    if (all->count == ACCEPTED_MAX)
        accepted_clear(all);
    struct accepted *accepted =
        counted_alloc(sizeof(*accepted) + param->name.size + param->value.size + canonical.size);
    if (accepted == NULL)
        return;
    uint8_t *at = accepted->bytes;
    const struct span parts[] = {param->name, param->value, canonical};
    struct span *const copies[] = {&accepted->name, &accepted->value, &accepted->canonical};
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        if (parts[i].size > 0)
            memcpy(at, parts[i].at, parts[i].size);
        *copies[i] = span_of(at, parts[i].size);
        at += parts[i].size;
    }
    if (map_insert(all, &accepted->link, accepted_hash(param)) != OK)
        accepted_end(&accepted->link);
}

void accepted_clear(struct map *all)
{
    map_clear(all, accepted_end);
}

bool accepted_next(struct span *rest, struct accepted_value *ret)
{
    struct wire_reader in = wire_reader_over(*rest);
    struct accepted_value value = {.param.name = wire_get_string(&in)};
    value.param.value = wire_get_string(&in);
    value.canonical = wire_get_string(&in);
    if (in.failed || value.param.name.size == 0)
        return false;
    struct span left = wire_get_rest(&in);
    value.flat = span_of(rest->at, rest->size - left.size);
    *ret = value;
    *rest = left;
    return true;
}

bool accepted_share(struct buffer *shared, struct span flat)
{
    struct span rest = buffer_span(shared);
    struct accepted_value value;
    while (accepted_next(&rest, &value))
        if (span_equal(value.flat, flat))
            return false;
    if (shared->size + flat.size > ACCEPTED_SHARED_MAX)
        buffer_clear(shared);
    buffer_append_span(shared, flat);
    if (buffer_fault(shared) != OK) /* relays that miss a value ask a server */
        buffer_clear(shared);
    return true;
}
