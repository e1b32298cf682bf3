#include "people/behaviours.h"

#include "stage/stage.h"

static const struct {
    const char *name;
    behaviour act;
    uint32_t weight;
    enum kind kind;
} behaviours[] = {
#define BEHAVIOUR(name, weight, kind) {#name, do_##name, weight, kind},
#include "people/behaviours.def"
#undef BEHAVIOUR
};

/* Transactions of several statements, which a statement pool does not have. */
static bool behaviour_has_block(behaviour act)
{
    return act == do_transaction || act == do_savepoints || act == do_vanish ||
           act == do_idle_too_long || act == do_transaction_at_its_limit;
}

static uint32_t behaviour_weight(const struct person *person, size_t i)
{
    bool in_statements = person->pool == PERSON_STATEMENT;
    if (in_statements ? behaviour_has_block(behaviours[i].act) : behaviours[i].act == do_block)
        return 0;
    if (behaviours[i].kind != KINDS && !stage_has(behaviours[i].kind))
        return 0;
    /* Those in haste mostly go. */
    bool goes = behaviours[i].act == do_leave || behaviours[i].act == do_vanish;
    return behaviours[i].weight * (goes && stage_has(KIND_haste) ? 12 : 1);
}

behaviour behaviour_draw(struct person *person)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < ARRAY_SIZE(behaviours); i++)
        sum += behaviour_weight(person, i);
    uint32_t lot = person_draw(person, sum);
    for (size_t i = 0; i < ARRAY_SIZE(behaviours); i++) {
        uint32_t weight = behaviour_weight(person, i);
        if (lot < weight) {
            say("client", person->number, "does %s", behaviours[i].name);
            return behaviours[i].act;
        }
        lot -= weight;
    }
    PROVE(false);
    return do_echo;
}
