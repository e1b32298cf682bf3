/*
 * replica_keeper.c - what one local shard instance needs, besides its links: recovery after a cut
 * history, heartbeats, garbage collection.
 */
#include "parade/replicator_parts.h"

#include "machine/clock.h"
#include "machine/log.h"

#include <stdio.h>

#define BEAT_PACE     sec(1)
#define GC_PACE       sec(60)
#define STATEMENT_MAX sec(60)

static fault ask(struct parade_keeper *keeper, const char *sql)
{
    return parade_session_ask(keeper->session, sql, NULL, 0, after(STATEMENT_MAX));
}

static void copy_cell(const struct parade_session *session, uint32_t column, char *ret, size_t size)
{
    snprintf(ret, size, "%.*s", SPAN_ARG(parade_session_cell(session, 0, column)));
}

/* Links begin anew with each incarnation. */
static void incarnation_keep(struct parade_keeper *keeper, uint32_t column)
{
    char seen[sizeof(keeper->incarnation)];
    copy_cell(keeper->session, column, seen, sizeof(seen));
    if (strcmp(seen, keeper->incarnation) == 0)
        return;
    memcpy(keeper->incarnation, seen, sizeof(seen));
    keeper->epoch += 1;
}

/* One replicator serves an instance; a second one waits until the first one's connection ends. */
static fault take_over(struct parade_keeper *keeper)
{
    TRY(ask(keeper, "select pg_try_advisory_lock(hashtext('trunkline parade'), 1)"));
    bool mine = parade_session_true(keeper->session, 0, 0);
    if (!mine && !keeper->waits)
        log_event(LOG_NOTICE, "parade.standby", log_text("zone", keeper->replica->zone),
                  log_text("shard", keeper->replica->target.database),
                  log_number("peer", keeper->replica->number));
    keeper->waits = !mine;
    return OK;
}

static fault recover(struct parade_keeper *keeper)
{
    char state[32];
    TRY(ask(keeper, "select kv.recover()"));
    copy_cell(keeper->session, 0, state, sizeof(state));
    TRY(ask(keeper, "select incarnation from kv_config.running"));
    uint64_t before = keeper->epoch;
    incarnation_keep(keeper, 0);
    if (keeper->epoch != before)
        log_event(strcmp(state, "fenced") == 0 ? LOG_ERR : LOG_NOTICE, "parade.instance",
                  log_text("zone", keeper->replica->zone),
                  log_text("shard", keeper->replica->target.database),
                  log_number("peer", keeper->replica->number), log_text("state", state));
    return OK;
}

static fault collect(struct parade_keeper *keeper)
{
    if (now().us < keeper->next_gc.us)
        return OK;
    keeper->next_gc = after(GC_PACE);
    TRY(ask(keeper, "select removed, stripped, fenced from kv.gc()"));
    int64_t removed = parade_session_number(keeper->session, 0, 0);
    int64_t expired = parade_session_number(keeper->session, 0, 1);
    int64_t fenced = parade_session_number(keeper->session, 0, 2);
    if (removed + expired + fenced > 0)
        log_event(fenced > 0 ? LOG_WARNING : LOG_INFO, "parade.gc",
                  log_text("zone", keeper->replica->zone),
                  log_text("shard", keeper->replica->target.database),
                  log_number("removed", removed), log_number("expired", expired),
                  log_number("fenced", fenced));
    return ask(keeper, "select kv_stats.update_usage()");
}

/* Heartbeats until something fails.  An instance whose history was cut says 55000. */
static fault keep(struct parade_keeper *keeper)
{
    TRY(recover(keeper));
    keeper->serves = true;
    fleet_backoff_reset(&keeper->backoff);
    while (!keeper->replicator->stopping) {
        fault beaten =
            ask(keeper, "select (select incarnation from kv_config.running), kv.heartbeat()");
        if (beaten == FAULT_UPSTREAM &&
            strcmp(parade_session_error(keeper->session)->sqlstate, "55000") == 0) {
            TRY(recover(keeper));
            continue;
        }
        TRY(beaten);
        incarnation_keep(keeper, 0);
        TRY(collect(keeper));
        parade_replicator_rest(keeper->replicator, BEAT_PACE);
        if (co_cancelled())
            return FAULT_CANCELLED;
    }
    return OK;
}

static fault session(struct parade_keeper *keeper)
{
    TRY(parade_replicator_open(keeper->replica, &keeper->session));
    TRY(take_over(keeper));
    if (keeper->waits) {
        parade_replicator_rest(keeper->replicator, BEAT_PACE);
        return OK;
    }
    return keep(keeper);
}

void parade_keeper_run(void *argument)
{
    struct parade_keeper *keeper = argument;
    keeper->co = co_self();
    keeper->next_gc = after(GC_PACE);
    while (!keeper->replicator->stopping && !co_cancelled()) {
        fault result = session(keeper);
        keeper->serves = false;
        if (result != OK && !keeper->replicator->stopping)
            log_event(LOG_WARNING, "parade.instance_failed",
                      log_text("zone", keeper->replica->zone),
                      log_text("shard", keeper->replica->target.database),
                      log_number("peer", keeper->replica->number),
                      log_quote("reason", fault_detail(result)));
        parade_session_close(&keeper->session);
        if (result != OK)
            parade_replicator_back_off(keeper->replicator, &keeper->backoff);
    }
    keeper->co = NULL;
    parade_replicator_ended(keeper->replicator);
}
