#include "fleet/codel.h"

#include "base/check.h"

/* The integer square root: no library of floating point is needed for it. */
static uint64_t root_of(uint64_t square)
{
    uint64_t root = 0;
    for (uint64_t bit = UINT64_C(1) << 31; bit > 0; bit >>= 1)
        if ((root + bit) * (root + bit) <= square)
            root += bit;
    return root;
}

/* interval / sqrt(count), with three more digits of the root. */
static duration codel_spacing(const struct fleet_codel *codel, duration interval)
{
    invariant(codel->count > 0);
    uint64_t root = root_of((uint64_t)codel->count * 1000000);
    return (duration){.us = (int64_t)((uint64_t)interval.us * 1000 / root)};
}

static void codel_begin(struct fleet_codel *codel, const struct fleet_codel_limits *limits,
                        moment now)
{
    /* If shedding ended only a short time ago, its rate was about right: it continues from there
     * (RFC 8289, 4.2). */
    bool recent = between(codel->next, now).us < 16 * limits->interval.us;
    uint32_t grown = codel->count > codel->before ? codel->count - codel->before : 0;
    codel->shedding = true;
    codel->count = recent && grown > 1 ? grown : 1;
    codel->before = codel->count;
    codel->next = later(now, codel_spacing(codel, limits->interval));
}

bool fleet_codel_sheds(struct fleet_codel *codel, const struct fleet_codel_limits *limits,
                       moment since, moment now)
{
    if (limits->target.us <= 0 || between(since, now).us < limits->target.us) {
        codel->above.us = 0;
        codel->shedding = false;
        return false;
    }
    if (codel->above.us == 0) {
        codel->above = later(now, limits->interval);
        return false;
    }
    if (now.us < codel->above.us || (codel->shedding && now.us < codel->next.us))
        return false;
    if (codel->shedding) {
        codel->count += 1;
        codel->next = later(codel->next, codel_spacing(codel, limits->interval));
    } else {
        codel_begin(codel, limits, now);
    }
    codel->shed += 1;
    return true;
}

void fleet_codel_empty(struct fleet_codel *codel)
{
    codel->above.us = 0;
    codel->shedding = false;
}
