#pragma once
/*
 * failover_parts.h - acts on what fleet/primary.h decides about a service: the fence over all
 * relays.
 *
 * Runs on the pooler machine, in the live service.  When another backend becomes the primary, or
 * none is known, the router grants nothing, marks the leases of all other backends as fenced, and
 * mails each local pool that has leases.  The local pool ends these servers and their clients, and
 * answers.  After the last answer slots are granted at the new primary.  Design:
 * docs/internals/failover.md
 */
#include "fleet/primary.h"
#include "machine/machine.h"

struct backend;
struct live_service;
struct member;
struct router;

/* Replicas whose position is remembered, and positions of the primary that are. */
#define FAILOVER_SEEN  16u
#define FAILOVER_MARKS 64u

/* The position of a replica when it was last asked. */
struct failover_seen {
    uint64_t backend;
    uint64_t position;
};

/* A position of the primary, and how many transactions the pools had completed soon after. */
struct failover_mark {
    moment asked;
    uint64_t position;
    uint64_t completed;
};

struct failover {
    struct router *router;
    struct live_service *live;
    struct primary primary;
    moment since;               /* when the first sample was asked for */
    deadline held;              /* SWITCHOVER: nothing is granted until then; 0: no hold */
    moment fenced;              /* when the fence under way was ordered */
    uint64_t late;              /* transactions that new primaries may lack, in all failovers */
    uint64_t granted;           /* the backend that was elected last */
    moment moved;               /* when its address had last moved */
    struct backend_sample last; /* the latest of it when it was elected */
    uint64_t marked;            /* positions of it that were ever noted */
    uint64_t before;            /* transactions completed before it was elected */
    uint64_t ended;             /* transactions of local pools that are no more */
    size_t seen_next;
    struct failover_seen seen[FAILOVER_SEEN];
    struct failover_mark marks[FAILOVER_MARKS];
};

void failover_init(struct failover *failover, struct router *router, struct live_service *live);
/** Judges the samples of all backends anew, and acts on them.  `fresh`: the age up to which a
 * sample is proof. */
void failover_judge(struct failover *failover, duration fresh);
/** Ends all that samples have decided, since none follow: roles are found by logins. */
void failover_release(struct failover *failover);
/** Grants nothing until then, and has the servers closed as they become free; 0: ends that. */
void failover_hold(struct failover *failover, deadline until);
/** Counts the leases of pools that need the primary. */
uint64_t failover_servers(const struct failover *failover);
/** The operator's choice; `fresh` as above. */
enum primary_choice failover_elect(struct failover *failover, const struct backend *backend,
                                   duration fresh);
/** Has the elected backend probed at once: it has refused to write. */
void failover_doubt(struct failover *failover);
/** Keeps what a member that ends has completed. */
void failover_leave(struct failover *failover, const struct member *member);
/** Takes a member's answer to the fence with this number. */
void failover_answered(struct failover *failover, uint64_t fence);
