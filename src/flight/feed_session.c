/* feed_session.c - a feed's keeper: it starts pairs of connections, and says what holds between
 * them. */
#include "flight/feed_parts.h"

#include "machine/clock.h"

#include <stdio.h>
#include <stdlib.h>

/* Before a session is tried again. */
#define REST_MIN ms(100)
#define REST_MAX sec(10)
/* Of a cancel request for the creation of a slot. */
#define CANCEL_MAX sec(5)

/* --- doubt ------------------------------------------------------------------------------------ */

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
    generations_raise(feed->generations, &feed->doubt);
    generations_doubt_end(feed->generations, &feed->doubt);
    feed->rest = REST_MIN;
    hint_write(&feed->shared.view.failures, 0);
    hint_add(&feed->shared.view.sessions, 1);
    feed_reason(feed, "");
    feed_become(feed, FEED_STREAMING);
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
        hint_add(&view->ready, feed_tickets_pass(&feed->tickets, passed, feed->source->epoch));
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

/* --- sessions --------------------------------------------------------------------------------- */

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

bool feed_may_run(const struct feed *feed)
{
    return feed->source != NULL && feed->next == NULL && !feed->ends &&
           !__atomic_load_n(&feed->want_pause, __ATOMIC_ACQUIRE);
}

/* A server that waits with the creation of a slot doesn't notice that its connection is closed. */
static void feed_cancel_creation(struct feed *feed)
{
    const struct feed_link *log = &feed->log;
    if (feed->shared.view.state != FEED_CREATING || !log->known || log->cancel.size == 0)
        return;
    fault what = link_cancel(&feed->source->target, log->pid, wire_secret_span(&log->cancel),
                             after(CANCEL_MAX));
    invariant(what != FAULT_UNSUPPORTED); /* else the server may be gone, and the slot with it */
}

static void feed_session(struct feed *feed)
{
    feed->over = feed->streams = feed->wanted = feed->asked = feed->probing = false;
    feed->stream = FEED_READER_INIT;
    feed->barrier = feed->proven = 0;
    feed->probed = feed->ask_again = (moment){0};
    feed->digest[0] = '\0';
    co_group_init(&feed->members);
    feed_become(feed, FEED_CONNECTING);
    if (co_group_start(&feed->members, feed_reader_run, feed, CO_LARGE) != OK ||
        co_group_start(&feed->members, feed_prober_run, feed, CO_LARGE) != OK)
        feed_member_over(feed, "start", FAULT_MEMORY);
    while (!feed->over)
        co_wait_through(NEVER);
    co_group_cancel(&feed->members);
    co_group_join(&feed->members);
    feed_void(feed); /* of what the members have still read */
    feed_cancel_creation(feed);
    feed_link_close(&feed->log);
    feed_link_close(&feed->probe);
}

/* Takes the newest source, between two sessions. */
static void feed_take_next(struct feed *feed)
{
    if (feed->next == NULL)
        return;
    if (feed->source != NULL)
        feed->source->free(feed->source);
    feed->source = TAKE(feed->next);
    feed->rest = REST_MIN;
    feed_reason(feed, "");
}

/* Waits before the next session after a failure; a new order ends the wait. */
static void feed_rest(struct feed *feed)
{
    hint_add(&feed->shared.view.failures, 1);
    feed_become(feed, FEED_FAILED);
    deadline by = after(feed->rest);
    feed->rest.us = MIN_OF(feed->rest.us * 2, REST_MAX.us);
    while (feed_may_run(feed) && now().us < by.us)
        co_wait_through(by);
}

void feed_end(struct feed *feed)
{
    feed_become(feed, FEED_OFF);
    generations_doubt_end(feed->generations, &feed->doubt);
    feed_sets_fini(&feed->sets);
    timer_disarm(&feed->alarm);
    if (feed->source != NULL)
        feed->source->free(feed->source);
    lock_fini(&feed->shared.lock);
    free(feed);
}

void feed_keep(void *argument)
{
    struct feed *feed = argument;
    feed->keeper = co_self();
    while (!feed->ends) {
        feed_take_next(feed);
        if (feed_may_run(feed)) {
            feed_session(feed);
            if (feed_may_run(feed))
                feed_rest(feed);
            continue;
        }
        feed_become(feed, feed->source == NULL ? FEED_OFF : FEED_PAUSED);
        co_wait_through(NEVER);
    }
    feed_take_next(feed);
    feed_end(feed);
}
