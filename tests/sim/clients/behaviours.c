#include "clients/behaviours.h"

#include "oracle/registers.h"
#include "scenario/scenario.h"

static const struct {
    const char *name;
    behaviour act;
    uint32_t weight;
    enum kind kind;
} behaviours[] = {
#define BEHAVIOUR(name, weight, kind) {#name, behave_##name, weight, kind},
#include "clients/behaviours.def"
#undef BEHAVIOUR
};

/* Behaviours with transactions of several statements, which statement pools forbid. */
static bool behaviour_has_block(behaviour act)
{
    return act == behave_transaction || act == behave_savepoints || act == behave_abort ||
           act == behave_idle_too_long || act == behave_transaction_limit;
}

static uint32_t behaviour_weight(const struct sim_client *client, size_t i)
{
    if (scenario_has(KIND_strict_answers) && behaviours[i].kind != KIND_flight &&
        behaviours[i].act != behave_terminate)
        return 0;
    bool in_statements = client->pool == CLIENT_STATEMENT;
    if (in_statements ? behaviour_has_block(behaviours[i].act) : behaviours[i].act == behave_block)
        return 0;
    if (behaviours[i].kind == KIND_reads &&
        (client->pool != CLIENT_TRANSACTION || !registers_exist()))
        return 0;
    if (behaviours[i].kind == KIND_flight && client->pool != CLIENT_TRANSACTION)
        return 0;
    if (behaviours[i].kind != KINDS && !scenario_has(behaviours[i].kind))
        return 0;
    /* With short_sessions most rounds end the connection. */
    bool goes = behaviours[i].act == behave_terminate || behaviours[i].act == behave_abort;
    bool rushes = behaviours[i].act == behave_cancel_at_once && scenario_has(KIND_cancel_rush);
    if (rushes)
        return behaviours[i].weight * 60;
    if (goes && scenario_has(KIND_shared_budget)) /* clients of the latest version come */
        return behaviours[i].weight * 6;
    return behaviours[i].weight * (goes && scenario_has(KIND_short_sessions) ? 12 : 1);
}

behaviour behaviour_draw(struct sim_client *client)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < ARRAY_SIZE(behaviours); i++)
        sum += behaviour_weight(client, i);
    uint32_t lot = sim_client_draw(client, sum);
    for (size_t i = 0; i < ARRAY_SIZE(behaviours); i++) {
        uint32_t weight = behaviour_weight(client, i);
        if (lot < weight) {
            trace("client", client->number, "does %s", behaviours[i].name);
            return behaviours[i].act;
        }
        lot -= weight;
    }
    CHECK(false);
    return behave_echo;
}
