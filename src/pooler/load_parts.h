#pragma once
/*
 * load_parts.h - rebalances clients from a relay that uses much more processor time than another.
 *
 * Once in each period the pooler machine reads how much processor time each relay's thread has
 * used; the relays do nothing for it.  If the same relay is overloaded in two periods in a row, it
 * is ordered to move clients away (move.h).  No order is given in the two periods after, so that
 * its effect can be seen. load_step decides and is a pure function; the rest runs on the pooler
 * machine. Design: docs/internals/moving.md
 */
#include "base/fault.h"

#include <stdint.h>

struct load;
struct pooler;

#define LOAD_RELAYS_MAX 128

/* State that is kept from one period to the next. */
struct load_past {
    uint32_t hottest; /* index of the relay with the highest load */
    uint32_t streak;  /* periods in a row in which it was overloaded */
    uint32_t pause;   /* periods without an order that are still to come */
};

/* An order to move clients; none if `portion` is 0. */
struct load_order {
    uint32_t from;
    uint32_t to;
    uint32_t portion; /* thousandths of the active clients of `from`: half of the excess load */
};

/** Decides at the end of a period.  `busy`: processor time of each relay, in thousandths of the
 *  period; `above`: the load, in thousandths, up to which a relay is never overloaded. */
struct load_order load_step(struct load_past *past, const uint32_t *busy, uint32_t count,
                            uint32_t above);

/** NULL: no memory. */
struct load *load_new(struct pooler *pooler);
/** Sets the load above which a relay can be overloaded (setting hot_relay), in percent; 0: off. */
void load_set(struct load *load, uint32_t above);
void load_stop(struct load *load);
void load_free(struct load **load);
