/*
 * cap.c - limits of servers that several pools share, and the lines of pools that wait for them.
 *
 * Only the router makes slots, so the limits are exact without a lock.  A pool is in one line at
 * most: that of the cap that stopped it.  A line is a heap, ordered by the age of each pool's
 * oldest claim.  Ages change without an event.  But claims are served in order, so the oldest claim
 * of a pool only gets younger: it suffices that line_first checks the key of the first pool again
 * and moves the pool to its place.
 */
#include "pool/live_service.h"
#include "pool/pool_parts.h"

#include <stdlib.h>

/* The keys behind all claims: of a pool that wants a server without a claim, and of one that wants
 * nothing. */
#define KEY_MIN    (UINT64_MAX - 1)
#define KEY_NOBODY UINT64_MAX

void cap_init(struct cap *cap, enum cap_kind kind)
{
    *cap = (struct cap){.kind = kind};
    list_init(&cap->holders);
}

void cap_fini(struct cap *cap)
{
    invariant(cap->slots == 0 && list_empty(&cap->holders));
    invariant(cap->room.count == 0 && cap->permits.count == 0);
}

/* --- groups ----------------------------------------------------------------------------------- */

struct group_key {
    enum cap_kind kind;
    const char *name;
};

static bool group_is(const struct map_link *link, const void *wanted)
{
    const struct group *group = MAP_ENTRY(link, struct group, link);
    const struct group_key *key = wanted;
    return group->cap.kind == key->kind && strcmp(group->name, key->name) == 0;
}

static uint32_t group_max(const struct config *config, enum cap_kind kind, const char *name)
{
    if (kind == CAP_DATABASE) {
        const struct database_config *database = config_database(config, name);
        bool own = database != NULL && database->servers_max != 0;
        return own ? database->servers_max : config->database_servers_max;
    }
    const struct user_config *user = config_user(config, name);
    bool own = user != NULL && user->servers_max != 0;
    return own ? user->servers_max : config->user_servers_max;
}

static void group_free(struct group *group)
{
    counts_unref(&group->counts);
    free(group);
}

static struct group *group_join(struct router *router, enum cap_kind kind, const char *name)
{
    struct group_key key = {kind, name};
    uint64_t hash = hash_data(name, strlen(name), (uint64_t)kind);
    struct map_link *link = map_find(&router->groups, hash, group_is, &key);
    if (link != NULL) {
        struct group *known = MAP_ENTRY(link, struct group, link);
        known->pools += 1;
        return known;
    }
    size_t size = strlen(name) + 1;
    struct group *group = calloc(1, sizeof(*group) + size);
    if (group == NULL)
        return NULL;
    memcpy(group->name, name, size);
    cap_init(&group->cap, kind);
    group->cap.max = group_max(router->config, kind, name);
    group->pools = 1;
    group->counts = counts_new();
    if (group->counts == NULL || map_insert(&router->groups, &group->link, hash) != OK) {
        group_free(group);
        return NULL;
    }
    return group;
}

static void group_leave(struct router *router, struct group *group)
{
    invariant(group == NULL || group->pools > 0);
    if (group == NULL || --group->pools > 0)
        return;
    map_remove(&router->groups, &group->link);
    cap_fini(&group->cap);
    group_free(group);
}

fault pool_join_caps(struct pool *pool)
{
    struct router *router = pool->router;
    const char *server_user = pool->route->server_user;
    pool->groups[GROUP_DATABASE] = group_join(router, CAP_DATABASE, pool->versions->database);
    pool->groups[GROUP_USER] = group_join(router, CAP_USER, pool->versions->user);
    pool->groups[GROUP_SERVER_USER] =
        group_join(router, CAP_USER, server_user != NULL ? server_user : pool->versions->user);
    for (int i = 0; i < GROUPS; i++)
        if (pool->groups[i] == NULL)
            return FAULT_MEMORY;
    pool->caps[CAP_SERVICE] = live_service_cap(pool->live);
    pool->caps[CAP_DATABASE] = &pool->groups[GROUP_DATABASE]->cap;
    pool->caps[CAP_USER] = &pool->groups[GROUP_SERVER_USER]->cap;
    pool->caps[CAP_ALL] = &router->all;
    for (int i = 0; i < CAPS; i++)
        pool->holdings[i].pool = pool;
    return OK;
}

void pool_leave_caps(struct pool *pool)
{
    pool->lack = LACKS_NOTHING;
    pool_line_up(pool);
    for (int i = 0; i < GROUPS; i++)
        group_leave(pool->router, TAKE(pool->groups[i]));
}

void router_set_caps(struct router *router)
{
    uint32_t max = router->config->servers_max;
    if (router->budget != 0 && (max == 0 || max > router->budget))
        max = router->budget;
    router->all.max = max;
    for (struct map_link *link = map_next(&router->groups, NULL); link != NULL;
         link = map_next(&router->groups, link)) {
        struct group *group = MAP_ENTRY(link, struct group, link);
        group->cap.max = group_max(router->config, group->cap.kind, group->name);
    }
}

void router_set_budget(struct router *router, uint32_t servers)
{
    router->budget = servers;
    router_set_caps(router);
}

/* --- counting --------------------------------------------------------------------------------- */

void pool_hold(struct pool *pool)
{
    for (int i = 0; i < CAPS; i++) {
        struct cap *cap = pool->caps[i];
        cap->slots += 1;
        invariant(cap->max == 0 || cap->slots <= cap->max);
        if (!node_linked(&pool->holdings[i].node))
            list_push(&cap->holders, &pool->holdings[i].node);
    }
}

void pool_let_go(struct pool *pool)
{
    for (int i = 0; i < CAPS; i++) {
        struct cap *cap = pool->caps[i];
        invariant(cap->slots > 0);
        cap->slots -= 1;
        if (slots_count(pool->slots) == 0)
            list_remove(&cap->holders, &pool->holdings[i].node);
    }
}

struct cap *pool_capped(const struct pool *pool)
{
    for (int i = 0; i < CAPS; i++)
        if (pool->caps[i]->max > 0 && pool->caps[i]->slots >= pool->caps[i]->max)
            return pool->caps[i];
    return NULL;
}

/* --- lines ------------------------------------------------------------------------------------ */

static uint64_t pool_key(const struct pool *pool)
{
    uint64_t oldest = pool_oldest(pool);
    if (oldest != UINT64_MAX)
        return oldest;
    return pool_wants_more(pool) ? KEY_MIN : KEY_NOBODY;
}

static struct heap *pool_line(const struct pool *pool)
{
    if (pool_lacks_room(pool))
        return &pool->lacks_at->room;
    return pool->lack == LACKS_PERMIT ? &pool->lacks_at->permits : NULL;
}

static void cap_settle(struct router *router, struct cap *cap)
{
    bool reclaimed = cap->room.count > 0;
    if (reclaimed && !node_linked(&cap->node))
        list_push(&router->reclaims, &cap->node);
    if (!reclaimed && node_linked(&cap->node))
        list_remove(&router->reclaims, &cap->node);
}

void pool_line_up(struct pool *pool)
{
    struct heap *line = pool_line(pool);
    for (int i = 0; pool->line != NULL && i < CAPS; i++) {
        struct cap *cap = pool->caps[i];
        if (pool->line != &cap->room && pool->line != &cap->permits)
            continue;
        heap_remove(pool->line, &pool->place);
        pool->line = NULL;
        cap_settle(pool->router, cap);
    }
    invariant(pool->line == NULL); /* it was in a line of one of its caps, or in none */
    pool->line = line;
    if (line == NULL)
        return;
    heap_push(line, &pool->place, pool_key(pool));
    cap_settle(pool->router, pool->lacks_at);
}

struct pool *line_first(struct heap *line)
{
    while (line->top != NULL && line->top->key != KEY_NOBODY) {
        struct pool *pool = HEAP_ENTRY(line->top, struct pool, place);
        uint64_t key = pool_key(pool);
        if (key <= pool->place.key)
            return pool;
        heap_move(line, &pool->place, key);
    }
    return NULL;
}
