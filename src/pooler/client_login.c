/* client_login.c - from an accepted socket to a parked client: startup, route, proof, greeting. */
#include "link/link.h"
#include "link/proxy.h"
#include "machine/clock.h"
#include "machine/ids.h"
#include "machine/log.h"
#include "pooler/auth/auth.h"
#include "pooler/cancel.h"
#include "pooler/census.h"
#include "pooler/pooler.h"
#include "pooler/turn/turn.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define GREETING_MOST 131072u

/* What a login works with; on the heap, for its coroutine's stack is not meant for it. */
struct login {
    struct client *client;
    struct config *config; /* counted */
    deadline by;
    struct wire_startup startup;
    struct span database;
    struct span user;
    enum wire_replication replication;
    struct buffer out;
    char name[CLIENT_NAME_SIZE]; /* of the application, with the client's address */
    size_t param_count;
    bool console;
    struct param params[PARAMS_MOST]; /* from here on nothing is zeroed */
    uint8_t packet[WIRE_STARTUP_MOST];
    uint8_t scratch[WIRE_STARTUP_MOST]; /* options without their escapes */
};

/* --- startup packet --------------------------------------------------------------------------- */

static fault login_add_param(void *argument, struct span name, struct span value)
{
    struct login *login = argument;
    if (config_ignores(login->config, name))
        return OK;
    if (login->param_count == PARAMS_MOST)
        return fault_raise(FAULT_LIMIT, "more than %d startup parameters", PARAMS_MOST);
    login->params[login->param_count++] = (struct param){name, value};
    return OK;
}

static bool name_is_protocol(struct span name)
{
    return span_is(name, "user") || span_is(name, "database") || span_starts(name, SPAN("_pq_."));
}

/* Parameters that are no setting: read apart, unless they are passed on as they are. */
static bool name_is_read_apart(struct span name)
{
    return span_is(name, "options") || span_is(name, "replication");
}

static fault login_read_replication(struct login *login)
{
    struct span value = wire_find_parameter(login->startup.parameters, "replication");
    if (value.at == NULL || wire_read_replication(value, &login->replication) == OK)
        return OK;
    return fault_raise_state(FAULT_PROTOCOL, "22023",
                             "invalid value for parameter \"replication\": \"%.*s\"",
                             (int)MIN_OF(value.size, 100), (const char *)value.at);
}

/* What `options` holds counts first: a parameter of its own goes over it, as in PostgreSQL. */
static fault login_read_options(struct login *login)
{
    struct span options = wire_find_parameter(login->startup.parameters, "options");
    struct span wrong = SPAN_NONE;
    bool verbatim = login->replication != WIRE_REPLICATION_NONE;
    if (verbatim || config_ignores(login->config, SPAN("options")))
        return OK;
    fault read = wire_read_options(options, login->scratch, login_add_param, login, &wrong);
    if (read == FAULT_PROTOCOL)
        return fault_raise_state(read, "42601",
                                 "invalid command-line argument for server process: %.*s",
                                 (int)MIN_OF(wrong.size, 100), (const char *)wrong.at);
    return read;
}

static fault login_read_params(struct login *login)
{
    struct span rest = login->startup.parameters;
    struct span name, value;
    login->user = wire_find_parameter(login->startup.parameters, "user");
    login->database = wire_find_parameter(login->startup.parameters, "database");
    if (login->user.size == 0)
        return fault_raise(FAULT_AUTH, "no PostgreSQL user name specified in startup packet");
    if (login->database.size == 0)
        login->database = login->user;
    TRY(login_read_replication(login));
    TRY(login_read_options(login));
    bool verbatim = login->replication != WIRE_REPLICATION_NONE;
    while (wire_next_parameter(&rest, &name, &value))
        if (!name_is_protocol(name) && (verbatim || !name_is_read_apart(name)))
            TRY(login_add_param(login, name, value));
    return OK;
}

/* A proxy's connection: whom it speaks for. */
static fault login_learn_origin(struct login *login)
{
    struct link_proxied said;
    TRY(link_read_proxy(&login->client->stream, &said, login->by));
    login->client->stream.is_forwarded = said.what != LINK_PROXY_SELF;
    return said.what == LINK_PROXY_FOR ? client_set_peer(login->client, &said.from) : OK;
}

static fault login_startup(struct login *login)
{
    struct client *client = login->client;
    const struct listen_config *listen = pooler_listen(login->config, client->listen);
    if (listen == NULL)
        return fault_raise(FAULT_CLOSED, "its listener has gone");
    if (listen_from_proxy(listen, client->peer))
        TRY(login_learn_origin(login));
    struct link_accept accept = {.tls_mode = listen->tls.mode, .tls = listen->tls.context};
    TRY(link_read_startup(&client->stream, &accept, login->packet, &login->startup, login->by));
    if (login->startup.kind == WIRE_STARTUP_CANCEL) {
        cancel_request(client->relay, login->startup.cancel.pid, login->startup.cancel.secret);
        return FAULT_CLOSED;
    }
    return login_read_params(login);
}

/* --- route and proof -------------------------------------------------------------------------- */

/* For now only here: what a client proves may serve its share towards servers, but the router is
 * not troubled with those who have proven nothing. */
static fault login_enter_share(struct login *login, const struct route_config *route)
{
    struct client *client = login->client;
    TRY(share_of(client->relay, route, login->database, login->user, &client->share));
    share_join(client->share);
    return OK;
}

static uint32_t login_most(const struct login *login, enum census_of of)
{
    const struct config *config = login->config;
    const struct share *share = login->client->share;
    if (of == CENSUS_POOL)
        return share->route->client_most;
    if (of == CENSUS_DATABASE) {
        const struct database_config *database = config_database(config, share->database);
        bool own = database != NULL && database->client_most != 0;
        return own ? database->client_most : config->database_clients_most;
    }
    const struct user_config *user = config_user(config, share->user);
    bool own = user != NULL && user->client_most != 0;
    return own ? user->client_most : config->user_clients_most;
}

static fault login_too_many(const struct share *share, enum census_of of, uint32_t most)
{
    switch (of) {
    case CENSUS_DATABASE:
        return fault_raise(FAULT_CLIENTS, "too many clients of database \"%s\", the limit is %u",
                           share->database, most);
    case CENSUS_USER:
        return fault_raise(FAULT_CLIENTS, "too many clients of user \"%s\", the limit is %u",
                           share->user, most);
    default:
        return fault_raise(FAULT_CLIENTS, "too many clients of pool \"%s\"/\"%s\", the limit is %u",
                           share->database, share->user, most);
    }
}

/* Only who has proven who it is takes one of the places of its pool, database and user. */
static fault login_admit(struct login *login)
{
    struct client *client = login->client;
    struct census *const *census = client->share->census;
    for (int i = 0; i < CENSUSES; i++) {
        uint32_t most = login_most(login, (enum census_of)i);
        if (census_admit(census[i], most))
            continue;
        for (int j = 0; j < i; j++)
            census_dismiss(census[j]);
        return login_too_many(client->share, (enum census_of)i, most);
    }
    client->admitted = true;
    return OK;
}

static struct auth_request login_request(struct login *login, const struct route_config *route)
{
    return (struct auth_request){.client = login->client,
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

/* What the route is to this client; NULL: nothing. */
static const struct route_config *login_find_route(const struct login *login)
{
    const struct listen_config *listen = pooler_listen(login->config, login->client->listen);
    const struct route_config *route = config_route_at(
        login->config, listen != NULL ? listen->name : NULL, login->database, login->user);
    if (route == NULL) {
        (void)fault_raise(FAULT_ROUTE, "no route matches database \"%.*s\" and user \"%.*s\"",
                          SPAN_ARG(login->database), SPAN_ARG(login->user));
        return NULL;
    }
    if (login->replication == WIRE_REPLICATION_NONE || route->auth == AUTH_BLOCK)
        return route;
    if (route->replication == NULL)
        (void)fault_raise(FAULT_ROUTE,
                          "replication connections of user \"%.*s\" to database \"%.*s\" are not "
                          "let in: replication_limit is off",
                          SPAN_ARG(login->user), SPAN_ARG(login->database));
    return route->replication;
}

/* Who may use the console is told only to those who have proven who they are. */
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
    if (may)
        return OK;
    return fault_raise(FAULT_AUTH, "user \"%.*s\" may not use the console", SPAN_ARG(login->user));
}

/* Its set of parameters also says who it is: there is no share that would. */
static fault login_finish_console(struct login *login)
{
    struct client *client = login->client;
    TRY(login_add_param(login, SPAN("user"), login->user));
    TRY(login_add_param(login, SPAN("database"), login->database));
    TRY(params_intern(&client->relay->params, login->params, login->param_count, &client->params));
    return link_send(&client->stream, &login->out, login->by);
}

/* Bytes behind the startup packet are queries where no password is asked for, and nothing that a
 * client may send elsewhere. */
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

/* A reload since its first byte: it enters a pool of the version that pools have now. */
static void login_take_version(struct login *login)
{
    struct config *latest = config_ref(login->client->relay->config);
    config_unref(&login->config);
    login->config = latest;
}

static fault login_stranger(struct login *login)
{
    static const struct route_config none;
    struct auth_request request = login_request(login, &none);
    TRY(auth_stranger(&request));
    (void)login_find_route(login); /* the story, for whom it may be told to */
    return FAULT_ROUTE;
}

static fault login_route(struct login *login)
{
    struct client *client = login->client;
    login_take_version(login);
    TRY(auth_admit(client, login->config));
    if (config_console_database(login->config, login->database))
        return login_console(login);
    if (client->relay->control.closing)
        return fault_raise_state(FAULT_SHUTDOWN, "57P03", "the pooler is shutting down");
    TRY(pooler_client_comes(client->relay->pooler, login->config->client_most));
    client->counted = true;
    const struct route_config *route = login_find_route(login);
    if (route == NULL)
        return login_stranger(login);
    if (route->auth == AUTH_BLOCK)
        return fault_raise(FAULT_AUTH, "user \"%.*s\" is blocked", SPAN_ARG(login->user));
    TRY(login_enter_share(login, route));
    struct auth_request request = login_request(login, route);
    TRY(auth_choose(&request));
    TRY(login_keep_ahead(login, &request.how));
    TRY(auth_client(&request));
    TRY(share_enter(client->share, login->by));
    TRY(control_admit(&client->relay->control, client->share->database));
    TRY(login_admit(login));
    TRY(share_set_secret(client->share));
    hint_add(&client->share->stats.logins, 1);
    return OK;
}

/* --- session state ---------------------------------------------------------------------------- */

/* Until it has a server or, if that is all it needs one for, what servers tell is known.  The
 * claim has its own end; a login whose claim has none ends by login_timeout. */
static fault login_await(struct login *login, bool greeting_will_do)
{
    struct client *client = login->client;
    bool endless = client->share->route->claim_timeout.us == INT64_MAX;
    if (claim_make(client, co_waker(co_self())))
        return OK;
    while (client->claim.state == CLAIM_WAITING) {
        fault waited = co_wait(endless ? login->by : NEVER);
        bool gone = stream_hung_up(&client->stream);
        bool told = greeting_will_do && client->share->greeting.known;
        if (waited == OK && !gone && !told)
            continue;
        claim_withdraw(client);
        return gone ? FAULT_CLOSED : waited;
    }
    return OK;
}

/* The claim's outcome; without one there was no need of it. */
static fault login_settle_claim(struct login *login)
{
    struct client *client = login->client;
    if (client->claim.state != CLAIM_REFUSED)
        return OK;
    struct refusal *refusal = TAKE(client->claim.refusal);
    claim_done(client);
    fault raised = refusal == NULL
                       ? FAULT_MEMORY
                       : fault_raise_state(FAULT_UPSTREAM, refusal->sqlstate, "%s", refusal->text);
    refusal_unref(&refusal);
    return raised;
}

static fault login_claim(struct login *login)
{
    TRY(login_await(login, false));
    return login_settle_claim(login);
}

static fault login_learn_greeting(struct login *login)
{
    struct client *client = login->client;
    if (client->share->greeting.known)
        return OK;
    TRY(login_await(login, true));
    TRY(login_settle_claim(login));
    if (client->claim.state == CLAIM_GRANTED)
        claim_withdraw(client);
    return OK;
}

/* How servers spell what they have taken before; values that are their defaults fall away. */
static void login_canonical(struct login *login)
{
    struct share *share = login->client->share;
    size_t kept = 0;
    for (size_t i = 0; i < login->param_count; i++) {
        struct param param = login->params[i];
        (void)!share_accepted(share, &param, &param.value);
        if (!share_is_default(share, &param))
            login->params[kept++] = param;
    }
    login->param_count = kept;
}

/* Values that no server has taken yet are tried now, so that a bad one fails the login, as it would
 * on a direct connection. */
static fault login_confirm(struct login *login)
{
    struct client *client = login->client;
    struct relay *relay = client->relay;
    if (params_confirmed(client->share, relay->params.none, client->params))
        return OK;
    TRY(login_claim(login));
    struct server *server = client->claim.server;
    struct turn turn;
    turn_init(&turn, relay, NULL);
    turn.client = client;
    server->stream.waker = co_waker(co_self());
    client->co = co_self();
    fault adopted = turn_settle_claim(&turn);
    bool refused = adopted == OK && turn.server == NULL;
    outbox_drop(&turn.down.out, &relay->chunks);
    chunk_return(&relay->chunks, &turn.down.chunk);
    if (turn.server == NULL)
        return refused
                   ? fault_raise_state(FAULT_UPSTREAM, turn.refused_state, "%s", turn.refused_text)
                   : adopted;
    if (adopted == OK && !ledger_empty(&server->ledger))
        adopted = turn_drain(&turn, login->by);
    turn.client = NULL;
    client->server = NULL;
    server->client = NULL;
    outbox_drop(&turn.up.out, &relay->chunks);
    chunk_return(&relay->chunks, &turn.down.chunk);
    if (adopted == OK) {
        share_free(client->share, server);
        return OK;
    }
    turn_clean(&turn);
    return adopted;
}

/* The last of several counts. */
static struct param *login_find_param(struct login *login, const char *name)
{
    for (size_t i = login->param_count; i-- > 0;)
        if (span_is_nocase(login->params[i].name, name))
            return &login->params[i];
    return NULL;
}

/* Its application_name with its address.  Servers that go from one client to the next can't be
 * started with it. */
static fault login_name(struct login *login)
{
    const struct route_config *route = login->client->share->route;
    struct param *known = login_find_param(login, "application_name");
    struct span name;
    if (!route->name_with_host)
        return OK;
    memset(login->name, 0, sizeof(login->name));
    name = client_origin_name(login->client, known != NULL ? known->value : SPAN_NONE, login->name);
    if (route->mode == POOL_SESSION && !route->fresh)
        return login->client->server != NULL ? client_name_session(login->client, name, login->by)
                                             : OK;
    if (known == NULL)
        return login_add_param(login, SPAN("application_name"), name);
    known->value = name;
    return OK;
}

static fault login_transaction(struct login *login)
{
    struct client *client = login->client;
    TRY(login_name(login));
    TRY(login_learn_greeting(login));
    login_canonical(login);
    TRY(params_intern(&client->relay->params, login->params, login->param_count, &client->params));
    TRY(login_confirm(login));
    cancel_make_key(client->relay, client, login->startup.version);
    return OK;
}

/* A session pool's client has its server from now on, and is known by that one's pid.  The secret
 * is its own: the server's would outlive it, and cancel its next owner's queries. */
static fault login_session(struct login *login)
{
    struct client *client = login->client;
    TRY(login_name(login));
    TRY(params_intern(&client->relay->params, login->params, login->param_count, &client->params));
    TRY(login_claim(login));
    struct server *server = TAKE(client->claim.server);
    claim_done(client);
    client->server = server;
    server->last_client = client;
    client->last_server = server;
    client->key.pid = server->pid;
    cancel_make_secret(client, login->startup.version);
    return client->share->route->fresh ? OK : login_name(login);
}

/* --- greeting --------------------------------------------------------------------------------- */

/* What the client's own server reported. */
static void login_put_session(struct login *login)
{
    struct client *client = login->client;
    struct span rest = buffer_span(&client->server->greeting), name, value;
    struct span named = span_text(login->name);
    while (wire_next_parameter(&rest, &name, &value)) {
        if (named.size > 0 && span_is(name, "application_name"))
            value = named;
        if (span_is(name, "session_authorization") && client->share->route->server_user == NULL)
            value = login->user;
        wire_put_parameter_status(&login->out, name, value);
    }
}

/* What servers of its pool reported, with the client's own values in their place. */
static void login_put_parameters(struct login *login)
{
    const struct client *client = login->client;
    struct span rest = buffer_span(&client->share->greeting.messages);
    while (rest.size > 0 && client->params->count > 0) {
        struct span name = span_text((const char *)rest.at + WIRE_HEADER);
        const struct span *own = params_find(client->params, name);
        size_t size = wire_u32(rest.at + 1) + 1;
        if (own != NULL)
            wire_put_parameter_status(&login->out, name, *own);
        else
            buffer_append(&login->out, rest.at, size);
        rest = span_skip(rest, size);
    }
    buffer_append_span(&login->out, rest);
}

static fault login_greet(struct login *login)
{
    struct client *client = login->client;
    struct relay *relay = client->relay;
    TRY(cancel_enter_key(relay, client));
    if (client->server != NULL)
        login_put_session(login);
    else
        login_put_parameters(login);
    wire_put_backend_key(&login->out, client->key.pid, client_secret(&client->key));
    wire_put_ready(&login->out, WIRE_TX_IDLE);
    return link_send(&client->stream, &login->out, login->by);
}

static fault login_run(struct login *login)
{
    struct client *client = login->client;
    TRY(login_startup(login));
    wire_put_negotiate(&login->out, login->startup.version, login->startup.parameters);
    if (login->out.size > 0)
        TRY(link_send(&client->stream, &login->out, login->by));
    TRY(login_route(login));
    if (login->console)
        return login_finish_console(login);
    if (client->share->route->mode == POOL_SESSION)
        TRY(login_session(login));
    else
        TRY(login_transaction(login));
    TRY(login_greet(login));
    logbook_client_came(client, client->share->database, client->share->user);
    return OK;
}

/* --- the coroutine ---------------------------------------------------------------------------- */

static void login_refuse(struct login *login, fault why)
{
    struct client *client = login->client;
    char id[UUID_TEXT_SIZE], from[ADDRESS_TEXT_SIZE], text[FAULT_STORY_MOST], state[6];
    const char *default_text = fault_text(why);
    snprintf(text, sizeof(text), "%s",
             why == FAULT_TIMEOUT ? "login_timeout passed" : fault_story(why));
    memcpy(state, fault_story_sqlstate(why), sizeof(state));
    if (why == FAULT_CANCELLED)
        memcpy(state, "57P01", sizeof(state));
    if (why != FAULT_CLOSED || strcmp(text, default_text) != 0)
        log_event(LOG_NOTICE, "client.login_failed",
                  "client=%s from=%s database=%.*s user=%.*s sqlstate=%s reason=\"%s\"",
                  uuid_text(&client->id, id), address_text(client->peer, from, sizeof(from)),
                  SPAN_ARG(login->database), SPAN_ARG(login->user), state, text);
    if (client->server != NULL)
        turn_end_session(client, why == FAULT_CLOSED ? NULL : state, text);
    else if (why == FAULT_CLOSED)
        client_close(&client, "login not finished");
    else
        client_farewell(&client, state, text);
}

static void login_free(struct login *login)
{
    buffer_fini(&login->out);
    config_unref(&login->config);
    free(login);
}

/* The console serves on this very coroutine. */
static void login_serve_console(struct client *client)
{
    const struct pooler_console *console = pooler_console(client->relay->pooler);
    client->state = CLIENT_TURN;
    if (console != NULL && console->serve != NULL)
        console->serve(client, client->relay->pooler);
    client_close(&client, "console session ended");
}

void client_login(void *argument)
{
    struct client *client = argument;
    struct login *login = malloc(sizeof(*login));
    client->co = co_self();
    client->stream.waker = co_waker(client->co);
    if (login == NULL) {
        client_farewell(&client, "53200", "out of memory");
        return;
    }
    memset(login, 0, offsetof(struct login, params));
    login->client = client;
    login->user = login->database = SPAN(""); /* until it says who it is */
    login->config = config_ref(client->relay->config);
    login->out = BUFFER_INIT(GREETING_MOST);
    login->by = after(login->config->login_timeout);
    fault result = client->leaving ? FAULT_CANCELLED : login_run(login);
    bool console = login->console;
    if (result != OK)
        login_refuse(login, result);
    login_free(login);
    if (result != OK)
        return;
    if (console)
        login_serve_console(client);
    else if (client_park(client))
        timer_set(&client->timer, now()); /* its turn starts from the loop */
}
