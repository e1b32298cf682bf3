#include "pool/orders.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

struct order_mark {
    struct map_link link; /* in orders->marks */
    uint32_t flags;       /* not 0 */
    char database[];
};

static bool mark_is(const struct map_link *link, const void *database)
{
    return strcmp(MAP_ENTRY(link, struct order_mark, link)->database, database) == 0;
}

static struct order_mark *mark_find(const struct orders *orders, const char *database)
{
    struct map_link *link =
        map_find(&orders->marks, hash_span(span_text(database)), mark_is, database);
    return link == NULL ? NULL : MAP_ENTRY(link, struct order_mark, link);
}

static void mark_free(struct orders *orders, struct order_mark *mark)
{
    map_remove(&orders->marks, &mark->link);
    free(mark);
}

void orders_init(struct orders *orders)
{
    *orders = (struct orders){.marks = MAP_INIT(ORDER_MARKS_MAX)};
}

void orders_fini(struct orders *orders)
{
    for (struct map_link *link; (link = map_next(&orders->marks, NULL)) != NULL;)
        mark_free(orders, MAP_ENTRY(link, struct order_mark, link));
    invariant(orders->marks.count == 0);
    map_fini(&orders->marks);
}

uint32_t orders_flags(const struct orders *orders, const char *database)
{
    const struct order_mark *mark = mark_find(orders, database);
    return mark == NULL ? 0 : mark->flags;
}

const char *orders_next(const struct orders *orders, const char *previous, uint32_t *ret_flags)
{
    const struct order_mark *mark = previous == NULL ? NULL : mark_find(orders, previous);
    const struct map_link *link = map_next(&orders->marks, mark == NULL ? NULL : &mark->link);
    if (link == NULL)
        return NULL;
    mark = MAP_ENTRY(link, struct order_mark, link);
    invariant(mark->flags != 0);
    *ret_flags = mark->flags;
    return mark->database;
}

bool orders_hold(const struct orders *orders, const char *database)
{
    return orders->paused || (orders_flags(orders, database) & ORDER_PAUSED) != 0;
}

fault orders_admit(const struct orders *orders, const char *database)
{
    if ((orders_flags(orders, database) & ORDER_DISABLED) != 0)
        return fault_raise_state(FAULT_SHUTDOWN, "57P03", "database \"%s\" is disabled", database);
    return OK;
}

fault orders_mark(struct orders *orders, const char *database, uint32_t set, uint32_t clear)
{
    struct order_mark *mark = mark_find(orders, database);
    if (mark == NULL) {
        size_t size = strlen(database) + 1;
        mark = calloc(1, sizeof(*mark) + size);
        if (mark == NULL)
            return FAULT_MEMORY;
        memcpy(mark->database, database, size);
        fault added = map_insert(&orders->marks, &mark->link, hash_span(span_text(database)));
        if (added != OK) {
            free(mark);
            return added;
        }
    }
    mark->flags = (mark->flags & ~clear) | set;
    if (mark->flags == 0)
        mark_free(orders, mark);
    return OK;
}
