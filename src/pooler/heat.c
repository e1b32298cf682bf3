#include "pooler/heat.h"

#include "machine/clock.h"
#include "machine/log.h"
#include "pooler/pooler.h"
#include "relay/move.h"

#include <stdlib.h>

#define HEAT_PERIOD sec(1)
/* Periods in a row before an order, and after one. */
#define HEAT_STREAK 2
#define HEAT_PAUSE  2

/* --- deciding --------------------------------------------------------------------------------- */

/* Half as much again, and by more than a sixth of what is hot. */
static bool much_hotter(uint32_t hot, uint32_t cool, uint32_t above)
{
    return 2 * hot > 3 * cool && hot > cool + above / 6;
}

struct heat_order heat_step(struct heat_past *past, const uint32_t *busy, uint32_t count,
                            uint32_t above)
{
    struct heat_order order = {0};
    for (uint32_t i = 1; i < count; i++) {
        if (busy[i] > busy[order.from])
            order.from = i;
        if (busy[i] < busy[order.to])
            order.to = i;
    }
    uint32_t hot = busy[order.from], cool = busy[order.to];
    bool too_hot = hot > above && much_hotter(hot, cool, above);
    past->streak = !too_hot ? 0 : past->hottest == order.from ? past->streak + 1 : 1;
    past->hottest = order.from;
    if (past->pause > 0) {
        past->pause -= 1;
        past->streak = 0;
    }
    if (past->streak < HEAT_STREAK)
        return order;
    past->streak = 0;
    past->pause = HEAT_PAUSE;
    order.portion = (hot - cool) * 500 / hot;
    return order;
}

/* --- looking ---------------------------------------------------------------------------------- */

struct heat {
    struct pooler *pooler;
    struct timer timer;
    struct waker waker;
    struct heat_past past;
    uint32_t above; /* thousandths; 0: off */
    deadline looked;
    int64_t used[HEAT_RELAYS_MOST]; /* of a processor, at that look, us */
};

/* Of each relay, since the look before. */
static void heat_look(struct heat *heat, uint32_t *busy)
{
    deadline at = now_exact();
    int64_t period = MAX_OF(between(heat->looked, at).us, INT64_C(1));
    heat->looked = at;
    for (uint32_t i = 0; i < pooler_relays(heat->pooler); i++) {
        int64_t used = machine_used(pooler_relay(heat->pooler, i)->pools.machine).us;
        int64_t more = used > heat->used[i] ? used - heat->used[i] : 0;
        busy[i] = (uint32_t)(MIN_OF(more, period) * 1000 / period);
        heat->used[i] = used;
    }
}

static void heat_due(struct waker *waker)
{
    struct heat *heat = CONTAINER_OF(waker, struct heat, waker);
    uint32_t busy[HEAT_RELAYS_MOST];
    heat_look(heat, busy);
    struct heat_order order =
        heat_step(&heat->past, busy, pooler_relays(heat->pooler), heat->above);
    timer_set(&heat->timer, after(HEAT_PERIOD));
    if (order.portion == 0)
        return;
    log_event(LOG_INFO, "relay.hot", "relay=%u busy=%u%% coolest=%u coolest_busy=%u%% portion=%u%%",
              order.from, busy[order.from] / 10, order.to, busy[order.to] / 10, order.portion / 10);
    if (move_some(pooler_relay(heat->pooler, order.from), pooler_relay(heat->pooler, order.to),
                  order.portion, false) != OK)
        log_event(LOG_WARNING, "relay.memory", "relay=%u reason=\"no client can move\"",
                  order.from);
}

struct heat *heat_new(struct pooler *pooler)
{
    struct heat *heat = calloc(1, sizeof(*heat));
    if (heat == NULL)
        return NULL;
    heat->pooler = pooler;
    heat->waker.wake = heat_due;
    heat->timer = TIMER_INIT(&heat->waker);
    return heat;
}

void heat_set(struct heat *heat, uint32_t above)
{
    uint32_t busy[HEAT_RELAYS_MOST];
    bool was = heat->above > 0;
    heat->above = above * 10;
    if (above == 0 || pooler_relays(heat->pooler) < 2) {
        timer_disarm(&heat->timer);
    } else if (!was) {
        heat->past = (struct heat_past){0};
        heat_look(heat, busy);
        timer_set(&heat->timer, after(HEAT_PERIOD));
    }
}

void heat_stop(struct heat *heat)
{
    timer_disarm(&heat->timer);
}

void heat_free(struct heat **heat)
{
    free(TAKE(*heat));
}
