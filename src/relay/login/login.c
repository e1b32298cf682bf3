/* login.c - the coroutine of a login: its steps, refusal, and the start of the session. */
#include "base/probes.h"
#include "link/link.h"
#include "machine/clock.h"
#include "machine/log.h"
#include "relay/client_log.h"
#include "relay/login/login_parts.h"
#include "relay/turn/turn.h"
#include "session/counted.h"

#include <stdio.h>
#include <stdlib.h>

#define REPORTED_MAX 131072u

static fault login_run(struct login *login)
{
    struct client *client = login->client;
    TRY(login_startup(login));
    invariant(login->startup.kind == WIRE_STARTUP && login->user.size > 0);
    wire_put_negotiate(&login->out, login->startup.version, login->startup.parameters);
    if (login->out.size > 0)
        TRY(link_send(&client->stream, &login->out, login->by));
    TRY(login_route(login));
    if (login->console)
        return login_finish_console(login);
    invariant(client->admitted && client->counted && client->pool != NULL);
    if (client->pool->route->mode == POOL_SESSION)
        TRY(login_session(login));
    else
        TRY(login_transaction(login));
    TRY(login_greet(login));
    client_log_came(client, client->pool->database, client->pool->user);
    return OK;
}

static void login_refuse(struct login *login, fault why)
{
    struct client *client = login->client;
    char from[ADDRESS_TEXT_SIZE], text[FAULT_STORY_MAX], state[6];
    if (why == FAULT_CANCELLED && client->drained)
        why = client_drained(client);
    const char *default_text = fault_text(why);
    snprintf(text, sizeof(text), "%s",
             why == FAULT_TIMEOUT ? "login_timeout passed" : fault_detail(why));
    memcpy(state, fault_detail_sqlstate(why), sizeof(state));
    if (why == FAULT_CANCELLED)
        memcpy(state, "57P01", sizeof(state));
    PROBE3(login__failed, client, (const char *)state, (const char *)text);
    if (client->crowded) { /* logged by clients.crowd, not for each client */
        client_farewell(&client, "53300",
                        "too many connections that have not logged in, this one was the oldest");
        return;
    }
    if (why != FAULT_CLOSED || strcmp(text, default_text) != 0)
        log_event(LOG_NOTICE, "client.login_failed", log_id("client", &client->id),
                  log_text("from", address_text(client->peer, from, sizeof(from))),
                  log_span("database", login->database), log_span("user", login->user),
                  log_text("sqlstate", state), log_quote("reason", text));
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
    counted_free(login, sizeof(*login));
}

/* Runs a console session on the login's coroutine. */
static void login_serve_console(struct client *client)
{
    const struct console_target *console = &client->relay->pools.env->console;
    invariant(client->pool == NULL && client->server == NULL);
    client_become(client, CLIENT_TURN);
    if (console->serve != NULL)
        console->serve(client, console->pooler);
    client_close(&client, "console session ended");
}

void client_login(void *argument)
{
    struct client *client = argument;
    struct login *login = NULL;
    client->co = co_self();
    client->stream.waker = co_waker(client->co);
    PROBE1(login__start, client);
    if (client_room(client, sizeof(*login)) == OK)
        login = counted_alloc(sizeof(*login));
    if (login == NULL) {
        client_farewell(&client, "53200", fault_detail(FAULT_MEMORY));
        return;
    }
    memset(login, 0, offsetof(struct login, params));
    login->client = client;
    login->user = login->database = SPAN(""); /* until the startup packet is read */
    login->config = config_ref(client->relay->pools.config);
    login->out = BUFFER_INIT(REPORTED_MAX);
    login->by = after(login->config->login_timeout);
    fault result = client->leaving ? FAULT_CANCELLED : login_run(login);
    bool console = login->console;
    if (result != OK)
        login_refuse(login, result);
    login_free(login);
    if (result != OK)
        return;
    invariant(client->params != NULL && client->claim.state == CLAIM_NONE);
    PROBE2(login__done, client, console);
    if (console)
        login_serve_console(client);
    else if (client_park(client))
        timer_set(&client->timer, now()); /* starts its turn from the loop */
}
