/*
 * resolve_because.c - what is recorded while an answer is read: reasons and names.
 */
#include "base/check.h"
#include "flight/resolve_parts.h"

static size_t add_name(struct resolve_because *because, size_t size, struct span name)
{
    size_t room = sizeof(because->name) - size;
    size_t taken = name.size < room ? name.size : room;
    if (taken > 0)
        memcpy(because->name + size, name.at, taken);
    return size + taken;
}

static void become(struct resolve_because *because, uint32_t reason, struct span schema,
                   struct span name)
{
    if (reason >= because->reason)
        return;
    because->reason = reason;
    because->size = add_name(because, 0, schema);
    if (schema.size > 0)
        because->size = add_name(because, because->size, SPAN("."));
    because->size = add_name(because, because->size, name);
}

void resolve_against(struct resolve *resolve, uint32_t reason, struct span schema, struct span name)
{
    become(&resolve->against, reason, schema, name);
}

void resolve_unlisted(struct resolve *resolve, uint32_t reason, struct span schema,
                      struct span name)
{
    become(&resolve->unlisted, reason, schema, name);
}

bool resolve_keep(struct resolve *resolve, struct span bytes, struct span *ret)
{
    *ret = SPAN_NONE;
    if (bytes.size > RESOLVE_KEPT_MAX - resolve->kept_size)
        return false;
    if (bytes.size == 0)
        return true;
    uint8_t *at = resolve->kept + resolve->kept_size;
    memcpy(at, bytes.at, bytes.size);
    resolve->kept_size += bytes.size;
    *ret = span_of(at, bytes.size);
    return true;
}
