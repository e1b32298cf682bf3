#include "flight/feed_sets.h"

#include "flight/relation.h"

#include <stdlib.h>

/* Bytes of the values of a key. */
#define KEY_BYTES_MAX 32768u

fault feed_sets_init(struct feed_sets *sets, struct generations_table *table, uint64_t database,
                     struct feed_keys *keys)
{
    *sets = (struct feed_sets){.table = table, .database = database, .keys = keys};
    sets->bytes = BUFFER_INIT(KEY_BYTES_MAX);
    sets->held = calloc(FEED_UNSETTLED_MAX, sizeof(*sets->held));
    return sets->held == NULL ? FAULT_MEMORY : OK;
}

void feed_sets_fini(struct feed_sets *sets)
{
    feed_sets_clear(sets);
    buffer_fini(&sets->bytes);
    free(sets->held);
    sets->held = NULL;
}

/* --- the open transaction --------------------------------------------------------------------- */

static void open_begin(struct feed_sets *sets)
{
    generations_writes_init(&sets->open, sets->database);
    sets->all = sets->foreign = sets->is_latest = false;
}

/* Makes a table the latest one.  A new one is keyed if statements read it by its key. */
static void open_latest(struct feed_sets *sets, const struct feed_table *table)
{
    uint32_t number =
        flight_relation_number(feed_name_span(&table->schema), feed_name_span(&table->name));
    if (sets->is_latest && sets->latest == number)
        return;
    sets->latest = number;
    sets->is_latest = true;
    sets->keyed = sets->keys != NULL && feed_keys_find(sets->keys, number, &sets->key);
    if (!sets->keyed)
        generations_writes_table(sets->table, &sets->open, number);
}

/* Rows of unknown keys; the further rows add nothing. */
static void open_table(struct feed_sets *sets, const struct feed_table *table)
{
    open_latest(sets, table);
    if (sets->keyed)
        generations_writes_table(sets->table, &sets->open, sets->latest);
    sets->keyed = false;
}

/* Adds the key of a row.  False: it is unknown. */
static bool open_key(struct feed_sets *sets, struct feed_row row)
{
    uint64_t digest;
    if (sets->open.count > FEED_KEYED_SLOTS ||
        !feed_key_of_row(&sets->key, row, &sets->bytes, &digest))
        return false;
    generations_writes_key(sets->table, &sets->open, sets->latest, digest);
    return true;
}

/* An UPDATE has an old row if its key has changed. */
static bool open_keys(struct feed_sets *sets, const struct feed_text *text)
{
    switch (text->kind) {
    case FEED_INSERT:
        return open_key(sets, text->new_row);
    case FEED_UPDATE:
        return open_key(sets, text->new_row) &&
               (!text->old_row.told || open_key(sets, text->old_row));
    case FEED_DELETE:
        return open_key(sets, text->old_row);
    default:
        return false;
    }
}

static void open_row(struct feed_sets *sets, const struct feed_text *text)
{
    open_latest(sets, &text->table);
    if (sets->keyed && !open_keys(sets, text))
        open_table(sets, &text->table);
}

/* The log tells names as they were when a row was written.  Statements have those of a catalog that
 * may have changed meanwhile. */
static void open_outdated(struct feed_sets *sets, const struct feed_event *event)
{
    if (event->position < sets->changed)
        generations_writes_database(sets->table, &sets->open);
}

static void open_message(struct feed_sets *sets, const struct feed_text *text)
{
    if (!text->transactional)
        return;
    if (span_is(text->prefix, FEED_PREFIX_DDL))
        sets->all = true;
    else if (!span_is(text->prefix, FEED_PREFIX_MARKER))
        sets->foreign = true;
}

static fault open_text(struct feed_sets *sets, const struct feed_event *event)
{
    const struct feed_text *text = &event->text;
    struct span tables = text->tables;
    struct feed_table table;
    switch (text->kind) {
    case FEED_INSERT:
    case FEED_UPDATE:
    case FEED_DELETE:
        open_row(sets, text);
        open_outdated(sets, event);
        return OK;
    case FEED_TRUNCATE:
        while (feed_next_table(&tables, &table))
            open_table(sets, &table);
        open_outdated(sets, event);
        return OK;
    case FEED_MESSAGE:
        open_message(sets, text);
        return OK;
    default:
        return FAULT_PROTOCOL;
    }
}

/* --- commits ---------------------------------------------------------------------------------- */

/* Whether the transaction holds markers of probes and nothing else. */
static bool is_marker(const struct feed_sets *sets, const struct feed_event *event)
{
    return event->changes == 0 && event->messages > 0 && !event->unknown && !sets->all &&
           !sets->foreign;
}

/* Holds one more transaction together with others.  The generation is raised again behind the hold
 * that is there already. */
static void hold_with_rest(struct feed_sets *sets, uint32_t xid)
{
    struct feed_unsettled *rest = &sets->rest;
    rest->number = sets->number;
    if (!sets->overflowed) {
        sets->overflowed = true;
        rest->from = rest->to = xid;
        rest->catalog = true;
        generations_writes_init(&rest->writes, sets->database);
        generations_writes_catalog(sets->table, &rest->writes);
        generations_unsettle(sets->table, &rest->writes);
        return;
    }
    generations_raise(sets->table, &rest->writes);
    if ((int32_t)(xid - rest->from) < 0)
        rest->from = xid;
    if ((int32_t)(xid - rest->to) > 0)
        rest->to = xid;
}

/* A change of the catalog is held as long as what was told before it: that was told by names and
 * keys which later statements may not have. */
static void hold(struct feed_sets *sets, uint32_t xid, bool catalog)
{
    bool first = !catalog || feed_sets_unsettled(sets) == 0;
    sets->number += 1;
    if (first && feed_snapshot_has(&sets->seen, xid, xid)) {
        generations_unsettle(sets->table, &sets->open);
        generations_settle(sets->table, &sets->open);
        return;
    }
    if (sets->count == FEED_UNSETTLED_MAX) {
        hold_with_rest(sets, xid);
        return;
    }
    struct feed_unsettled *next = &sets->held[sets->count++];
    *next = (struct feed_unsettled){
        .from = xid, .to = xid, .number = sets->number, .catalog = catalog, .writes = sets->open};
    generations_unsettle(sets->table, &next->writes);
}

/* A transaction without changes may have refreshed a materialized view, or written catalogs.  Of
 * one that was open when all was cleared, the changes are not known any more. */
static void commit(struct feed_sets *sets, const struct feed_event *event)
{
    if (is_marker(sets, event))
        return;
    bool catalog = sets->all || event->unknown || event->changes == 0 || sets->open.count == 0;
    if (catalog) {
        generations_writes_catalog(sets->table, &sets->open);
        feed_sets_begin(sets, event->position);
    }
    invariant(sets->open.count > 0);
    hold(sets, event->text.xid, catalog);
}

fault feed_sets_take(struct feed_sets *sets, const struct feed_event *event)
{
    switch (event->kind) {
    case FEED_EVENT_BEGIN:
        open_begin(sets);
        return OK;
    case FEED_EVENT_TEXT:
        return open_text(sets, event);
    case FEED_EVENT_UNKNOWN:
        sets->all = true;
        return OK;
    case FEED_EVENT_COMMIT:
        commit(sets, event);
        return OK;
    case FEED_EVENT_KEEPALIVE:
        return OK;
    }
    return FAULT_PROTOCOL;
}

/* --- snapshots -------------------------------------------------------------------------------- */

void feed_sets_begin(struct feed_sets *sets, uint64_t position)
{
    sets->changed = MAX_OF(sets->changed, position);
}

/* Whether something that was told before is held, other than with the rest as the whole database.
 */
static bool is_behind(const struct feed_sets *sets, const struct feed_unsettled *held)
{
    for (uint32_t i = 0; i < sets->count; i++)
        if (sets->held[i].number < held->number)
            return true;
    return false;
}

static bool may_settle(const struct feed_sets *sets, const struct feed_unsettled *held)
{
    return feed_snapshot_has(&sets->seen, held->from, held->to) &&
           (!held->catalog || !is_behind(sets, held));
}

/* Ends the holds that may end now.  True: there was one. */
static bool settle_some(struct feed_sets *sets)
{
    uint32_t before = feed_sets_unsettled(sets);
    for (uint32_t i = sets->count; i-- > 0;) {
        struct feed_unsettled *held = &sets->held[i];
        if (!may_settle(sets, held))
            continue;
        generations_settle(sets->table, &held->writes);
        *held = sets->held[--sets->count];
    }
    if (sets->overflowed && may_settle(sets, &sets->rest)) {
        generations_settle(sets->table, &sets->rest.writes);
        sets->overflowed = false;
    }
    return feed_sets_unsettled(sets) < before;
}

void feed_sets_settle(struct feed_sets *sets, const struct feed_snapshot *snapshot)
{
    sets->seen = *snapshot;
    while (settle_some(sets))
        continue;
}

void feed_sets_clear(struct feed_sets *sets)
{
    for (uint32_t i = 0; i < sets->count; i++)
        generations_settle(sets->table, &sets->held[i].writes);
    if (sets->overflowed)
        generations_settle(sets->table, &sets->rest.writes);
    sets->count = 0;
    sets->overflowed = false;
    sets->changed = 0;
    sets->seen.xmin = sets->seen.xmax = 0;
    sets->seen.count = 0;
    open_begin(sets);
}
