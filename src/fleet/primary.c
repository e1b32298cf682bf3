#include "fleet/primary.h"

#include "base/check.h"

#define TO(state) (1u << (state))

static const uint8_t permitted[PRIMARY_STATES] = {
    [PRIMARY_UNPROVEN] = TO(PRIMARY_FENCING),
    [PRIMARY_FENCING] =
        TO(PRIMARY_FENCING) | TO(PRIMARY_NONE) | TO(PRIMARY_ELECTED) | TO(PRIMARY_CONTESTED),
    [PRIMARY_NONE] = TO(PRIMARY_FENCING),
    [PRIMARY_ELECTED] = TO(PRIMARY_FENCING),
    [PRIMARY_CONTESTED] = TO(PRIMARY_FENCING),
};

static void primary_become(struct primary *primary, enum primary_state next)
{
    invariant((permitted[primary->state] & TO(next)) != 0);
    primary->state = next;
}

/* --- who claims what -------------------------------------------------------------------------- */

static bool claims(const struct primary_candidate *candidate)
{
    return candidate->sampled && !candidate->sample.replica && candidate->sample.line != 0;
}

static bool is_fresh(const struct primary_candidate *candidate, duration fresh, moment now)
{
    return between(candidate->sample.asked, now).us <= fresh.us;
}

static const struct primary_candidate *candidate_find(const struct primary_candidate *all,
                                                      size_t count, uint64_t backend)
{
    for (size_t i = 0; i < count; i++)
        if (all[i].backend == backend)
            return &all[i];
    return NULL;
}

/* Whether the operator has chosen for the line and the system of this claim. */
static bool choice_covers(const struct primary *primary, const struct primary_candidate *claim)
{
    return primary->chosen != 0 && primary->chosen_line == claim->sample.line &&
           primary->chosen_system == claim->sample.system;
}

/* Whether this claim may make its backend the primary, or dispute another's, if the arbiter does
 * not deny it. */
static bool claim_stands(const struct primary *primary, const struct primary_candidate *claim,
                         duration fresh, moment now)
{
    bool holds = primary->backend == claim->backend;
    bool disputed = primary->state == PRIMARY_CONTESTED || primary->disputed;
    if (!claims(claim) || (!holds && !disputed && !is_fresh(claim, fresh, now)))
        return false;
    if (choice_covers(primary, claim) && primary->chosen != claim->backend)
        return false;
    return primary->system == 0 ||
           (claim->sample.system == primary->system && claim->sample.line >= primary->line);
}

/* Whether the arbiter takes this claim away.  It can't overrule the operator. */
static bool claim_denied(const struct primary *primary, const struct primary_candidate *claim)
{
    if (claim->word != PRIMARY_DENIED || choice_covers(primary, claim))
        return false;
    return claim->backend != primary->backend || claim->denials >= PRIMARY_DENIALS_MAX;
}

static bool claim_counts(const struct primary *primary, const struct primary_candidate *claim,
                         duration fresh, moment now)
{
    return claim_stands(primary, claim, fresh, now) && !claim_denied(primary, claim);
}

static bool claim_confirmed(const struct primary_candidate *claim, duration fresh, moment now)
{
    return claim->word == PRIMARY_CONFIRMED && between(claim->said, now).us <= fresh.us;
}

struct verdict {
    const struct primary_candidate *winner; /* NULL: none */
    bool disputed;
    bool denied; /* the arbiter has taken a claim away */
};

/* Whether `claim` takes precedence over `best`: a higher line, or the elected one's own claim. */
static bool claim_beats(const struct primary *primary, const struct primary_candidate *claim,
                        const struct primary_candidate *best)
{
    if (best == NULL || claim->sample.line != best->sample.line)
        return best == NULL || claim->sample.line > best->sample.line;
    return claim->backend == primary->backend;
}

/* Whether this claim contradicts the winner's.  The lines of two systems can't be compared. */
static bool claim_disputes(const struct primary_candidate *claim,
                           const struct primary_candidate *winner)
{
    if (claim->sample.system != winner->sample.system)
        return true;
    return claim->sample.line == winner->sample.line && claim != winner &&
           !sample_same_server(&claim->sample, &winner->sample);
}

/* What a verdict is found by. */
struct contest {
    const struct primary *primary;
    const struct primary_candidate *all;
    size_t count;
    duration fresh;
    moment now;
};

static const struct primary_candidate *claims_best(const struct contest *contest)
{
    const struct primary_candidate *best = NULL;
    for (size_t i = 0; i < contest->count; i++) {
        const struct primary_candidate *claim = &contest->all[i];
        if (claim_counts(contest->primary, claim, contest->fresh, contest->now) &&
            claim_beats(contest->primary, claim, best))
            best = claim;
    }
    return best;
}

static bool claims_dispute(const struct contest *contest, const struct primary_candidate *winner)
{
    for (size_t i = 0; i < contest->count; i++)
        if (claim_counts(contest->primary, &contest->all[i], contest->fresh, contest->now) &&
            claim_disputes(&contest->all[i], winner))
            return true;
    return false;
}

/* Returns the only one of the winner and those that dispute it that the arbiter has confirmed; two
 * addresses of one server are one.  NULL: none, or several. */
static const struct primary_candidate *claims_confirmed(const struct contest *contest,
                                                        const struct primary_candidate *winner)
{
    const struct primary_candidate *found = NULL;
    for (size_t i = 0; i < contest->count; i++) {
        const struct primary_candidate *claim = &contest->all[i];
        bool takes_part =
            claim->sample.line == winner->sample.line || claim_disputes(claim, winner);
        if (!takes_part || !claim_confirmed(claim, contest->fresh, contest->now) ||
            !claim_counts(contest->primary, claim, contest->fresh, contest->now))
            continue;
        if (found != NULL && !sample_same_server(&found->sample, &claim->sample))
            return NULL;
        if (found == NULL || claim->backend == contest->primary->backend)
            found = claim;
    }
    return found;
}

/* Whether the arbiter denies a claim that would not be lower than that of `winner`; NULL: any. */
static bool claims_denied(const struct contest *contest, const struct primary_candidate *winner)
{
    for (size_t i = 0; i < contest->count; i++) {
        const struct primary_candidate *claim = &contest->all[i];
        if (!claim_stands(contest->primary, claim, contest->fresh, contest->now) ||
            !claim_denied(contest->primary, claim))
            continue;
        if (winner == NULL || claim_disputes(claim, winner) ||
            claim->sample.line > winner->sample.line)
            return true;
    }
    return false;
}

static struct verdict primary_verdict(const struct contest *contest)
{
    struct verdict verdict = {.winner = claims_best(contest)};
    if (verdict.winner == NULL) {
        verdict.denied = claims_denied(contest, NULL);
        return verdict;
    }
    verdict.disputed = claims_dispute(contest, verdict.winner);
    const struct primary_candidate *confirmed = claims_confirmed(contest, verdict.winner);
    if (verdict.disputed && confirmed != NULL) {
        verdict.winner = confirmed;
        verdict.disputed = false;
    }
    bool sure = confirmed != NULL || choice_covers(contest->primary, verdict.winner) ||
                verdict.winner->backend == contest->primary->backend;
    verdict.disputed |= !sure && claims_denied(contest, verdict.winner);
    return verdict;
}

/* Whether connections to the winner, the elected one, may be to a server that was there before. */
static bool winner_moved(const struct primary *primary, const struct primary_candidate *winner)
{
    return winner != NULL && winner->moved.us > primary->moved.us;
}

/* --- steps ------------------------------------------------------------------------------------ */

static bool all_tried(const struct primary_candidate *all, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!all[i].tried)
            return false;
    return true;
}

static enum primary_order primary_fence(struct primary *primary, uint64_t next, bool disputed)
{
    primary_become(primary, PRIMARY_FENCING);
    primary->backend = next;
    primary->disputed = disputed;
    primary->fence += 1;
    primary->awaited = 0;
    return PRIMARY_FENCE;
}

enum primary_order primary_judge(struct primary *primary, const struct primary_candidate *all,
                                 size_t count, duration fresh, moment since, moment now)
{
    if (candidate_find(all, count, primary->chosen) == NULL)
        primary->chosen = 0;
    const struct contest contest = {primary, all, count, fresh, now};
    struct verdict verdict = primary_verdict(&contest);
    uint64_t next = verdict.winner == NULL || verdict.disputed ? 0 : verdict.winner->backend;
    if (primary->state == PRIMARY_UNPROVEN) {
        bool waits = !all_tried(all, count) && between(since, now).us < fresh.us;
        if ((verdict.winner == NULL && !verdict.denied) || waits)
            return PRIMARY_GOES_ON;
    } else if (next == primary->backend && verdict.disputed == primary->disputed &&
               (next == 0 || !winner_moved(primary, verdict.winner))) {
        if (next != 0) /* a server may be promoted while it is the primary: by its own restart */
            primary->line = verdict.winner->sample.line;
        return PRIMARY_GOES_ON;
    }
    /* The elected one has left the service: its connections end as they become free. */
    bool left = primary->backend != 0 && candidate_find(all, count, primary->backend) == NULL;
    if (left && verdict.winner == NULL)
        return PRIMARY_GOES_ON;
    /* The last claim that is left: it counts when its backend answers again. */
    if (next != 0 && next != primary->backend && !is_fresh(verdict.winner, fresh, now))
        return PRIMARY_GOES_ON;
    if (next != 0) {
        primary->line = verdict.winner->sample.line;
        primary->system = verdict.winner->sample.system;
        primary->moved = verdict.winner->moved;
    }
    return primary_fence(primary, next, verdict.disputed);
}

enum primary_order primary_await(struct primary *primary, uint32_t acknowledgements)
{
    invariant(primary->state == PRIMARY_FENCING && primary->awaited == 0);
    primary->awaited = acknowledgements;
    if (acknowledgements > 0)
        return PRIMARY_GOES_ON;
    if (primary->backend != 0)
        primary->epoch += 1;
    primary_become(primary, primary->backend != 0 ? PRIMARY_ELECTED
                            : primary->disputed   ? PRIMARY_CONTESTED
                                                  : PRIMARY_NONE);
    return PRIMARY_SETTLED;
}

enum primary_order primary_acknowledged(struct primary *primary, uint64_t fence)
{
    if (primary->state != PRIMARY_FENCING || fence != primary->fence)
        return PRIMARY_GOES_ON;
    invariant(primary->awaited > 0);
    uint32_t left = primary->awaited - 1;
    primary->awaited = 0;
    return primary_await(primary, left);
}

enum primary_choice primary_choose(struct primary *primary, const struct primary_candidate *chosen,
                                   duration fresh, moment now)
{
    const struct backend_sample *sample = &chosen->sample;
    if (!claims(chosen) || !is_fresh(chosen, fresh, now))
        return PRIMARY_NOT_PRIMARY;
    if (sample->system == primary->system && sample->line < primary->line)
        return PRIMARY_BEHIND;
    primary->chosen = chosen->backend;
    primary->chosen_line = sample->line;
    primary->chosen_system = sample->system;
    if (sample->system != primary->system) { /* the lines of two systems can't be compared */
        primary->system = sample->system;
        primary->line = sample->line;
    }
    return PRIMARY_CHOSEN;
}

bool primary_replaced(const struct primary *primary, const struct primary_candidate *candidate)
{
    bool decided = primary->state != PRIMARY_UNPROVEN;
    return decided && claims(candidate) && candidate->backend != primary->backend;
}

const char *primary_state_text(enum primary_state state)
{
    static const char *const texts[PRIMARY_STATES] = {
        [PRIMARY_UNPROVEN] = "unproven", [PRIMARY_FENCING] = "fencing",     [PRIMARY_NONE] = "none",
        [PRIMARY_ELECTED] = "elected",   [PRIMARY_CONTESTED] = "contested",
    };
    return texts[state];
}
