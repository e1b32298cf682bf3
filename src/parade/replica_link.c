/*
 * replica_link.c - one link: pulls the pages of a member's feed, and merges each with the cursor in
 * one transaction.
 *
 *   STOPPED -> CONNECTING -> (RECLAIMING) -> STREAMING
 *                  ^              |              |
 *                  +-- FAILED <---+--------------+     each of them -> STOPPED
 */
#include "parade/replicator_parts.h"

#include "machine/clock.h"
#include "machine/log.h"

#include <stdio.h>

/* Between two polls that found nothing, at most; the first one is after PAUSE_FIRST. */
#define PAUSE_FIRST   ms(5)
#define PAUSE_MOST    ms(100)
#define MERGE_PACE    sec(1)
#define ACK_PACE      sec(1)
#define STATEMENT_MAX sec(120)
#define TROUBLE_SIZE  1600
/* How often a link that isn't served looks whether it is. */
#define IDLE_PACE ms(200)

#define TO(state) (1u << PARADE_LINK_##state)

static const uint8_t permitted[PARADE_LINK_STATES] = {
    [PARADE_LINK_STOPPED] = TO(CONNECTING),
    [PARADE_LINK_CONNECTING] = TO(RECLAIMING) | TO(STREAMING) | TO(FAILED) | TO(STOPPED),
    [PARADE_LINK_RECLAIMING] = TO(STREAMING) | TO(FAILED) | TO(STOPPED),
    [PARADE_LINK_STREAMING] = TO(FAILED) | TO(STOPPED),
    [PARADE_LINK_FAILED] = TO(CONNECTING) | TO(STOPPED),
};

static const char *const state_texts[PARADE_LINK_STATES] = {
    [PARADE_LINK_STOPPED] = "stopped",       [PARADE_LINK_CONNECTING] = "connecting",
    [PARADE_LINK_RECLAIMING] = "reclaiming", [PARADE_LINK_STREAMING] = "streaming",
    [PARADE_LINK_FAILED] = "failed",
};

/* --- asking ----------------------------------------------------------------------------------- */

static fault ask(struct parade_session *session, const char *sql, const struct span *values,
                 size_t count)
{
    return parade_session_ask(session, sql, values, count, after(STATEMENT_MAX));
}

struct number {
    char text[16];
};

static struct span number_span(uint32_t number, struct number *of)
{
    snprintf(of->text, sizeof(of->text), "%u", number);
    return span_text(of->text);
}

static struct span me(const struct parade_link *link, struct number *of)
{
    return number_span(link->keeper->replica->number, of);
}

static struct span peer(const struct parade_link *link, struct number *of)
{
    return number_span(link->source->number, of);
}

bool parade_link_serves(const struct parade_link *link)
{
    return !link->replicator->stopping && !co_cancelled() && link->keeper->serves &&
           link->keeper->epoch == link->epoch;
}

/* --- states ----------------------------------------------------------------------------------- */

/* Shows the state in kv_stats.links; a reader that can't be reached keeps the last one. */
static void report(struct parade_link *link, const char *trouble)
{
    struct number of;
    const struct span values[] = {peer(link, &of), span_text(state_texts[link->state]),
                                  span_text(trouble)};
    if (link->reading == NULL || !parade_session_usable(link->reading) || co_cancelled())
        return;
    fault told =
        ask(link->reading, "select kv.link_report($1::int, $2, $3)", values, ARRAY_SIZE(values));
    if (told != OK)
        log_event(LOG_DEBUG, "parade.report_failed", log_quote("reason", fault_detail(told)));
}

static void become(struct parade_link *link, enum parade_link_state next)
{
    if (link->state == next)
        return;
    invariant(permitted[link->state] & (1u << next));
    link->state = next;
}

static void stream_begun(struct parade_link *link)
{
    become(link, PARADE_LINK_STREAMING);
    report(link, NULL);
    log_event(LOG_NOTICE, "parade.link", log_text("zone", link->keeper->replica->zone),
              log_text("shard", link->source->target.database),
              log_number("peer", link->source->number), log_text("from", link->source->zone),
              log_text("state", state_texts[link->state]));
    fleet_backoff_reset(&link->backoff);
}

/* The server's message with its hint, which is the remedy. */
static void trouble_print(const struct parade_link *link, fault what, char *ret, size_t size)
{
    const struct parade_session *sessions[] = {link->reading, link->feeding};
    snprintf(ret, size, "%s", fault_detail(what));
    for (size_t i = 0; what == FAULT_UPSTREAM && i < ARRAY_SIZE(sessions); i++) {
        if (sessions[i] == NULL || parade_session_error(sessions[i])->message[0] == '\0')
            continue;
        const struct parade_error *error = parade_session_error(sessions[i]);
        snprintf(ret, size, "%s (%s)%s%s", error->message, error->sqlstate,
                 error->hint[0] != '\0' ? "; " : "", error->hint);
        return;
    }
}

static void failed(struct parade_link *link, fault what)
{
    char trouble[TROUBLE_SIZE];
    trouble_print(link, what, trouble, sizeof(trouble));
    become(link, PARADE_LINK_FAILED);
    log_event(LOG_WARNING, "parade.link_failed", log_text("zone", link->keeper->replica->zone),
              log_text("shard", link->source->target.database),
              log_number("peer", link->source->number), log_text("from", link->source->zone),
              log_quote("reason", trouble));
    report(link, trouble);
}

/* --- the begin of a link ---------------------------------------------------------------------- */

static fault cursor_keep(struct parade_link *link, struct span cursor)
{
    buffer_clear(&link->cursor);
    buffer_append_span(&link->cursor, cursor);
    return buffer_fault(&link->cursor);
}

/* What the source says of the heartbeats that the reader holds. */
static fault hello(struct parade_link *link)
{
    struct number of;
    const struct span source = peer(link, &of);
    TRY(ask(link->reading,
            "select held, numbers, times, (select max(version) from kv_config.schema_version)"
            " from kv.held($1::int)",
            &source, 1));
    struct number mine;
    const struct span values[] = {me(link, &mine), parade_session_cell(link->reading, 0, 0),
                                  parade_session_cell(link->reading, 0, 1),
                                  parade_session_cell(link->reading, 0, 2)};
    TRY(ask(link->feeding,
            "select incarnation, state, common, common_snapshot, schema_version, instance_id"
            " from kv.feed_hello($1::int, $2::uuid[], $3::bigint[], $4::timestamptz[])",
            values, ARRAY_SIZE(values)));
    int64_t version = parade_session_number(link->reading, 0, 3);
    int64_t theirs = parade_session_number(link->feeding, 0, 4);
    int64_t number = parade_session_number(link->feeding, 0, 5);
    if (number != link->source->number)
        return fault_raise(FAULT_CONFIG,
                           "the instance there is number %lld, the topology says %u; correct it",
                           (long long)number, link->source->number);
    if (version != theirs)
        return fault_raise(FAULT_CONFIG,
                           "the peer has version %lld of the SQL, this instance has %lld; run "
                           "trunkline parade upgrade",
                           (long long)theirs, (long long)version);
    if (span_is(parade_session_cell(link->feeding, 0, 1), "cut"))
        return fault_raise(FAULT_CONFIG,
                           "the history of the peer was cut; its own replicator recovers it");
    snprintf(link->incarnation, sizeof(link->incarnation), "%.*s",
             SPAN_ARG(parade_session_cell(link->feeding, 0, 0)));
    return OK;
}

static fault begin(struct parade_link *link)
{
    struct number of;
    TRY(parade_replicator_open(link->keeper->replica, &link->reading));
    report(link, NULL);
    TRY(parade_replicator_open(link->source, &link->feeding));
    TRY(hello(link));
    const struct span values[] = {peer(link, &of), span_text(link->incarnation),
                                  parade_session_cell(link->feeding, 0, 2),
                                  parade_session_cell(link->feeding, 0, 3)};
    TRY(ask(link->reading,
            "select kv.link_begin($1::int, $2::uuid, $3::uuid, $4::pg_snapshot)::text", values,
            ARRAY_SIZE(values)));
    return cursor_keep(link, parade_session_cell(link->reading, 0, 0));
}

/* --- pages ------------------------------------------------------------------------------------ */

/* Asks the source for the page behind a cursor: its text, rows, more, and the next cursor. */
static fault feed(struct parade_link *link, struct span origin, struct span cursor)
{
    struct number of;
    const struct span values[] = {me(link, &of), span_text(link->incarnation), origin, cursor};
    return ask(link->feeding,
               "select f::text, f.rows, f.more, f.next::text"
               " from kv.feed($1::int, $2::uuid, $3::int, $4::kv.cursor) f",
               values, ARRAY_SIZE(values));
}

/* Takes the reader's own rows back from the source, if a cut history has lost some. */
static fault reclaim(struct parade_link *link)
{
    struct number of, mine;
    const struct span source = peer(link, &of);
    while (parade_link_serves(link)) {
        TRY(ask(link->reading,
                "select reclaim::text from kv.peer_status_from"
                " where peer = $1::int and reclaim_open",
                &source, 1));
        if (parade_session_rows(link->reading) == 0)
            return OK;
        if (link->state != PARADE_LINK_RECLAIMING) {
            become(link, PARADE_LINK_RECLAIMING);
            report(link, NULL);
            continue;
        }
        TRY(feed(link, me(link, &mine), parade_session_cell(link->reading, 0, 0)));
        const struct span values[] = {source, parade_session_cell(link->reading, 0, 0),
                                      parade_session_cell(link->feeding, 0, 0)};
        TRY(ask(link->reading,
                "select kv.merge_reclaimed($1::int, $2::kv.cursor, $3::kv.feed_page)", values,
                ARRAY_SIZE(values)));
    }
    return OK;
}

static fault acknowledge(struct parade_link *link)
{
    struct number of, mine;
    const struct span source = peer(link, &of);
    if (now().us < link->next_ack.us)
        return OK;
    TRY(ask(link->reading, "select incarnation, received, horizon from kv.acknowledge($1::int)",
            &source, 1));
    const struct span values[] = {me(link, &mine), parade_session_cell(link->reading, 0, 0),
                                  parade_session_cell(link->reading, 0, 1),
                                  parade_session_cell(link->reading, 0, 2)};
    TRY(ask(link->feeding, "select kv.feed_ack($1::int, $2::uuid, $3::xid8, $4::timestamptz)",
            values, ARRAY_SIZE(values)));
    link->next_ack = after(ACK_PACE);
    return OK;
}

/* Pulls one page and merges it.  Of pages without rows only one in MERGE_PACE is merged: the same
 * cursor serves for the next poll. */
static fault pull(struct parade_link *link, bool *ret_idle)
{
    struct number of;
    const struct span source = peer(link, &of);
    TRY(feed(link, source, buffer_span(&link->cursor)));
    bool more = parade_session_true(link->feeding, 0, 2);
    *ret_idle = parade_session_number(link->feeding, 0, 1) == 0 && !more;
    if (*ret_idle && now().us < link->next_merge.us)
        return OK;
    const struct span values[] = {source, buffer_span(&link->cursor),
                                  parade_session_cell(link->feeding, 0, 0)};
    TRY(ask(link->reading, "select applied from kv.merge($1::int, $2::kv.cursor, $3::kv.feed_page)",
            values, ARRAY_SIZE(values)));
    link->next_merge = after(MERGE_PACE);
    return cursor_keep(link, parade_session_cell(link->feeding, 0, 3));
}

static fault stream(struct parade_link *link)
{
    link->next_ack = link->next_merge = now();
    link->pause = PAUSE_FIRST;
    stream_begun(link);
    while (parade_link_serves(link)) {
        bool idle = false;
        TRY(pull(link, &idle));
        TRY(acknowledge(link));
        if (!idle) {
            link->pause = PAUSE_FIRST;
            continue;
        }
        parade_replicator_rest(link->replicator, link->pause);
        link->pause.us = MIN_OF(link->pause.us * 2, PAUSE_MOST.us);
    }
    return OK;
}

/* --- the whole -------------------------------------------------------------------------------- */

static fault session(struct parade_link *link)
{
    become(link, PARADE_LINK_CONNECTING);
    link->epoch = link->keeper->epoch;
    TRY(begin(link));
    TRY(reclaim(link));
    return parade_link_serves(link) ? stream(link) : OK;
}

void parade_link_run(void *argument)
{
    struct parade_link *link = argument;
    link->co = co_self();
    while (!link->replicator->stopping && !co_cancelled()) {
        if (!link->keeper->serves) {
            parade_replicator_rest(link->replicator, IDLE_PACE);
            continue;
        }
        fault result = session(link);
        bool told = result != OK && !link->replicator->stopping && !co_cancelled();
        if (told)
            failed(link, result);
        else
            become(link, PARADE_LINK_STOPPED);
        if (!told && link->replicator->stopping)
            report(link, NULL);
        parade_session_close(&link->reading);
        parade_session_close(&link->feeding);
        if (told)
            parade_replicator_back_off(link->replicator, &link->backoff);
    }
    link->co = NULL;
    parade_replicator_ended(link->replicator);
}
