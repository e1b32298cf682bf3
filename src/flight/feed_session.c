/* feed_session.c - a feed's keeper: it starts pairs of connections, one after the other. */
#include "flight/feed_parts.h"

#include "machine/clock.h"

#include <stdlib.h>

/* Before a session is tried again. */
#define REST_MAX sec(10)
/* Of a cancel request for the creation of a slot. */
#define CANCEL_MAX sec(5)

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
    feed_untold_init(&feed->untold);
    feed->barrier = feed->proven = 0;
    feed->probed = feed->placed = feed->committed = feed->ask_again = (moment){0};
    feed->unflushed = 0;
    feed->lazy_until = (deadline){0};
    feed->digest[0] = feed->configured[0] = feed->seen[0] = '\0';
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
    feed->rest = FEED_REST_MIN;
    feed_reason(feed, "");
}

/* Waits before the next session after a failure; a new order ends the wait. */
static void feed_rest(struct feed *feed)
{
    hint_add(&feed->shared.view.failures, 1);
    feed_become(feed, FEED_FAILED);
    feed_log_failure(feed);
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
