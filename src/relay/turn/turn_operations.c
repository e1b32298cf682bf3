/* turn_operations.c - the relay's operations for its local pools: struct pool_operations. */
#include "machine/log.h"
#include "relay/turn/turn.h"
#include "session/pin.h"

static void forget(struct server *server)
{
    server_free_pin(server);
    turn_forget_portals(server);
}

static void drain(struct local_pool *pool)
{
    const struct relay *relay = local_pool_relay(pool);
    if (!pool->drained)
        log_event(LOG_NOTICE, "route.drained", log_text("database", pool->database),
                  log_text("user", pool->user), log_number("version", pool->config->version),
                  log_number("relay", relay->index), log_number("clients", pool->clients));
    LIST_EACH_SAFE (&relay->clients, it) {
        struct client *client = LIST_ENTRY(it, struct client, node);
        if (client->pool == pool)
            client_drain(client);
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
    .fence = turn_fence,
    .notice = client_notice,
    .times = client_arm_all,
    .drain = drain,
    .settled = settled,
};
