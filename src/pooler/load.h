#pragma once
/*
 * load.h - which relay works so much more than another that clients should move.
 *
 * Once a period the pooler machine looks how much of its processor each relay's thread has used;
 * the relays themselves do nothing for it.  Two periods in a row with the same relay too hot make
 * an order to it (move.h), and the next two are for seeing what came of it.
 * load_step decides, and is pure; the rest runs on the pooler machine.
 * Design: docs/internals/moving.md
 */
#include "base/fault.h"

#include <stdint.h>

struct load; /* opaque; the pooler's */
struct pooler;

#define LOAD_RELAYS_MAX 128

/* What is remembered from one period to the next. */
struct load_past {
    uint32_t hottest;
    uint32_t streak; /* periods in a row that it was too hot */
    uint32_t pause;  /* periods without an order to come */
};

/* What to do: nothing while `portion` is 0. */
struct load_order {
    uint32_t from;
    uint32_t to;
    uint32_t portion; /* of `from`'s active clients, thousandths: half of what it has more */
};

/** `busy`: of each relay, thousandths of the period; `above`: so much is hot at all. */
struct load_order load_step(struct load_past *past, const uint32_t *busy, uint32_t count,
                            uint32_t above);

/** NULL: no memory. */
struct load *load_new(struct pooler *pooler);
/** The setting, in percent; 0: off. */
void load_set(struct load *load, uint32_t above);
void load_stop(struct load *load);
void load_free(struct load **load);
