#include "pooler/share.h"

#include "machine/clock.h"
#include "machine/co.h"
#include "machine/log.h"
#include "pooler/auth/auth_command.h"
#include "pooler/census.h"
#include "pooler/claim.h"
#include "pooler/client.h"
#include "pooler/relay.h"
#include "pooler/router/lease.h"
#include "pooler/router/router.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define ACCEPTED_MOST 4096u
#define GREETING_MOST 65536u

static void share_timer_fired(struct waker *waker);

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

static struct share *share_find(struct relay *relay, const struct share_key *key)
{
    struct map_link *link = map_find(&relay->share_map, share_hash(key), share_is, key);
    return link == NULL ? NULL : MAP_ENTRY(link, struct share, link);
}

/* New clients do not find it any more. */
static void share_unmap(struct share *share)
{
    if (!share->mapped)
        return;
    share->mapped = false;
    map_remove(&share->relay->share_map, &share->link);
}

static struct share *share_new(struct relay *relay, struct config *config,
                               const struct share_key *key)
{
    const struct route_config *route = key->route;
    struct share *share = calloc(1, sizeof(*share));
    if (share == NULL)
        return NULL;
    hint_begin(share, sizeof(*share));
    share->database = strndup((const char *)key->database.at, key->database.size);
    share->user = strndup((const char *)key->user.at, key->user.size);
    if (share->database == NULL || share->user == NULL ||
        map_insert(&relay->share_map, &share->link, share_hash(key)) != OK) {
        free(share->database);
        free(share->user);
        free(share);
        return NULL;
    }
    share->mapped = true;
    share->relay = relay;
    share->config = config_ref(config);
    share->route = route;
    share->born_config = config_ref(config);
    share->born_route = route;
    share->version = config->version;
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
    list_init(&share->arriving);
    share->want.deliver = router_want;
    share->recall.deliver = router_recalled;
    list_push(&relay->shares, &share->node);
    share_set_times(share);
    if (control_holds(&relay->control, share->database))
        share_hold(share, true);
    if (logbook_enter(share) == OK)
        return share;
    share_free_now(&share);
    return NULL;
}

fault share_of(struct relay *relay, const struct route_config *route, struct span database,
               struct span user, struct share **ret)
{
    struct share_key key = {route, database, user};
    struct share *share = share_find(relay, &key);
    if (share == NULL)
        share = share_new(relay, relay->config, &key);
    if (share == NULL)
        return FAULT_MEMORY;
    *ret = share;
    return OK;
}

fault share_of_version(struct relay *relay, struct config *config, const struct share_key *key,
                       struct share **ret)
{
    LIST_EACH (&relay->shares, it) {
        *ret = LIST_ENTRY(it, struct share, node);
        if (share_is(&(*ret)->link, key))
            return OK;
    }
    struct share *share = share_new(relay, config, key);
    if (share == NULL)
        return FAULT_MEMORY;
    if (relay->config->version > config->version)
        share_reload(share, relay->config);
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
    if (!share_unused(share) || share->retiring || share->enrolling || share->relay->stopping)
        return;
    share->retiring = true;
    share->asked = false;
    share->retire.deliver = router_retire;
    mail_send(router_machine(share->relay->pooler), &share->retire);
}

/* --- a seat at the router --------------------------------------------------------------------- */

/* A login that waits until the router knows the share; on its stack. */
struct arrival {
    struct node node;
    struct co *co;
};

bool share_is_entered(const struct share *share)
{
    return share->census[CENSUS_POOL] != NULL && !share->retiring;
}

fault share_enter(struct share *share, deadline by)
{
    struct arrival arrival = {.co = co_self()};
    bool asked = false;
    while (!share_is_entered(share)) {
        if (!share->retiring && !share->enrolling) {
            if (asked)
                return FAULT_MEMORY;
            asked = true;
            share->enrolling = true;
            share->enroll.deliver = router_enroll;
            mail_send(router_machine(share->relay->pooler), &share->enroll);
        }
        list_push(&share->arriving, &arrival.node);
        fault waited = co_wait(by);
        list_remove(&share->arriving, &arrival.node);
        TRY(waited);
    }
    return OK;
}

void share_entered(struct share *share)
{
    LIST_EACH (&share->arriving, it)
        co_wake(LIST_ENTRY(it, struct arrival, node)->co);
}

/* --- its end ---------------------------------------------------------------------------------- */

static void accepted_clear(struct share *share);

void share_free_now(struct share **share)
{
    struct share *gone = TAKE(*share);
    invariant(share_unused(gone) && list_empty(&gone->arriving));
    timer_disarm(&gone->timer);
    share_unmap(gone);
    list_remove(&gone->relay->shares, &gone->node);
    if (gone->tally != NULL)
        logbook_leave(gone);
    stats_depart(&gone->relay->departed, gone->database, &gone->stats);
    accepted_clear(gone);
    buffer_fini(&gone->greeting.parameters);
    buffer_fini(&gone->greeting.messages);
    for (int i = 0; i < CENSUSES; i++) {
        census_unref(&gone->census[i]);
        census_unref(&gone->census_sent[i]);
    }
    config_unref(&gone->config);
    config_unref(&gone->born_config);
    if (gone->password != NULL)
        explicit_bzero(gone->password, strlen(gone->password));
    free(gone->password);
    auth_command_forget(gone);
    free(gone->database);
    free(gone->user);
    free(gone);
}

/* --- what the router sees --------------------------------------------------------------------- */

void share_tell(struct share *share)
{
    struct node *first = share->held ? NULL : list_first(&share->claims);
    uint32_t queued = share->held ? 0 : share->claims.count, checks = share->checks;
    hint_write(&share->told.queued, queued > checks ? queued - checks : 0);
    hint_write(&share->told.idle, share->idle.count);
    hint_write(&share->told.clients, share->held ? 0 : share->clients);
    hint_write(&share->told.oldest,
               first == NULL ? 0 : (uint64_t)LIST_ENTRY(first, struct claim, node)->since.us);
}

static struct client *share_oldest_claim(struct share *share)
{
    struct node *first = list_first(&share->claims);
    struct claim *claim = first == NULL ? NULL : LIST_ENTRY(first, struct claim, node);
    return claim == NULL ? NULL : CONTAINER_OF(claim, struct client, claim);
}

static deadline share_idle_end(const struct share *share, const struct server *server);

/* The timer serves three ends: the oldest claim's, the oldest idle server's, and the drain's. */
static void share_arm(struct share *share)
{
    deadline by = share->drain_by;
    struct client *oldest = share_oldest_claim(share);
    if (oldest != NULL) {
        by = earlier_of(by, later(oldest->claim.since, share->route->claim_timeout));
        by = earlier_of(by, share->want_after);
        by = earlier_of(by, claim_notice_due(share, &oldest->claim));
    }
    struct node *last = list_last(&share->idle);
    if (last != NULL) {
        deadline end = share_idle_end(share, LIST_ENTRY(last, struct server, node));
        /* One that is kept although its time is over is looked at again in a while. */
        by = earlier_of(by, end.us > now().us ? end : after(share->route->idle_timeout));
    }
    timer_set(&share->timer, by);
}

/* What idles while claims wait in a session pool has other startup parameters: where there are no
 * more servers, one of them gives its place away. */
static void share_make_room(struct share *share)
{
    bool full = hint_read(&share->told.full) != 0;
    if (!full || list_empty(&share->claims) || list_empty(&share->idle))
        return;
    struct server *oldest = LIST_ENTRY(list_last(&share->idle), struct server, node);
    if (share->route->mode == POOL_SESSION)
        server_close(&oldest, "makes room for other startup parameters", false);
}

static void share_ask(struct share *share)
{
    share->asked = true;
    mail_send(router_machine(share->relay->pooler), &share->want);
}

void share_want(struct share *share)
{
    share_make_room(share);
    share_tell(share);
    if (share->held) {
        share_arm(share);
        return;
    }
    /* While the pool is full only another relay's lease could help, and not at once: asking now and
     * then keeps the bound on overtaking. */
    bool full = hint_read(&share->told.full) != 0;
    bool some = !list_empty(&share->busy);
    bool checked = share->claims.count <= share->checks; /* for each claim a server is on its way */
    if (!full || !some || share->want_after.us <= now().us) {
        share->want_after = after((duration){.us = share->config->overtake_most.us / 4});
        if (!checked)
            share_ask(share);
    }
    share_arm(share);
}

bool share_needs_login(struct share *share, struct params **ret_startup)
{
    *ret_startup = NULL;
    if (share->relay->stopping || share->held)
        return false;
    uint32_t servers = share->idle.count + share->busy.count;
    if (share->claims.count <= share->logins)
        return share->route->mode != POOL_SESSION && share->clients > 0 &&
               servers < share->route->pool_min;
    if (share->route->mode != POOL_SESSION)
        return true;
    uint32_t under_way = share->logins; /* each of these is for one of the oldest claims */
    LIST_EACH (&share->claims, it) {
        struct client *client =
            CONTAINER_OF(LIST_ENTRY(it, struct claim, node), struct client, claim);
        if (under_way-- > 0)
            continue;
        *ret_startup = params_ref(client->params);
        return true;
    }
    return false;
}

/* --- servers ---------------------------------------------------------------------------------- */

static bool server_fits(const struct server *server, const struct client *client)
{
    return client->share->route->mode != POOL_SESSION || server->startup == client->params;
}

static struct server *share_pick(struct share *share, struct client *client)
{
    struct server *last = client->last_server;
    if (last != NULL && last->state == SERVER_IDLE && last->share == share &&
        server_fits(last, client) && !share_rested(share, last))
        return last;
    LIST_EACH (&share->idle, it) {
        struct server *server = LIST_ENTRY(it, struct server, node);
        if (server_fits(server, client))
            return server;
    }
    return NULL;
}

struct server *share_take_idle(struct share *share, struct client *client)
{
    if (!list_empty(&share->claims) && share->route->mode != POOL_SESSION) {
        if (UNLIKELY(!list_empty(&share->idle))) /* they are asked whether they answer */
            (void)!share_check(share, LIST_ENTRY(list_first(&share->idle), struct server, node));
        return NULL;
    }
    struct server *server = share_pick(share, client);
    if (server != NULL && UNLIKELY(share_rested(share, server)) && share_check(share, server) == OK)
        return NULL;
    if (server == NULL)
        return NULL;
    server_become(server, SERVER_ACTIVE);
    hint_write(&share->told.idle, share->idle.count);
    hint_add(&share->stats.assignments, 1);
    return server;
}

static struct client *share_next_claim(struct share *share, const struct server *server)
{
    LIST_EACH (&share->claims, it) {
        struct client *client =
            CONTAINER_OF(LIST_ENTRY(it, struct claim, node), struct client, claim);
        if (server_fits(server, client))
            return client;
    }
    return NULL;
}

static void share_give_back(struct share *share, struct server *server)
{
    struct lease *lease = TAKE(server->lease);
    invariant(share->recalls > 0);
    share->recalls -= 1;
    server_detach(server);
    lease->server = server;
    lease->how = LEASE_GIVEN;
    share_tell(share);
    mail_send(router_machine(share->relay->pooler), &lease->to_router);
}

static const char *server_outlived(const struct share *share, const struct server *server)
{
    if (server->broken)
        return "can't be used again";
    if (share->obsolete && share->clients == 0)
        return "its route is obsolete";
    if (server->until.us <= now().us)
        return server->until.us == 0 ? "it is to be made anew" : "end of its lifetime";
    if (server->taken && share->route->server_lifetime.us == 0)
        return "it is used once only";
    if (share->relay->stopping && share->clients == 0)
        return "shutting down";
    return NULL;
}

/* The idle server that rests longest is another one. */
static void share_tell_rest(struct share *share, struct node *last)
{
    share->rests_longest = last;
    hint_write(&share->told.rested,
               last == NULL ? 0 : (uint64_t)LIST_ENTRY(last, struct server, node)->used.us);
}

/* Nobody here needs it now. */
static void share_rest(struct share *share, struct server *server)
{
    server->used = now();
    server_become(server, SERVER_IDLE);
    server_watch(server);
    hint_write(&share->told.idle, share->idle.count);
    struct node *last = list_last(&share->idle);
    if (last == &server->node || last != share->rests_longest)
        share_tell_rest(share, last);
    if (share->timer.due == INT64_MAX || UNLIKELY(hint_read(&share->told.reserve) != 0))
        share_arm(share);
    if (UNLIKELY(hint_read(&share->told.hungry) != 0)) {
        hint_write(&share->told.hungry, 0);
        share_ask(share);
    }
}

void share_free(struct share *share, struct server *server)
{
    invariant(server->client == NULL && ledger_empty(&server->ledger));
    if (server->cancels > 0) { /* freed again when the last request is through */
        server_become(server, SERVER_CLEANING);
        server->withheld = true;
        return;
    }
    if (UNLIKELY(server->doubtful_cancel) && !server->broken) {
        turn_mark_alone(server);
        return;
    }
    const char *over = server_outlived(share, server);
    if (over != NULL) {
        server_close(&server, over, server->broken);
        if (!list_empty(&share->claims))
            share_want(share);
        return;
    }
    if (share->recalls > 0) {
        server_become(server, SERVER_IDLE);
        share_give_back(share, server);
        return;
    }
    struct client *next = share_next_claim(share, server);
    if (next != NULL) {
        server_become(server, SERVER_ACTIVE);
        hint_add(&share->stats.assignments, 1);
        claim_grant(next, server);
        share_tell(share);
        return;
    }
    if (!list_empty(&share->claims)) {
        server_close(&server, "makes room for other startup parameters", false);
        return;
    }
    share_rest(share, server);
}

void share_recall(struct share *share, uint32_t more)
{
    share->recalls += more;
    while (share->recalls > 0 && !list_empty(&share->idle)) {
        struct server *server = LIST_ENTRY(list_last(&share->idle), struct server, node);
        server_become(server, SERVER_CLEANING);
        share_free(share, server);
    }
    share_make_room(share);
    share_settle_recalls(share);
    if (hint_read(&share->told.reserve) != 0)
        share_arm(share);
}

void share_settle_recalls(struct share *share)
{
    uint32_t held = share->idle.count + share->busy.count - share->logins;
    if (share->recalls <= held)
        return;
    __atomic_fetch_add(&share->told.unmet, share->recalls - held, __ATOMIC_ACQ_REL);
    share->recalls = held;
    share_ask(share);
}

void share_trim(struct share *share)
{
    LIST_EACH_SAFE (&share->idle, it) {
        struct server *server = LIST_ENTRY(it, struct server, node);
        const char *over = server_outlived(share, server);
        if (over != NULL)
            server_close(&server, over, false);
    }
    share_maybe_retire(share);
}

void share_hold(struct share *share, bool held)
{
    if (share->held == held)
        return;
    share->held = held;
    share->want_after = held ? NEVER : now();
    share_want(share);
}

void share_refuse(struct share *share, const struct params *startup, const char *sqlstate,
                  const char *text)
{
    struct refusal *refusal = refusal_new(sqlstate, text);
    LIST_EACH_SAFE (&share->claims, it) {
        struct client *client =
            CONTAINER_OF(LIST_ENTRY(it, struct claim, node), struct client, claim);
        if (startup == NULL || client->params == startup)
            claim_refuse(client, refusal);
    }
    refusal_unref(&refusal);
}

/* --- time ------------------------------------------------------------------------------------- */

void share_say_full(const struct share *share, char *text, size_t size)
{
    uint64_t at = hint_read(&share->told.full_at);
    const char *server_user = share->route->server_user;
    switch ((enum share_full)hint_read(&share->told.full)) {
    case FULL_SERVICE:
        snprintf(text, size, "service \"%s\" is at its connection_limit %u",
                 share->route->service->name, share->route->service->connections_most);
        return;
    case FULL_CROWD:
        snprintf(text, size, "service \"%s\" takes no more connections",
                 share->route->service->name);
        return;
    case FULL_DATABASE:
        snprintf(text, size, "database \"%s\" is at its limit of %" PRIu64 " servers",
                 share->database, at);
        return;
    case FULL_USER:
        snprintf(text, size, "user \"%s\" is at its limit of %" PRIu64 " servers",
                 server_user != NULL ? server_user : share->user, at);
        return;
    case FULL_ALL:
        snprintf(text, size, "all pools are at the limit of %" PRIu64 " servers", at);
        return;
    default:
        snprintf(text, size, "pool_size %u", share->route->pool_size);
    }
}

static void share_expire_claims(struct share *share)
{
    struct client *oldest;
    while ((oldest = share_oldest_claim(share)) != NULL &&
           later(oldest->claim.since, share->route->claim_timeout).us <= now().us) {
        char full[120], text[360];
        share_say_full(share, full, sizeof(full));
        snprintf(text, sizeof(text),
                 "no server of pool \"%s\"/\"%s\" became free within claim_timeout (%" PRId64
                 " ms, %s)",
                 share->database, share->user, share->route->claim_timeout.us / 1000, full);
        struct refusal *refusal = refusal_new("53300", text);
        claim_refuse(oldest, refusal);
        refusal_unref(&refusal);
    }
}

/* When an idle server has been idle for too long: sooner where it is one of the reserve. */
static deadline share_idle_end(const struct share *share, const struct server *server)
{
    duration most = share->route->idle_timeout;
    if (hint_read(&share->told.reserve) != 0)
        most.us = MIN_OF(most.us, share->route->reserve_after.us);
    return later(server->used, most);
}

static void share_expire_idle(struct share *share)
{
    struct node *last;
    while ((last = list_last(&share->idle)) != NULL) {
        struct server *server = LIST_ENTRY(last, struct server, node);
        if (share_idle_end(share, server).us > now().us)
            break;
        if (share->clients > 0 &&
            share->idle.count + share->busy.count <= hint_read(&share->told.keep))
            break;
        uint64_t reserve = hint_read(&share->told.reserve);
        if (reserve > 0) /* until the router says what is so now */
            hint_write(&share->told.reserve, reserve - 1);
        server_close(&server, reserve > 0 ? "the reserve is not needed" : "idle for too long",
                     false);
    }
}

/* Those in a transaction leave at its end, the others now. */
static void share_drain(struct share *share)
{
    if (share->drain_by.us > now().us)
        return;
    share->drain_by = NEVER;
    log_event(LOG_NOTICE, "route.drained", "database=%s user=%s version=%" PRIu64 " clients=%u",
              share->database, share->user, share->version, share->clients);
    LIST_EACH_SAFE (&share->relay->clients, it) {
        struct client *client = LIST_ENTRY(it, struct client, node);
        if (client->share == share)
            client_leave(client);
    }
}

static void share_timer_fired(struct waker *waker)
{
    struct share *share = CONTAINER_OF(waker, struct share, timer_waker);
    share_drain(share);
    share_expire_claims(share);
    claim_notices(share);
    share_expire_idle(share);
    if (!list_empty(&share->claims))
        share_want(share);
    share_arm(share);
    share_maybe_retire(share);
}

/* --- versions --------------------------------------------------------------------------------- */

void share_reload(struct share *share, struct config *config)
{
    const struct route_config *route =
        config_route_like(config, span_text(share->database), span_text(share->user), share->route);
    if (share->obsolete)
        return;
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
        logbook_renew(share);
        share_set_times(share);
    }
    share_trim(share);
    share_arm(share);
}

/* --- parameters that servers have taken ------------------------------------------------------- */

struct accepted {
    struct map_link link;
    struct span name;
    struct span value;
    struct span canonical;
    uint8_t bytes[];
};

static bool accepted_is(const struct map_link *link, const void *key)
{
    const struct accepted *accepted = MAP_ENTRY(link, struct accepted, link);
    const struct param *param = key;
    return accepted->name.size == param->name.size &&
           strncasecmp((const char *)accepted->name.at, (const char *)param->name.at,
                       param->name.size) == 0 &&
           span_equal(accepted->value, param->value);
}

static uint64_t accepted_hash(const struct param *param)
{
    return hash_bytes(param->value.at, param->value.size, param->name.size);
}

bool share_accepted(const struct share *share, const struct param *param,
                    struct span *ret_canonical)
{
    struct map_link *link = map_find(&share->accepted, accepted_hash(param), accepted_is, param);
    if (link == NULL)
        return false;
    *ret_canonical = MAP_ENTRY(link, struct accepted, link)->canonical;
    return true;
}

bool share_is_default(const struct share *share, const struct param *param)
{
    struct span rest = buffer_span(&share->greeting.parameters);
    struct span name, value;
    while (wire_next_parameter(&rest, &name, &value))
        if (name.size == param->name.size &&
            strncasecmp((const char *)name.at, (const char *)param->name.at, name.size) == 0)
            return span_equal(value, param->value);
    return false;
}

void share_accept(struct share *share, const struct param *param, struct span canonical)
{
    struct span ignored;
    if (share_accepted(share, param, &ignored))
        return;
    if (share->accepted.count == ACCEPTED_MOST)
        accepted_clear(share);
    struct accepted *accepted =
        malloc(sizeof(*accepted) + param->name.size + param->value.size + canonical.size);
    if (accepted == NULL)
        return;
    uint8_t *at = accepted->bytes;
    const struct span parts[] = {param->name, param->value, canonical};
    struct span *const copies[] = {&accepted->name, &accepted->value, &accepted->canonical};
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        if (parts[i].size > 0)
            memcpy(at, parts[i].at, parts[i].size);
        *copies[i] = span_of(at, parts[i].size);
        at += parts[i].size;
    }
    if (map_insert(&share->accepted, &accepted->link, accepted_hash(param)) != OK)
        free(accepted);
}

static void accepted_clear(struct share *share)
{
    struct map_link *next;
    for (struct map_link *link = map_next(&share->accepted, NULL); link != NULL; link = next) {
        next = map_next(&share->accepted, link);
        map_remove(&share->accepted, link);
        free(MAP_ENTRY(link, struct accepted, link));
    }
    map_fini(&share->accepted);
}
