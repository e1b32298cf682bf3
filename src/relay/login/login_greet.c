/* login_greet.c - the messages to a client at the end of its login. */
#include "link/link.h"
#include "relay/cancel.h"
#include "relay/login/login_parts.h"
#include "relay/relay.h"

/* Writes the parameters that the server of a session pool's client reported. */
static void login_put_session(struct login *login)
{
    struct client *client = login->client;
    struct span rest = buffer_span(&client->server->reported), name, value;
    struct span named = span_text(login->name);
    while (wire_next_parameter(&rest, &name, &value)) {
        if (named.size > 0 && span_is(name, "application_name"))
            value = named;
        if (span_is(name, "session_authorization") && client->pool->route->server_user == NULL)
            value = login->user;
        wire_put_parameter_status(&login->out, name, value);
    }
}

/* Writes the parameters that servers of the pool reported, with the client's own values. */
static void login_put_parameters(struct login *login)
{
    const struct client *client = login->client;
    struct span rest = buffer_span(&client->pool->reported.messages);
    bool usual = client->params->count == 0 && client->defaults == client->pool->reported.defaults;
    while (rest.size > 0 && !usual) {
        struct span name = span_text((const char *)rest.at + WIRE_HEADER);
        const struct span *own = params_find(client->params, name);
        if (own == NULL)
            own = params_find(client->defaults, name);
        size_t size = wire_u32(rest.at + 1) + 1;
        invariant(size > WIRE_HEADER && size <= rest.size);
        if (own != NULL)
            wire_put_parameter_status(&login->out, name, *own);
        else
            buffer_append(&login->out, rest.at, size);
        rest = span_skip(rest, size);
    }
    buffer_append_span(&login->out, rest);
}

fault login_greet(struct login *login)
{
    struct client *client = login->client;
    struct relay *relay = client->relay;
    invariant((client->server != NULL) == (client->pool->route->mode == POOL_SESSION));
    TRY(cancel_enter_key(relay, client));
    if (client->server != NULL)
        login_put_session(login);
    else
        login_put_parameters(login);
    wire_put_backend_key(&login->out, client->key.pid, client_secret(&client->key));
    wire_put_ready(&login->out, WIRE_TX_IDLE);
    return link_send(&client->stream, &login->out, login->by);
}
