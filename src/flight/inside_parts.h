#pragma once
/* inside_parts.h - the state of a service, for inside.c and inside_writes.c. */
#include "base/list.h"
#include "flight/inside.h"
#include "machine/lock.h"

/* A backend that was lost with writes in doubt. */
struct inside_lost {
    uint32_t pid;
    struct inside_writes writes;
};

struct inside {
    struct node node; /* in insides->all */
    struct span name;
    struct generations_table *generations;
    uint64_t servers;    /* a digest */
    uint64_t all;        /* number of what all databases share: catalogs, roles */
    bool counts;         /* atomic */
    uint64_t suspicions; /* atomic */
    uint64_t settings;   /* atomic */
    uint64_t unfit;      /* atomic */
    int64_t raised;      /* atomic: when everything was raised last, us; 0: never */

    struct lock lock; /* guards the rest */
    uint64_t era;
    uint32_t current;                     /* writes in doubt by tables, of this era */
    uint32_t outdated;                    /* of earlier ones; while there are any: */
    struct generations_writes everything; /* is held */
    struct inside_lost *lost[INSIDE_LOST_MAX];
    uint32_t lost_count;
    bool overflows; /* more were lost */
    struct generations_writes overflow;
    uint64_t writes;
    uint64_t unlisted; /* atomic */
    uint8_t text[];    /* what `name` points to */
};

void inside_begin_locked(struct inside *inside, struct inside_writes *writes);
void inside_end_locked(struct inside *inside, const struct inside_writes *writes);
