/* login_route.c - a client's route, authentication and admission to its pool. */
#include "auth/auth.h"
#include "link/link.h"
#include "pool/counts.h"
#include "relay/login/login_parts.h"
#include "relay/relay.h"

/* Joins the local pool before authentication, because the client's credentials are kept there for
 * logins to servers.  The router hears of the local pool only after authentication. */
static fault login_enter_pool(struct login *login, const struct route_config *route)
{
    struct client *client = login->client;
    invariant(client->pool == NULL && client->counted);
    TRY(local_pool_of(&client->relay->pools, route, login->database, login->user, &client->pool));
    local_pool_join(client->pool);
    return OK;
}

static uint32_t login_max(const struct login *login, enum counts_of of)
{
    const struct config *config = login->config;
    const struct local_pool *pool = login->client->pool;
    if (of == COUNTS_POOL)
        return pool->route->client_max;
    if (of == COUNTS_DATABASE) {
        const struct database_config *database = config_database(config, pool->database);
        bool own = database != NULL && database->client_max != 0;
        return own ? database->client_max : config->database_clients_max;
    }
    const struct user_config *user = config_user(config, pool->user);
    bool own = user != NULL && user->client_max != 0;
    return own ? user->client_max : config->user_clients_max;
}

static fault login_too_many(const struct local_pool *pool, enum counts_of of, uint32_t max)
{
    switch (of) {
    case COUNTS_DATABASE:
        return fault_raise(FAULT_CLIENTS, "too many clients of database \"%s\", the limit is %u",
                           pool->database, max);
    case COUNTS_USER:
        return fault_raise(FAULT_CLIENTS, "too many clients of user \"%s\", the limit is %u",
                           pool->user, max);
    default:
        return fault_raise(FAULT_CLIENTS, "too many clients of pool \"%s\"/\"%s\", the limit is %u",
                           pool->database, pool->user, max);
    }
}

/* Counts an authenticated client at its pool, database and user, or refuses it at a limit. */
static fault login_admit(struct login *login)
{
    struct client *client = login->client;
    struct counts *const *counts = client->pool->counts;
    invariant(!client->admitted && local_pool_is_entered(client->pool));
    for (int i = 0; i < COUNTS; i++) {
        uint32_t max = login_max(login, (enum counts_of)i);
        if (counts_admit(counts[i], max))
            continue;
        for (int j = 0; j < i; j++)
            counts_dismiss(counts[j]);
        return login_too_many(client->pool, (enum counts_of)i, max);
    }
    client->admitted = true;
    return OK;
}

static struct auth_request login_request(struct login *login, const struct route_config *route)
{
    struct client *client = login->client;
    return (struct auth_request){.room = &client->relay->auth,
                                 .stream = &client->stream,
                                 .peer = client->peer,
                                 .client = &client->id,
                                 .pool = client->pool,
                                 .config = login->config,
                                 .route = route,
                                 .database = login->database,
                                 .user = login->user,
                                 .how = route->how,
                                 .lookup = auth_lookup_of(login->config, route),
                                 .replication = login->replication == WIRE_REPLICATION_PHYSICAL,
                                 .out = &login->out,
                                 .by = login->by};
}

static const struct route_config no_route;

/* Returns the client's route, or that for replication; NULL: none, with the fault's message set. */
static const struct route_config *login_find_route(const struct login *login)
{
    const struct listen_config *listen = config_listen(login->config, login->client->listen);
    const struct route_config *route = config_route_at(
        login->config, listen != NULL ? listen->name : NULL, login->database, login->user);
    if (route == NULL) {
        (void)fault_raise(FAULT_ROUTE, "no route matches database \"%.*s\" and user \"%.*s\"",
                          SPAN_ARG(login->database), SPAN_ARG(login->user));
        return NULL;
    }
    enum fleet_target target = login->target;
    if (target == TARGET_DEFAULT && route->target == TARGET_DEFAULT && listen != NULL)
        target = listen->target;
    route = route_for_target(route, target);
    if (login->replication == WIRE_REPLICATION_NONE || route->auth == AUTH_BLOCK)
        return route;
    if (route->replication == NULL)
        (void)fault_raise(FAULT_ROUTE,
                          "replication connections of user \"%.*s\" to database \"%.*s\" are not "
                          "let in: replication_limit is off",
                          SPAN_ARG(login->user), SPAN_ARG(login->database));
    return route->replication;
}

/* Authenticates a console client.  Whether a user may use the console is told only after
 * authentication. */
static fault login_console(struct login *login)
{
    struct client *client = login->client;
    static const struct route_config console = {
        .auth = AUTH_SCRAM, .how.method = AUTH_SCRAM, .mode = POOL_SESSION};
    static const struct route_config trusted = {
        .auth = AUTH_TRUST, .how.method = AUTH_TRUST, .mode = POOL_SESSION};
    bool own = stream_peer_is_own(&client->stream);
    bool may = config_console_role(login->config, login->user) != CONSOLE_NOTHING ||
               (own && config_console_database(login->config, login->user));
    bool stored = config_secret(login->config, login->user) != NULL;
    login->console = client->console = true;
    struct auth_request request = login_request(login, own && may && !stored ? &trusted : &console);
    TRY(auth_client(&request));
    client_prove(client);
    if (may)
        return OK;
    return fault_raise(FAULT_AUTH, "user \"%.*s\" may not use the console", SPAN_ARG(login->user));
}

/* The set of parameters also holds user and database, because a console client has no local
 * pool. */
fault login_finish_console(struct login *login)
{
    struct client *client = login->client;
    TRY(login_add_param(login, SPAN("user"), login->user));
    TRY(login_add_param(login, SPAN("database"), login->database));
    TRY(params_intern(&client->relay->pools.params, login->params, login->param_count,
                      &client->params));
    return link_send(&client->stream, &login->out, login->by);
}

/* Keeps bytes behind the startup packet: queries, if the method is trust.  With any other method
 * they are a protocol violation. */
static fault login_keep_ahead(struct login *login, const struct auth_how *how)
{
    struct span behind = login->startup.behind;
    if (behind.size == 0)
        return OK;
    if (how->method != AUTH_TRUST)
        return fault_raise(FAULT_PROTOCOL, "%zu bytes ahead of the authentication request",
                           behind.size);
    login->client->ahead = true;
    return client_stash(login->client, behind.at, behind.size);
}

/* Takes the latest version of the configuration: a reload may have come since the login began. */
static void login_take_version(struct login *login)
{
    struct config *latest = config_ref(login->client->relay->pools.config);
    config_unref(&login->config);
    login->config = latest;
}

/* Authenticates a client that matches no route, before it is told so. */
static fault login_no_route(struct login *login)
{
    struct auth_request request = login_request(login, &no_route);
    TRY(auth_no_route(&request));
    (void)login_find_route(login); /* sets the fault's message */
    return FAULT_ROUTE;
}

fault login_route(struct login *login)
{
    struct client *client = login->client;
    invariant(!client->counted && !client->admitted);
    login_take_version(login);
    struct auth_request unknown = login_request(login, &no_route);
    TRY(auth_admit(&unknown));
    if (config_console_database(login->config, login->database))
        return login_console(login);
    if (client->relay->pools.orders.closing)
        return fault_raise_state(FAULT_SHUTDOWN, "57P03", "the pooler is shutting down");
    TRY(env_client_comes(client->relay->pools.env, login->config->client_max));
    client->counted = true;
    const struct route_config *route = login_find_route(login);
    if (route == NULL)
        return login_no_route(login);
    if (route->auth == AUTH_BLOCK)
        return fault_raise(FAULT_AUTH, "user \"%.*s\" is blocked", SPAN_ARG(login->user));
    TRY(login_enter_pool(login, route));
    struct auth_request request = login_request(login, route);
    TRY(auth_choose(&request));
    TRY(login_keep_ahead(login, &request.how));
    TRY(auth_client(&request));
    client_prove(client);
    TRY(local_pool_enter(client->pool, login->by));
    TRY(orders_admit(&client->relay->pools.orders, client->pool->database));
    TRY(login_admit(login));
    TRY(local_pool_set_secret(client->pool));
    hint_add(&client->pool->stats.logins, 1);
    return OK;
}
