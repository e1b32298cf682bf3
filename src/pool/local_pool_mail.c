/* local_pool_mail.c - deliveries of the router's mail on the local pool's relay. */
#include "pool/lease_parts.h"
#include "pool/local_pool.h"
#include "pool/outage_parts.h"
#include "pool/router_parts.h"
#include "pool/server.h"

#include <stdlib.h>

static bool local_pool_takes_unasked(const struct local_pool *pool, const struct lease *lease)
{
    return lease->unasked && pool->route->mode != POOL_SESSION && pool->clients > 0 &&
           !pool->held && !pool->pools->stopping;
}

/* Takes a lease that has come: with a live server in it, or for a login. */
void local_pool_lease_came(struct mail *mail)
{
    struct lease *lease = CONTAINER_OF(mail, struct lease, to_relay);
    struct local_pool *pool = lease->local;
    struct params *startup;
    if (lease->server != NULL) {
        server_arrive(pool, lease);
        return;
    }
    if (local_pool_needs_login(pool, &startup) || local_pool_takes_unasked(pool, lease)) {
        server_login(pool, lease, startup);
        return;
    }
    lease->how = LEASE_CLOSED;
    lease->end = SLOT_ENDED;
    mail_send(pool->pools->env->machine, &lease->to_router);
    local_pool_maybe_retire(pool);
}

/* Ends the lifetime of as many idle servers that may move as the router asked for. */
static void local_pool_move(struct local_pool *pool)
{
    uint64_t moves = __atomic_exchange_n(&pool->hints.moves, 0, __ATOMIC_ACQ_REL);
    LIST_EACH (&pool->idle, it)
        if (moves > 0 && server_move(LIST_ENTRY(it, struct server, node)))
            moves -= 1;
}

/* Called when the router recalls leases or has to_close some of them. */
void local_pool_recalled(struct mail *mail)
{
    struct local_pool *pool = CONTAINER_OF(mail, struct local_pool, membership.recall);
    LIST_EACH (&pool->idle, it)
        server_note_doom(LIST_ENTRY(it, struct server, node));
    LIST_EACH (&pool->busy, it)
        server_note_doom(LIST_ENTRY(it, struct server, node));
    local_pool_move(pool);
    local_pool_trim(pool);
    local_pool_recall(pool,
                      (uint32_t)__atomic_exchange_n(&pool->hints.recall, 0, __ATOMIC_ACQ_REL));
}

void local_pool_reported(struct mail *mail)
{
    struct reported *reported = CONTAINER_OF(mail, struct reported, mail);
    local_pool_learn_elsewhere(reported->local, span_of(reported->bytes, reported->size));
    free(reported);
}

void local_pool_accepted_came(struct mail *mail)
{
    struct reported *reported = CONTAINER_OF(mail, struct reported, mail);
    local_pool_accept_elsewhere(reported->local, span_of(reported->bytes, reported->size));
    free(reported);
}

void local_pool_outage_came(struct mail *mail)
{
    struct outage_news *news = CONTAINER_OF(mail, struct outage_news, mail);
    local_pool_set_outage(news->local, &news->outage);
    free(news);
}

void local_pool_enrolled(struct mail *mail)
{
    struct local_pool *pool = CONTAINER_OF(mail, struct local_pool, membership.enroll);
    invariant(pool->membership.enrolling && !pool->membership.retiring);
    pool->membership.enrolling = false;
    for (int i = 0; i < COUNTS && pool->membership.counts[i] != NULL; i++)
        pool->counts[i] = TAKE(pool->membership.counts[i]);
    local_pool_entered(pool);
    local_pool_maybe_retire(pool);
    pools_settled(pool->pools);
}

void local_pool_retired(struct mail *mail)
{
    struct local_pool *pool = CONTAINER_OF(mail, struct local_pool, membership.retire);
    struct local_pools *pools = pool->pools;
    invariant(pool->membership.retiring && !pool->membership.enrolling);
    pool->membership.retiring = false;
    for (int i = 0; i < COUNTS && pool->membership.retired; i++)
        counts_unref(&pool->counts[i]);
    /* A `want` sent after `retire` may still be on its way: `retire` is sent once more. */
    if (pool->membership.retired && local_pool_unused(pool) && !pool->membership.asked) {
        local_pool_free_now(&pool);
    } else {
        local_pool_entered(pool); /* logins that came meanwhile go on, or enroll it again */
        local_pool_maybe_retire(pool);
    }
    pools_settled(pools);
}
