#include "runner/scene.h"

#include "machine/log.h"
#include "machine/sim/os_sim.h"
#include "machine/sim/world.h"
#include "model/model.h"
#include "oracle/oracle.h"
#include "runner/memory.h"
#include "stage/stage.h"

#include <signal.h>
#include <stdio.h>

/*
 * One run, from its beginning to its end.
 */
#define CHANCE_DIRECTOR 3000
#define CHANCE_PERSON   4000
#define CHANCE_NEWS     5000
#define HOSTILE_EACH    4 /* clients: one of them */
#define LOOK_EACH       ms(50)
#define NEWS_ONE_IN     3 /* looks */
#define FINISHED_BY     sec(600)

struct stage stage;

/* --- reasons ---------------------------------------------------------------------------------- */

static bool stage_has_any(const enum kind *kinds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (stage_has(kinds[i]))
            return true;
    return false;
}

bool stage_may_lose_ends(void)
{
    /* One end hears of the end much later than the other, or never. */
    static const enum kind kinds[] = {KIND_resets,   KIND_silences, KIND_half_ends, KIND_blackouts,
                                      KIND_restarts, KIND_names,    KIND_strangers};
    return stage_has_any(kinds, ARRAY_SIZE(kinds));
}

/* When all has arrived that was under way when the world healed: the ends of connections that were
 * cut, and where servers have names, the answer to a question about their addresses, which may have
 * to be asked twice. */
static deadline stage_echo_end(void)
{
    return later(stage.calm_since, stage_has(KIND_names) ? sec(12) : ms(200));
}

bool stage_excuses_loss(const struct person *person)
{
    static const enum kind kinds[] = {
        KIND_resets,        KIND_refusals,
        KIND_silences,      KIND_half_ends,
        KIND_blackouts,     KIND_crashes,
        KIND_starting,      KIND_full,
        KIND_terminations,  KIND_outages,
        KIND_kills,         KIND_restarts,
        KIND_query_timeout, KIND_transaction_timeout,
        KIND_promotions,    KIND_idle_timeout,
        KIND_names,         KIND_identities,
        KIND_little_memory, KIND_impostors,
    };
    /* Who comes may need a server; sessions and who is pinned keep theirs as long as they like. */
    if (!person->greeted &&
        (stage_has(KIND_claim_timeout) || stage_has(KIND_pins) || person->pool == PERSON_SESSION))
        return true;
    if (!person->greeted && (stage_has(KIND_few_descriptors) || stage_has(KIND_asking)))
        return true;
    /* Who holds a long message may have to go for want of memory, also in a calm world. */
    if (person->holds_much && stage_has(KIND_little_memory))
        return true;
    /* Who has come into a calm world has none but those that the configuration gives. */
    if (stage.calm && person->asked_at.us > stage_echo_end().us && !stage_has(KIND_idle_timeout) &&
        !stage_has(KIND_query_timeout) && !stage_has(KIND_transaction_timeout) && person->is_new)
        return false;
    return stage_has_any(kinds, ARRAY_SIZE(kinds));
}

bool stage_excuses_error(const struct person *person, const struct wire_error *error)
{
    if (span_is(error->sqlstate, "53200"))
        return stage_has(KIND_failing);
    /* A standby takes no writes. */
    if (span_is(error->sqlstate, "25006"))
        return stage_has(KIND_promotions);
    if (span_is(error->sqlstate, "53300"))
        return stage_has(KIND_claim_timeout) || stage_has(KIND_pins) || stage_excuses_loss(person);
    return stage_excuses_loss(person);
}

uint32_t stage_pool_max(void)
{
    return stage.setup.pool_size_ever + stage.setup.pool_reserve;
}

bool stage_is_exact(void)
{
    static const enum kind kinds[] = {
        KIND_lateness,  KIND_narrowness, KIND_short_writes, KIND_resets,    KIND_silences,
        KIND_half_ends, KIND_blackouts,  KIND_preemption,   KIND_staleness, KIND_wall_steps,
        KIND_outages,   KIND_pauses,     KIND_kills,        KIND_restarts,  KIND_names,
        KIND_orders,    KIND_identities,
    };
    return !stage_has_any(kinds, ARRAY_SIZE(kinds));
}

/* --- people ----------------------------------------------------------------------------------- */

static void stage_person_gone(struct mail *mail UNUSED)
{
    stage.finished += 1;
    co_wake(stage.main);
}

static void stage_machine_main(void *argument)
{
    struct co_group group;
    co_group_init(&group);
    for (uintptr_t i = (uintptr_t)argument; i < stage.plan->clients; i += STAGE_MACHINES)
        PROVE(co_group_start(&group, person_main, &stage.people[i], CO_LARGE) == OK);
    co_group_join(&group);
    machine_stop();
}

static void stage_people_come(void)
{
    for (uint32_t i = 0; i < stage.plan->clients; i++) {
        struct person *person = &stage.people[i];
        *person = (struct person){
            .number = i, .chance = plan_chance(stage.plan, CHANCE_PERSON + i), .talk = TALK_INIT};
        if (stage_has(KIND_sessions) && i % 3 == 0)
            person->pool = PERSON_SESSION;
        if (stage_has(KIND_statement_pools) && i % 3 == 1)
            person->pool = PERSON_STATEMENT;
        person->hostile = stage_has(KIND_hostiles) && i % HOSTILE_EACH == 1;
        stage.done[i].deliver = stage_person_gone;
    }
    for (uintptr_t i = 0; i < STAGE_MACHINES; i++)
        PROVE(machine_new("people", stage_machine_main, (void *)i, &stage.machines[i]) == OK);
}

static void stage_people_go(void)
{
    deadline by = after(FINISHED_BY);
    while (stage.finished < stage.plan->clients)
        PROVE(co_wait(by) == OK, "%u of %u clients are not done",
              stage.plan->clients - stage.finished, stage.plan->clients);
    for (int i = 0; i < STAGE_MACHINES; i++)
        machine_join(&stage.machines[i]);
}

/* --- the run ---------------------------------------------------------------------------------- */

static void stage_announces(uint32_t number)
{
    char text[32];
    snprintf(text, sizeof(text), "news %u", number);
    if (model_announce(stage.model, "news", text) > 0)
        say("director", 0, "says %s", text);
}

static void stage_looks(void *argument UNUSED)
{
    uint64_t chance = plan_chance(stage.plan, CHANCE_NEWS);
    for (uint32_t count = 0; co_sleep(LOOK_EACH) == OK;) {
        oracle_look(stage.model);
        if (stage_has(KIND_news) && chance_one_in(&chance, NEWS_ONE_IN))
            stage_announces(++count);
    }
}

/* For all that the daemon has of its own, and a few clients and servers (instance/budget.c). */
static uint64_t stage_descriptors(void)
{
    const uint32_t own = 64, each_listener = 16, each_machine = 4, clients = 6, servers = 6;
    uint32_t relays = stage.setup.relays;
    uint32_t listeners = 1u + stage_has(KIND_unix_sockets) + stage_has(KIND_listeners) +
                         stage_has(KIND_proxies) + stage_has(KIND_certificates);
    return own + each_listener * listeners + each_machine * (relays + 1) + STAGE_CANCELS * relays +
           clients + servers;
}

static void stage_open(void)
{
    /* Stays for as long as the model. */
    static struct model_user users[] = {
        {.name = "joe"}, {.name = "admin", .superuser = true}, {.name = "asker"}, {.name = "joey"}};
    /* Everywhere: its name has several addresses. */
    struct address at = {.family = ADDRESS_IPV4, .port = STAGE_SERVER};
    names_begin();
    keys_make();
    setup_make(&stage.setup, stage.plan);
    secrets_user(&stage.setup, &users[0]);
    const struct model_options options = {
        .address = at,
        .users = users,
        .user_count = ARRAY_SIZE(users),
        .seed = plan_chance(stage.plan, CHANCE_DIRECTOR + 1),
        .standby = stage_has(KIND_promotions),
        .tls = stage.model_tls,
        .impostors = stage.impostors,
        .impostor_count = STAGE_IMPOSTORS,
        .watch = oracle_watch(),
    };
    PROVE(model_new(&options, &stage.model) == OK);
    PROVE(model_start(stage.model) == OK);
    stage.at =
        (struct address){.family = ADDRESS_IPV4, .port = STAGE_PORT, .bytes = {127, 0, 0, 1}};
    stage.at_second = stage.at;
    stage.at_second.port = STAGE_SECOND;
    stage.at_proven = stage.at;
    stage.at_proven.port = STAGE_PROVEN;
    stage.at_socket = (struct address){.family = ADDRESS_UNIX};
    snprintf(stage.at_socket.path, sizeof(stage.at_socket.path), "%s/.s.PGSQL.%d", STAGE_FOLDER,
             STAGE_PORT);
    setup_write(&stage.setup);
    secrets_tell();
    sim_descriptors(stage_has(KIND_few_descriptors) ? stage_descriptors() : 1 << 20);
    proxy_begin();
    daemon_start();
}

static void stage_close(void)
{
    proxy_end();
    daemon_stop(SIGTERM);
    model_stop(stage.model, after(sec(30)));
    oracle_end(stage.model);
    model_free(&stage.model);
    keys_drop();
}

static void stage_main(void *argument UNUSED)
{
    struct co_group looking;
    stage.home = machine_self();
    stage.main = co_self();
    oracle_init();
    co_group_init(&looking);
    stage_open();
    PROVE(co_group_start(&looking, stage_looks, NULL, CO_SMALL) == OK);
    mood_begin();
    stage_people_come();
    director_troubles();
    mood_heals();
    director_makes_good();
    mood_calm();
    stage_people_go();
    co_group_cancel(&looking);
    co_group_join(&looking);
    stage_close();
    oracle_fini();
    stage.counts->simulated_us = now().us;
    machine_stop();
}

static void stage_leak(void *argument UNUSED, const char *what)
{
    say("oracle", 0, "is left: %s", what);
}

static void stage_trace(void *argument UNUSED, const char *text, size_t size)
{
    printf("%.*s\n", (int)size, text);
}

uint64_t scene_play(const struct plan *plan, struct counts *counts)
{
    PROVE(plan->clients <= STAGE_PEOPLE);
    stage = (struct stage){
        .plan = plan, .counts = counts, .chance = plan_chance(plan, CHANCE_DIRECTOR)};
    os_sim_start(plan->seed);
    /* The log's targets stay for ever, as somebody might still write to them. */
    PROVE(log_configure(LOG_INFO, LOG_FORMAT_TEXT, NULL) == 0);
    memory_watch();
    if (plan->trace)
        sim_trace(stage_trace, NULL);
    PROVE(machine_run("stage", stage_main, NULL) == OK);
    PROVE(sim_leaks(stage_leak, NULL) == 0, "something of the world is left");
    uint64_t history = os_sim_history();
    os_sim_finish();
    memory_prove_all_back();
    return history;
}
