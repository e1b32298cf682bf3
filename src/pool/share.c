#include "pool/share.h"

#include "machine/clock.h"
#include "machine/log.h"
#include "pool/census.h"
#include "pool/router.h"
#include "pool/share_parts.h"
#include "session/accepted.h"
#include "session/kept.h"

#include <inttypes.h>
#include <stdlib.h>

#define GREETING_MOST 65536u

/* --- life ------------------------------------------------------------------------------------- */

static bool share_is(const struct map_link *link, const void *wanted)
{
    const struct share *share = MAP_ENTRY(link, struct share, link);
    const struct share_key *key = wanted;
    return share->route == key->route && span_is(key->database, share->database) &&
           span_is(key->user, share->user);
}

static uint64_t share_hash(const struct share_key *key)
{
    return hash_bytes(key->user.at, key->user.size, hash_span(key->database));
}

static struct share *share_find(struct local_pools *pools, const struct share_key *key)
{
    struct map_link *link = map_find(&pools->share_map, share_hash(key), share_is, key);
    return link == NULL ? NULL : MAP_ENTRY(link, struct share, link);
}

/* New clients do not find it any more. */
static void share_unmap(struct share *share)
{
    if (!share->mapped)
        return;
    share->mapped = false;
    map_remove(&share->pools->share_map, &share->link);
}

/* Whoever asks for a database and a user makes one, proven or not. */
static uint64_t share_bytes(size_t database, size_t user)
{
    return sizeof(struct share) + database + user;
}

static struct share *share_alloc(const struct share_key *key)
{
    uint64_t bytes = share_bytes(key->database.size, key->user.size);
    if (!kept_count(bytes))
        return NULL;
    struct share *share = calloc(1, sizeof(*share));
    if (share == NULL)
        kept_uncount(bytes);
    return share;
}

static void share_drop(struct share *share, uint64_t bytes)
{
    free(share->database);
    free(share->user);
    free(share);
    kept_uncount(bytes);
}

static struct share *share_new(struct local_pools *pools, struct config *config,
                               const struct share_key *key)
{
    const struct route_config *route = key->route;
    struct share *share = share_alloc(key);
    if (share == NULL)
        return NULL;
    hint_begin(share, sizeof(*share));
    share->database = strndup((const char *)key->database.at, key->database.size);
    share->user = strndup((const char *)key->user.at, key->user.size);
    if (share->database == NULL || share->user == NULL ||
        map_insert(&pools->share_map, &share->link, share_hash(key)) != OK) {
        share_drop(share, share_bytes(key->database.size, key->user.size));
        return NULL;
    }
    share->mapped = true;
    share->pools = pools;
    share->config = config_ref(config);
    share->route = route;
    share->born_config = config_ref(config);
    share->born_route = route;
    share->version = config->version;
    share->shown = (struct shown){config_ref(config), config_ref(config), route};
    share->drain_by = NEVER;
    share->window.older_at = share->window.newer_at = now();
    share->accepted = MAP_INIT(ACCEPTED_MOST);
    share->greeting.parameters = BUFFER_INIT(GREETING_MOST);
    share->greeting.messages = BUFFER_INIT(2 * GREETING_MOST);
    share->timer_waker.wake = share_timer_fired;
    share->timer = TIMER_INIT(&share->timer_waker);
    list_init(&share->idle);
    list_init(&share->busy);
    list_init(&share->claims);
    list_init(&share->membership.arriving);
    share->membership.want.deliver = router_want;
    share->membership.recall.deliver = share_recalled;
    list_push(&pools->shares, &share->node);
    share_set_times(share);
    if (orders_hold(&pools->orders, share->database))
        share_hold(share, true);
    if (share_set_secret(share) == OK && share_log_enter(share) == OK)
        return share;
    share_free_now(&share);
    return NULL;
}

fault share_of(struct local_pools *pools, const struct route_config *route, struct span database,
               struct span user, struct share **ret)
{
    struct share_key key = {route, database, user};
    struct share *share = share_find(pools, &key);
    if (share == NULL)
        share = share_new(pools, pools->config, &key);
    if (share == NULL)
        return FAULT_MEMORY;
    *ret = share;
    return OK;
}

fault share_of_version(struct local_pools *pools, struct config *config,
                       const struct share_key *key, struct share **ret)
{
    LIST_EACH (&pools->shares, it) {
        *ret = LIST_ENTRY(it, struct share, node);
        if (share_is(&(*ret)->link, key))
            return OK;
    }
    struct share *share = share_new(pools, config, key);
    if (share == NULL)
        return FAULT_MEMORY;
    if (pools->config->version > config->version)
        share_reload(share, pools->config);
    *ret = share;
    return OK;
}

void share_join(struct share *share)
{
    share->clients += 1;
    share_tell(share);
}

void share_leave(struct share *share)
{
    invariant(share->clients > 0);
    share->clients -= 1;
    share_tell(share);
    if (share->clients == 0)
        share_trim(share);
}

bool share_unused(const struct share *share)
{
    return share->clients == 0 && list_empty(&share->idle) && list_empty(&share->busy) &&
           list_empty(&share->claims);
}

void share_maybe_retire(struct share *share)
{
    if (!share_unused(share) || share->membership.retiring || share->membership.enrolling ||
        share->pools->stopping)
        return;
    share->membership.retiring = true;
    share->membership.asked = false;
    share->membership.retire.deliver = router_retire;
    mail_send(share->pools->env->machine, &share->membership.retire);
}

/* --- versions --------------------------------------------------------------------------------- */

void share_reload(struct share *share, struct config *config)
{
    const struct route_config *route =
        config_route_like(config, span_text(share->database), span_text(share->user), share->route);
    if (share->obsolete) {
        share_show(share, config);
        return;
    }
    if (route == NULL || !route_same_identity(route, share->route)) {
        share->obsolete = true;
        share_unmap(share);
        if (share->clients > 0 && config->drain_timeout.us != INT64_MAX)
            share->drain_by = after(config->drain_timeout);
        log_event(LOG_NOTICE, "route.obsolete",
                  "database=%s user=%s version=%" PRIu64 " clients=%u", share->database,
                  share->user, share->version, share->clients);
    } else {
        config_ref(config);
        config_unref(&share->config);
        share->config = config;
        share->route = route;
        share_log_renew(share);
        share_set_times(share);
    }
    share_show(share, config);
    share_trim(share);
    share_arm(share);
}

/* --- its end ---------------------------------------------------------------------------------- */

void share_free_now(struct share **share)
{
    struct share *gone = TAKE(*share);
    invariant(share_unused(gone) && list_empty(&gone->membership.arriving));
    timer_disarm(&gone->timer);
    share_unmap(gone);
    list_remove(&gone->pools->shares, &gone->node);
    if (gone->log.tally != NULL)
        share_log_leave(gone);
    stats_depart(&gone->pools->departed, gone->database, &gone->stats);
    accepted_clear(&gone->accepted);
    buffer_fini(&gone->greeting.parameters);
    buffer_fini(&gone->greeting.messages);
    for (int i = 0; i < CENSUSES; i++) {
        census_unref(&gone->census[i]);
        census_unref(&gone->membership.census[i]);
    }
    config_unref(&gone->config);
    config_unref(&gone->born_config);
    share_show_none(gone);
    explicit_bzero(&gone->credentials, sizeof(gone->credentials));
    share_drop(gone, share_bytes(strlen(gone->database), strlen(gone->user)));
}
