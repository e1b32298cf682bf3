/* resolver_found.c - a set of found backends in a fixed order. */
#include "fleet/resolver_parts.h"
#include "machine/stream.h"

#include <stdio.h>
#include <stdlib.h>

void found_set_add(struct found_set *set, const struct backend_found *found)
{
    for (size_t i = 0; i < set->count; i++)
        if (backend_found_equal(&set->all[i], found))
            return;
    if (set->count == BACKENDS_FOUND_MAX)
        return;
    char *name = set->names[set->count];
    snprintf(name, DNS_NAME_SIZE, "%s", found->target);
    set->all[set->count] = *found;
    set->all[set->count].target = name;
    set->count += 1;
}

static int compare_numbers(int64_t a, int64_t b)
{
    return a < b ? -1 : a > b;
}

static int compare_found(const void *one, const void *other)
{
    const struct backend_found *a = one, *b = other;
    int order = compare_numbers(a->priority, b->priority);
    if (order == 0)
        order = strcmp(a->target, b->target);
    if (order == 0)
        order = compare_numbers(a->address.family, b->address.family);
    if (order == 0)
        order = memcmp(a->address.bytes, b->address.bytes, sizeof(a->address.bytes));
    return order != 0 ? order : compare_numbers(a->address.port, b->address.port);
}

/* Sorts the backends.  Their names stay where they are. */
void found_set_sort(struct found_set *set)
{
    qsort(set->all, set->count, sizeof(set->all[0]), compare_found);
}

bool found_set_equal(const struct found_set *a, const struct found_set *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (compare_found(&a->all[i], &b->all[i]) != 0 || a->all[i].weight != b->all[i].weight ||
            strcmp(a->all[i].zone, b->all[i].zone) != 0)
            return false;
    return true;
}
