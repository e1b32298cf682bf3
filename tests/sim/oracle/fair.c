#include "oracle/fair.h"

#include "stage/stage.h"

/*
 * Claims are served in order: within a relay strictly, between relays up to overtake_limit and one
 * release.  Seen from outside, hence with room for what the network and the threads do meanwhile;
 * only looked at where nothing else makes people wait.
 */
#define SAME_RELAY_SLACK  ms(250)
#define OTHER_RELAY_SLACK ms(1500) /* overtake_limit, the longest statements, logins */
#define SLOW_COPIES_SLACK ms(4000) /* hundreds of COPYs in one text, each by a slow server */

/* The number names the relay of the login; who was moved has kept it. */
static bool fair_same_relay(const struct person *one, const struct person *other)
{
    const uint32_t relay = 127;
    return !stage_has(KIND_moves) && (one->pid & relay) == (other->pid & relay);
}

static bool fair_world(void)
{
    static const enum kind kinds[] = {
        KIND_lateness,   KIND_narrowness, KIND_resets,       KIND_silences,     KIND_half_ends,
        KIND_blackouts,  KIND_crashes,    KIND_terminations, KIND_starting,     KIND_full,
        KIND_outages,    KIND_failing,    KIND_pauses,       KIND_reconnects,   KIND_kills,
        KIND_restarts,   KIND_reloads,    KIND_slow_logins,  KIND_single_use,   KIND_checks,
        KIND_identities, KIND_orders,     KIND_names,        KIND_short_writes, KIND_refusals,
        KIND_pins,       KIND_preemption};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (stage_has(kinds[i]))
            return false;
    return true;
}

void fair_is_served(struct person *person)
{
    person->begun = true;
}

void fair_begins(struct person *person)
{
    person->begun = true;
    person->begun_at = person->ran_at = now();
    if (!person->idle || person->pool != PERSON_TRANSACTION || !fair_world())
        return;
    for (uint32_t i = 0; i < stage.plan->clients; i++) {
        const struct person *other = &stage.people[i];
        if (other == person || other->pool != person->pool || !other->waits || other->begun ||
            !other->idle)
            continue;
        bool same = fair_same_relay(other, person);
        /* With a single server whole transactions lie between. */
        duration max = same && !stage_has(KIND_contest) ? SAME_RELAY_SLACK : OTHER_RELAY_SLACK;
        if (!same && stage_has(KIND_copies) && stage_has(KIND_slowness))
            max = SLOW_COPIES_SLACK;
        duration ahead = between(other->asked_at, person->asked_at);
        PROVE(ahead.us < max.us,
              "client %u, who asked %lld ms earlier, is overtaken by client %u of %s relay",
              other->number, (long long)(ahead.us / 1000), person->number,
              same ? "the same" : "another");
    }
}

void fair_rests(struct person *person)
{
    person->begun_at = NEVER;
}

/* --- deadlines -------------------------------------------------------------------------------- */

#define DEADLINE_SLACK sec(2)

void fair_waits(const struct person *person)
{
    const struct setup *setup = &stage.setup;
    if (stage_has(KIND_silences) || stage_has(KIND_half_ends) || stage_has(KIND_restarts) ||
        stage_has(KIND_blackouts) || stage_has(KIND_narrowness) || stage_has(KIND_lateness))
        return;
    int64_t asked = between(person->asked_at, now()).us;
    /* Who is suspended by an order has no claim yet. */
    PROVE(person->begun || !person->idle || person->pool != PERSON_TRANSACTION ||
              stage_has(KIND_orders) || setup->claim_timeout.us == NO_LIMIT.us ||
              asked < setup->claim_timeout.us + DEADLINE_SLACK.us,
          "client %u waits for its claim for %lld ms", person->number, (long long)(asked / 1000));
    PROVE(!person->begun || is_never(person->begun_at) || setup->query_timeout.us == NO_LIMIT.us ||
              between(person->begun_at, now()).us < setup->query_timeout.us + DEADLINE_SLACK.us,
          "client %u waits for the answer of a query beyond query_timeout", person->number);
}
