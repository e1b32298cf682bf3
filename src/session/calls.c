#include "session/calls.h"

#include "base/check.h"
#include "base/map.h"
#include "query/outline.h"

#include <stdlib.h>

#define RING_MIN 16u

/* --- memory ----------------------------------------------------------------------------------- */

struct calls *calls_new(void)
{
    return calloc(1, sizeof(struct calls));
}

static struct call *call_at(const struct calls *calls, uint32_t place)
{
    return &calls->ring[(calls->head + place) & (calls->size - 1)];
}

static void pop(struct calls *calls)
{
    query_outline_unref(&call_at(calls, 0)->outline);
    calls->head = (calls->head + 1) & (calls->size - 1);
    calls->count -= 1;
}

void calls_free(struct calls **calls)
{
    struct calls *mine = TAKE(*calls);
    if (mine == NULL)
        return;
    while (mine->count > 0)
        pop(mine);
    query_outline_unref(&mine->next.outline);
    for (size_t i = 0; i < CALLS_PORTALS; i++)
        query_outline_unref(&mine->portal[i].outline);
    for (size_t i = 0; i < CALLS_STATEMENTS; i++)
        query_outline_unref(&mine->statement[i].outline);
    free(mine->ring);
    free(mine);
}

static bool make_room(struct calls *calls)
{
    if (calls->count < calls->size)
        return true;
    uint32_t size = MAX_OF(2 * calls->size, RING_MIN);
    struct call *ring = size > CALLS_MAX ? NULL : malloc(size * sizeof(*ring));
    if (ring == NULL)
        return false;
    for (uint32_t i = 0; i < calls->count; i++)
        ring[i] = *call_at(calls, i);
    free(calls->ring);
    calls->ring = ring;
    calls->size = size;
    calls->head = 0;
    return true;
}

/* --- names ------------------------------------------------------------------------------------ */

static struct call_name *find_name(const struct call_name *names, uint32_t count, uint64_t hash)
{
    for (uint32_t i = 0; i < count; i++)
        if (names[i].outline != NULL && names[i].hash == hash)
            return (struct call_name *)(uintptr_t)&names[i];
    return NULL;
}

static void note(struct call_name *names, uint32_t count, uint32_t *noted, uint64_t hash,
                 struct query_outline *take_outline)
{
    struct call_name *at = find_name(names, count, hash);
    if (at == NULL)
        at = &names[(*noted)++ % count];
    query_outline_unref(&at->outline);
    *at = (struct call_name){hash, take_outline};
}

static struct query_outline *known(const struct call_name *names, uint32_t count, uint64_t hash)
{
    const struct call_name *at = find_name(names, count, hash);
    return at == NULL ? query_outline_unparsed() : query_outline_ref(at->outline);
}

static void forget(struct call_name *names, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        query_outline_unref(&names[i].outline);
}

uint64_t calls_name(struct span name)
{
    return hash_span(name);
}

void calls_lose_name(struct calls *calls)
{
    calls->unsure = true;
}

void calls_forget_portals(struct calls *calls)
{
    forget(calls->portal, CALLS_PORTALS);
}

void calls_forget_names(struct calls *calls)
{
    forget(calls->portal, CALLS_PORTALS);
    forget(calls->statement, CALLS_STATEMENTS);
}

/* Finds out what the call is, now that the server has come to it. */
static void resolve(const struct calls *calls, struct call *call)
{
    if (call->outline != NULL)
        return;
    if (calls->unsure)
        call->outline = query_outline_unparsed();
    else if (call->kind == CALL_EXECUTE)
        call->outline = known(calls->portal, CALLS_PORTALS, call->source);
    else if (call->names == CALL_NAMES_PORTAL)
        call->outline = known(calls->statement, CALLS_STATEMENTS, call->source);
    else
        call->outline = query_outline_unparsed();
}

/* Notes the name that a Parse or a Bind has given. */
static void settle(struct calls *calls, struct call *call)
{
    if (call->kind != CALL_PREPARE || call->skipped || call->names == CALL_NAMES_NOTHING)
        return;
    resolve(calls, call);
    if (call->names == CALL_NAMES_STATEMENT)
        note(calls->statement, CALLS_STATEMENTS, &calls->statements, call->name,
             query_outline_ref(call->outline));
    else
        note(calls->portal, CALLS_PORTALS, &calls->portals, call->name,
             query_outline_ref(call->outline));
}

/* --- calls ------------------------------------------------------------------------------------ */

void calls_begin(struct calls *calls, const struct ledger *ledger, const struct call *call,
                 struct query_outline *take_outline)
{
    query_outline_unref(&calls->next.outline);
    calls->next = *call;
    calls->next.outline = take_outline;
    calls->ever = ledger->ever;
    if (UNLIKELY(calls->unsure) && calls->count == 0) {
        calls_forget_names(calls);
        calls->unsure = false;
    }
    if (calls->count == 0)
        calls->mark = MAX_OF(calls->mark, calls->passed);
}

bool calls_sent(struct calls *calls, const struct ledger *ledger, struct call *ret)
{
    struct call *next = &calls->next;
    bool room = true;
    if (next->kind == CALL_NONE)
        return true;
    if (ledger->ever == calls->ever) {
        query_outline_unref(&next->outline);
    } else {
        next->place = ledger->ever - 1;
        if (next->kind != CALL_PREPARE) {
            next->waited_us = calls->waited_us;
            calls->waited_us = 0;
        }
        room = make_room(calls);
        *(room ? call_at(calls, calls->count) : ret) = *next;
        calls->count += room;
        calls->unsure = calls->unsure || (!room && next->names != CALL_NAMES_NOTHING);
    }
    *next = (struct call){.kind = CALL_NONE};
    return room;
}

struct call *calls_head(struct calls *calls, const struct ledger *ledger)
{
    uint64_t oldest = ledger->ever - ledger->count;
    while (calls->count > 0 && call_at(calls, 0)->place < oldest) {
        settle(calls, call_at(calls, 0));
        pop(calls);
    }
    if (calls->count == 0 || call_at(calls, 0)->place != oldest)
        return NULL;
    struct call *head = call_at(calls, 0);
    if (head->kind != CALL_PREPARE)
        resolve(calls, head);
    return head;
}

/* Returns the place behind the entries of the oldest entry's batch. */
static uint64_t batch_end(const struct ledger *ledger)
{
    uint64_t oldest = ledger->ever - ledger->count;
    for (uint32_t i = 0; i < ledger->count; i++)
        if (ledger->ring[(ledger->head + i) & ledger->mask].kind <= OWED_MARK)
            return oldest + i;
    return ledger->ever;
}

void calls_skip(struct calls *calls, const struct ledger *ledger)
{
    uint64_t end = batch_end(ledger);
    for (uint32_t i = 0; i < calls->count && call_at(calls, i)->place < end; i++)
        call_at(calls, i)->skipped = true;
}

struct call *calls_lost(struct calls *calls, const struct ledger *ledger)
{
    (void)calls_head(calls, ledger);
    while (calls->count > 0) {
        struct call *call = call_at(calls, 0);
        if (call->kind != CALL_PREPARE && !call->skipped) {
            resolve(calls, call);
            return call;
        }
        settle(calls, call);
        pop(calls);
    }
    return NULL;
}

struct call *calls_failed(struct calls *calls, const struct ledger *ledger)
{
    struct call *head = calls_head(calls, ledger);
    if (head != NULL)
        resolve(calls, head);
    if (head != NULL || calls->count == 0)
        return head;
    uint64_t ahead = call_at(calls, 0)->place - (ledger->ever - ledger->count);
    for (uint32_t i = 0; i < ahead && i < ledger->count; i++)
        if (ledger->ring[(ledger->head + i) & ledger->mask].kind <= OWED_MARK)
            return NULL;
    resolve(calls, call_at(calls, 0));
    return call_at(calls, 0);
}

void calls_end(struct calls *calls, const struct call *call)
{
    invariant(calls->count > 0 && call == call_at(calls, 0));
    calls->last = call->outline->fingerprint;
    pop(calls);
}
