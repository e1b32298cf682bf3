#pragma once
/*
 * console_tally.h - rows that are summed up over all relays, each found by its key.
 *
 * Lives on the stack of the command that asks; touched by one machine at a time, as a look comes
 * by. Bounded in rows; what does not fit is remembered as a fault.
 */
#include "base/list.h"
#include "base/map.h"

#define CONSOLE_TALLY_MAX 100000u

/* The first member of every row. */
struct console_tally_row {
    struct map_link link;
    struct node node;
    struct span first; /* the key: two texts, copied; one text alone has a NUL behind it */
    struct span second;
};

struct console_tally {
    struct map map;
    struct list rows; /* in the order in which they came */
    size_t row_size;
    fault failed;
};

void console_tally_init(struct console_tally *times, size_t row_size);
void console_tally_fini(struct console_tally *times);
/** The row of this key, new ones zeroed; NULL when there is no room. */
void *console_tally_row(struct console_tally *times, struct span first, struct span second);
/** The row of this key, or NULL. */
void *console_tally_find(const struct console_tally *times, struct span first, struct span second);
/** OK; LIMIT or MEMORY when a row is missing. */
fault console_tally_fault(const struct console_tally *times) MUST_USE;
