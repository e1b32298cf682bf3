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

static uint32_t behaviour_weight(size_t i)
{
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
        sum += behaviour_weight(i);
    uint32_t lot = person_draw(person, sum);
    for (size_t i = 0; i < ARRAY_SIZE(behaviours); i++) {
        uint32_t weight = behaviour_weight(i);
        if (lot < weight) {
            say("client", person->number, "does %s", behaviours[i].name);
            return behaviours[i].act;
        }
        lot -= weight;
    }
    PROVE(false);
    return do_echo;
}
