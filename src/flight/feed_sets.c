#include "flight/feed_sets.h"

#include "flight/relation.h"

#include <stdlib.h>

fault feed_sets_init(struct feed_sets *sets, struct generations_table *table, uint64_t database)
{
    *sets = (struct feed_sets){.table = table, .database = database};
    sets->held = calloc(FEED_UNSETTLED_MAX, sizeof(*sets->held));
    return sets->held == NULL ? FAULT_MEMORY : OK;
}

void feed_sets_fini(struct feed_sets *sets)
{
    feed_sets_clear(sets);
    free(sets->held);
    sets->held = NULL;
}

/* --- the open transaction --------------------------------------------------------------------- */

static void open_begin(struct feed_sets *sets)
{
    generations_writes_init(&sets->open, sets->database);
    sets->all = sets->foreign = sets->is_latest = false;
}

static void open_table(struct feed_sets *sets, const struct feed_table *table)
{
    uint32_t number =
        flight_relation_number(feed_name_span(&table->schema), feed_name_span(&table->name));
    if (sets->is_latest && sets->latest == number)
        return;
    sets->latest = number;
    sets->is_latest = true;
    generations_writes_table(sets->table, &sets->open, number);
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

static fault open_text(struct feed_sets *sets, const struct feed_text *text)
{
    struct span tables = text->tables;
    struct feed_table table;
    switch (text->kind) {
    case FEED_INSERT:
    case FEED_UPDATE:
    case FEED_DELETE:
        open_table(sets, &text->table);
        return OK;
    case FEED_TRUNCATE:
        while (feed_next_table(&tables, &table))
            open_table(sets, &table);
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
    if (!sets->overflowed) {
        sets->overflowed = true;
        rest->from = rest->to = xid;
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

static void hold(struct feed_sets *sets, uint32_t xid)
{
    if (feed_snapshot_has(&sets->seen, xid, xid)) {
        generations_unsettle(sets->table, &sets->open);
        generations_settle(sets->table, &sets->open);
        return;
    }
    if (sets->count == FEED_UNSETTLED_MAX) {
        hold_with_rest(sets, xid);
        return;
    }
    struct feed_unsettled *next = &sets->held[sets->count++];
    *next = (struct feed_unsettled){.from = xid, .to = xid, .writes = sets->open};
    generations_unsettle(sets->table, &next->writes);
}

/* A transaction without changes may have refreshed a materialized view, or written catalogs. */
static void commit(struct feed_sets *sets, const struct feed_event *event)
{
    if (is_marker(sets, event))
        return;
    if (sets->all || event->unknown || event->changes == 0)
        generations_writes_catalog(sets->table, &sets->open);
    invariant(sets->open.count > 0);
    hold(sets, event->text.xid);
}

fault feed_sets_take(struct feed_sets *sets, const struct feed_event *event)
{
    switch (event->kind) {
    case FEED_EVENT_BEGIN:
        open_begin(sets);
        return OK;
    case FEED_EVENT_TEXT:
        return open_text(sets, &event->text);
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

void feed_sets_settle(struct feed_sets *sets, const struct feed_snapshot *snapshot)
{
    sets->seen = *snapshot;
    for (uint32_t i = sets->count; i-- > 0;) {
        struct feed_unsettled *held = &sets->held[i];
        if (!feed_snapshot_has(snapshot, held->from, held->to))
            continue;
        generations_settle(sets->table, &held->writes);
        *held = sets->held[--sets->count];
    }
    if (sets->overflowed && feed_snapshot_has(snapshot, sets->rest.from, sets->rest.to)) {
        generations_settle(sets->table, &sets->rest.writes);
        sets->overflowed = false;
    }
}

void feed_sets_clear(struct feed_sets *sets)
{
    for (uint32_t i = 0; i < sets->count; i++)
        generations_settle(sets->table, &sets->held[i].writes);
    if (sets->overflowed)
        generations_settle(sets->table, &sets->rest.writes);
    sets->count = 0;
    sets->overflowed = false;
    sets->seen.xmin = sets->seen.xmax = 0;
    sets->seen.count = 0;
    open_begin(sets);
}
