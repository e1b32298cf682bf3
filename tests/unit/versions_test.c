#include "machine_body.h"
#include "pooler_world.h"

#define VERSIONS 3

static struct world world;

static void reload_often(struct relay *relay, void *argument)
{
    struct config **versions = argument;
    for (uint32_t i = 0; i < VERSIONS && relay != NULL; i++)
        relay_reload(relay, versions[i]);
}

/* They are sent on the relay's own thread, which so applies the last one only. */
BODY(a_version_that_a_relay_skips_is_released)
{
    struct config *versions[VERSIONS];
    world_start(&world, 1, 1);
    for (uint32_t i = 0; i < VERSIONS; i++) {
        versions[i] = world_config(&world, 1);
        versions[i]->version = 2 + i;
    }
    pooler_look(world.pooler, reload_often, versions);
    world_stop_pooler(&world);
    for (uint32_t i = 0; i < VERSIONS; i++) {
        /* Services end a little later. */
        for (deadline by = soon(); versions[i]->references > 1 && now().us < by.us;)
            ck_assert_int_eq(co_sleep(ms(1)), OK);
        ck_assert_msg(versions[i]->references == 1, "version %u has %u references", 2 + i,
                      versions[i]->references);
        config_unref(&versions[i]);
    }
    world_stop(&world);
}

TESTS("versions", a_version_that_a_relay_skips_is_released)
