#include "flight/feed_snapshot.h"

#include "base/check.h"

#include <string.h>

/* Takes a decimal number off `text`.  False: there is none, or it is too large. */
static bool take_number(struct span *text, uint64_t *ret)
{
    uint64_t value = 0;
    size_t digits = 0;
    while (digits < text->size && text->at[digits] >= '0' && text->at[digits] <= '9') {
        uint64_t digit = (uint64_t)(text->at[digits] - '0');
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return false;
        digits += 1;
    }
    *text = span_skip(*text, digits);
    *ret = value;
    return digits > 0;
}

static bool take_byte(struct span *text, uint8_t byte)
{
    if (text->size == 0 || text->at[0] != byte)
        return false;
    *text = span_skip(*text, 1);
    return true;
}

/* Keeps a running transaction.  Without room the snapshot ends before it. */
static void keep(struct feed_snapshot *snapshot, uint64_t running)
{
    if (snapshot->count < FEED_RUNNING_MAX) {
        snapshot->running[snapshot->count++] = running;
    } else if (!snapshot->cut) {
        snapshot->cut = true;
        snapshot->xmax = running;
    }
}

fault feed_read_snapshot(struct span text, struct feed_snapshot *ret)
{
    uint64_t xmin, xmax, running;
    if (!take_number(&text, &xmin) || !take_byte(&text, ':') || !take_number(&text, &xmax) ||
        !take_byte(&text, ':') || xmin == 0 || xmin > xmax)
        return FAULT_PROTOCOL;
    ret->xmin = xmin;
    ret->xmax = xmax;
    ret->count = 0;
    ret->cut = false;
    uint64_t least = xmin;
    while (text.size > 0) {
        bool ordered = take_number(&text, &running) && running >= least && running < xmax;
        if (!ordered || (text.size > 0 && (!take_byte(&text, ',') || text.size == 0)))
            return FAULT_PROTOCOL;
        keep(ret, running);
        least = running + 1;
    }
    invariant(ret->xmin <= ret->xmax && ret->count <= FEED_RUNNING_MAX);
    return OK;
}

void feed_snapshot_copy(struct feed_snapshot *to, const struct feed_snapshot *from)
{
    memcpy(to, from, offsetof(struct feed_snapshot, running) + from->count * sizeof(uint64_t));
}

bool feed_snapshot_whole(const struct feed_snapshot *snapshot, uint32_t xid, uint64_t *ret)
{
    int64_t apart = (int32_t)(xid - (uint32_t)snapshot->xmax);
    *ret = snapshot->xmax + (uint64_t)apart;
    return apart >= 0 || (uint64_t)-apart <= snapshot->xmax;
}

/* The index of the first running transaction from this id on. */
static uint32_t first_from(const struct feed_snapshot *snapshot, uint64_t id)
{
    uint32_t low = 0, high = snapshot->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (snapshot->running[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool feed_snapshot_shows(const struct feed_snapshot *snapshot, uint64_t id)
{
    uint32_t next = first_from(snapshot, id);
    return id < snapshot->xmax && (next == snapshot->count || snapshot->running[next] != id);
}

bool feed_snapshot_has(const struct feed_snapshot *snapshot, uint32_t from, uint32_t to)
{
    uint64_t first, last;
    if (snapshot->xmax == 0 || !feed_snapshot_whole(snapshot, from, &first) ||
        !feed_snapshot_whole(snapshot, to, &last))
        return false;
    if (last >= snapshot->xmax || first > last)
        return false;
    uint32_t next = first_from(snapshot, first);
    return next == snapshot->count || snapshot->running[next] > last;
}
