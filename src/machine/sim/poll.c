/* poll.c - pollers of the simulation. */
#include "machine/sim/net_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* Pollers: lists of handles that may have an event, taken in drawn order. */
#define POLLERS_MAX 1024

struct sim_poller {
    bool taken;
    bool awake;
    bool answers; /* a DNS query of this poller was answered */
    int *handles; /* handles that may have an event; owned */
    int count;
    int capacity;
};

static struct sim_poller pollers[POLLERS_MAX];
static int pollers_end; /* all pollers from here on are free */

static struct sim_poller *poller_at(int poller)
{
    invariant(poller >= 0 && poller < pollers_end && pollers[poller].taken);
    return &pollers[poller];
}

int sim_poll_new(void)
{
    for (int i = 0; i < POLLERS_MAX; i++) {
        if (pollers[i].taken)
            continue;
        pollers[i].taken = true;
        pollers_end = MAX_OF(pollers_end, i + 1);
        return i;
    }
    return -EMFILE;
}

void sim_poll_free(int poller)
{
    struct sim_poller *gone = poller_at(poller);
    sim_dns_cancel(poller);
    free(gone->handles);
    *gone = (struct sim_poller){.taken = false};
}

void sim_poller_look(int poller, int handle)
{
    struct sim_poller *to = poller_at(poller);
    struct sim_socket *socket = sim_socket_at(handle);
    if (socket->listed)
        return;
    if (to->count == to->capacity) {
        to->capacity = MAX_OF(2 * to->capacity, 64);
        to->handles = reallocarray(to->handles, (size_t)to->capacity, sizeof(*to->handles));
        invariant(to->handles != NULL);
    }
    socket->listed = true;
    to->handles[to->count++] = handle;
}

void sim_poller_answers(int poller)
{
    poller_at(poller)->answers = true;
}

int sim_poll_add(int poller, int handle, uint64_t tag)
{
    struct sim_socket *socket = sim_socket_own(handle);
    if (socket->poller >= 0)
        return -EEXIST;
    socket->poller = poller;
    socket->tag = tag;
    socket->listed = false;
    sim_socket_edge(handle);
    return 0;
}

static void poller_drop(struct sim_poller *poller, int at)
{
    poller->handles[at] = poller->handles[--poller->count];
}

int sim_poll_del(int poller, int handle)
{
    struct sim_socket *socket = sim_socket_own(handle);
    if (socket->poller != poller)
        return -ENOENT;
    socket->poller = -1;
    return 0;
}

void sim_poll_wake(int poller)
{
    poller_at(poller)->awake = true;
}

/* The event of a listed handle; 0: none any more, e.g. because the handle has moved. */
static uint32_t listed_event(int poller, int handle)
{
    const struct sim_socket *socket = sim_socket_any(handle);
    if (socket == NULL || socket->poller != poller || !socket->listed || !socket->edge)
        return 0;
    return sim_socket_state(socket);
}

static void poller_forget(int poller, int at)
{
    struct sim_poller *from = poller_at(poller);
    struct sim_socket *socket = sim_socket_any(from->handles[at]);
    if (socket != NULL && socket->poller == poller)
        socket->listed = false;
    poller_drop(from, at);
}

bool sim_poller_ready(int poller)
{
    struct sim_poller *asked = poller_at(poller);
    if (asked->awake || asked->answers)
        return true;
    while (asked->count > 0) {
        if (listed_event(poller, asked->handles[asked->count - 1]) != 0)
            return true;
        poller_forget(poller, asked->count - 1);
    }
    return false;
}

int sim_poller_take(int poller, struct poll_event *events, int max)
{
    struct sim_poller *asked = poller_at(poller);
    int count = 0, kept = 0;
    asked->awake = false;
    /* Events that are delayed to the next wait are kept at the beginning of the list. */
    while (asked->count > kept && count < max) {
        int at = kept + (int)sim_below(LOT_ORDER, (uint64_t)(asked->count - kept));
        int handle = asked->handles[at];
        uint32_t ready = listed_event(poller, handle);
        if (ready != 0 && count > 0 && sim_chance(LOT_ORDER, sim_rates.late_event)) {
            asked->handles[at] = asked->handles[kept];
            asked->handles[kept++] = handle;
            continue;
        }
        poller_forget(poller, at);
        if (ready == 0)
            continue;
        sim_socket_at(handle)->edge = false;
        events[count++] = (struct poll_event){sim_socket_at(handle)->tag, ready};
    }
    asked->answers = false;
    return count;
}

uint32_t sim_pollers_leaks(void (*each)(void *argument, const char *what), void *argument)
{
    uint32_t count = 0;
    for (int i = 0; i < pollers_end; i++) {
        char text[32];
        if (!pollers[i].taken)
            continue;
        snprintf(text, sizeof(text), "poller %d", i);
        each(argument, text);
        count += 1;
    }
    return count;
}

void sim_pollers_finish(void)
{
    for (int i = 0; i < pollers_end; i++)
        free(pollers[i].handles);
    memset(pollers, 0, sizeof(pollers));
    pollers_end = 0;
}
