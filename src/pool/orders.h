#pragma once
/*
 * orders.h - one relay's copy of the administrators' orders: PAUSE, DISABLE, SUSPEND and others.
 *
 * Each relay has its own copy, so that reading it needs no other thread.  pooler/control.h changes
 * all copies.  `database` is the name that clients ask for.
 */
#include "base/fault.h"
#include "base/map.h"

/* The largest number of databases that are paused or disabled at a time. */
#define ORDER_MARKS_MAX 10000u

enum order_flag {
    ORDER_PAUSED = 1,   /* clients of the database wait for servers */
    ORDER_DISABLED = 2, /* new clients of the database are refused */
};

struct orders {
    struct map marks; /* flags by database, see orders.c */
    bool paused;      /* all databases are paused */
    bool suspended;   /* SUSPEND: clients start no new turn */
    uint32_t still;   /* orders that walk over all clients now; while any does, no client moves */
    bool closing;     /* the pooler is shutting down: new clients are refused */
};

void orders_init(struct orders *orders);
void orders_fini(struct orders *orders);
/** Sets and clears flags of one database.  Faults: MEMORY, LIMIT. */
fault orders_mark(struct orders *orders, const char *database, uint32_t set,
                  uint32_t clear) MUST_USE;
/** Returns the flags of one database, without those that apply to all databases. */
uint32_t orders_flags(const struct orders *orders, const char *database);
/** Walks over the databases that have flags: returns the one after `previous` (NULL: the first), or
 *  NULL at the end.  No flag may change meanwhile. */
const char *orders_next(const struct orders *orders, const char *previous, uint32_t *ret_flags);
/** Whether clients of this database wait, because it or all databases are paused. */
bool orders_hold(const struct orders *orders, const char *database);
/** Whether a new client of this database is admitted: OK, or SHUTDOWN (57P03) with the detail. */
fault orders_admit(const struct orders *orders, const char *database) MUST_USE;
