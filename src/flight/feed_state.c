/* feed_state.c - what holds of a feed at present: what others see, the doubt, and the position. */
#include "flight/feed_parts.h"

#include <stdio.h>

/* --- what others see -------------------------------------------------------------------------- */

const char *feed_state_name(enum feed_state state)
{
    static const char *const names[] = {
        [FEED_OFF] = "off",           [FEED_PAUSED] = "paused",   [FEED_CONNECTING] = "connecting",
        [FEED_CREATING] = "creating", [FEED_PROVING] = "proving", [FEED_STREAMING] = "streaming",
        [FEED_FAILED] = "failed",
    };
    static_assert(ARRAY_SIZE(names) == FEED_STATES, "every state has a name");
    return names[state];
}

void feed_become(struct feed *feed, enum feed_state state)
{
    lock_take(&feed->shared.lock);
    feed->shared.view.state = state;
    feed->shared.view.epoch = feed->source == NULL ? 0 : feed->source->epoch;
    lock_release(&feed->shared.lock);
}

void feed_reason(struct feed *feed, const char *reason)
{
    lock_take(&feed->shared.lock);
    snprintf(feed->shared.view.reason, sizeof(feed->shared.view.reason), "%s", reason);
    lock_release(&feed->shared.lock);
}

/* The numbers of a view lie between its texts and its end. */
void feed_look(const struct feed *feed, struct feed_view *ret)
{
    const struct feed_view *view = &feed->shared.view;
    struct lock *lock = (struct lock *)(uintptr_t)&feed->shared.lock;
    lock_take(lock);
    ret->state = view->state;
    memcpy(ret->reason, view->reason, sizeof(ret->reason));
    ret->epoch = view->epoch;
    lock_release(lock);
    const uint64_t *from = &view->failures;
    uint64_t *to = &ret->failures;
    for (size_t i = 0; i < (sizeof(*view) - offsetof(struct feed_view, failures)) / 8; i++)
        to[i] = hint_read(&from[i]);
}

/* --- doubt ------------------------------------------------------------------------------------ */

void feed_set_alarm(struct feed *feed)
{
    timer_set(&feed->alarm, feed_tickets_due(&feed->tickets));
}

void feed_void(struct feed *feed)
{
    feed->over = true;
    if (feed->doubt.hold == GENERATIONS_FREE) {
        generations_doubt(feed->generations, &feed->doubt);
        generations_raise(feed->generations, &feed->doubt);
    }
    feed_sets_clear(&feed->sets);
    hint_write(&feed->shared.view.unsettled, 0);
    hint_add(&feed->shared.view.bypasses, feed_tickets_refuse(&feed->tickets));
    feed_set_alarm(feed);
}

/* Ends the doubt: what was stored before it is gone. */
static void feed_prove(struct feed *feed)
{
    feed_sets_begin(&feed->sets, feed->stream.passed);
    generations_raise(feed->generations, &feed->doubt);
    generations_doubt_end(feed->generations, &feed->doubt);
    feed->rest = FEED_REST_MIN;
    hint_write(&feed->shared.view.failures, 0);
    hint_add(&feed->shared.view.sessions, 1);
    feed_reason(feed, "");
    feed_become(feed, FEED_STREAMING);
    feed_log_streaming(feed);
}

uint64_t feed_probe_position(const struct feed *feed)
{
    return feed_position_normalised(feed->row.inserted, feed->probe.facts.segment);
}

/* Answers the tickets of probes whose snapshots show nothing that was not told. */
static uint32_t answer_tickets(struct feed *feed)
{
    struct feed_tickets *tickets = &feed->tickets;
    uint64_t epoch = feed->source->epoch;
    uint64_t passed = feed_untold_passed(&feed->untold, feed->stream.passed);
    uint32_t answered = feed_tickets_pass(tickets, passed, epoch);
    if (!list_empty(&tickets->passing) && !feed->untold.waits) {
        feed_untold_probe(&feed->untold, &feed->row.snapshot, feed_probe_position(feed));
        passed = feed_untold_passed(&feed->untold, feed->stream.passed);
        answered += feed_tickets_pass(tickets, passed, epoch);
    }
    return answered;
}

void feed_passed(struct feed *feed)
{
    uint64_t passed = feed->stream.passed;
    struct feed_view *view = &feed->shared.view;
    bool held = feed->doubt.hold != GENERATIONS_FREE;
    if (held && !feed->over && feed->proven != 0 && passed >= feed->proven) {
        feed_prove(feed);
        held = false;
    }
    if (!held)
        hint_add(&view->ready, answer_tickets(feed));
    uint32_t unsettled = feed_sets_unsettled(&feed->sets);
    bool first = unsettled > 0 && view->unsettled == 0;
    hint_write(&view->unsettled, unsettled);
    hint_write(&view->unsettled_max, MAX_OF(view->unsettled_max, unsettled));
    feed->wanted = !list_empty(&feed->tickets.passing) || (held && feed->proven != 0);
    feed_set_alarm(feed);
    /* A probe is due earlier than it was when there was nothing to settle. */
    if (first && !feed->probing && feed->prober != NULL)
        co_wake(feed->prober);
}

bool feed_may_run(const struct feed *feed)
{
    return feed->source != NULL && feed->next == NULL && !feed->ends &&
           !__atomic_load_n(&feed->want_pause, __ATOMIC_ACQUIRE);
}

void feed_member_over(struct feed *feed, const char *member, fault what)
{
    char reason[FEED_REASON_MAX];
    if (!feed->over && what != FAULT_CANCELLED) {
        snprintf(reason, sizeof(reason), "%s: %s", member, fault_detail(what));
        feed_reason(feed, reason);
    }
    feed_void(feed);
    co_wake(feed->keeper);
}
