/* login_startup.c - the startup packet of a client, and the PROXY header in front of it. */
#include "link/link.h"
#include "link/proxy.h"
#include "relay/cancel.h"
#include "relay/login/login_parts.h"
#include "relay/preauth.h"

fault login_add_param(void *argument, struct span name, struct span value)
{
    struct login *login = argument;
    if (config_ignores(login->config, name))
        return OK;
    invariant(login->param_count <= PARAMS_MAX);
    if (login->param_count == PARAMS_MAX)
        return fault_raise(FAULT_LIMIT, "more than %d session parameters", PARAMS_MAX);
    login->params[login->param_count++] = (struct param){name, value};
    return OK;
}

/* Adds a parameter from the startup packet; those beyond the limit are only counted, for the error
 * message. */
static fault login_take_param(void *argument, struct span name, struct span value)
{
    struct login *login = argument;
    if (span_is_nocase(name, "trunkline.target_session_attrs")) {
        login->target_text = value;
        return OK;
    }
    if (login->param_count < PARAMS_STARTUP)
        return login_add_param(login, name, value);
    login->params_over += !config_ignores(login->config, name);
    return OK;
}

static bool name_is_protocol(struct span name)
{
    return span_is(name, "user") || span_is(name, "database") || span_starts(name, SPAN("_pq_."));
}

/* Returns whether the parameter is no setting and is read separately.  Replication connections pass
 * it on unchanged. */
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

/* Takes the target that the client asks for.  It is ours: no server gets this parameter. */
static fault login_read_target(struct login *login)
{
    if (login->target_text.at == NULL)
        return OK;
    login->target = target_named(login->target_text);
    if (login->target != TARGETS)
        return OK;
    return fault_raise_state(FAULT_PROTOCOL, "22023",
                             "invalid value for parameter \"trunkline.target_session_attrs\": "
                             "\"%.*s\"; accepted: any, read-write, read-only, primary, standby, "
                             "prefer-standby",
                             (int)MIN_OF(login->target_text.size, 100),
                             (const char *)login->target_text.at);
}

/* Reads the settings in `options`.  They come first, so that a startup parameter of the same name
 * overrides them, as in PostgreSQL. */
static fault login_read_options(struct login *login)
{
    struct span options = wire_find_parameter(login->startup.parameters, "options");
    struct span wrong = SPAN_NONE;
    bool verbatim = login->replication != WIRE_REPLICATION_NONE;
    if (verbatim || config_ignores(login->config, SPAN("options")))
        return OK;
    fault read = wire_read_options(options, login->scratch, login_take_param, login, &wrong);
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
            TRY(login_take_param(login, name, value));
    TRY(login_read_target(login));
    if (login->params_over > 0)
        return fault_raise(FAULT_LIMIT, "%zu startup parameters, the limit is %d",
                           PARAMS_STARTUP + login->params_over, PARAMS_STARTUP);
    return OK;
}

/* Reads the PROXY header and takes over the client's address from it. */
static fault login_learn_origin(struct login *login)
{
    struct link_proxied said;
    TRY(link_read_proxy(&login->client->stream, &said, login->by));
    login->client->stream.is_forwarded = said.what != LINK_PROXY_SELF;
    return said.what == LINK_PROXY_FOR ? client_set_peer(login->client, &said.from) : OK;
}

fault login_startup(struct login *login)
{
    struct client *client = login->client;
    const struct listen_config *listen = config_listen(login->config, client->listen);
    if (listen == NULL)
        return fault_raise(FAULT_CLOSED, "its listener was closed");
    if (listen_from_proxy(listen, client->peer))
        TRY(login_learn_origin(login));
    struct link_accept accept = {.tls_mode = listen->tls.mode, .tls = listen->tls.context};
    TRY(link_read_startup(&client->stream, &accept, login->packet, &login->startup, login->by));
    preauth_startup_received(client->preauth);
    if (login->startup.kind == WIRE_STARTUP_CANCEL) {
        cancel_request(client->relay, login->startup.cancel.pid, login->startup.cancel.secret);
        return FAULT_CLOSED;
    }
    return login_read_params(login);
}
