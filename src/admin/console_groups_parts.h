#pragma once
/*
 * console_groups_parts.h - rows that are summed over all relays, each found by its key.
 *
 * Lives on the stack of the command that asks; used by one machine at a time, as a look visits it.
 * The number of rows is limited; a row that does not fit is recorded as a fault.
 */
#include "base/list.h"
#include "base/map.h"

#define CONSOLE_GROUPS_MAX 100000u

/* The first member of every row type. */
struct console_groups_row {
    struct map_link link;
    struct node node;
    struct span first; /* the key: two texts, copied; one text alone has a NUL behind it */
    struct span second;
    uint32_t kind; /* the third part of the key, a number */
};

struct console_groups {
    struct map map;
    struct list rows; /* in the order of creation */
    size_t row_size;
    fault failed;
};

void console_groups_init(struct console_groups *groups, size_t row_size);
void console_groups_fini(struct console_groups *groups);
/** Returns the row of this key; a new one is zeroed.  NULL: no room. */
void *console_groups_row(struct console_groups *groups, struct span first, struct span second);
/** The same for a key with a kind other than 0. */
void *console_groups_row_of(struct console_groups *groups, struct span first, struct span second,
                            uint32_t kind);
/** Returns the row of this key, or NULL. */
void *console_groups_find(const struct console_groups *groups, struct span first,
                          struct span second);
/** Returns OK; LIMIT or MEMORY if a row is missing. */
fault console_groups_fault(const struct console_groups *groups) MUST_USE;
