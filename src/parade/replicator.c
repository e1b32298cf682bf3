#include "parade/replicator_parts.h"

#include "machine/clock.h"
#include "machine/ids.h"
#include "machine/log.h"
#include "machine/signals.h"

#include <signal.h>
#include <stdlib.h>

/* What statements under way have to end in, at a stop. */
#define STOP_MAX  sec(3)
#define PAUSE_MIN ms(200)
#define PAUSE_MAX sec(10)
#define JITTER    50 /* percent */

/* --- for the coroutines ----------------------------------------------------------------------- */

void parade_replicator_rest(const struct parade_replicator *replicator, duration wait)
{
    deadline by = after(wait);
    while (!replicator->stopping && !co_cancelled() && now().us < by.us)
        if (co_wait(by) == FAULT_CANCELLED)
            return;
}

void parade_replicator_back_off(struct parade_replicator *replicator, struct fleet_backoff *backoff)
{
    static const struct fleet_pauses pauses = {PAUSE_MIN, PAUSE_MAX, JITTER};
    fleet_backoff_fail(backoff, &pauses, &replicator->random);
    parade_replicator_rest(replicator, backoff->pause);
}

void parade_replicator_ended(struct parade_replicator *replicator)
{
    replicator->running -= 1;
    co_wake(replicator->main);
}

fault parade_replicator_open(const struct parade_replica *replica, struct parade_session **ret)
{
    return parade_session_open(&replica->target, "trunkline parade run", ret,
                               after(sec(replica->target.patience)));
}

/* --- the whole -------------------------------------------------------------------------------- */

static void wake_all(struct parade_replicator *replicator)
{
    for (size_t i = 0; i < replicator->keeper_count; i++)
        if (replicator->keepers[i].co != NULL)
            co_wake(replicator->keepers[i].co);
    for (size_t i = 0; i < replicator->link_count; i++)
        if (replicator->links[i].co != NULL)
            co_wake(replicator->links[i].co);
}

static bool same_shard(const struct parade_replica *one, const struct parade_replica *other)
{
    return one != other && strcmp(one->target.database, other->target.database) == 0;
}

/* Makes the keepers and their links. */
static fault replicator_init(struct parade_replicator *replicator,
                             const struct parade_replica *replicas, size_t count)
{
    random_bytes(&replicator->random, sizeof(replicator->random));
    replicator->keepers = calloc(count, sizeof(*replicator->keepers));
    replicator->links = calloc(count * count, sizeof(*replicator->links));
    if (replicator->keepers == NULL || replicator->links == NULL)
        return fault_raise(FAULT_MEMORY, "no memory for %zu shard instances", count);
    for (size_t i = 0; i < count; i++) {
        if (!replicas[i].local)
            continue;
        struct parade_keeper *keeper = &replicator->keepers[replicator->keeper_count++];
        *keeper = (struct parade_keeper){.replicator = replicator, .replica = &replicas[i]};
        for (size_t j = 0; j < count; j++)
            if (same_shard(&replicas[i], &replicas[j]))
                replicator->links[replicator->link_count++] =
                    (struct parade_link){.replicator = replicator,
                                         .keeper = keeper,
                                         .source = &replicas[j],
                                         .cursor = BUFFER_INIT((size_t)1024 * 1024)};
    }
    return OK;
}

static fault start_all(struct parade_replicator *replicator, struct co_group *group)
{
    for (size_t i = 0; i < replicator->keeper_count; i++) {
        TRY(co_group_start(group, parade_keeper_run, &replicator->keepers[i], CO_LARGE));
        replicator->running += 1;
    }
    for (size_t i = 0; i < replicator->link_count; i++) {
        TRY(co_group_start(group, parade_link_run, &replicator->links[i], CO_LARGE));
        replicator->running += 1;
    }
    return OK;
}

/* Waits for a signal, then until each coroutine has ended its statement. */
static void wait_for_end(struct parade_replicator *replicator, struct signals *signals)
{
    int number = 0;
    fault got = signals_next(signals, &number, NEVER);
    log_event(LOG_NOTICE, "parade.stopping", log_number("signal", got == OK ? number : 0));
    deadline by = after(STOP_MAX);
    replicator->stopping = true;
    wake_all(replicator);
    while (replicator->running > 0 && now().us < by.us)
        co_wait_through(by);
}

fault parade_replicator_run(const struct parade_replica *replicas, size_t count)
{
    struct parade_replicator replicator = {.main = co_self()};
    struct signals signals = {.stream = STREAM_INIT};
    static const int numbers[] = {SIGTERM, SIGINT};
    struct co_group group;
    co_group_init(&group);
    TRY(signals_open(&signals, numbers, ARRAY_SIZE(numbers)));
    fault result = replicator_init(&replicator, replicas, count);
    if (result == OK)
        result = start_all(&replicator, &group);
    if (result == OK) {
        log_event(LOG_NOTICE, "parade.started", log_number("instances", replicator.keeper_count),
                  log_number("links", replicator.link_count));
        wait_for_end(&replicator, &signals);
    }
    co_group_cancel(&group);
    co_group_join(&group);
    signals_close(&signals);
    for (size_t i = 0; i < replicator.link_count; i++)
        buffer_fini(&replicator.links[i].cursor);
    free(replicator.keepers);
    free(replicator.links);
    return result;
}
