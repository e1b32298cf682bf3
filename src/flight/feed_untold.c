#include "flight/feed_untold.h"

#include "base/check.h"

void feed_untold_init(struct feed_untold *untold)
{
    *untold = (struct feed_untold){0};
}

static uint64_t *slot_of(struct feed_untold *untold, uint64_t id)
{
    return &untold->told[id % FEED_TOLD_SLOTS];
}

/* Notes one that is missing. */
static void add(struct feed_untold *untold, uint64_t id)
{
    if (*slot_of(untold, id) == id)
        return;
    if (untold->count < FEED_UNTOLD_MAX)
        untold->ids[untold->count++] = id;
    else
        untold->counted = false;
}

/* Finds what `next` shows, `base` does not show, and was not told. */
static void compare(struct feed_untold *untold)
{
    const struct feed_snapshot *base = &untold->base, *next = &untold->next;
    untold->count = 0;
    untold->counted = untold->based && !next->cut && next->xmax >= base->xmax &&
                      next->xmax - base->xmax <= FEED_TOLD_SLOTS;
    for (uint32_t i = 0; untold->counted && i < base->count; i++)
        if (feed_snapshot_shows(next, base->running[i]))
            add(untold, base->running[i]);
    for (uint64_t id = base->xmax; untold->counted && id < next->xmax; id++)
        if (feed_snapshot_shows(next, id))
            add(untold, id);
}

void feed_untold_probe(struct feed_untold *untold, const struct feed_snapshot *snapshot,
                       uint64_t position)
{
    if (untold->waits && position > untold->position)
        return;
    feed_snapshot_copy(&untold->next, snapshot);
    untold->position = position;
    untold->waits = true;
    compare(untold);
}

void feed_untold_tell(struct feed_untold *untold, uint32_t xid)
{
    uint64_t id;
    const struct feed_snapshot *latest = untold->waits ? &untold->next : &untold->base;
    if (latest->xmax == 0 || !feed_snapshot_whole(latest, xid, &id))
        return;
    *slot_of(untold, id) = id;
    for (uint32_t i = 0; i < untold->count; i++)
        if (untold->ids[i] == id)
            untold->ids[i--] = untold->ids[--untold->count];
}

uint64_t feed_untold_passed(struct feed_untold *untold, uint64_t passed)
{
    bool all = untold->waits && untold->counted && untold->count == 0;
    if (!untold->waits || (!all && passed < untold->position))
        return passed;
    feed_snapshot_copy(&untold->base, &untold->next);
    untold->based = true;
    untold->waits = false;
    return passed > untold->position ? passed : untold->position;
}
