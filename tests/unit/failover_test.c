/* failover_test.c - the fence over all relays, while a relay is late or another primary appears.
 *
 * The test says what probes found: three servers, of which the first is the primary at first.  The
 * servers in use are played by the test, as in the tests of turns. */
#include "turn_steps.h"

#include "fleet/fleet.h"
#include "pool/failover_parts.h"
#include "pool/lease_parts.h"
#include "pool/live_service.h"
#include "pool/pool_parts.h"

#include <semaphore.h>

#define NODES   3u
#define RELAYS  2u
#define CLIENTS (2 * RELAYS)

static struct listener others[NODES - 1];
static struct listener *const nodes[NODES] = {&world.backend, &others[0], &others[1]};
static struct failover *failover;

/* --- what probes find ------------------------------------------------------------------------- */

static struct service *the_service(void)
{
    return live_service_service(failover->live);
}

static struct backend *backend_of(uint32_t node)
{
    struct backend *backend = NULL;
    while ((backend = service_next(the_service(), backend)) != NULL)
        if (backend_address(backend)->port == nodes[node]->address.port)
            return backend;
    ck_abort_msg("node %u is no backend", node);
    return NULL;
}

static void find(uint32_t node, uint32_t line, bool replica)
{
    struct backend_sample sample = {
        .asked = now(), .answered = now(), .replica = replica, .system = 77, .line = line};
    backend_sampled(backend_of(node), &sample, now());
}

/* This node is found to be the primary, on a higher timeline than those before it. */
static void promote(uint32_t node)
{
    find(node, node + 1, false);
    failover_judge(failover, sec(30));
}

/* --- the world -------------------------------------------------------------------------------- */

static void nodes_come(void)
{
    static struct host_config hosts[NODES];
    struct address at = {.family = ADDRESS_IPV4, .bytes = {127, 0, 0, 1}};
    /* First, lest one of them gets the port that the pooler will listen on. */
    for (uint32_t i = 1; i < NODES; i++)
        ck_assert_int_eq(listener_open(nodes[i], &at, 64, 0), OK);
    world_prepare(&world, RELAYS, RELAYS);
    for (uint32_t i = 0; i < NODES; i++) {
        hosts[i] = world.host;
        hosts[i].port = nodes[i]->address.port;
    }
    world.service.hosts = hosts;
    world.service.host_count = NODES;
    world_open(&world);
    failover = live_services_failover(pooler_router(world.pooler)->live_services, "main");
    for (deadline by = soon(); service_backends(the_service()) < NODES && now().us < by.us;)
        ck_assert_int_eq(co_sleep(ms(1)), OK);
    for (uint32_t i = 1; i < NODES; i++)
        find(i, 1, true);
    promote(0);
    ck_assert_int_eq(failover->primary.state, PRIMARY_ELECTED);
}

static void nodes_go(void)
{
    for (uint32_t i = 1; i < NODES; i++)
        listener_close(nodes[i]);
    world_stop(&world);
}

static struct pool *the_pool(void)
{
    return LIST_ENTRY(list_first(&pooler_router(world.pooler)->pools), struct pool, node);
}

/* A client's query runs at a server that was opened at this node for it. */
static void ask_at(uint32_t node, struct talk *client, struct talk *server, uint32_t pid)
{
    PUT(client, 'Q', "SELECT 1");
    flush(client);
    accept_server_at(nodes[node], server, pid);
    EXPECT(server, 'Q', "SELECT 1");
}

static void answer(struct talk *client, struct talk *server)
{
    PUT(server, 'C', "SELECT 1");
    PUT_BARE(server, 'Z', "I");
    flush(server);
    EXPECT(client, 'C', "SELECT 1");
    EXPECT_BARE(client, 'Z', "I");
}

/* --- a fence that is ordered while the mail of the one before is under way -------------------- */

BODY(a_fence_that_is_ordered_while_another_is_under_way_ends_too)
{
    struct talk client = TALK_INIT, old, new;
    nodes_come();
    ck_assert_int_eq(talk_hello(&client, &world, "app", "joe"), OK);
    accept_server_at(nodes[0], &old, 100);
    ck_assert_int_eq(talk_await_ready(&client), OK);
    /* The relay's answer is not read between the two, for this machine is not left. */
    promote(1);
    promote(2);
    ck_assert_int_eq(failover->primary.state, PRIMARY_FENCING);
    for (deadline by = after(sec(5));
         failover->primary.state == PRIMARY_FENCING && now().us < by.us;)
        ck_assert_int_eq(co_sleep(ms(1)), OK);
    ck_assert_str_eq(primary_state_text(failover->primary.state), "elected");
    expect_end(&old);
    ask_at(2, &client, &new, 200);
    answer(&client, &new);
    talk_end(&client);
    talk_end(&old);
    talk_end(&new);
    nodes_go();
}

/* --- a relay that answers late ---------------------------------------------------------------- */

/* A mail that keeps its relay from reading any other. */
struct hold {
    struct mail mail;
    sem_t begun;
    sem_t over;
};

static void hold_relay(struct mail *mail)
{
    struct hold *hold = CONTAINER_OF(mail, struct hold, mail);
    sem_post(&hold->begun);
    sem_wait(&hold->over);
}

/* Returns when the relay reads no mail any more. */
static void hold_begin(struct hold *hold, const struct member *member)
{
    *hold = (struct hold){.mail = {.deliver = hold_relay}};
    ck_assert_int_eq(sem_init(&hold->begun, 0, 0), 0);
    ck_assert_int_eq(sem_init(&hold->over, 0, 0), 0);
    ck_assert(mail_send(member->local->pools->machine, &hold->mail));
    sem_wait(&hold->begun);
}

/* Each relay has a client with a query that runs at the first node, and an idle client. */
static void two_relays_have_servers(struct talk clients[CLIENTS], struct talk servers[RELAYS])
{
    nodes_come();
    for (uint32_t i = 0; i < CLIENTS; i++) {
        clients[i] = TALK_INIT;
        ck_assert_int_eq(talk_hello(&clients[i], &world, "app", "joe"), OK);
        if (i == 0)
            accept_server_at(nodes[0], &servers[0], 100);
        ck_assert_int_eq(talk_await_ready(&clients[i]), OK);
    }
    PUT(&clients[0], 'Q', "SELECT 1");
    flush(&clients[0]);
    EXPECT(&servers[0], 'Q', "SELECT 1");
    ask_at(0, &clients[1], &servers[1], 101);
    ck_assert_uint_eq(the_pool()->members.count, RELAYS);
    LIST_EACH (&the_pool()->members, it)
        ck_assert_uint_eq(LIST_ENTRY(it, struct member, node)->leases, 1);
}

static void await_answer(const struct member *member)
{
    for (deadline by = soon(); member->fence != 0 && now().us < by.us;)
        ck_assert_int_eq(co_sleep(ms(1)), OK);
    ck_assert_uint_eq(member->fence, 0);
}

BODY(nothing_is_granted_at_the_new_primary_before_every_relay_has_answered)
{
    struct talk clients[CLIENTS], old[RELAYS], new[RELAYS];
    struct hold hold;
    two_relays_have_servers(clients, old);
    struct list *members = &the_pool()->members;
    const struct member *late = LIST_ENTRY(list_first(members), struct member, node);
    const struct member *quick = LIST_ENTRY(late->node.next, struct member, node);
    hold_begin(&hold, late);
    promote(1);
    await_answer(quick);
    ck_assert_uint_ne(late->fence, 0);
    ck_assert_str_eq(primary_state_text(failover->primary.state), "fencing");
    ck_assert(slots_lack_primary(the_pool()->slots));
    sem_post(&hold.over);
    await_answer(late);
    ck_assert_str_eq(primary_state_text(failover->primary.state), "elected");
    for (uint32_t i = 0; i < RELAYS; i++) {
        expect_end(&old[i]);
        ck_assert_int_eq(talk_await_ready(&clients[i]), FAULT_UPSTREAM);
        talk_end(&clients[i]);
        talk_end(&old[i]);
    }
    for (uint32_t i = 0; i < RELAYS; i++)
        ask_at(1, &clients[RELAYS + i], &new[i], 200 + i);
    for (uint32_t i = 0; i < RELAYS; i++) {
        answer(&clients[RELAYS + i], &new[i]);
        talk_end(&clients[RELAYS + i]);
        talk_end(&new[i]);
    }
    nodes_go();
}

TESTS("failover", a_fence_that_is_ordered_while_another_is_under_way_ends_too,
      nothing_is_granted_at_the_new_primary_before_every_relay_has_answered)
