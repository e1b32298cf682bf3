/* login_session.c - a client's initial parameters, and a server where one must check them. */
#include "machine/co.h"
#include "relay/cancel.h"
#include "relay/login/login_parts.h"
#include "relay/relay.h"
#include "relay/turn/turn.h"
#include "session/accepted.h"

#include <inttypes.h>
#include <string.h>

/* Raises the error for a login whose claim has waited until login_timeout. */
static fault login_late(const struct login *login)
{
    char full[SAY_FULL_SIZE];
    enum stats_service_count why;
    const struct local_pool *pool = login->client->pool;
    const char *sqlstate = local_pool_say_full(pool, full, sizeof(full), &why);
    stats_service_add(pool->service_stats, why);
    return fault_raise_state(
        FAULT_UPSTREAM, sqlstate,
        "no server of pool \"%s\"/\"%s\" became free within login_timeout (%" PRId64 " ms, %s)",
        pool->database, pool->user, login->config->login_timeout.us / 1000, full);
}

/* Claims a server and waits for it.  Returns also once `enough` says that the server is not needed
 * any more; NULL: it is.  The claim ends by claim_timeout and by login_timeout; in a session pool,
 * where a login waits for the session's server, by login_timeout only if claim_timeout is off. */
static fault login_await(struct login *login, bool (*enough)(const struct client *client))
{
    struct client *client = login->client;
    const struct route_config *route = client->pool->route;
    bool limited = route->mode != POOL_SESSION || route->claim_timeout.us == INT64_MAX;
    if (client_claim(client, co_waker(co_self())))
        return OK;
    while (client->claim.state == CLAIM_WAITING) {
        fault waited = co_wait(limited ? login->by : NEVER);
        bool gone = stream_hung_up(&client->stream);
        bool told = enough != NULL && enough(client);
        if (waited == OK && !gone && !told)
            continue;
        claim_withdraw(&client->claim);
        if (gone)
            return FAULT_CLOSED;
        return waited == FAULT_TIMEOUT ? login_late(login) : waited;
    }
    return OK;
}

/* Returns the claim's outcome: OK if granted or withdrawn, else why it was refused. */
static fault login_settle_claim(struct login *login)
{
    struct client *client = login->client;
    if (client->claim.state != CLAIM_REFUSED)
        return OK;
    struct refusal *refusal = TAKE(client->claim.refusal);
    claim_done(&client->claim);
    fault raised = refusal == NULL
                       ? FAULT_MEMORY
                       : fault_raise_state(FAULT_UPSTREAM, refusal->sqlstate, "%s", refusal->text);
    refusal_unref(&refusal);
    return raised;
}

/* Claims the session's server.  One that was fenced between the grant and now is given back, and
 * another one is claimed. */
static fault login_claim(struct login *login)
{
    struct claim *claim = &login->client->claim;
    TRY(login_await(login, NULL));
    TRY(login_settle_claim(login));
    while (claim->server->fenced) {
        claim_withdraw(claim);
        TRY(login_await(login, NULL));
        TRY(login_settle_claim(login));
    }
    invariant(claim->state == CLAIM_GRANTED && claim->server != NULL);
    return OK;
}

static bool knows_reported(const struct client *client)
{
    return client->pool->reported.known;
}

static bool knows_values(const struct client *client)
{
    return turn_params_confirmed(client->pool, client->relay->pools.params.none, client->params);
}

static fault login_store_reported(struct login *login)
{
    struct client *client = login->client;
    if (client->pool->reported.known)
        return OK;
    TRY(login_await(login, knows_reported));
    TRY(login_settle_claim(login));
    if (client->claim.state == CLAIM_GRANTED)
        claim_withdraw(&client->claim);
    return OK;
}

/* Makes the client's set of parameters.  Replaces values by the spelling of servers that have
 * accepted them; drops values that are the servers' defaults. */
static fault login_intern(struct login *login)
{
    struct client *client = login->client;
    struct local_pool *pool = client->pool;
    struct param all[PARAMS_MAX];
    struct params *params;
    size_t count = 0;
    struct params *none = client->relay->pools.params.none;
    struct params *defaults = pool->reported.defaults != NULL ? pool->reported.defaults : none;
    params_assign(&client->defaults, params_ref(defaults));
    for (size_t i = 0; i < login->param_count; i++) {
        struct param param = login->params[i];
        (void)!accepted_find(&pool->accepted, &param, &param.value);
        if (!params_has(client->defaults, &param))
            all[count++] = param;
    }
    invariant(count <= login->param_count);
    TRY(params_intern(&client->relay->pools.params, all, count, &params));
    params_assign(&client->params, params);
    return OK;
}

/* Sets the client's values on the server that its claim was granted. */
static fault login_try(struct login *login)
{
    struct client *client = login->client;
    struct relay *relay = client->relay;
    struct server *server = client->claim.server;
    struct turn turn;
    turn_init(&turn, relay, client, NULL);
    turn.looks = POOL_LOOKS_WRITES; /* what is sent here is known to write nothing */
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
    if (adopted == OK && !ledger_empty(&server->session.ledger))
        adopted = turn_drain(&turn, login->by);
    turn_become(&turn, TURN_CLEANING);
    client->server = NULL;
    server->client = NULL;
    outbox_drop(&turn.up.out, &relay->chunks);
    chunk_return(&relay->chunks, &turn.down.chunk);
    if (adopted == OK && !server->session.params->acts) {
        local_pool_free(client->pool, server);
        return OK;
    }
    turn_clean(&turn);
    return adopted;
}

/* Sets values that no server has accepted yet on a server now, so that an invalid value fails the
 * login, as on a direct connection.  While the login waits for that server, another client's server
 * may accept them, on this relay or another: then this login needs none. */
static fault login_confirm(struct login *login)
{
    struct client *client = login->client;
    TRY(login_intern(login));
    while (!knows_values(client)) {
        TRY(login_await(login, knows_values));
        TRY(login_settle_claim(login));
        if (client->claim.state == CLAIM_GRANTED)
            return login_try(login);
        TRY(login_intern(login));
    }
    return OK;
}

/* Returns the last parameter of this name, which is the one that counts; NULL: none. */
static struct param *login_find_param(struct login *login, const char *name)
{
    for (size_t i = login->param_count; i-- > 0;)
        if (span_is_nocase(login->params[i].name, name))
            return &login->params[i];
    return NULL;
}

/* Makes application_name with the client's address, if the route asks for it.  In a session pool
 * whose servers go from client to client it is set on the server, because it can't be a startup
 * parameter there. */
static fault login_name(struct login *login)
{
    const struct route_config *route = login->client->pool->route;
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

fault login_transaction(struct login *login)
{
    struct client *client = login->client;
    TRY(login_name(login));
    TRY(login_store_reported(login));
    TRY(login_confirm(login));
    client->given = params_ref(client->params); /* as servers spell it */
    cancel_make_key(client->relay, client, login->startup.version);
    return OK;
}

/* A client of a session pool keeps its server from now on, and its cancel key has the server's pid.
 * The key's secret is made for the client: the server's would stay valid after the client's end and
 * cancel queries of the next client. */
fault login_session(struct login *login)
{
    struct client *client = login->client;
    TRY(login_name(login));
    TRY(params_intern(&client->relay->pools.params, login->params, login->param_count,
                      &client->params));
    TRY(login_claim(login));
    struct server *server = TAKE(client->claim.server);
    invariant(client->server == NULL && server->client == client);
    claim_done(&client->claim);
    client->server = server;
    server->last_claim = &client->claim;
    client->claim.last_server = server;
    client->key.pid = server->pid;
    cancel_make_secret(client, login->startup.version);
    return client->pool->route->fresh ? OK : login_name(login);
}
