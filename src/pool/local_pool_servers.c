/* local_pool_servers.c - assigns idle and free servers to claims. */
#include "machine/clock.h"
#include "pool/claim.h"
#include "pool/lease_parts.h"
#include "pool/local_pool_parts.h"
#include "pool/router.h"

/* --- servers ---------------------------------------------------------------------------------- */

static bool server_fits(const struct server *server, const struct claim *claim)
{
    return claim->pool->route->mode != POOL_SESSION || server->session.startup == claim->params;
}

/* Whether the server must be cleaned before the client of this claim gets it.  A transfer to
 * another relay does not clean it; there it belongs to no client. */
static bool is_suspect_to(const struct server *server, const struct claim *claim)
{
    return UNLIKELY(server->session.suspect) && server->last_claim != claim;
}

/* Cleans a server, which then becomes free; or closes it, if the route wants fresh servers. */
static void local_pool_clean(struct local_pool *pool, struct server *server)
{
    if (pool->route->session.isolation == ISOLATION_FRESH) {
        server_close(&server, "the route wants a fresh server for every client", false);
        if (!list_empty(&pool->claims))
            local_pool_want(pool);
        return;
    }
    pool->pools->does->clean(server);
}

static struct server *local_pool_pick(struct local_pool *pool, struct claim *claim)
{
    struct server *suspect = NULL;
    struct server *last = claim->last_server;
    if (last != NULL && last->state == SERVER_IDLE && last->pool == pool &&
        server_fits(last, claim) && !local_pool_needs_check(pool, last))
        return last;
    LIST_EACH (&pool->idle, it) {
        struct server *server = LIST_ENTRY(it, struct server, node);
        if (!server_fits(server, claim))
            continue;
        if (!is_suspect_to(server, claim))
            return server;
        suspect = server; /* the last one: idle for longest, so its client has not come back */
    }
    return suspect;
}

struct server *local_pool_take_idle(struct local_pool *pool, struct claim *claim)
{
    if (!list_empty(&pool->claims) && pool->route->mode != POOL_SESSION) {
        if (UNLIKELY(!list_empty(&pool->idle))) /* idle for so long that a check comes first */
            (void)!local_pool_check(pool, LIST_ENTRY(list_first(&pool->idle), struct server, node));
        return NULL;
    }
    struct server *server = local_pool_pick(pool, claim);
    if (server != NULL && UNLIKELY(local_pool_needs_check(pool, server)) &&
        local_pool_check(pool, server) == OK)
        return NULL;
    if (server == NULL)
        return NULL;
    if (is_suspect_to(server, claim)) {
        local_pool_clean(pool, server);
        return NULL;
    }
    server_become(server, SERVER_ACTIVE);
    hint_write(&pool->hints.idle, pool->idle.count);
    hint_add(&pool->stats.assignments, 1);
    return server;
}

static struct claim *local_pool_next_claim(struct local_pool *pool, const struct server *server)
{
    LIST_EACH (&pool->claims, it) {
        struct claim *claim = LIST_ENTRY(it, struct claim, node);
        if (server_fits(server, claim))
            return claim;
    }
    return NULL;
}

static void local_pool_give_back(struct local_pool *pool, struct server *server)
{
    struct lease *lease = TAKE(server->lease);
    invariant(pool->recalls > 0);
    pool->recalls -= 1;
    server_detach(server);
    lease->server = server;
    lease->how = LEASE_GIVEN;
    local_pool_tell(pool);
    mail_send(pool->pools->env->machine, &lease->to_router);
}

static const char *server_outlived(const struct local_pool *pool, const struct server *server)
{
    if (server->broken)
        return "unusable after an error";
    if (pool->obsolete && pool->clients == 0)
        return "its route is obsolete";
    if (server->until.us <= now().us)
        return server->until.us == 0 ? "marked to be closed when free" : "end of its lifetime";
    if (server->taken && pool->route->server_lifetime.us == 0)
        return "server_lifetime is 0: closed after each use";
    if (pool->pools->stopping && pool->clients == 0)
        return "shutting down";
    return NULL;
}

/* Updates the hint about the server that is idle for longest. */
static void local_pool_tell_rest(struct local_pool *pool, struct node *last)
{
    pool->idle_longest = last;
    hint_write(&pool->hints.rested,
               last == NULL ? 0 : (uint64_t)LIST_ENTRY(last, struct server, node)->used.us);
}

/* Makes a server idle that no claim needs. */
static void local_pool_rest(struct local_pool *pool, struct server *server)
{
    server->used = server->heard = now();
    server_become(server, SERVER_IDLE);
    server_watch(server);
    hint_write(&pool->hints.idle, pool->idle.count);
    struct node *last = list_last(&pool->idle);
    if (last == &server->node || last != pool->idle_longest)
        local_pool_tell_rest(pool, last);
    if (pool->timer.due == INT64_MAX || local_pool_has_reserve(pool))
        local_pool_arm(pool);
    if (UNLIKELY(hint_read(&pool->hints.others_wait) != 0)) {
        hint_write(&pool->hints.others_wait, 0);
        local_pool_ask(pool);
    }
}

void local_pool_free(struct local_pool *pool, struct server *server)
{
    const struct ledger *ledger = &server->session.ledger;
    invariant(server->client == NULL && ledger_empty(ledger));
    invariant(server->broken || (!ledger->skipping && !ledger->extended));
    if (server->cancels > 0) { /* cancel.c frees it again after the last cancel request */
        server_become(server, SERVER_CLEANING);
        server->withheld = true;
        return;
    }
    if (UNLIKELY(server->session.ledger.doubt != 0) && !server->broken) {
        pool->pools->does->mark(server);
        return;
    }
    const char *over = server_outlived(pool, server);
    if (over != NULL) {
        server_close(&server, over, server->broken);
        if (!list_empty(&pool->claims))
            local_pool_want(pool);
        return;
    }
    struct claim *next = pool->recalls > 0 ? NULL : local_pool_next_claim(pool, server);
    while (next != NULL && UNLIKELY(pool->route->delay_target.us > 0) && claim_shed(next))
        next = local_pool_next_claim(pool, server);
    if (next == NULL && UNLIKELY(pool->route->delay_target.us > 0))
        fleet_codel_empty(&pool->codel);
    if (next != NULL && is_suspect_to(server, next)) {
        local_pool_clean(pool, server);
        return;
    }
    if (pool->recalls > 0) {
        server_become(server, SERVER_IDLE);
        local_pool_give_back(pool, server);
        return;
    }
    invariant(server->session.ledger.doubt == 0);
    if (next != NULL) {
        server_become(server, SERVER_ACTIVE);
        hint_add(&pool->stats.assignments, 1);
        claim_grant(next, server);
        local_pool_tell(pool);
        return;
    }
    if (!list_empty(&pool->claims)) {
        server_close(&server, "makes room for other startup parameters", false);
        return;
    }
    if (UNLIKELY(pool->route->is_replication)) { /* a server for replication has one client only */
        server_close(&server, "its client no longer waits for it", false);
        return;
    }
    local_pool_rest(pool, server);
}

void local_pool_free_rested(struct local_pool *pool, struct server *server, moment used)
{
    local_pool_free(pool, server);
    if (list_first(&pool->idle) != &server->node) /* used or closed: not to be dereferenced */
        return;
    server->used = used;
    list_remove(&pool->idle, &server->node);
    struct node *at = pool->idle.head.next;
    while (at != &pool->idle.head && LIST_ENTRY(at, struct server, node)->used.us >= used.us)
        at = at->next;
    list_insert_before(&pool->idle, at, &server->node);
    local_pool_tell_rest(pool, list_last(&pool->idle));
    local_pool_arm(pool);
}

void local_pool_refuse(struct local_pool *pool, const struct params *startup, const char *sqlstate,
                       const char *text)
{
    struct refusal *refusal = refusal_new(sqlstate, text);
    LIST_EACH_SAFE (&pool->claims, it) {
        struct claim *claim = LIST_ENTRY(it, struct claim, node);
        if (startup != NULL && claim->params != startup)
            continue;
        stats_service_add(pool->service_stats, STATS_REFUSED_REJECTED);
        claim_refuse(claim, refusal);
    }
    refusal_unref(&refusal);
}

void local_pool_recall(struct local_pool *pool, uint32_t more)
{
    pool->recalls += more;
    while (pool->recalls > 0 && !list_empty(&pool->idle)) {
        struct server *server = LIST_ENTRY(list_last(&pool->idle), struct server, node);
        server_become(server, SERVER_CLEANING);
        local_pool_free(pool, server);
    }
    local_pool_make_room(pool);
    local_pool_settle_recalls(pool);
    if (local_pool_has_reserve(pool))
        local_pool_arm(pool);
}

void local_pool_trim(struct local_pool *pool)
{
    LIST_EACH_SAFE (&pool->idle, it) {
        struct server *server = LIST_ENTRY(it, struct server, node);
        const char *over = server_outlived(pool, server);
        if (over != NULL)
            server_close(&server, over, false);
    }
    local_pool_maybe_retire(pool);
}
