#pragma once
/*
 * console_tally.h - rows that are summed over all relays, each found by its key.
 *
 * Lives on the stack of the command that asks; used by one machine at a time, as a look visits it.
 * The number of rows is limited; a row that does not fit is recorded as a fault.
 */
#include "base/list.h"
#include "base/map.h"

#define CONSOLE_TALLY_MAX 100000u

/* The first member of every row type. */
struct console_tally_row {
    struct map_link link;
    struct node node;
    struct span first; /* the key: two texts, copied; one text alone has a NUL behind it */
    struct span second;
};

struct console_tally {
    struct map map;
    struct list rows; /* in the order of creation */
    size_t row_size;
    fault failed;
};

void console_tally_init(struct console_tally *times, size_t row_size);
void console_tally_fini(struct console_tally *times);
/** Returns the row of this key; a new one is zeroed.  NULL: no room. */
void *console_tally_row(struct console_tally *times, struct span first, struct span second);
/** Returns the row of this key, or NULL. */
void *console_tally_find(const struct console_tally *times, struct span first, struct span second);
/** Returns OK; LIMIT or MEMORY if a row is missing. */
fault console_tally_fault(const struct console_tally *times) MUST_USE;
