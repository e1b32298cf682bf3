/* server_login.c - logs in to a server under a lease: the login coroutine, and its outcome. */
#include "base/probes.h"
#include "machine/clock.h"
#include "machine/co.h"
#include "machine/ids.h"
#include "machine/log.h"
#include "pool/lease_parts.h"
#include "pool/local_pool_command.h"
#include "pool/router.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLAT_MAX (PARAMS_SIZE_MAX + 2 * PARAMS_MAX)

void server_target(const struct local_pool *pool, const struct lease *lease,
                   struct link_target *ret)
{
    const struct service_config *service = pool->shown.route->service;
    *ret = lease->target;
    ret->tls_mode = service->tls.mode;
    ret->tls = service->tls.context;
    ret->tls_direct = service->tls.negotiation == TLS_NEGOTIATION_DIRECT;
    ret->binding = (enum link_binding)service->tls.binding;
    ret->socket = pool->shown.config->server_socket;
}

static const struct server *find_pid(const struct list *servers, uint32_t pid)
{
    LIST_EACH (servers, it) {
        const struct server *server = LIST_ENTRY(it, struct server, node);
        if (server->pid == pid && server->lease != NULL)
            return server;
    }
    return NULL;
}

bool server_find_target(const struct local_pools *pools, const char *service, uint32_t pid,
                        struct link_target *ret, struct config **ret_config)
{
    LIST_EACH (&pools->all, it) {
        struct local_pool *pool = LIST_ENTRY(it, struct local_pool, node);
        const struct server *server = find_pid(&pool->idle, pid);
        if (server == NULL)
            server = find_pid(&pool->busy, pid);
        if (server == NULL || strcmp(pool->route->service->name, service) != 0)
            continue;
        server_target(pool, server->lease, ret);
        *ret_config = config_ref(pool->shown.config);
        return true;
    }
    return false;
}

/* --- the outcome ------------------------------------------------------------------------------ */

static enum slot_failure failure_of(const struct local_pool *pool, fault why)
{
    const char *state = fault_detail_sqlstate(why);
    if (why == FAULT_REFUSED || why == FAULT_TIMEOUT || why == FAULT_NAME)
        return SLOT_UNREACHABLE;
    /* For replication 53300 may mean max_wal_senders, which does not limit other connections. */
    if (why == FAULT_UPSTREAM && strcmp(state, "53300") == 0)
        return pool->route->is_replication ? SLOT_REJECTED : SLOT_CROWDED;
    if (why == FAULT_UPSTREAM && strcmp(state, "57P03") == 0)
        return SLOT_NOT_READY;
    return SLOT_REJECTED;
}

/* Refuses claims after the backend has rejected a login for good, since waiting is of no use.  In a
 * session pool the startup parameters may be the cause: only claims with the same ones are refused.
 * In other pools no claim is refused while another server of the local pool lives, since that shows
 * that logins can succeed.  No claim is refused if the credentials have changed meanwhile: then the
 * next login uses the new ones. */
static void login_rejected(const struct server *server, fault why)
{
    struct local_pool *pool = server->pool;
    if (server->shown != pool->credentials.changes)
        return;
    if (pool->route->mode == POOL_SESSION)
        local_pool_refuse(pool, server->session.startup, fault_detail_sqlstate(why),
                          fault_detail(why));
    else if (list_empty(&pool->idle) && pool->busy.count == pool->logins)
        local_pool_refuse(pool, NULL, fault_detail_sqlstate(why), fault_detail(why));
}

/* Ends a login that has not succeeded: its lease goes back to the router. */
static void login_return(struct server *server, struct lease *lease)
{
    struct local_pool *pool = server->pool;
    if (lease->how == LEASE_FAILED && lease->failure == SLOT_WRONG_ROLE && !pool->pools->stopping)
        lease->ending = server_end_login(&server, lease);
    else
        server_drop_login(&server);
    local_pool_tell(pool);
    mail_send(pool->pools->env->machine, &lease->to_router);
    local_pool_maybe_retire(pool);
    pools_settled(pool->pools);
}

/* Gives up a login at a backend that is no longer the primary: that is no failure. */
static void login_given_up(struct server *server)
{
    struct lease *lease = TAKE(server->lease);
    lease->how = LEASE_CLOSED;
    lease->end = SLOT_ENDED;
    login_return(server, lease);
}

static void login_failed(struct server *server, fault why, enum slot_failure failure)
{
    struct local_pool *pool = server->pool;
    struct lease *lease = TAKE(server->lease);
    char at[ADDRESS_TEXT_SIZE], detail[FAULT_STORY_MAX];
    snprintf(detail, sizeof(detail), "%s", fault_detail(why));
    log_event(failure == SLOT_REJECTED ? LOG_WARNING : LOG_NOTICE, "server.login_failed",
              log_id("server", &server->id), log_text("database", pool->database),
              log_text("user", pool->user),
              log_text("backend", address_text(&lease->target.address, at, sizeof(at))),
              log_text("sqlstate", fault_detail_sqlstate(why)), log_quote("reason", detail));
    if (failure == SLOT_REJECTED && why != FAULT_CANCELLED)
        login_rejected(server, why);
    PROBE5(server__login__failed, pool->database, pool->user, server, slot_id(lease->slot),
           (const char *)detail);
    lease->how = LEASE_FAILED;
    lease->failure = failure;
    lease->detail = strdup(detail); /* NULL: no memory, clients do not get the error */
    login_return(server, lease);
}

/* Returns the end of a lifetime, up to a tenth earlier at random, so that servers made together do
 * not end together. */
static deadline lifetime_end(duration lifetime)
{
    uint32_t bits;
    if (lifetime.us == INT64_MAX || lifetime.us == 0) /* 0: for one claim, see server_outlived */
        return NEVER;
    random_bytes(&bits, sizeof(bits));
    int64_t spread = lifetime.us / 10;
    return after(
        (duration){.us = lifetime.us - (int64_t)((double)bits / UINT32_MAX * (double)spread)});
}

/* Puts newly reported parameters into the lease, for the local pools on other relays. */
static void login_spread(struct lease *lease, struct span reported)
{
    lease->reported = malloc(reported.size);
    if (lease->reported == NULL)
        return; /* the other relays learn them from logins of their own */
    memcpy(lease->reported, reported.at, reported.size);
    lease->reported_size = (uint32_t)reported.size;
}

static void login_succeeded(struct server *server, const struct link_reported *said)
{
    struct local_pool *pool = server->pool;
    char at[ADDRESS_TEXT_SIZE];
    server->pid = said->pid;
    server->secret = said->secret;
    server->since = now();
    server->used = now();
    server->until = lifetime_end(pool->route->server_lifetime);
    server_note_doom(server);
    log_event(LOG_INFO, "server.connected", log_id("server", &server->id),
              log_text("database", pool->database), log_text("user", pool->user),
              log_text("backend", address_text(&server->lease->target.address, at, sizeof(at))),
              log_number("server_pid", server->pid));
    buffer_append_span(&server->reported, buffer_span(&said->parameters));
    if (local_pool_learn(pool, buffer_span(&server->reported)))
        login_spread(server->lease, buffer_span(&server->reported));
    if (server_set_defaults(server) != OK)
        server->broken = true;
    local_pool_tell_served(pool);
    mail_send(pool->pools->env->machine, &server->lease->report);
    PROBE5(server__login__done, pool->database, pool->user, server, slot_id(server->lease->slot),
           server->pid);
    server_become(server, SERVER_CLEANING);
    local_pool_free(pool, server);
}

/* --- the coroutine ---------------------------------------------------------------------------- */

/* Keeps the SCRAM keys that the login has derived from the local pool's password, so that the next
 * login need not derive them. */
static void login_keep_keys(struct server *server, const struct link_secret *made)
{
    struct credentials *credentials = &server->pool->credentials;
    if (!made->have_keys || server->shown != credentials->changes)
        return;
    credentials->secret.keys = made->keys;
    credentials->secret.have_keys = true;
}

/* Returns a copy of the local pool's secret, which may change during the login, or the output of
 * password_command.  The caller wipes `*ret_password`. */
static fault login_secret(struct server *server, const struct link_target *target,
                          struct link_secret *ret, char **ret_password)
{
    struct local_pool *pool = server->pool;
    const struct credentials *credentials = &pool->credentials;
    *ret = (struct link_secret){.have_keys = false};
    if (pool->shown.route->password_command != NULL) {
        TRY(local_pool_command_password(pool, target, ret_password));
    } else {
        *ret = credentials->secret;
        if (credentials->password != NULL)
            *ret_password = strdup(credentials->password);
        if (credentials->password != NULL && *ret_password == NULL)
            return FAULT_MEMORY;
    }
    if (*ret_password != NULL)
        ret->password = span_text(*ret_password);
    return OK;
}

static fault login_try(struct server *server, const struct link_login *login,
                       struct link_reported *said)
{
    struct local_pool *pool = server->pool;
    const struct route_config *route = pool->shown.route;
    bool asks = route->password_command != NULL;
    char *password = NULL;
    struct link_secret own;
    struct link_login mine = *login;
    fault result = login_secret(server, login->target, &own, &password);
    mine.secret = &own;
    if (result == OK)
        result = link_login(&server->stream, &mine, said, after(route->service->connect_timeout));
    if (asks && result == FAULT_UPSTREAM)
        local_pool_command_doubt(pool);
    if (!asks)
        login_keep_keys(server, &own);
    local_pool_wipe_password(&password);
    explicit_bzero(&own, sizeof(own));
    return result;
}

static fault login_run(struct server *server, struct link_reported *said)
{
    struct local_pool *pool = server->pool;
    const struct route_config *route = pool->shown.route;
    struct buffer flat = BUFFER_INIT(FLAT_MAX);
    struct link_target target;
    const char *user = route->server_user != NULL ? route->server_user : pool->user;
    TRY(local_pool_set_secret(pool));
    server->shown = pool->credentials.changes;
    server_target(pool, server->lease, &target);
    if (server->session.startup != NULL)
        params_write_flat(&flat, server->session.startup);
    struct link_login login = {
        .target = &target,
        .user = span_text(user),
        .database = span_text(local_pool_database(pool)),
        .parameters = buffer_span(&flat),
        .version = route->service->protocol,
    };
    fault result = buffer_fault(&flat);
    if (result == OK)
        result = login_try(server, &login, said);
    buffer_fini(&flat);
    return result;
}

static fault raise_wrong_role(enum fleet_target target, const struct link_reported *said)
{
    if (said->in_hot_standby)
        return fault_raise(FAULT_REFUSED, "the server is a standby, a primary is required");
    if (target == TARGET_READ_WRITE)
        return fault_raise(FAULT_REFUSED,
                           "default_transaction_read_only is on, target_session_attrs is %s",
                           target_name(target));
    return fault_raise(FAULT_REFUSED, "the server is a primary, target_session_attrs is %s",
                       target_name(target));
}

/* Ends a login that the server has accepted: its role may not be the one that is required. */
static void login_check_role(struct server *server, const struct link_reported *said)
{
    struct lease *lease = server->lease;
    enum fleet_target target = server->pool->route->target;
    server->standby = said->in_hot_standby;
    lease->role = said->in_hot_standby ? ROLE_REPLICA : ROLE_PRIMARY;
    lease->read_only = said->read_only;
    if (target_accepts(target, said->in_hot_standby, said->read_only, lease->fallback))
        login_succeeded(server, said);
    else
        login_failed(server, raise_wrong_role(target, said), SLOT_WRONG_ROLE);
}

static void login_main(void *argument)
{
    struct server *server = argument;
    struct config *config = config_ref(server->pool->shown.config);
    struct link_reported said = {.parameters = BUFFER_INIT(65536)};
    server->keeper = co_self();
    fault result = server->fenced ? FAULT_CANCELLED : login_run(server, &said);
    if (server->fenced)
        login_given_up(server);
    else if (result != OK)
        login_failed(server, result, failure_of(server->pool, result));
    else
        login_check_role(server, &said);
    buffer_fini(&said.parameters);
    config_unref(&config);
}

void server_login(struct local_pool *pool, struct lease *take_lease, struct params *take_startup)
{
    struct server *server = server_new(pool, take_lease);
    if (server == NULL) {
        params_unref(&take_startup);
        take_lease->how = LEASE_CLOSED;
        take_lease->end = SLOT_ENDED;
        mail_send(pool->pools->env->machine, &take_lease->to_router);
        return;
    }
    server->session.startup = take_startup;
    PROBE4(server__login__start, pool->database, pool->user, server, slot_id(server->lease->slot));
    if (co_start(login_main, server, CO_LARGE) != OK)
        login_failed(server, FAULT_MEMORY, SLOT_REJECTED);
}
