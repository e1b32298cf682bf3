#pragma once
/*
 * limits_play.h - a calm simulated world for tests of limits: a time is met to the millisecond, and
 * what takes seconds costs none.
 */
#include "machine/sim/os_sim.h"
#include "machine/sim/world.h"
#include "turn_steps.h"

#define PLAY(name)                                                                                 \
    static void name##_main(void *argument);                                                       \
    TEST(name)                                                                                     \
    {                                                                                              \
        static const struct sim_rates calm;                                                        \
        os_sim_start(1);                                                                           \
        sim_set_rates(&calm);                                                                      \
        ck_assert_int_eq(machine_run("test", name##_main, NULL), OK);                              \
        os_sim_finish();                                                                           \
    }                                                                                              \
    END_TEST                                                                                       \
    static void name##_main(void *argument UNUSED)

#define BEFORE(limit) ((duration){(limit).us - 5000}) /* just in time */

/* It happens now: not before its limit, and little later. */
static inline void is_at_limit(moment since, duration limit)
{
    int64_t passed = between(since, now()).us;
    ck_assert_int_ge(passed, limit.us - 1000);
    ck_assert_int_le(passed, limit.us + 5000);
}

static inline void pass(duration time)
{
    ck_assert_int_eq(co_sleep(time), OK);
}

/* Nobody connects to the server's side. */
static inline void nobody_connects(void)
{
    int handle;
    struct address from;
    ck_assert_int_eq(listener_accept(&world.backend, &handle, &from, after(ms(100))),
                     FAULT_TIMEOUT);
}

struct busy {
    struct talk client;
    struct talk server;
    uint32_t pid;
    uint8_t secret[4];
};

/* A client in a query, with its key. */
static inline void busy_begin(struct busy *busy, uint32_t server_pid)
{
    busy->client = TALK_INIT;
    ck_assert_int_eq(talk_hello(&busy->client, &world, "app", "joe"), OK);
    if (server_pid == 100) /* the pool's first */
        accept_server(&busy->server, server_pid);
    do {
        ck_assert_int_eq(talk_read(&busy->client), OK);
        if (busy->client.frame.type != WIRE_BACKEND_KEY)
            continue;
        busy->pid = wire_u32(busy->client.frame.body.at);
        memcpy(busy->secret, busy->client.frame.body.at + 4, 4);
    } while (busy->client.frame.type != WIRE_READY);
    PUT(&busy->client, 'Q', "SELECT 1");
    flush(&busy->client);
    if (server_pid != 100)
        accept_server(&busy->server, server_pid);
    EXPECT(&busy->server, 'Q', "SELECT 1");
}

static inline void busy_end(struct busy *busy)
{
    talk_end(&busy->client);
    talk_end(&busy->server);
}
