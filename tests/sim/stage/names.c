#include "stage/stage.h"

#include "machine/sim/world.h"

#include <errno.h>

/*
 * PostgreSQL has a name, and the name has several addresses, which come and go.
 */

static struct address name_address(uint32_t number)
{
    return (struct address){
        .family = ADDRESS_IPV4, .port = STAGE_SERVER, .bytes = {127, 0, 0, (uint8_t)(1 + number)}};
}

/* The name has those addresses whose bits are set; the others may be refused. */
static void name_has(uint32_t bits, bool others_refuse)
{
    struct address addresses[STAGE_ADDRESSES];
    size_t count = 0;
    for (uint32_t i = 0; i < STAGE_ADDRESSES; i++) {
        struct address at = name_address(i);
        bool has = (bits >> i & 1) != 0;
        if (has)
            addresses[count++] = at;
        sim_net_refuse(&at, others_refuse && !has);
    }
    say("director", 0, "the name has the addresses %u, others are %s", bits,
        others_refuse ? "refused" : "there");
    sim_dns_set(STAGE_NAME, addresses, count, chance_below(&stage.chance, 6));
}

void names_begin(void)
{
    name_has(1, false);
}

void names_change(void)
{
    static const int failures[] = {-ENOENT, -ETIMEDOUT, -ECONNREFUSED};
    uint32_t bits = 1 + chance_below(&stage.chance, (1u << STAGE_ADDRESSES) - 1);
    switch (chance_below(&stage.chance, 5)) {
    case 0:
        say("director", 0, "the name has no answer");
        sim_dns_fail(STAGE_NAME, failures[chance_below(&stage.chance, ARRAY_SIZE(failures))]);
        break;
    case 1:
        name_has(0, chance_one_in(&stage.chance, 2));
        break;
    default:
        name_has(bits, !chance_one_in(&stage.chance, 3));
    }
    /* Who was there is gone, too. */
    if (chance_one_in(&stage.chance, 4)) {
        struct address at = name_address(chance_below(&stage.chance, STAGE_ADDRESSES));
        sim_net_reset_all(&at);
    }
}

void names_settle(void)
{
    uint32_t bits = 1 + chance_below(&stage.chance, (1u << STAGE_ADDRESSES) - 1);
    if (!stage_has(KIND_names))
        return;
    name_has(bits, true);
    /* What is left there could not be cancelled. */
    for (uint32_t i = 0; i < STAGE_ADDRESSES; i++) {
        struct address at = name_address(i);
        if ((bits >> i & 1) == 0)
            sim_net_reset_all(&at);
    }
}

void names_blackhole(bool is_black)
{
    for (uint32_t i = 0; i < STAGE_ADDRESSES; i++) {
        struct address at = name_address(i);
        sim_net_blackhole(&at, is_black);
    }
}
