#include "runner/plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CLIENTS_MAX        12
#define CLIENTS_HASTY      4
#define CLIENTS_CANCELLING 8
#define CLIENTS_RUSH       18
#define ROUNDS_RUSH        30
#define ROUNDS_MIN         8
#define ROUNDS_SPREAD      12
#define CHANCE_CLIENTS     1000 /* after the kinds */
#define CHANCE_ROUNDS      1001
#define CHANCE_GENTLE      1002
#define CHANCE_LIMITS      1100
#define GENTLE_ONE_IN      3

static const struct {
    const char *name;
    uint32_t one_in;
    bool costly;
} kinds[] = {
#define KIND(name, one_in, costly, text) {#name, one_in, costly},
#include "runner/kinds.def"
#undef KIND
};

/* splitmix64. */
static uint64_t chance_next(uint64_t *chance)
{
    uint64_t z = (*chance += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

uint32_t chance_below(uint64_t *chance, uint32_t limit)
{
    return (uint32_t)(chance_next(chance) % limit);
}

uint64_t plan_chance(const struct plan *plan, uint64_t who)
{
    uint64_t chance = plan->seed * 0x2545f4914f6cdd1d + who;
    return chance_next(&chance);
}

/* One kind comes with another, unless it is left out by name. */
static void plan_add(struct plan *plan, enum kind kind)
{
    plan->kinds |= ((kind_set)1 << kind) & ~plan->without;
}

/* Clients wait for other clients only. */
static void plan_fairness(struct plan *plan)
{
    static const enum kind besides[] = {
        KIND_fairness, KIND_stale_hints, KIND_notices, KIND_odd_flushes, KIND_evictions,
        KIND_tls,      KIND_scram,       KIND_cancels, KIND_preemption,  KIND_notifications};
    kind_set kept = 0;
    if (!plan_has(plan, KIND_fairness))
        return;
    for (size_t i = 0; i < ARRAY_SIZE(besides); i++)
        kept |= (kind_set)1 << besides[i];
    plan->kinds &= kept;
    plan_add(plan, KIND_many_clients);
}

/* The same, and clients of several versions of their route compete. */
static void plan_shared_budget(struct plan *plan)
{
    static const enum kind besides[] = {KIND_shared_budget, KIND_stale_hints, KIND_notices,
                                        KIND_odd_flushes,   KIND_evictions,   KIND_scram};
    kind_set kept = 0;
    if (!plan_has(plan, KIND_shared_budget) || plan_has(plan, KIND_fairness))
        return;
    for (size_t i = 0; i < ARRAY_SIZE(besides); i++)
        kept |= (kind_set)1 << besides[i];
    plan->kinds &= kept;
    plan_add(plan, KIND_many_clients);
    plan_add(plan, KIND_reloads);
    plan_add(plan, KIND_route_changes);
}

/* Clients wait for other clients only, and too long. */
static void plan_overload(struct plan *plan)
{
    static const enum kind besides[] = {KIND_overload,  KIND_notices, KIND_odd_flushes,
                                        KIND_evictions, KIND_scram,   KIND_default_settings};
    kind_set kept = 0;
    if (!plan_has(plan, KIND_overload) || plan_has(plan, KIND_fairness) ||
        plan_has(plan, KIND_shared_budget))
        return;
    for (size_t i = 0; i < ARRAY_SIZE(besides); i++)
        kept |= (kind_set)1 << besides[i];
    plan->kinds &= kept;
    plan_add(plan, KIND_many_clients);
    plan_add(plan, KIND_small_pools);
    plan_add(plan, KIND_claim_delays);
}

/* Several servers of a service: only these fail, and no connection to them is delayed. */
static void plan_spreading(struct plan *plan)
{
    static const enum kind besides[] = {
        KIND_spreading,       KIND_server_faults,    KIND_server_drains, KIND_host_changes,
        KIND_spares,          KIND_paced_logins,     KIND_stale_hints,   KIND_notices,
        KIND_odd_flushes,     KIND_evictions,        KIND_small_pools,   KIND_reserve,
        KIND_session_pools,   KIND_statement_pools,  KIND_scram,         KIND_tls,
        KIND_server_tls,      KIND_copies,           KIND_cancels,       KIND_disconnects,
        KIND_claim_notices,   KIND_default_settings, KIND_reloads,       KIND_moves,
        KIND_slow_statements, KIND_unix_sockets,     KIND_many_clients,  KIND_slow_logins,
        KIND_notifications,   KIND_claim_delays};
    kind_set kept = 0;
    if (!plan_has(plan, KIND_spreading) || plan_has(plan, KIND_fairness) ||
        plan_has(plan, KIND_shared_budget) || plan_has(plan, KIND_exact_limits))
        return;
    for (size_t i = 0; i < ARRAY_SIZE(besides); i++)
        kept |= (kind_set)1 << besides[i];
    plan->kinds &= kept;
    plan_add(plan, KIND_graded_hosts);
}

/* What is promised of answers is for one service with one server; all of it is in one database. */
static void plan_flight(struct plan *plan)
{
    static const enum kind apart[] = {KIND_graded_hosts, KIND_roles, KIND_fencing, KIND_host_names,
                                      KIND_route_changes};
    static const enum kind besides[] = {
        KIND_flight,          KIND_strict_answers, KIND_latency,
        KIND_resets,          KIND_preemption,     KIND_stale_hints,
        KIND_terminations,    KIND_crashes,        KIND_odd_flushes,
        KIND_slow_statements, KIND_kills,          KIND_disconnects,
        KIND_restarts,        KIND_unix_sockets,   KIND_default_settings,
        KIND_evictions,       KIND_notices,        KIND_out_of_memory};
    kind_set kept = 0;
    for (size_t i = 0; i < ARRAY_SIZE(apart) && plan_has(plan, KIND_flight); i++)
        plan->kinds &= ~((kind_set)1 << apart[i]);
    if (!plan_has(plan, KIND_flight))
        plan->kinds &= ~((kind_set)1 << KIND_strict_answers);
    if (!plan_has(plan, KIND_strict_answers))
        return;
    for (size_t i = 0; i < ARRAY_SIZE(besides); i++)
        kept |= (kind_set)1 << besides[i];
    plan->kinds &= kept;
}

/* A service has several addresses of one name, or several servers with priorities. */
static void plan_hosts(struct plan *plan)
{
    static const enum kind graded[] = {
        KIND_graded_hosts,     KIND_spreading, KIND_server_faults, KIND_server_drains,
        KIND_host_changes,     KIND_roles,     KIND_fencing,       KIND_twin_services,
        KIND_resolver_changes, KIND_patroni};
    if (plan_has(plan, KIND_fencing)) {
        plan_add(plan, KIND_roles);
        plan_add(plan, KIND_probes);
    }
    /* What Patroni says is for one service. */
    if (plan_has(plan, KIND_patroni) && plan_has(plan, KIND_fencing))
        plan->kinds &= ~((kind_set)1 << KIND_twin_services);
    if (plan_has(plan, KIND_twin_services) && plan_has(plan, KIND_fencing))
        plan_add(plan, KIND_session_pools);
    if (plan_has(plan, KIND_roles))
        plan_add(plan, KIND_graded_hosts);
    /* The certificate is for one address. */
    if (plan_has(plan, KIND_graded_hosts) && !plan_has(plan, KIND_host_names) &&
        !plan_has(plan, KIND_certificates) && !plan_has(plan, KIND_impostors)) {
        if (plan_has(plan, KIND_roles)) /* there is always a primary, and a standby */
            plan->kinds &= ~((kind_set)1 << KIND_host_changes | (kind_set)1 << KIND_promotions);
        /* What the daemon knows of primaries is for one service, until it ends. */
        if (plan_has(plan, KIND_fencing)) {
            plan_add(plan, KIND_preemption);
            plan->kinds &= ~((kind_set)1 << KIND_restarts | (kind_set)1 << KIND_route_changes);
        }
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(graded); i++)
        plan->kinds &= ~((kind_set)1 << graded[i]);
}

/* Nothing is delayed; each time limit is set or not. */
static void plan_punctual(struct plan *plan)
{
    static const enum kind besides[] = {
        KIND_exact_limits, KIND_notices,       KIND_odd_flushes,   KIND_evictions,
        KIND_tls,          KIND_scram,         KIND_unix_sockets,  KIND_statement_pools,
        KIND_pins,         KIND_notifications, KIND_session_pools, KIND_default_settings,
        KIND_server_tls};
    static const enum kind limits[] = {KIND_claim_timeout, KIND_query_timeout,
                                       KIND_transaction_timeout, KIND_idle_timeout,
                                       KIND_login_timeout};
    kind_set kept = 0;
    if (!plan_has(plan, KIND_exact_limits) || plan_has(plan, KIND_fairness) ||
        plan_has(plan, KIND_shared_budget))
        return;
    for (size_t i = 0; i < ARRAY_SIZE(besides); i++)
        kept |= (kind_set)1 << besides[i];
    plan->kinds &= kept;
    for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
        uint64_t chance = plan_chance(plan, CHANCE_LIMITS + i);
        if (chance_one_in(&chance, 2))
            plan_add(plan, limits[i]);
    }
}

/* Kinds that are asked for by name come instead of those that leave others out. */
static void plan_with(struct plan *plan)
{
    static const enum kind alone[] = {KIND_fairness, KIND_shared_budget, KIND_overload,
                                      KIND_exact_limits, KIND_spreading};
    for (size_t i = 0; i < ARRAY_SIZE(alone) && plan->with != 0; i++)
        plan->kinds &= ~((kind_set)1 << alone[i]);
    plan->kinds |= plan->with;
}

void plan_make(struct plan *plan, uint64_t seed, kind_set with, kind_set without, uint32_t clients,
               uint32_t rounds)
{
    *plan = (struct plan){.seed = seed, .with = with, .without = without};
    uint64_t gentle = plan_chance(plan, CHANCE_GENTLE);
    bool is_gentle = chance_one_in(&gentle, GENTLE_ONE_IN);
    for (size_t i = 0; i < KINDS; i++) {
        uint64_t chance = plan_chance(plan, i);
        if (chance_one_in(&chance, kinds[i].one_in) && !(is_gentle && kinds[i].costly))
            plan->kinds |= (kind_set)1 << i;
    }
    plan_with(plan);
    plan->kinds &= ~without;
    plan_fairness(plan);
    plan_shared_budget(plan);
    plan_overload(plan);
    plan_punctual(plan);
    plan_spreading(plan);
    plan_flight(plan);
    plan_hosts(plan);
    if (plan_has(plan, KIND_impostors))
        plan_add(plan, KIND_certificates);
    /* With preemption, a client meets state of an earlier one. */
    if (plan_has(plan, KIND_short_sessions))
        plan_add(plan, KIND_preemption);
    if (plan_has(plan, KIND_cancel_rush)) {
        plan_add(plan, KIND_cancels);
        plan_add(plan, KIND_small_pools);
        plan_add(plan, KIND_preemption);
    }
    uint64_t chance = plan_chance(plan, CHANCE_CLIENTS);
    plan->clients = 2 + chance_below(&chance, CLIENTS_MAX - 1);
    if (plan_has(plan, KIND_short_sessions))
        plan->clients = CLIENTS_HASTY;
    if (plan_has(plan, KIND_cancel_rush))
        plan->clients = CLIENTS_CANCELLING;
    if (plan_has(plan, KIND_many_clients))
        plan->clients = CLIENTS_RUSH;
    if (clients > 0)
        plan->clients = clients;
    chance = plan_chance(plan, CHANCE_ROUNDS);
    plan->rounds = rounds > 0 ? rounds : ROUNDS_MIN + chance_below(&chance, ROUNDS_SPREAD);
    if (rounds == 0 && (plan_has(plan, KIND_many_clients) || plan_has(plan, KIND_cancel_rush) ||
                        plan_has(plan, KIND_fencing)))
        plan->rounds = ROUNDS_RUSH;
}

static bool kind_find(const char *name, size_t size, kind_set *kinds_found)
{
    for (size_t i = 0; i < KINDS; i++) {
        if (strlen(kinds[i].name) != size || memcmp(kinds[i].name, name, size) != 0)
            continue;
        *kinds_found |= (kind_set)1 << i;
        return true;
    }
    return false;
}

bool plan_read_kinds(const char *text, kind_set *ret)
{
    *ret = 0;
    while (*text != '\0') {
        size_t size = strcspn(text, ",");
        if (!kind_find(text, size, ret))
            return false;
        text += size;
        text += *text == ',';
    }
    return true;
}

const char *plan_kinds_text(kind_set bits, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < KINDS && used < size; i++)
        if ((bits >> i & 1) != 0)
            used += (size_t)snprintf(text + used, size - used, "%s%s", used > 0 ? "," : "",
                                     kinds[i].name);
    return text;
}

const char *plan_command(const struct plan *plan, char *text, size_t size)
{
    char with[PLAN_TEXT], without[PLAN_TEXT];
    plan_kinds_text(plan->with, with, sizeof(with));
    plan_kinds_text(plan->without, without, sizeof(without));
    snprintf(text, size, "./dev sim --seed %" PRIu64 " --clients %u --rounds %u%s%s%s%s",
             plan->seed, plan->clients, plan->rounds, plan->with != 0 ? " --with " : "", with,
             plan->without != 0 ? " --without " : "", without);
    return text;
}
