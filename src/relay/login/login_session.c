/* login_session.c - a client's initial parameters, and a server where one must check them. */
#include "machine/co.h"
#include "relay/cancel.h"
#include "relay/login/login_parts.h"
#include "relay/relay.h"
#include "relay/turn/turn.h"
#include "session/accepted.h"

#include <string.h>

/* Claims a server and waits for it.  `greeting_will_do`: returns also once the pool's reported
 * parameters are known, if the server is needed only for these.  The claim ends by claim_timeout,
 * or by login_timeout if that is off. */
static fault login_await(struct login *login, bool greeting_will_do)
{
    struct client *client = login->client;
    bool endless = client->pool->route->claim_timeout.us == INT64_MAX;
    if (client_claim(client, co_waker(co_self())))
        return OK;
    while (client->claim.state == CLAIM_WAITING) {
        fault waited = co_wait(endless ? login->by : NEVER);
        bool gone = stream_hung_up(&client->stream);
        bool told = greeting_will_do && client->pool->greeting.known;
        if (waited == OK && !gone && !told)
            continue;
        claim_withdraw(&client->claim);
        return gone ? FAULT_CLOSED : waited;
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

static fault login_claim(struct login *login)
{
    TRY(login_await(login, false));
    return login_settle_claim(login);
}

static fault login_learn_greeting(struct login *login)
{
    struct client *client = login->client;
    if (client->pool->greeting.known)
        return OK;
    TRY(login_await(login, true));
    TRY(login_settle_claim(login));
    if (client->claim.state == CLAIM_GRANTED)
        claim_withdraw(&client->claim);
    return OK;
}

/* Replaces values by the spelling of servers that have accepted them; drops values that are the
 * servers' defaults. */
static void login_canonical(struct login *login)
{
    struct local_pool *pool = login->client->pool;
    size_t kept = 0;
    for (size_t i = 0; i < login->param_count; i++) {
        struct param param = login->params[i];
        (void)!accepted_find(&pool->accepted, &param, &param.value);
        if (!local_pool_is_default(pool, &param))
            login->params[kept++] = param;
    }
    login->param_count = kept;
}

/* Sets values that no server has accepted yet on a server now, so that an invalid value fails the
 * login, as on a direct connection. */
static fault login_confirm(struct login *login)
{
    struct client *client = login->client;
    struct relay *relay = client->relay;
    if (turn_params_confirmed(client->pool, relay->pools.params.none, client->params))
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
    if (adopted == OK && !server->params->acts) {
        local_pool_free(client->pool, server);
        return OK;
    }
    turn_clean(&turn);
    return adopted;
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
    TRY(login_learn_greeting(login));
    login_canonical(login);
    TRY(params_intern(&client->relay->pools.params, login->params, login->param_count,
                      &client->params));
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
    claim_done(&client->claim);
    client->server = server;
    server->last_claim = &client->claim;
    client->claim.last_server = server;
    client->key.pid = server->pid;
    cancel_make_secret(client, login->startup.version);
    return client->pool->route->fresh ? OK : login_name(login);
}
