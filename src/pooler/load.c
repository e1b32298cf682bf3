#include "pooler/load_parts.h"

#include "machine/clock.h"
#include "machine/log.h"
#include "pooler/pooler.h"
#include "relay/move.h"
#include "relay/relay.h"

#include <stdlib.h>

#define LOAD_PERIOD sec(1)
/* Overloaded periods in a row that lead to an order, and periods without an order after it. */
#define LOAD_STREAK 2
#define LOAD_PAUSE  2

/* --- deciding --------------------------------------------------------------------------------- */

/* Whether the higher load is more than one and a half times the lower one, and exceeds it by more
 * than a sixth of `above`. */
static bool much_hotter(uint32_t hot, uint32_t cool, uint32_t above)
{
    return 2 * hot > 3 * cool && hot > cool + above / 6;
}

struct load_order load_step(struct load_past *past, const uint32_t *busy, uint32_t count,
                            uint32_t above)
{
    struct load_order order = {0};
    invariant(count > 0);
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
    if (past->streak < LOAD_STREAK)
        return order;
    past->streak = 0;
    past->pause = LOAD_PAUSE;
    invariant(hot > cool);
    order.portion = (hot - cool) * 500 / hot;
    return order;
}

/* --- measuring -------------------------------------------------------------------------------- */

struct load {
    struct pooler *pooler;
    struct timer timer;
    struct waker waker;
    struct load_past past;
    uint32_t above;                /* thousandths; 0: off */
    moment looked;                 /* when the loads were measured last */
    int64_t used[LOAD_RELAYS_MAX]; /* each relay's processor time then, us */
};

/* Measures the load of each relay since the last call, in thousandths. */
static void load_look(struct load *load, uint32_t *busy)
{
    moment at = now_exact();
    int64_t period = MAX_OF(between(load->looked, at).us, INT64_C(1));
    load->looked = at;
    invariant(pooler_relays(load->pooler) <= LOAD_RELAYS_MAX);
    for (uint32_t i = 0; i < pooler_relays(load->pooler); i++) {
        int64_t used = machine_used(pooler_relay(load->pooler, i)->pools.machine).us;
        int64_t more = used > load->used[i] ? used - load->used[i] : 0;
        busy[i] = (uint32_t)(MIN_OF(more, period) * 1000 / period);
        load->used[i] = used;
    }
}

static void load_due(struct waker *waker)
{
    struct load *load = CONTAINER_OF(waker, struct load, waker);
    uint32_t busy[LOAD_RELAYS_MAX];
    load_look(load, busy);
    struct load_order order =
        load_step(&load->past, busy, pooler_relays(load->pooler), load->above);
    timer_set(&load->timer, after(LOAD_PERIOD));
    if (order.portion == 0)
        return;
    log_event(LOG_INFO, "relay.hot", log_number("relay", order.from),
              log_percent("busy", busy[order.from] / 10), log_number("coolest", order.to),
              log_percent("coolest_busy", busy[order.to] / 10),
              log_percent("portion", order.portion / 10));
    if (move_some(pooler_relay(load->pooler, order.from), pooler_relay(load->pooler, order.to),
                  order.portion, false) != OK)
        log_event(LOG_WARNING, "relay.memory", log_number("relay", order.from),
                  log_quote("reason", "no client can move"));
}

struct load *load_new(struct pooler *pooler)
{
    struct load *load = calloc(1, sizeof(*load));
    if (load == NULL)
        return NULL;
    load->pooler = pooler;
    load->waker.wake = load_due;
    load->timer = TIMER_INIT(&load->waker);
    return load;
}

void load_set(struct load *load, uint32_t above)
{
    uint32_t busy[LOAD_RELAYS_MAX];
    bool was = load->above > 0;
    load->above = above * 10;
    if (above == 0 || pooler_relays(load->pooler) < 2) {
        timer_disarm(&load->timer);
    } else if (!was) {
        load->past = (struct load_past){0};
        load_look(load, busy);
        timer_set(&load->timer, after(LOAD_PERIOD));
    }
}

void load_stop(struct load *load)
{
    timer_disarm(&load->timer);
}

void load_free(struct load **load)
{
    free(TAKE(*load));
}
