#pragma once
/*
 * orders.h - what administrators have ordered, as one relay knows it.
 *
 * Each relay has a copy, so that nobody asks another thread; pooler/control.h changes all of them.
 * `database` is the name that clients ask for.
 */
#include "base/fault.h"
#include "base/map.h"

/* Databases that orders name at a time. */
#define ORDER_MARKS_MAX 10000u

enum order_flag {
    ORDER_PAUSED = 1,   /* its clients wait */
    ORDER_DISABLED = 2, /* new clients are refused */
};

struct orders {
    struct map marks; /* struct order_mark by database */
    bool paused;      /* all databases are */
    bool suspended;   /* no client begins anything new */
    uint32_t still;   /* orders that walk over clients: until they are through, none moves */
    bool closing;     /* the pooler waits for its end: new clients are refused */
};

struct order_mark {
    struct map_link link;
    uint32_t flags;
    char database[];
};

void orders_init(struct orders *orders);
void orders_fini(struct orders *orders);
/** Sets and clears flags of one database.  MEMORY, LIMIT. */
fault orders_mark(struct orders *orders, const char *database, uint32_t set,
                  uint32_t clear) MUST_USE;
/** The flags of one database, without what holds for all. */
uint32_t orders_flags(const struct orders *orders, const char *database);
/** Whether its clients wait, for whatever reason. */
bool orders_hold(const struct orders *orders, const char *database);
/** Whether a client may come in: OK, or SHUTDOWN (57P03) with the story. */
fault orders_admit(const struct orders *orders, const char *database) MUST_USE;
