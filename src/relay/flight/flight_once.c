#include "relay/flight/flight_once_parts.h"

#include "machine/co.h"

static bool is_asked(const struct list *all, struct span key)
{
    LIST_EACH (all, it) {
        const struct flight_once *other = LIST_ENTRY(it, struct flight_once, node);
        if (other->asks && span_equal(other->key, key))
            return true;
    }
    return false;
}

fault flight_once_enter(struct list *all, struct flight_once *once, struct span key)
{
    *once = (struct flight_once){.key = key, .co = co_self()};
    list_push(all, &once->node);
    while (is_asked(all, key)) {
        fault waited = co_wait(NEVER);
        if (waited == OK)
            continue;
        list_remove(all, &once->node);
        return waited;
    }
    once->asks = true;
    return OK;
}

void flight_once_leave(struct list *all, struct flight_once *once)
{
    list_remove(all, &once->node);
    LIST_EACH (all, it) {
        struct flight_once *other = LIST_ENTRY(it, struct flight_once, node);
        if (!other->asks && span_equal(other->key, once->key))
            co_wake(other->co);
    }
}
