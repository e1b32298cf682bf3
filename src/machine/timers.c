/* timers.c - the timers of a machine. */
#include "machine/loop_parts.h"

#include <stdlib.h>

/*
 * The timer queue of a machine.  An entry may be earlier than its timer is due: when its time
 * comes, it is moved to the due time.  So postponing a deadline costs one store.
 */

static void timer_place(struct timer_heap *heap, uint32_t place, struct timer_entry entry)
{
    heap->entries[place] = entry;
    entry.timer->place = place;
}

static void timer_rise(struct timer_heap *heap, uint32_t place, struct timer_entry entry)
{
    while (place > 0) {
        uint32_t parent = (place - 1) / 2;
        if (heap->entries[parent].at <= entry.at)
            break;
        timer_place(heap, place, heap->entries[parent]);
        place = parent;
    }
    timer_place(heap, place, entry);
}

static void timer_sink(struct timer_heap *heap, uint32_t place, struct timer_entry entry)
{
    for (;;) {
        uint32_t child = 2 * place + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && heap->entries[child + 1].at < heap->entries[child].at)
            child += 1;
        if (entry.at <= heap->entries[child].at)
            break;
        timer_place(heap, place, heap->entries[child]);
        place = child;
    }
    timer_place(heap, place, entry);
}

/* Aborts without memory: no caller could handle it, and a deadline that silently never fires is
 * worse.  The heap needs 16 bytes per armed timer. */
static void timer_heap_grow(struct timer_heap *heap)
{
    uint32_t capacity = heap->capacity == 0 ? 64 : heap->capacity * 2;
    struct timer_entry *entries = realloc(heap->entries, capacity * sizeof(*entries));
    invariant(entries != NULL && capacity > heap->capacity);
    heap->entries = entries;
    heap->capacity = capacity;
}

static void timer_take_out(struct timer_heap *heap, struct timer *timer)
{
    uint32_t place = timer->place;
    invariant(place < heap->count && heap->entries[place].timer == timer);
    heap->count -= 1;
    timer->armed = INT64_MAX;
    if (place == heap->count)
        return;
    struct timer_entry last = heap->entries[heap->count];
    if (place > 0 && heap->entries[(place - 1) / 2].at > last.at)
        timer_rise(heap, place, last);
    else
        timer_sink(heap, place, last);
    costly_invariant(place == 0 || heap->entries[(place - 1) / 2].at <= heap->entries[place].at);
}

void timer_set(struct timer *timer, deadline by)
{
    timer->due = by.us;
    if (LIKELY(by.us >= timer->armed))
        return;
    invariant(machine_current != NULL && timer->waker != NULL);
    struct timer_heap *heap = &machine_current->timers;
    struct timer_entry entry = {by.us, timer};
    if (timer->armed == INT64_MAX) {
        if (heap->count == heap->capacity)
            timer_heap_grow(heap);
        timer->place = heap->count++;
    }
    invariant(timer->place < heap->count);
    timer->armed = by.us;
    timer_rise(heap, timer->place, entry);
}

void timer_disarm(struct timer *timer)
{
    timer->due = INT64_MAX;
    if (timer->armed == INT64_MAX)
        return;
    invariant(machine_current != NULL);
    timer_take_out(&machine_current->timers, timer);
}

void timers_fini(struct machine *machine)
{
    costly_invariant(machine->timers.count == 0);
    free(machine->timers.entries);
    machine->timers = (struct timer_heap){0};
}

/* Moves the stale top entry to the time when its timer is due, or removes it. */
static void timer_refresh_top(struct timer_heap *heap)
{
    struct timer *timer = heap->entries[0].timer;
    if (timer->due == INT64_MAX) {
        timer_take_out(heap, timer);
        return;
    }
    timer->armed = timer->due;
    timer_sink(heap, 0, (struct timer_entry){timer->due, timer});
}

uint32_t timers_run(struct machine *machine)
{
    struct timer_heap *heap = &machine->timers;
    uint32_t fired = 0;
    /* Limited, because a waker may set its timer to a time that has passed. */
    for (uint32_t left = heap->count; left > 0 && heap->count > 0; left--) {
        if (heap->entries[0].at > machine->now_us)
            break;
        struct timer *timer = heap->entries[0].timer;
        invariant(timer->armed == heap->entries[0].at && timer->due >= timer->armed);
        if (timer->due > machine->now_us) {
            timer_refresh_top(heap);
            continue;
        }
        timer_take_out(heap, timer);
        timer->due = INT64_MAX;
        timer->waker->wake(timer->waker);
        fired += 1;
    }
    return fired;
}

deadline timers_next(const struct machine *machine)
{
    if (machine->timers.count == 0)
        return NEVER;
    return (deadline){machine->timers.entries[0].at};
}

void timers_tidy(struct machine *machine)
{
    struct timer_heap *heap = &machine->timers;
    while (heap->count > 0 && heap->entries[0].timer->due > heap->entries[0].at)
        timer_refresh_top(heap);
}
