#include "limits_play.h"
#include "pool/pool_parts.h"
#include "pool/router.h"
#include "pooler/control.h"
#include "relay/move.h"
#include "relay/relay.h"
#include "session/statements.h"

/*
 * Limits of docs/LIMITS.md from both sides: how many there may be, and how many at a time.
 */

/* --- clients that move ------------------------------------------------------------------------ */

static struct talk crowd[513];

/* All of them are clients of the first of two relays. */
static void gather(uint32_t count, struct talk *server)
{
    world_start(&world, 2, 1);
    for (uint32_t i = 0; i < count; i++) {
        crowd[i] = TALK_INIT;
        ck_assert_int_eq(talk_hello(&crowd[i], &world, "app", "joe"), OK);
        if (i == 0)
            accept_server(server, 100);
        ck_assert_int_eq(talk_await_ready(&crowd[i]), OK);
    }
    struct relay *first = pooler_relay(world.pooler, 0), *second = pooler_relay(world.pooler, 1);
    pass(ms(100)); /* the last of them is parked */
    ck_assert_int_eq(move_some(second, first, 1000, true), OK);
    pass(ms(100));
    ck_assert_uint_eq(hint_read(&first->hints.clients), count);
}

static void disperse(uint32_t count, struct talk *server)
{
    ask(&crowd[0], server);
    ask(&crowd[count - 1], server);
    for (uint32_t i = 0; i < count; i++)
        talk_end(&crowd[i]);
    talk_end(server);
    world_stop(&world);
}

/* A letter to the relay that clients leave: it has its turn among the order's. */
static struct probe {
    struct mail mail;
    struct relay *relay;
    uint64_t left;
    uint64_t max; /* that left between two of its turns */
    uint32_t turns;
} probe;

static void probe_deliver(struct mail *mail UNUSED)
{
    uint64_t left = hint_read(&probe.relay->hints.left);
    probe.max = MAX_OF(probe.max, left - probe.left);
    probe.left = left;
    if (++probe.turns < 100)
        (void)mail_send(probe.relay->pools.machine, &probe.mail);
}

PLAY(an_order_moves_so_many_clients_a_few_at_a_time)
{
    struct talk server;
    gather(513, &server);
    struct relay *first = pooler_relay(world.pooler, 0), *second = pooler_relay(world.pooler, 1);
    probe = (struct probe){
        .mail.deliver = probe_deliver, .relay = first, .left = hint_read(&first->hints.left)};
    ck_assert_int_eq(move_some(first, second, 1000, true), OK);
    (void)mail_send(first->pools.machine, &probe.mail);
    pass(ms(100));
    ck_assert_uint_eq(probe.max, 32);
    ck_assert_uint_eq(hint_read(&first->hints.clients), 1);
    ck_assert_uint_eq(hint_read(&second->hints.clients), 512);
    ck_assert_int_eq(move_some(first, second, 1000, true), OK);
    pass(ms(100));
    ck_assert_uint_eq(hint_read(&second->hints.clients), 513);
    disperse(513, &server);
}

PLAY(an_order_moves_all_clients_if_there_are_no_more)
{
    struct talk server;
    gather(512, &server);
    struct relay *first = pooler_relay(world.pooler, 0), *second = pooler_relay(world.pooler, 1);
    ck_assert_int_eq(move_some(first, second, 1000, true), OK);
    pass(ms(100));
    ck_assert_uint_eq(hint_read(&second->hints.clients), 512);
    disperse(512, &server);
}

/* As move.c packs a named statement, in front of its name and its text. */
struct packed {
    struct digest digest;
    struct meaning meaning;
    uint32_t body;
    uint32_t params;
    uint16_t name;
};

static struct luggage {
    size_t size; /* of all */
    fault moved;
} luggage;

static void pack_and_move(struct relay *relay, void *argument UNUSED)
{
    if (relay == NULL || relay->index != 0)
        return;
    struct client *client = LIST_ENTRY(list_first(&relay->clients), struct client, node);
    size_t size = luggage.size - sizeof(struct packed) - 1;
    uint8_t *body = calloc(1, size);
    struct statement *statement;
    struct client_statement *named;
    ck_assert_ptr_nonnull(body);
    memset(body, 'x', size - 3); /* the text, its end, and no types of parameters */
    ck_assert_int_eq(statement_intern(&relay->statements, span_of(body, size), &statement), OK);
    ck_assert_int_eq(client_statement_add(&client->statements, SPAN("s"), statement, &named), OK);
    named->pending = false;
    client_statement_unref(&named);
    statement_unref(&statement);
    free(body);
    ck_assert_ptr_null(move_hindrance(client));
    luggage.moved = move_client(client, pooler_relay(world.pooler, 1));
}

static void moves_with(size_t size, fault moved, uint32_t clients_there)
{
    struct talk server;
    gather(1, &server);
    luggage = (struct luggage){.size = size};
    pooler_look(world.pooler, pack_and_move, NULL);
    pass(ms(100));
    ck_assert_int_eq(luggage.moved, moved);
    ck_assert_uint_eq(hint_read(&pooler_relay(world.pooler, 1)->hints.clients), clients_there);
    disperse(1, &server);
}

PLAY(a_client_moves_with_as_much_as_it_may_have)
{
    moves_with(262144, OK, 1);
}

PLAY(a_client_with_more_than_that_stays)
{
    moves_with(262145, FAULT_LIMIT, 0);
}

/* --- maps that are full ----------------------------------------------------------------------- */

static struct map_link *fillers;
static uint32_t filler_count;

/* Up to so many entries. */
static void fill(struct map *map, uint32_t count)
{
    fillers = calloc(count, sizeof(*fillers));
    ck_assert_ptr_nonnull(fillers);
    for (filler_count = 0; map->count < count; filler_count++)
        ck_assert_int_eq(map_insert(map, &fillers[filler_count],
                                    (filler_count + UINT64_C(1)) * 0x9e3779b97f4a7c15u),
                         OK);
}

static void empty(struct map *map)
{
    while (filler_count > 0)
        map_remove(map, &fillers[--filler_count]);
    free(fillers);
}

PLAY(there_are_as_many_groups_of_pools_as_there_may_be)
{
    struct talk client, server, other = TALK_INIT, refused = TALK_INIT;
    begin(&client, &server);
    struct map *groups = &pooler_router(world.pooler)->groups;
    fill(groups, 1999999);
    struct talk other_server;
    ck_assert_int_eq(talk_hello(&other, &world, "second", "joe"), OK);
    accept_server(&other_server, 101);
    ck_assert_int_eq(talk_await_ready(&other), OK);
    ck_assert_uint_eq(groups->count, 2000000);
    ck_assert_int_eq(talk_hello(&refused, &world, "third", "joe"), OK);
    expect_error(&refused, "FATAL", "53200");
    expect_end(&refused);
    talk_end(&refused);
    ask(&client, &server);
    ask(&other, &other_server);
    empty(groups);
    talk_end(&other);
    talk_end(&other_server);
    finish(&client, &server);
}

static void prepare(struct talk *client, const char *name, const char *text)
{
    put_parse(client, name, text);
    PUT_BARE(client, 'S', "");
    flush(client);
}

PLAY(as_many_texts_of_statements_are_known_as_may_be)
{
    struct talk client, server;
    begin(&client, &server);
    struct map *statements = &pooler_relay(world.pooler, 0)->statements;
    fill(statements, 999999);
    prepare(&client, "fits", "SELECT 1");
    for (int i = 0; i < 3; i++) /* Parse, Describe, Sync */
        ck_assert_int_eq(talk_read(&server), OK);
    PUT_BARE(&server, '1', "");
    PUT_BARE(&server, 't', "\0\0");
    PUT_BARE(&server, 'n', "");
    PUT_BARE(&server, 'Z', "I");
    flush(&server);
    EXPECT_BARE(&client, '1', "");
    EXPECT_BARE(&client, 'Z', "I");
    ck_assert_uint_eq(statements->count, 1000000);
    prepare(&client, "more", "SELECT 2");
    expect_error(&client, "FATAL", "53200");
    expect_end(&client);
    empty(statements);
    finish(&client, &server);
}

PLAY(as_many_databases_are_paused_as_may_be)
{
    struct talk client, server;
    char name[16];
    begin(&client, &server);
    for (unsigned i = 0; i < 10000; i++) {
        snprintf(name, sizeof(name), "d%u", i);
        ck_assert_int_eq(control_mark(world.pooler, name, ORDER_PAUSED, 0), OK);
    }
    fault marked = control_mark(world.pooler, "one more", ORDER_DISABLED, 0);
    ck_assert_int_eq(marked, FAULT_LIMIT);
    ck_assert_str_eq(fault_detail(marked), "more than 10000 databases are paused or disabled");
    ck_assert_str_eq(fault_detail_sqlstate(marked), "54000");
    const struct orders *orders = &pooler_relay(world.pooler, 0)->pools.orders;
    ck_assert(orders_hold(orders, "d0") && orders_hold(orders, "d9999"));
    ck_assert_int_eq(orders_admit(orders, "one more"), OK);
    ask(&client, &server);
    ck_assert_int_eq(control_mark(world.pooler, "d0", 0, ORDER_PAUSED), OK);
    ck_assert_int_eq(control_mark(world.pooler, "one more", ORDER_DISABLED, 0), OK);
    ck_assert_int_ne(orders_admit(orders, "one more"), OK);
    finish(&client, &server);
}

/* --- listeners -------------------------------------------------------------------------------- */

static struct listen_config listens[65];

static void listen_at(uint32_t count)
{
    world_prepare(&world, 1, 1);
    for (uint32_t i = 0; i < count; i++) {
        listens[i] = world.listen;
        listens[i].port = (uint16_t)(20000 + i);
        listens[i].number = i;
    }
    world.config->listens = listens;
    world.config->listen_count = count;
    world.at.port = (uint16_t)(20000 + count - 1);
}

PLAY(there_are_as_many_listeners_as_there_may_be)
{
    struct talk client = TALK_INIT, server;
    listen_at(64);
    world_open(&world);
    ck_assert_int_eq(talk_hello(&client, &world, "app", "joe"), OK);
    accept_server(&server, 100);
    ck_assert_int_eq(talk_await_ready(&client), OK);
    finish(&client, &server);
}

PLAY(with_one_listener_more_nothing_starts)
{
    static const struct pooler_console no_console = {0};
    struct talk client = TALK_INIT;
    listen_at(65);
    fault started = pooler_start(world.config, &no_console, &world.pooler);
    ck_assert_int_eq(started, FAULT_LIMIT);
    ck_assert_str_eq(fault_detail(started), "more than 64 addresses to listen on");
    world.at.port = 20000;
    ck_assert_int_eq(talk_hello(&client, &world, "app", "joe"), FAULT_REFUSED);
    talk_end(&client);
    world.pooler = NULL;
    world_stop(&world);
}

/* --- many pools that want one another's room -------------------------------------------------- */

/* One pool has all servers, in transactions. */
static void take_all_room(struct busy *busy, uint32_t servers)
{
    world_prepare(&world, 1, servers);
    world.config->servers_max = servers;
    world.config->overtake_max = sec(4);
    world_open(&world);
    for (uint32_t i = 0; i < servers; i++)
        busy_begin(&busy[i], 100 + i);
}

static uint32_t all_recalls(void)
{
    uint32_t recalls = 0;
    LIST_EACH (&pooler_router(world.pooler)->pools, it) {
        const struct pool *pool = LIST_ENTRY(it, struct pool, node);
        LIST_EACH (&pool->members, at)
            recalls += LIST_ENTRY(at, struct member, node)->recalls;
    }
    return recalls;
}

/* Its query ends, and its server goes to another pool. */
static void gives_its_room(struct busy *busy, struct talk *server, uint32_t pid)
{
    PUT(&busy->server, 'C', "SELECT 1");
    PUT_BARE(&busy->server, 'Z', "I");
    flush(&busy->server);
    EXPECT_BARE(&busy->server, 'X', "");
    talk_end(&busy->server);
    accept_server(server, pid);
}

/* Each of so many pools wants one of ten servers: as many are called back. */
static void contest_of(uint32_t pools, uint32_t recalls)
{
    static struct busy busy[10];
    static struct talk waiting[10], servers[10];
    char name[16];
    take_all_room(busy, 10);
    pass(sec(10)); /* any of them may be called back */
    for (uint32_t i = 0; i < pools; i++) {
        snprintf(name, sizeof(name), "d%u", i);
        waiting[i] = TALK_INIT;
        ck_assert_int_eq(talk_hello(&waiting[i], &world, name, "joe"), OK);
    }
    pass((duration){sec(4).us + 500000}); /* their claims are old, and nobody has answered yet */
    ck_assert_uint_eq(all_recalls(), recalls);
    for (uint32_t i = 0; i < pools; i++)
        gives_its_room(&busy[i], &servers[i], 200 + i);
    for (uint32_t i = 0; i < pools; i++) {
        ck_assert_int_eq(talk_await_ready(&waiting[i]), OK);
        talk_end(&waiting[i]);
        talk_end(&servers[i]);
    }
    for (uint32_t i = 0; i < 10; i++)
        busy_end(&busy[i]);
    world_stop(&world);
}

PLAY(a_reclaim_is_for_so_many_pools)
{
    contest_of(8, 8);
}

PLAY(those_behind_them_have_the_next_reclaim)
{
    contest_of(9, 8);
}

/* --- many pools that wait for a permit -------------------------------------------------------- */

/* No new server for some time, as after a login that was rejected. */
static void pause_all_but_the_last(void)
{
    LIST_EACH (&pooler_router(world.pooler)->pools, it) {
        struct pool *pool = LIST_ENTRY(it, struct pool, node);
        if (pool->versions->database[0] != 'd')
            continue;
        pool->paused = after(sec(10));
        pool_balance(pool);
    }
}

/* A login is under way, as many as may be; behind so many pools that must wait for their time
 * stands one that waits for its end only. */
static deadline walk_over(uint32_t pools, struct talk *waiting, struct talk *first)
{
    int handle;
    uint32_t cancelled;
    struct address from;
    char name[16];
    world_prepare(&world, 1, 1);
    world.service.logins_max = 1;
    world_open(&world);
    for (uint32_t i = 0; i < pools + 2; i++) {
        snprintf(name, sizeof(name), i == 0 ? "first" : i <= pools ? "d%u" : "last", i);
        waiting[i] = TALK_INIT;
        ck_assert_int_eq(talk_hello(&waiting[i], &world, name, "joe"), OK);
        pass(ms(1));
    }
    pause_all_but_the_last();
    *first = TALK_INIT;
    ck_assert_int_eq(listener_accept(&world.backend, &handle, &from, soon()), OK);
    nobody_connects();
    ck_assert_int_eq(stream_adopt(&first->stream, handle, false), OK);
    ck_assert_int_eq(talk_welcome(first, 100, &cancelled), OK);
    ck_assert_int_eq(talk_await_ready(&waiting[0]), OK);
    return now();
}

static void walk_ends(uint32_t pools, struct talk *waiting, struct talk *first)
{
    for (uint32_t i = 0; i < pools + 2; i++)
        talk_end(&waiting[i]);
    talk_end(first);
    world_stop(&world);
}

PLAY(a_walk_along_a_line_passes_over_so_many_pools)
{
    static struct talk waiting[65];
    struct talk first, server;
    moment since = walk_over(63, waiting, &first);
    accept_server(&server, 101);
    is_at_limit(since, ms(0));
    ck_assert_int_eq(talk_await_ready(&waiting[64]), OK);
    talk_end(&server);
    walk_ends(63, waiting, &first);
}

PLAY(the_pool_behind_them_has_its_turn_when_it_asks_again)
{
    static struct talk waiting[66];
    struct talk first, server;
    moment since = walk_over(64, waiting, &first);
    accept_server(&server, 101);
    ck_assert_int_ge(between(since, now()).us, ms(5).us);
    ck_assert_int_le(between(since, now()).us, world.config->overtake_max.us / 4);
    talk_end(&server);
    walk_ends(64, waiting, &first);
}

TESTS("sim_limits_many", an_order_moves_so_many_clients_a_few_at_a_time,
      an_order_moves_all_clients_if_there_are_no_more, a_client_moves_with_as_much_as_it_may_have,
      a_client_with_more_than_that_stays, there_are_as_many_groups_of_pools_as_there_may_be,
      as_many_texts_of_statements_are_known_as_may_be, as_many_databases_are_paused_as_may_be,
      there_are_as_many_listeners_as_there_may_be, with_one_listener_more_nothing_starts,
      a_reclaim_is_for_so_many_pools, those_behind_them_have_the_next_reclaim,
      a_walk_along_a_line_passes_over_so_many_pools,
      the_pool_behind_them_has_its_turn_when_it_asks_again)
