#include "scenario/scenario.h"

#include "machine/sim/world.h"
#include "scenario/nodes.h"

#include <errno.h>
#include <string.h>

/*
 * The host name of PostgreSQL, whose addresses change.
 */

static struct address hostname_address(uint32_t number)
{
    return (struct address){.family = ADDRESS_IPV4,
                            .port = SCENARIO_SERVER_PORT,
                            .bytes = {127, 0, 0, (uint8_t)(1 + number)}};
}

bool hostname_by_records(void)
{
    return scenario_has(KIND_host_names) && scenario_has(KIND_name_servers);
}

bool hostname_by_services(void)
{
    return hostname_by_records() && scenario.plan->seed % 2 == 1;
}

/* Sets the SRV records: the host name as the target, or the one that means no service. */
static void hostname_set_services(bool offered)
{
    uint32_t priority = chance_below(&scenario.chance, 3);
    uint32_t weight = chance_below(&scenario.chance, 3);
    struct sim_service service = {.priority = (uint16_t)priority,
                                  .weight = (uint16_t)weight,
                                  .port = SCENARIO_SERVER_PORT,
                                  .target = "."};
    if (offered)
        memcpy(service.target, SCENARIO_HOST_NAME, sizeof(SCENARIO_HOST_NAME));
    trace("injector", 0, "SRV records %s", offered ? "are there" : "say that there is no service");
    sim_dns_set_services(SCENARIO_SERVICE_NAME, &service, 1, chance_below(&scenario.chance, 6));
}

/* Has the name servers answer, or fail in one of all ways; `fail`: at all. */
static void hostname_set_servers(bool fail)
{
    for (uint8_t i = 0; i < 2; i++) {
        struct address at = {
            .family = ADDRESS_IPV4, .port = 53, .bytes = {10, 0, 0, (uint8_t)(53 + i)}};
        uint32_t faults = DNS_SAID_COUNT - DNS_FAILED;
        bool fails = fail && chance_one_in(&scenario.chance, 2);
        enum dns_said said =
            !fails ? DNS_RECORDS
                   : (enum dns_said)(DNS_FAILED + chance_below(&scenario.chance, faults));
        trace("injector", 0, "name server %u: %s", i, dns_said_text(said));
        sim_dns_server(&at, said);
    }
}

/* Gives the name the addresses whose bits are set; connections to the others may be refused. */
static void hostname_set(uint32_t bits, bool others_refuse)
{
    struct address addresses[SCENARIO_ADDRESSES];
    size_t count = 0;
    for (uint32_t i = 0; i < SCENARIO_ADDRESSES; i++) {
        struct address at = hostname_address(i);
        bool has = (bits >> i & 1) != 0;
        if (has)
            addresses[count++] = at;
        sim_net_refuse(&at, others_refuse && !has);
    }
    trace("injector", 0, "the name has the addresses %u, others are %s", bits,
          others_refuse ? "refused" : "there");
    sim_dns_set(SCENARIO_HOST_NAME, addresses, count, chance_below(&scenario.chance, 6));
}

void hostname_begin(void)
{
    hostname_set(1, false);
    if (hostname_by_records()) {
        hostname_set_services(true);
        hostname_set_servers(false);
    }
}

void hostname_change(void)
{
    static const int failures[] = {-ENOENT, -ETIMEDOUT, -ECONNREFUSED};
    uint32_t bits = 1 + chance_below(&scenario.chance, (1u << SCENARIO_ADDRESSES) - 1);
    if (hostname_by_records()) {
        hostname_set_services(!chance_one_in(&scenario.chance, 6));
        hostname_set_servers(true);
    }
    switch (chance_below(&scenario.chance, 5)) {
    case 0:
        trace("injector", 0, "the name has no answer");
        sim_dns_fail(SCENARIO_HOST_NAME,
                     failures[chance_below(&scenario.chance, ARRAY_SIZE(failures))]);
        break;
    case 1:
        hostname_set(0, chance_one_in(&scenario.chance, 2));
        break;
    default:
        hostname_set(bits, !chance_one_in(&scenario.chance, 3));
    }
    /* Connections to one address are reset, too. */
    if (chance_one_in(&scenario.chance, 4)) {
        struct address at = hostname_address(chance_below(&scenario.chance, SCENARIO_ADDRESSES));
        sim_net_reset_all(&at);
    }
}

void hostname_settle(void)
{
    uint32_t bits = 1 + chance_below(&scenario.chance, (1u << SCENARIO_ADDRESSES) - 1);
    if (!scenario_has(KIND_host_names))
        return;
    hostname_set(bits, true);
    if (hostname_by_records()) {
        hostname_set_services(true);
        hostname_set_servers(false);
    }
    /* Cancel requests could not reach these backends. */
    for (uint32_t i = 0; i < SCENARIO_ADDRESSES; i++) {
        struct address at = hostname_address(i);
        if ((bits >> i & 1) == 0)
            sim_net_reset_all(&at);
    }
}

void hostname_set_blackhole(bool is_black)
{
    for (uint32_t i = 0; i < SCENARIO_ADDRESSES; i++) {
        struct address at = hostname_address(i);
        sim_net_blackhole(&at, is_black);
    }
    for (uint32_t i = 0; nodes_exist() && i < NODES; i++)
        sim_net_blackhole(&node_at(i)->address, is_black);
}
