/*
 * local_pool_fence.c - ends the servers of fenced leases, and doubts the role of servers that
 * refuse to write: see failover_parts.h.
 */
#include "pool/lease_parts.h"
#include "pool/local_pool_parts.h"
#include "pool/router_parts.h"

static bool server_is_to_fence(const struct server *server)
{
    return server->lease != NULL && !server->fenced &&
           __atomic_load_n(&server->lease->fenced, __ATOMIC_RELAXED);
}

void local_pool_fenced(struct mail *mail)
{
    struct local_pool *pool = CONTAINER_OF(mail, struct local_pool, membership.fence);
    LIST_EACH_SAFE (&pool->idle, it) {
        struct server *server = LIST_ENTRY(it, struct server, node);
        if (!server_is_to_fence(server))
            continue;
        server->fenced = server->broken = true;
        server_close(&server, "its backend is no longer the primary", false);
    }
    LIST_EACH_SAFE (&pool->busy, it)
        if (server_is_to_fence(LIST_ENTRY(it, struct server, node)))
            pool->pools->does->fence(LIST_ENTRY(it, struct server, node));
    pool->membership.fence.deliver = router_fenced;
    mail_send(pool->pools->env->machine, &pool->membership.fence);
}

void local_pool_doubt(struct local_pool *pool)
{
    hint_write(&pool->hints.doubtful, 1);
    local_pool_ask(pool);
}
