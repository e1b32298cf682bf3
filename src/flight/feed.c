#include "flight/feed_parts.h"

#include "machine/clock.h"

#include <stdlib.h>

struct feeds {
    struct machine *machine;
    struct mail end;
};

/* --- tickets ---------------------------------------------------------------------------------- */

static void feed_alarm(struct waker *waker)
{
    struct feed *feed = CONTAINER_OF(waker, struct feed, alarm_waker);
    hint_add(&feed->shared.view.bypasses, feed_tickets_expire(&feed->tickets, now()));
    feed_set_alarm(feed);
}

static void ticket_deliver(struct mail *mail)
{
    struct feed_ticket *ticket = CONTAINER_OF(mail, struct feed_ticket, mail);
    struct feed *feed = ticket->feed;
    hint_add(&feed->shared.view.tickets, 1);
    if (feed->doubt.hold != GENERATIONS_FREE) {
        hint_add(&feed->shared.view.bypasses, 1);
        ticket->verdict = FEED_BYPASS;
        ticket->answered(ticket);
        return;
    }
    feed_tickets_arrive(&feed->tickets, ticket);
    feed_set_alarm(feed);
    if (!feed->probing && feed->prober != NULL)
        co_wake(feed->prober);
}

void feed_ask(struct feed *feed, struct feed_ticket *ticket)
{
    ticket->feed = feed;
    ticket->asked = now();
    ticket->mail.deliver = ticket_deliver;
    bool sent = mail_send(feed->machine, &ticket->mail);
    invariant(sent);
}

/* --- orders ----------------------------------------------------------------------------------- */

/* Wakes the keeper; starts it if there was no memory for that before. */
static void feed_rouse(struct feed *feed)
{
    if (!feed->kept)
        feed->kept = co_start(feed_keep, feed, CO_LARGE) == OK;
    if (feed->keeper != NULL)
        co_wake(feed->keeper);
}

static void feed_woken(struct mail *mail)
{
    struct feed *feed = CONTAINER_OF(mail, struct feed, wake);
    if (__atomic_load_n(&feed->want_pause, __ATOMIC_ACQUIRE))
        feed_void(feed);
    feed_rouse(feed);
}

static void feed_ended(struct mail *mail)
{
    struct feed *feed = CONTAINER_OF(mail, struct feed, end);
    feed_void(feed);
    feed->ends = true;
    feed_rouse(feed);
    if (!feed->kept)
        feed_end(feed);
}

static void source_deliver(struct mail *mail)
{
    struct feed_source *source = CONTAINER_OF(mail, struct feed_source, mail);
    struct feed *feed = source->feed;
    feed_void(feed);
    if (feed->next != NULL)
        feed->next->free(feed->next);
    feed->next = source;
    feed_rouse(feed);
}

void feed_follow(struct feed *feed, struct feed_source **take_source)
{
    struct feed_source *source = TAKE(*take_source);
    source->feed = feed;
    source->mail.deliver = source_deliver;
    bool sent = mail_send(feed->machine, &source->mail);
    invariant(sent);
}

static void feed_order_pause(struct feed *feed, bool pause)
{
    __atomic_store_n(&feed->want_pause, pause, __ATOMIC_RELEASE);
    mail_send(feed->machine, &feed->wake);
}

void feed_pause(struct feed *feed)
{
    feed_order_pause(feed, true);
}

void feed_resume(struct feed *feed)
{
    feed_order_pause(feed, false);
}

/* --- making and ending ------------------------------------------------------------------------ */

fault feed_new(struct feeds *feeds, const struct feed_options *options, struct feed **ret)
{
    struct feed *feed = calloc(1, sizeof(*feed));
    if (feed == NULL)
        return FAULT_MEMORY;
    if (feed_sets_init(&feed->sets, options->generations, options->database, options->keys) != OK) {
        free(feed);
        return FAULT_MEMORY;
    }
    feed->machine = feeds->machine;
    feed->generations = options->generations;
    feed->service_name = options->service_name;
    feed->database_name = options->database_name;
    feed->wake.deliver = feed_woken;
    feed->end.deliver = feed_ended;
    feed->log.stream = feed->probe.stream = STREAM_INIT;
    feed->alarm_waker.wake = feed_alarm;
    feed->alarm = TIMER_INIT(&feed->alarm_waker);
    feed->over = true;
    feed_tickets_init(&feed->tickets);
    lock_init(&feed->shared.lock);
    hint_begin(&feed->shared.view, sizeof(feed->shared.view));
    generations_writes_init(&feed->doubt, options->database);
    generations_writes_catalog(feed->generations, &feed->doubt);
    generations_doubt(feed->generations, &feed->doubt);
    generations_raise(feed->generations, &feed->doubt);
    *ret = feed;
    return OK;
}

void feed_free(struct feed **feed)
{
    if (*feed == NULL)
        return;
    struct feed *ended = TAKE(*feed);
    mail_send(ended->machine, &ended->end);
}

static void feeds_run(void *argument UNUSED)
{
}

static void feeds_ended(struct mail *mail UNUSED)
{
    machine_stop();
}

fault feeds_new(struct feeds **ret)
{
    struct feeds *feeds = calloc(1, sizeof(*feeds));
    if (feeds == NULL)
        return FAULT_MEMORY;
    feeds->end.deliver = feeds_ended;
    fault what = machine_new("feeds", feeds_run, NULL, &feeds->machine);
    if (what != OK) {
        free(feeds);
        return what;
    }
    *ret = feeds;
    return OK;
}

void feeds_free(struct feeds **feeds)
{
    if (*feeds == NULL)
        return;
    mail_send((*feeds)->machine, &(*feeds)->end);
    machine_join(&(*feeds)->machine);
    free(*feeds);
    *feeds = NULL;
}
