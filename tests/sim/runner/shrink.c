#include "runner/workers.h"

#include <string.h>
#include <time.h>

/*
 * The smallest run that fails in the same way: without kinds of trouble, with fewer clients, with
 * fewer rounds, one step after the other, until no step is left or it has taken long enough.
 */
#define SHRINK_SECONDS 60

struct shrink {
    struct plan *plan;
    struct failure *failure;
    time_t until;
};

static bool shrink_step(struct shrink *shrink, kind_set without, uint32_t clients, uint32_t rounds)
{
    struct plan smaller;
    struct failure failure = {0};
    if (time(NULL) > shrink->until)
        return false;
    plan_make(&smaller, shrink->plan->seed, shrink->plan->with, without, clients, rounds);
    if (workers_try(&smaller, &failure) || strcmp(failure.place, shrink->failure->place) != 0)
        return false;
    *shrink->plan = smaller;
    *shrink->failure = failure;
    return true;
}

static bool shrink_kinds(struct shrink *shrink)
{
    bool any = false;
    for (size_t i = 0; i < KINDS; i++) {
        const struct plan *plan = shrink->plan;
        kind_set bit = (kind_set)1 << i;
        if ((plan->kinds & bit) != 0)
            any |= shrink_step(shrink, plan->without | bit, plan->clients, plan->rounds);
    }
    return any;
}

static bool shrink_number(struct shrink *shrink, bool of_clients)
{
    bool any = false;
    const struct plan *plan = shrink->plan;
    uint32_t now = of_clients ? plan->clients : plan->rounds;
    for (uint32_t less = now / 2; less > 0; less /= 2) {
        while (now > less &&
               shrink_step(shrink, plan->without, of_clients ? now - less : plan->clients,
                           of_clients ? plan->rounds : now - less)) {
            any = true;
            now -= less;
        }
    }
    return any;
}

void shrink(struct plan *plan, struct failure *failure)
{
    struct shrink work = {plan, failure, time(NULL) + SHRINK_SECONDS};
    bool any = true;
    while (any) {
        any = shrink_kinds(&work);
        any |= shrink_number(&work, true);
        any |= shrink_number(&work, false);
    }
}
