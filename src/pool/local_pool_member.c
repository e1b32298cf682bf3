/* local_pool_member.c - a local pool's membership at the router, its hints and its requests. */
#include "machine/clock.h"
#include "machine/co.h"
#include "pool/claim.h"
#include "pool/local_pool_parts.h"
#include "pool/outage_parts.h"
#include "pool/router_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* --- membership ------------------------------------------------------------------------------- */

/* A login that waits until the router knows the local pool; on its stack. */
struct arrival {
    struct node node;
    struct co *co;
};

bool local_pool_is_entered(const struct local_pool *pool)
{
    return pool->counts[COUNTS_POOL] != NULL && !pool->membership.retiring;
}

bool local_pool_enroll(struct local_pool *pool)
{
    if (pool->membership.retiring || pool->membership.enrolling)
        return false;
    pool->membership.enrolling = true;
    pool->membership.enroll.deliver = router_enroll;
    mail_send(pool->pools->env->machine, &pool->membership.enroll);
    return true;
}

fault local_pool_enter(struct local_pool *pool, deadline by)
{
    struct arrival arrival = {.co = co_self()};
    bool asked = false;
    while (!local_pool_is_entered(pool)) {
        if (!pool->membership.retiring && !pool->membership.enrolling) {
            if (asked)
                return FAULT_MEMORY;
            asked = local_pool_enroll(pool);
        }
        list_push(&pool->membership.arriving, &arrival.node);
        fault waited = co_wait(by);
        list_remove(&pool->membership.arriving, &arrival.node);
        TRY(waited);
    }
    return OK;
}

void local_pool_entered(struct local_pool *pool)
{
    LIST_EACH (&pool->membership.arriving, it)
        co_wake(LIST_ENTRY(it, struct arrival, node)->co);
}

/* --- hints ------------------------------------------------------------------------------------ */

void local_pool_tell(struct local_pool *pool)
{
    struct node *first = pool->held ? NULL : list_first(&pool->claims);
    uint32_t queued = pool->held ? 0 : pool->claims.count, checks = pool->checks;
    hint_write(&pool->hints.queued, queued > checks ? queued - checks : 0);
    hint_write(&pool->hints.idle, pool->idle.count);
    hint_write(&pool->hints.clients, pool->held ? 0 : pool->clients);
    hint_write(&pool->hints.oldest,
               first == NULL ? 0 : (uint64_t)LIST_ENTRY(first, struct claim, node)->since.us);
}

void local_pool_tell_served(struct local_pool *pool)
{
    uint64_t queued = hint_read(&pool->hints.queued);
    hint_write(&pool->hints.queued, queued > 0 ? queued - 1 : 0);
}

/* --- requests --------------------------------------------------------------------------------- */

/* Whether a limit keeps the pool from getting more servers. */
static bool local_pool_is_full(const struct local_pool *pool)
{
    uint64_t full = hint_read(&pool->hints.full);
    return full != FULL_NOTHING && full != FULL_ROLE && full != FULL_PRIMARY;
}

/* In a session pool, idle servers have other startup parameters than all waiting claims.  Closes
 * the one that was idle longest if the pool is full. */
void local_pool_make_room(struct local_pool *pool)
{
    if (!local_pool_is_full(pool) || list_empty(&pool->claims) || list_empty(&pool->idle))
        return;
    struct server *oldest = LIST_ENTRY(list_last(&pool->idle), struct server, node);
    if (pool->route->mode == POOL_SESSION)
        server_close(&oldest, "makes room for other startup parameters", false);
}

void local_pool_ask(struct local_pool *pool)
{
    pool->membership.asked = true;
    mail_send(pool->pools->env->machine, &pool->membership.want);
}

void local_pool_want(struct local_pool *pool)
{
    local_pool_make_room(pool);
    local_pool_tell(pool);
    if (pool->held) {
        local_pool_arm(pool);
        return;
    }
    /* While the pool is full, only a lease of another relay can help, and not at once.  Asking once
     * in a quarter of overtake_limit keeps the bound on overtaking. */
    bool full = local_pool_is_full(pool);
    bool some = !list_empty(&pool->busy);
    bool checked = pool->claims.count <= pool->checks; /* a check is under way for each claim */
    if (!full || !some || pool->membership.want_after.us <= now().us) {
        pool->membership.want_after = after((duration){.us = pool->config->overtake_max.us / 4});
        if (!checked)
            local_pool_ask(pool);
    }
    local_pool_arm(pool);
}

void local_pool_hold(struct local_pool *pool, bool held)
{
    if (pool->held == held)
        return;
    pool->held = held;
    pool->membership.want_after = held ? NEVER : now();
    local_pool_want(pool);
}

void local_pool_settle_recalls(struct local_pool *pool)
{
    invariant(pool->logins <= pool->busy.count);
    uint32_t held = pool->idle.count + pool->busy.count - pool->logins;
    if (pool->recalls <= held)
        return;
    __atomic_fetch_add(&pool->hints.unmet, pool->recalls - held, __ATOMIC_ACQ_REL);
    pool->recalls = held;
    local_pool_ask(pool);
}

bool local_pool_needs_login(struct local_pool *pool, struct params **ret_startup)
{
    *ret_startup = NULL;
    if (pool->pools->stopping || pool->held)
        return false;
    uint32_t servers = pool->idle.count + pool->busy.count;
    if (pool->claims.count <= pool->logins)
        return pool->route->mode != POOL_SESSION && pool->clients > 0 &&
               servers < pool->route->pool_min;
    if (pool->route->mode != POOL_SESSION)
        return true;
    uint32_t under_way = pool->logins; /* each is for one of the oldest claims */
    LIST_EACH (&pool->claims, it) {
        if (under_way-- > 0)
            continue;
        *ret_startup = params_ref(LIST_ENTRY(it, struct claim, node)->params);
        return true;
    }
    return false;
}

void local_pool_set_outage(struct local_pool *pool, const struct outage *outage)
{
    free(TAKE(pool->outage));
    if (outage->since.us == 0)
        return;
    pool->outage = malloc(sizeof(*outage));
    if (pool->outage != NULL)
        *pool->outage = *outage;
}

/* Whether no server has the role that the pool needs. */
static bool local_pool_lacks_role(const struct local_pool *pool)
{
    uint64_t full = hint_read(&pool->hints.full);
    return full == FULL_ROLE || full == FULL_PRIMARY;
}

static void say_role(const struct local_pool *pool, char *text, size_t size)
{
    static const char *const lacks[TARGETS] = {
        [TARGET_DEFAULT] = "is a primary",
        [TARGET_ANY] = "accepts logins",
        [TARGET_READ_WRITE] = "is a primary with read-write sessions",
        [TARGET_READ_ONLY] = "has read-only sessions",
        [TARGET_PRIMARY] = "is a primary",
        [TARGET_STANDBY] = "is a standby",
        [TARGET_PREFER_STANDBY] = "accepts logins",
    };
    enum fleet_target target = pool->route->target;
    const char *latest = pool->outage == NULL ? "" : pool->outage->text;
    snprintf(text, size, "no server of service \"%s\" %s; target_session_attrs is %s%s%s",
             pool->route->service->name, lacks[target], target_name(target),
             *latest == '\0' ? "" : "; latest failure: ", latest);
}

static void say_limit(const struct local_pool *pool, char *text, size_t size)
{
    uint64_t at = hint_read(&pool->hints.full_at);
    const char *server_user = pool->route->server_user;
    switch ((enum local_pool_full)hint_read(&pool->hints.full)) {
    case FULL_SERVICE:
        snprintf(text, size, "service \"%s\" is at its connection_limit %u",
                 pool->route->service->name, pool->route->service->connections_max);
        return;
    case FULL_CROWD:
        snprintf(text, size, "service \"%s\" takes no more connections",
                 pool->route->service->name);
        return;
    case FULL_DATABASE:
        snprintf(text, size, "database \"%s\" is at its limit of %" PRIu64 " servers",
                 pool->database, at);
        return;
    case FULL_USER:
        snprintf(text, size, "user \"%s\" is at its limit of %" PRIu64 " servers",
                 server_user != NULL ? server_user : pool->user, at);
        return;
    case FULL_ALL:
        snprintf(text, size, "all pools are at the limit of %" PRIu64 " servers", at);
        return;
    case FULL_PRIMARY:
        snprintf(text, size, "no server of service \"%s\" is known to be its only primary",
                 pool->route->service->name);
        return;
    case FULL_ROLE:
        say_role(pool, text, size);
        return;
    case FULL_POOL:
        snprintf(text, size, "pool_size %u", pool->route->pool_size);
        return;
    default:
        snprintf(text, size, "no login at service \"%s\" has succeeded in time",
                 pool->route->service->name);
    }
}

/* The service has no servers, or all of them are drained. */
static const char *say_empty(const struct local_pool *pool, char *text, size_t size)
{
    const struct outage *outage = pool->outage;
    const char *name = pool->route->service->name;
    if (outage == NULL) {
        snprintf(text, size, "service \"%s\" has no servers", name);
        return "08006";
    }
    snprintf(text, size, "service \"%s\" has had no servers for %" PRId64 " ms: %s", name,
             between(outage->since, now()).us / 1000, outage->text);
    return outage->sqlstate;
}

const char *local_pool_say_full(const struct local_pool *pool, char *text, size_t size,
                                enum stats_service_count *ret_why)
{
    const struct outage *outage = pool->outage;
    const struct local_pool_hints *hints = &pool->hints;
    if (pool->held) {
        snprintf(text, size, "database \"%s\" is paused", pool->database);
        *ret_why = STATS_REFUSED_PAUSED;
        return "53300";
    }
    if (hint_read(&hints->empty) != 0) {
        *ret_why = STATS_REFUSED_NO_BACKENDS;
        return say_empty(pool, text, size);
    }
    if (outage == NULL || hint_read(&hints->failing) == 0) {
        *ret_why = STATS_REFUSED_ALL_USED;
        say_limit(pool, text, size);
        return local_pool_lacks_role(pool) ? "57P03" : "53300";
    }
    *ret_why = STATS_REFUSED_NONE_ONLINE;
    snprintf(text, size,
             "no login at service \"%s\" has succeeded for %" PRId64 " ms, %" PRIu64
             " of its %" PRIu64 " servers accept logins: %s",
             pool->route->service->name, between(outage->since, now()).us / 1000,
             hint_read(&hints->online), hint_read(&hints->backends), outage->text);
    return outage->sqlstate;
}
