/* registrations.c - maps handles to the streams that get their events. */
#include "machine/loop_parts.h"
#include "machine/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Maps handles to the streams that get their events.  A poll tag is generation << 32 | handle.  The
 * generation has 31 bits, because the os table reserves the tags with the highest bit.
 */
#define GENERATION_MASK 0x7fffffffu

static int registrations_grow(struct machine *machine, uint32_t min)
{
    uint32_t size = MAX_OF(machine->registrations_size, 64u);
    while (size <= min)
        size *= 2;
    struct registration *grown = realloc(machine->registrations, size * sizeof(*grown));
    if (grown == NULL)
        return -ENOMEM;
    memset(grown + machine->registrations_size, 0,
           (size - machine->registrations_size) * sizeof(*grown));
    machine->registrations = grown;
    machine->registrations_size = size;
    return 0;
}

typedef int poll_add(int poller, int handle, uint64_t tag);

static int registration_add_by(struct stream *stream, poll_add *add)
{
    struct machine *machine = machine_current;
    invariant(machine != NULL && stream->machine == NULL && stream->handle >= 0);
    invariant(stream->table == os->table()); /* else the number is that of another connection */
    uint32_t handle = (uint32_t)stream->handle;
    if (handle >= machine->registrations_size) {
        int status = registrations_grow(machine, handle);
        if (status < 0)
            return status;
    }
    struct registration *slot = &machine->registrations[handle];
    invariant(slot->stream == NULL);
    slot->generation = (slot->generation + 1) & GENERATION_MASK;
    int status = add(machine->poller, stream->handle, (uint64_t)slot->generation << 32 | handle);
    if (status < 0)
        return status;
    slot->stream = stream;
    stream->machine = machine;
    return 0;
}

int registration_add(struct stream *stream)
{
    return registration_add_by(stream, os->poll_add);
}

int registration_add_shared(struct stream *stream)
{
    return registration_add_by(stream, os->poll_add_shared);
}

void registration_remove(struct stream *stream, enum registration_end end)
{
    struct machine *machine = stream->machine;
    invariant(machine != NULL && machine == machine_current);
    struct registration *slot = &machine->registrations[stream->handle];
    invariant(slot->stream == stream);
    slot->stream = NULL;
    stream->machine = NULL;
    /* Closing a handle removes it from its poller. */
    if (end == REGISTRATION_MOVES)
        os->poll_del(machine->poller, stream->handle);
}

void registrations_dispatch(struct machine *machine, const struct poll_event *events, int count)
{
    hint_add(&machine->stats.events, (uint64_t)count);
    machine->round = (uint32_t)count;
    for (int i = 0; i < count; i++) {
        uint32_t handle = (uint32_t)events[i].tag;
        invariant(handle < machine->registrations_size);
        struct registration *slot = &machine->registrations[handle];
        struct stream *stream = slot->stream;
        if (stream == NULL || slot->generation != (uint32_t)(events[i].tag >> 32))
            continue;
        uint32_t fresh = events[i].ready & ~(uint32_t)stream->ready;
        stream->ready |= (uint8_t)events[i].ready;
        if (fresh != 0 && stream->waker != NULL)
            stream->waker->wake(stream->waker);
    }
}
