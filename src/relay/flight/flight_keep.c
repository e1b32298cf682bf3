#include "relay/flight/flight_keep.h"

#include "machine/clock.h"
#include "relay/client.h"
#include "relay/flight/flight_kept_parts.h"
#include "relay/relay.h"

#include <stdio.h>
#include <stdlib.h>

/* Sessions of a relay that wait. */
#define KEEP_MAX 32u
/* How long one waits at most. */
#define KEEP_TIME sec(5)

struct flight_keep {
    struct list idle; /* the latest first */
    bool ended;       /* none is kept any more */
    struct waker waker;
    struct timer timer; /* closes those that have waited for long */
};

static void keep_due(struct waker *waker)
{
    struct flight_keep *keep = CONTAINER_OF(waker, struct flight_keep, waker);
    moment before = {now().us - KEEP_TIME.us};
    for (struct node *last; (last = list_last(&keep->idle)) != NULL;) {
        struct flight_kept *kept = LIST_ENTRY(last, struct flight_kept, node);
        if (kept->since.us > before.us) {
            timer_set(&keep->timer, later(kept->since, KEEP_TIME));
            return;
        }
        list_remove(&keep->idle, last);
        flight_kept_close(&kept);
    }
}

fault flight_keep_new(struct flight_keep **ret)
{
    struct flight_keep *keep = calloc(1, sizeof(*keep));
    *ret = keep;
    if (keep == NULL)
        return FAULT_MEMORY;
    list_init(&keep->idle);
    keep->waker.wake = keep_due;
    keep->timer = TIMER_INIT(&keep->waker);
    return OK;
}

void flight_keep_end(struct flight_keep *keep)
{
    if (keep == NULL)
        return;
    keep->ended = true;
    for (struct node *node; (node = list_pop(&keep->idle)) != NULL;) {
        struct flight_kept *kept = LIST_ENTRY(node, struct flight_kept, node);
        flight_kept_close(&kept);
    }
    timer_disarm(&keep->timer);
}

void flight_keep_free(struct flight_keep **keep)
{
    flight_keep_end(*keep);
    free(TAKE(*keep));
}

void flight_kept_close(struct flight_kept **kept)
{
    struct flight_kept *gone = TAKE(*kept);
    if (gone == NULL)
        return;
    flight_session_close(&gone->session);
    free(gone);
}

/* --- taking one ------------------------------------------------------------------------------- */

static struct digest digest_of_params(const struct params *params)
{
    return params == NULL ? (struct digest){0} : params->session;
}

static bool is_like(const struct flight_kept *kept, const struct client *like,
                    const struct statement_catalog *catalog)
{
    struct digest params = digest_of_params(like->params);
    struct digest defaults = digest_of_params(like->defaults);
    return kept->pool == like->pool && digest_equal(&kept->params, &params) &&
           digest_equal(&kept->defaults, &defaults) && kept->catalog.epoch == catalog->epoch &&
           kept->catalog.generation == catalog->generation;
}

/* Its client may have been disconnected meanwhile, as any client may be. */
static bool is_sound(const struct flight_kept *kept)
{
    const struct stream *stream = &kept->session.stream;
    return !stream_hung_up(stream) && kept->session.begin == kept->session.end;
}

static struct flight_kept *find_idle(struct flight_keep *keep, const struct client *like,
                                     const struct statement_catalog *catalog)
{
    LIST_EACH_SAFE (&keep->idle, it) {
        struct flight_kept *kept = LIST_ENTRY(it, struct flight_kept, node);
        if (!is_like(kept, like, catalog))
            continue;
        list_remove(&keep->idle, it);
        if (is_sound(kept))
            return kept;
        flight_kept_close(&kept);
    }
    return NULL;
}

fault flight_kept_take(const struct client *like, const struct statement_catalog *catalog,
                       struct flight_kept **ret)
{
    struct flight_kept *kept = find_idle(like->relay->flight_keep, like, catalog);
    *ret = kept;
    if (kept != NULL)
        return OK;
    kept = calloc(1, sizeof(*kept));
    if (kept == NULL)
        return FAULT_MEMORY;
    kept->relay = like->relay;
    kept->pool = like->pool;
    kept->params = digest_of_params(like->params);
    kept->defaults = digest_of_params(like->defaults);
    kept->catalog = *catalog;
    fault opened = flight_session_open(&kept->session, like, catalog);
    if (opened != OK)
        free(TAKE(kept));
    *ret = kept;
    return opened;
}

void flight_kept_return(struct flight_kept **kept)
{
    struct flight_kept *one = TAKE(*kept);
    if (one == NULL)
        return;
    struct flight_keep *keep = one->relay->flight_keep;
    if (keep->ended || one->count == FLIGHT_NAMES_MAX || !is_sound(one)) {
        flight_kept_close(&one);
        return;
    }
    one->since = now();
    if (list_empty(&keep->idle))
        timer_set(&keep->timer, later(one->since, KEEP_TIME));
    list_push_front(&keep->idle, &one->node);
    if (keep->idle.count > KEEP_MAX) {
        one = LIST_ENTRY(list_last(&keep->idle), struct flight_kept, node);
        list_remove(&keep->idle, &one->node);
        flight_kept_close(&one);
    }
}

/* --- names ------------------------------------------------------------------------------------ */

struct flight_name flight_kept_name(struct flight_kept *kept, struct span parse)
{
    struct flight_name name = {.parses = false};
    struct digest of = digest_of(parse);
    uint32_t number = 0;
    while (number < kept->count && !digest_equal(&kept->prepared[number], &of))
        number++;
    if (number == FLIGHT_NAMES_MAX)
        return FLIGHT_UNNAMED;
    if (number == kept->count) {
        kept->prepared[kept->count++] = of;
        name.parses = true;
    }
    snprintf(name.text, sizeof(name.text), "s%u", number);
    return name;
}
