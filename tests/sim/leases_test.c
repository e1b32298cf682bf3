/* leases_test.c - how the leases of a pool are shared among relays, in a calm simulated world. */
#include "limits_play.h"

#include "pool/lease_parts.h"
#include "pool/local_pool.h"
#include "pool/pool_parts.h"
#include "pool/router_parts.h"

#define SERVERS 4u
#define CLIENTS 16u

/* Clients that log in to one pool, and their relays. */
static struct {
    struct talk clients[CLIENTS];
    uint32_t relay[CLIENTS];
    bool asks[CLIENTS]; /* and waits for the answer */
    struct talk servers[SERVERS];
} crowd;

/* Returns the relay of a client, which its cancel key names. */
static uint32_t relay_of_login(struct talk *client)
{
    uint32_t relay = UINT32_MAX;
    do {
        ck_assert_int_eq(talk_read(client), OK);
        if (client->frame.type == WIRE_BACKEND_KEY)
            relay = wire_u32(client->frame.body.at) & 127;
    } while (client->frame.type != WIRE_READY);
    return relay;
}

/* Clients come to two relays; their pool has its first server. */
static void crowd_come(void)
{
    uint32_t first = 0;
    world_start(&world, 2, SERVERS);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        crowd.clients[i] = TALK_INIT;
        ck_assert_int_eq(talk_hello(&crowd.clients[i], &world, "app", "joe"), OK);
        if (i == 0)
            accept_server(&crowd.servers[0], 100);
        crowd.relay[i] = relay_of_login(&crowd.clients[i]);
        first += crowd.relay[i] == 0 ? 1 : 0;
    }
    ck_assert_uint_eq(first, CLIENTS / 2);
}

static void crowd_go(void)
{
    for (uint32_t i = 0; i < CLIENTS; i++)
        talk_end(&crowd.clients[i]);
    for (uint32_t i = 0; i < SERVERS; i++)
        talk_end(&crowd.servers[i]);
    world_stop(&world);
}

/* So many clients of this relay send a query that names the relay. */
static void relay_asks(uint32_t relay, uint32_t count)
{
    for (uint32_t i = 0; i < CLIENTS && count > 0; i++) {
        if (crowd.relay[i] != relay || crowd.asks[i])
            continue;
        if (relay == 0)
            PUT(&crowd.clients[i], 'Q', "SELECT 0");
        else
            PUT(&crowd.clients[i], 'Q', "SELECT 1");
        flush(&crowd.clients[i]);
        crowd.asks[i] = true;
        count -= 1;
    }
    ck_assert_uint_eq(count, 0);
}

static void relay_is_answered(uint32_t relay)
{
    for (uint32_t i = 0; i < CLIENTS; i++) {
        if (crowd.relay[i] != relay || !crowd.asks[i])
            continue;
        ck_assert_int_eq(talk_await_ready(&crowd.clients[i]), OK);
        crowd.asks[i] = false;
    }
}

/* Returns the relay whose query a server has got. */
static uint32_t server_is_asked(struct talk *server)
{
    ck_assert_int_eq(talk_read(server), OK);
    ck_assert_int_eq(server->frame.type, 'Q');
    return server->frame.body.at[sizeof("SELECT ") - 1] == '0' ? 0 : 1;
}

static void server_answers(struct talk *server)
{
    PUT(server, 'C', "SELECT 1");
    PUT_BARE(server, 'Z', "I");
    flush(server);
}

/* The clients of the first relay have all servers of the pool. */
static void first_relay_has_all(void)
{
    crowd_come();
    relay_asks(0, SERVERS);
    for (uint32_t i = 1; i < SERVERS; i++)
        accept_server(&crowd.servers[i], 100 + i);
    for (uint32_t i = 0; i < SERVERS; i++)
        ck_assert_uint_eq(server_is_asked(&crowd.servers[i]), 0);
}

static void first_relay_is_served(void)
{
    for (uint32_t i = 0; i < SERVERS; i++)
        server_answers(&crowd.servers[i]);
    relay_is_answered(0);
}

/* The clients of the second relay wait when all servers answer at the same time. */
static void second_relay_waits(void)
{
    first_relay_has_all();
    relay_asks(1, SERVERS);
    pass(ms(1));
    first_relay_is_served();
}

/* The clients of the first relay pause all at once, as after a time without the processor. */
PLAY(a_relay_whose_clients_pause_for_a_moment_keeps_servers)
{
    uint32_t asked[2] = {0};
    second_relay_waits();
    pass(ms(1));
    relay_asks(0, SERVERS);
    for (uint32_t i = 0; i < SERVERS; i++)
        asked[server_is_asked(&crowd.servers[i])] += 1;
    ck_assert_uint_ge(asked[0], 2);
    ck_assert_uint_ge(asked[1], 1);
    crowd_go();
}

/* They don't go on: the others wait for an eighth of overtake_limit. */
PLAY(servers_of_a_relay_whose_clients_stay_idle_go_to_the_other)
{
    second_relay_waits();
    moment since = now();
    for (uint32_t i = 0; i < SERVERS; i++)
        ck_assert_uint_eq(server_is_asked(&crowd.servers[i]), 1);
    ck_assert_int_le(between(since, now()).us, world.config->overtake_max.us / 8 + 1000);
    crowd_go();
}

PLAY(servers_that_have_been_idle_for_long_go_to_the_other_relay_at_once)
{
    first_relay_has_all();
    first_relay_is_served();
    pass(ms(10));
    moment since = now();
    relay_asks(1, SERVERS);
    for (uint32_t i = 0; i < SERVERS; i++)
        ck_assert_uint_eq(server_is_asked(&crowd.servers[i]), 1);
    ck_assert_int_le(between(since, now()).us, 1000);
    crowd_go();
}

/* The first relay has all servers: it gives up half of them at once, but not more. */
PLAY(a_relay_without_servers_gets_an_even_part_in_one_step)
{
    uint32_t asked[2] = {0};
    first_relay_has_all();
    relay_asks(1, CLIENTS / 2);
    pass(ms(1));
    relay_asks(0, CLIENTS / 2 - SERVERS);
    pass(ms(1));
    for (uint32_t i = 0; i < SERVERS; i++)
        server_answers(&crowd.servers[i]);
    for (uint32_t i = 0; i < SERVERS; i++)
        asked[server_is_asked(&crowd.servers[i])] += 1;
    ck_assert_uint_eq(asked[0], 2);
    ck_assert_uint_eq(asked[1], 2);
    crowd_go();
}

/* --- a fence behind a grant ------------------------------------------------------------------- */

static struct pool *pool_of_sessions(void)
{
    LIST_EACH (&pooler_router(world.pooler)->pools, it) {
        struct pool *pool = LIST_ENTRY(it, struct pool, node);
        if (strcmp(pool->versions->database, "session") == 0)
            return pool;
    }
    return NULL;
}

/* Waits until a live server is on its way to a relay, and has it fenced there, as failover.c does:
 * the relay gets both mails at once. */
static void fence_what_travels(const struct pool *pool)
{
    struct lease *lease = LIST_ENTRY(list_first(&pool->leases), struct lease, node);
    for (int rounds = 0; rounds < 100000; rounds++) {
        LIST_EACH (&pool->members, it) {
            struct member *member = LIST_ENTRY(it, struct member, node);
            struct local_pool *local = member->local;
            if (member->sent == hint_read(&local->hints.arrived))
                continue;
            __atomic_store_n(&lease->fenced, true, __ATOMIC_RELAXED);
            member->fence = UINT64_MAX;
            local->membership.fence.deliver = local_pool_fenced;
            mail_send(local->pools->machine, &local->membership.fence);
            return;
        }
        co_yield ();
    }
    ck_abort_msg("no server travels");
}

PLAY(a_login_whose_server_is_fenced_at_its_grant_gets_another_one)
{
    struct talk first = TALK_INIT, second = TALK_INIT, old, new;
    world_start(&world, 2, 1);
    ck_assert_int_eq(talk_hello(&first, &world, "session", "joe"), OK);
    accept_server(&old, 100);
    ck_assert_int_eq(talk_await_ready(&first), OK);
    ck_assert_int_eq(talk_hello(&second, &world, "session", "joe"), OK);
    pass(ms(50)); /* it waits on the other relay */
    PUT_BARE(&first, 'X', "");
    flush(&first);
    EXPECT(&old, 'Q', "DISCARD ALL");
    wire_put_command_complete(&old.out, "DISCARD ALL");
    wire_put_ready(&old.out, WIRE_TX_IDLE);
    flush(&old);
    fence_what_travels(pool_of_sessions());
    accept_server(&new, 200);
    ck_assert_int_eq(talk_await_ready(&second), OK);
    expect_end(&old);
    PUT(&second, 'Q', "SELECT 1");
    flush(&second);
    EXPECT(&new, 'Q', "SELECT 1");
    talk_end(&first);
    talk_end(&second);
    talk_end(&old);
    talk_end(&new);
    world_stop(&world);
}

TESTS("sim_leases", a_relay_whose_clients_pause_for_a_moment_keeps_servers,
      servers_of_a_relay_whose_clients_stay_idle_go_to_the_other,
      servers_that_have_been_idle_for_long_go_to_the_other_relay_at_once,
      a_relay_without_servers_gets_an_even_part_in_one_step,
      a_login_whose_server_is_fenced_at_its_grant_gets_another_one)
