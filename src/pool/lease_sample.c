/* lease_sample.c - what a probe has found at the backend of a lease, written by the router's
 * machine and read by the relay that has the lease. */
#include "pool/pool_parts.h"
#include "pool/router_parts.h"
#include "pool/server.h"

#define PUT(field, value) __atomic_store_n(&(field), value, __ATOMIC_RELAXED)
#define GET(field)        __atomic_load_n(&(field), __ATOMIC_RELAXED)

/* There is one writer.  The version is odd while it writes. */
static void lease_sampled(struct lease_sample *found, const struct backend_sample *sample)
{
    uint32_t version = found->version;
    PUT(found->version, version + 1);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    PUT(found->asked_us, sample->asked.us);
    PUT(found->instance, sample->instance);
    PUT(found->system, sample->system);
    PUT(found->position, sample->position);
    PUT(found->line, sample->line);
    __atomic_store_n(&found->version, version + 2, __ATOMIC_RELEASE);
}

void router_sampled(struct router *router, const struct live_service *live,
                    const struct backend *backend, const struct backend_sample *sample)
{
    if (!sample->replica || router->env->stopping)
        return;
    LIST_EACH (&router->pools, it) {
        struct pool *pool = LIST_ENTRY(it, struct pool, node);
        if (pool->live != live || !pool->route->is_reads)
            continue;
        LIST_EACH (&pool->leases, at) {
            struct lease *lease = LIST_ENTRY(at, struct lease, node);
            if (slot_backend(lease->slot) == backend)
                lease_sampled(&lease->sample, sample);
        }
    }
}

bool server_sampled(const struct server *server, struct wal_position *ret)
{
    if (server->lease == NULL)
        return false;
    const struct lease_sample *found = &server->lease->sample;
    uint32_t version = __atomic_load_n(&found->version, __ATOMIC_ACQUIRE);
    moment asked = {.us = GET(found->asked_us)};
    *ret = (struct wal_position){.system = GET(found->system),
                                 .at = GET(found->position),
                                 .instance = GET(found->instance),
                                 .line = GET(found->line)};
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return version % 2 == 0 && GET(found->version) == version && ret->at != 0 &&
           ret->instance != 0 && ret->instance == server->session.position.instance &&
           asked.us >= server->since.us;
}
