/* events.c - the events of the simulation, in the order of their time. */
#include "base/check.h"
#include "machine/sim/inside.h"

#include <stdlib.h>

/* Future events: a binary heap by time, and by order of insertion for equal times. */
struct sim_event {
    int64_t at;
    uint64_t serial;
    void (*happen)(int64_t a, int64_t b);
    int64_t a;
    int64_t b;
};

static struct sim_agenda {
    struct sim_event *heap;
    size_t count;
    size_t capacity;
    uint64_t serial;
} agenda;

static bool event_before(const struct sim_event *one, const struct sim_event *other)
{
    return one->at != other->at ? one->at < other->at : one->serial < other->serial;
}

static void agenda_grow(void)
{
    if (agenda.count < agenda.capacity)
        return;
    agenda.capacity = MAX_OF(2 * agenda.capacity, (size_t)256);
    agenda.heap = reallocarray(agenda.heap, agenda.capacity, sizeof(*agenda.heap));
    invariant(agenda.heap != NULL);
}

void sim_event_put(int64_t at, void (*happen)(int64_t a, int64_t b), int64_t a, int64_t b)
{
    struct sim_event event = {at, agenda.serial++, happen, a, b};
    agenda_grow();
    size_t place = agenda.count++;
    while (place > 0 && event_before(&event, &agenda.heap[(place - 1) / 2])) {
        agenda.heap[place] = agenda.heap[(place - 1) / 2];
        place = (place - 1) / 2;
    }
    agenda.heap[place] = event;
}

static void agenda_drop_first(void)
{
    struct sim_event last = agenda.heap[--agenda.count];
    size_t place = 0;
    for (size_t child = 1; child < agenda.count; child = 2 * place + 1) {
        if (child + 1 < agenda.count && event_before(&agenda.heap[child + 1], &agenda.heap[child]))
            child += 1;
        if (!event_before(&agenda.heap[child], &last))
            break;
        agenda.heap[place] = agenda.heap[child];
        place = child;
    }
    agenda.heap[place] = last;
}

void sim_events_run(void)
{
    while (agenda.count > 0 && agenda.heap[0].at <= sim_now()) {
        struct sim_event event = agenda.heap[0];
        agenda_drop_first();
        event.happen(event.a, event.b);
    }
}

int64_t sim_events_next(void)
{
    return agenda.count == 0 ? INT64_MAX : agenda.heap[0].at;
}

void sim_events_finish(void)
{
    free(agenda.heap);
    agenda = (struct sim_agenda){0};
}
