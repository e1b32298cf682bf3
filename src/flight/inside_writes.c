/* inside_writes.c - what one connection may commit: notes, doubt, raise. */
#include "flight/inside_parts.h"
#include "flight/relation.h"

#include <stdlib.h>

/* --- notes ------------------------------------------------------------------------------------ */

struct inside_writes *inside_writes_new(struct inside *inside, struct span database)
{
    struct inside_writes *writes = calloc(1, sizeof(*writes));
    if (writes == NULL)
        return NULL;
    writes->inside = inside;
    writes->database = inside_database(inside, database);
    writes->settings = inside_settings(inside);
    inside_writes_clear(writes);
    return writes;
}

void inside_writes_free(struct inside_writes **writes)
{
    if (*writes == NULL)
        return;
    invariant(!(*writes)->doubts);
    free(*writes);
    *writes = NULL;
}

void inside_writes_clear(struct inside_writes *writes)
{
    invariant(!writes->doubts);
    writes->extent = INSIDE_NOTHING;
    writes->ends = writes->settles = writes->presets = false;
    generations_writes_init(&writes->set, writes->database);
}

void inside_writes_note(struct inside_writes *writes, enum inside_extent extent)
{
    writes->extent = MAX_OF(writes->extent, extent);
    if (writes->extent >= INSIDE_DATABASE)
        generations_writes_database(writes->inside->generations, &writes->set);
}

/* A transaction that writes many keys counts as one that writes their tables: its set must not be
 * full. */
static bool has_room(const struct inside_writes *writes)
{
    return writes->set.count < GENERATIONS_SET_MAX / 2;
}

void inside_writes_listed(struct inside_writes *writes, const struct verdict *verdict,
                          uint64_t catalog, const uint64_t *key)
{
    const struct generations_table *generations = writes->inside->generations;
    if (verdict->written_count == 0 || writes->extent >= INSIDE_DATABASE)
        return;
    if (writes->extent == INSIDE_NOTHING)
        writes->catalog = catalog;
    if (writes->catalog != catalog) {
        inside_writes_note(writes, INSIDE_DATABASE);
        return;
    }
    writes->extent = INSIDE_TABLES;
    for (uint16_t i = 0; i < verdict->written_count; i++) {
        const struct verdict_relation *relation = &verdict->written[i];
        uint32_t number = flight_relation_number(relation->schema, relation->name);
        if (key != NULL && relation->oid == verdict->key_relation && has_room(writes))
            generations_writes_key(generations, &writes->set, number, *key);
        else
            generations_writes_table(generations, &writes->set, number);
    }
}

/* --- doubt ------------------------------------------------------------------------------------ */

static void hold(struct inside_writes *writes)
{
    struct inside *inside = writes->inside;
    writes->doubts = true;
    writes->held = writes->extent;
    writes->held_set = writes->set;
    writes->held_catalog = inside->everything;
    writes->held_catalog.hold = GENERATIONS_FREE;
    generations_doubt(inside->generations, &writes->held_set);
    if (writes->held == INSIDE_CATALOG)
        generations_doubt(inside->generations, &writes->held_catalog);
    if (writes->held == INSIDE_TABLES)
        inside_begin_locked(inside, writes);
}

static void let_go(struct inside *inside, struct inside_writes *writes)
{
    generations_doubt_end(inside->generations, &writes->held_set);
    if (writes->held == INSIDE_CATALOG)
        generations_doubt_end(inside->generations, &writes->held_catalog);
    if (writes->held == INSIDE_TABLES)
        inside_end_locked(inside, writes);
    writes->doubts = false;
}

static bool same_held(const struct inside_writes *writes)
{
    return writes->doubts && writes->held == writes->extent &&
           writes->held_set.count == writes->set.count;
}

/* The new hold begins before the old one ends.  Under the lock, a change of the catalog is either
 * seen here or finds this hold. */
void inside_writes_doubt(struct inside_writes *writes)
{
    struct inside *inside = writes->inside;
    if (writes->extent == INSIDE_NOTHING)
        return;
    lock_take(&inside->lock);
    if (writes->extent == INSIDE_TABLES && inside_catalog(inside) != writes->catalog)
        inside_writes_note(writes, INSIDE_DATABASE);
    if (!same_held(writes)) {
        struct inside_writes old = *writes;
        hold(writes);
        if (old.doubts)
            let_go(inside, &old);
        else
            inside->writes += 1;
    }
    lock_release(&inside->lock);
}

void inside_writes_raise(struct inside_writes *writes)
{
    struct inside *inside = writes->inside;
    if (!writes->doubts)
        return;
    bool outdated = writes->held == INSIDE_TABLES && inside_catalog(inside) != writes->catalog;
    generations_raise(inside->generations, &writes->held_set);
    if (outdated) {
        struct generations_writes whole;
        generations_writes_init(&whole, writes->database);
        generations_writes_database(inside->generations, &whole);
        generations_raise(inside->generations, &whole);
    }
    if (writes->presets)
        __atomic_fetch_add(&inside->settings, 1, __ATOMIC_SEQ_CST);
    if (writes->held == INSIDE_CATALOG)
        inside_raise_all(inside);
    if (writes->held != INSIDE_TABLES)
        __atomic_fetch_add(&inside->unlisted, 1, __ATOMIC_RELAXED);
}

void inside_writes_settle(struct inside_writes *writes)
{
    struct inside *inside = writes->inside;
    if (!writes->doubts)
        return;
    lock_take(&inside->lock);
    let_go(inside, writes);
    lock_release(&inside->lock);
}
