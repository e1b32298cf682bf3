/* turn_operations.c - the relay's operations for its local pools: struct pool_operations. */
#include "relay/turn/pin.h"
#include "relay/turn/turn.h"

static void forget(struct server *server)
{
    pin_free(server);
    turn_forget_portals(server);
}

static void drain(struct local_pool *pool)
{
    LIST_EACH_SAFE (&local_pool_relay(pool)->clients, it) {
        struct client *client = LIST_ENTRY(it, struct client, node);
        if (client->pool == pool)
            client_leave(client);
    }
}

static void settled(struct local_pools *pools)
{
    relay_check_end(CONTAINER_OF(pools, struct relay, pools));
}

const struct pool_operations turn_operations = {
    .settle = turn_settle,
    .forget = forget,
    .mark = turn_mark_alone,
    .clean = turn_clean_alone,
    .check = turn_check,
    .notice = client_notice,
    .times = client_arm_all,
    .drain = drain,
    .settled = settled,
};
