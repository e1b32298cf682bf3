#include "fleet/share.h"

#include "base/check.h"
#include "fleet/choice.h"

uint32_t fleet_wanted(const struct fleet_wants *wants)
{
    uint64_t wanted = (uint64_t)wants->claimed + wants->spares;
    wanted = MAX_OF(wanted, (uint64_t)wants->min);
    return (uint32_t)MIN_OF(wanted, (uint64_t)wants->max);
}

/* --- division --------------------------------------------------------------------------------- */

static bool share_open(const struct fleet_share *share)
{
    return share->serves && share->share < share->max;
}

/* Returns the serving backend below its limit whose share is smallest for its weight if it gets one
 * more; NULL: all are at their limits.  Of equals the one that has more connections already, so
 * that none is moved without need. */
static struct fleet_share *share_next(struct fleet_share *shares, uint32_t count)
{
    struct fleet_share *best = NULL;
    for (uint32_t i = 0; i < count; i++) {
        struct fleet_share *at = &shares[i];
        if (!share_open(at))
            continue;
        if (best == NULL) {
            best = at;
            continue;
        }
        uint64_t ours = (at->share + UINT64_C(1)) * fleet_weight(best->weight);
        uint64_t theirs = (best->share + UINT64_C(1)) * fleet_weight(at->weight);
        if (ours < theirs || (ours == theirs && at->open > best->open))
            best = at;
    }
    return best;
}

void fleet_divide(struct fleet_share *shares, uint32_t count, uint32_t total)
{
    uint64_t weights = 0;
    uint32_t given = 0;
    for (uint32_t i = 0; i < count; i++)
        weights += shares[i].serves ? fleet_weight(shares[i].weight) : 0;
    /* The whole part of each share at once; what is left over, one by one. */
    for (uint32_t i = 0; i < count; i++) {
        uint64_t part =
            shares[i].serves ? (uint64_t)total * fleet_weight(shares[i].weight) / weights : 0;
        shares[i].share = (uint32_t)MIN_OF(part, (uint64_t)shares[i].max);
        given += shares[i].share;
    }
    invariant(given <= total);
    for (struct fleet_share *next; given < total && (next = share_next(shares, count)) != NULL;
         given++)
        next->share += 1;
}

/* --- moves ------------------------------------------------------------------------------------ */

/* Returns how many more idle connections the backend could give. */
static uint32_t share_surplus(const struct fleet_share *share)
{
    uint32_t over = share->open > share->share ? share->open - share->share : 0;
    over = MIN_OF(over, share->idle);
    return over > share->move ? over - share->move : 0;
}

uint32_t fleet_moves(struct fleet_share *shares, uint32_t count, uint32_t moves_max,
                     uint32_t spares)
{
    uint64_t idle = 0, lacking = 0;
    for (uint32_t i = 0; i < count; i++) {
        shares[i].move = 0;
        idle += shares[i].idle;
        if (shares[i].serves && shares[i].share > shares[i].open)
            lacking += shares[i].share - shares[i].open;
    }
    uint64_t may = MIN_OF(lacking, (uint64_t)moves_max);
    may = MIN_OF(may, idle > spares ? idle - spares : UINT64_C(0));
    uint32_t moves = 0;
    for (; moves < may; moves++) {
        struct fleet_share *most = NULL;
        for (uint32_t i = 0; i < count; i++)
            if (share_surplus(&shares[i]) > (most == NULL ? 0 : share_surplus(most)))
                most = &shares[i];
        if (most == NULL)
            break;
        most->move += 1;
    }
    return moves;
}
