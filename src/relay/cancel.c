#include "relay/cancel.h"

#include "machine/clock.h"
#include "machine/ids.h"
#include "machine/log.h"
#include "pool/claim.h"
#include "relay/flight/flight_wait.h"
#include "relay/relay.h"
#include "relay/turn/turn.h"
#include "wire/scram.h"
#include "wire/startup.h"

#include <stdlib.h>

#define RELAY_BITS 7 /* lowest bits of a key's pid: the index of its relay */
static_assert(RELAYS_MAX == 1u << RELAY_BITS, "each has a number of its own");

/* A cancel request that is mailed from relay to relay, and back home when it is through. */
struct cancel_request {
    struct mail mail;
    struct pooler_env *env;
    uint32_t home;         /* the relay on which the request came */
    uint32_t relay;        /* the relay that it visits now */
    uint32_t visits;       /* relays that have looked for the client */
    struct client_key key; /* from the request */
    struct uuid client;    /* the client with this key */
    struct server *server; /* the server whose query is being cancelled */
    struct co *waiting;    /* home's coroutine that waits for it; NULL: no longer; home's field */
    bool done;             /* the request is back; home's field */
};

/* --- keys ------------------------------------------------------------------------------------- */

static uint64_t key_hash(uint32_t pid, struct span secret)
{
    return hash_data(secret.at, secret.size, pid) | 1; /* 0 means: not in the map */
}

static bool key_is(const struct map_link *link, const void *wanted)
{
    const struct client_key *key = MAP_ENTRY(link, struct client_key, link);
    const struct client_key *other = wanted;
    return key->pid == other->pid && secret_equal(client_secret(key), client_secret(other));
}

static bool key_set(struct client_key *key, uint32_t pid, struct span secret)
{
    if (secret.size > sizeof(key->secret))
        return false;
    key->pid = pid;
    key->size = (uint8_t)secret.size;
    memcpy(key->secret, secret.at, secret.size);
    return true;
}

struct client *relay_find_key(struct relay *relay, uint32_t pid, struct span secret)
{
    struct client_key wanted = {0};
    if (!key_set(&wanted, pid, secret))
        return NULL;
    struct map_link *link = map_find(&relay->keys, key_hash(pid, secret), key_is, &wanted);
    return link == NULL
               ? NULL
               : CONTAINER_OF(MAP_ENTRY(link, struct client_key, link), struct client, key);
}

void cancel_make_secret(struct client *client, uint32_t version)
{
    client->key.size = version < WIRE_PROTOCOL_3_2 ? WIRE_SECRET_MIN : CLIENT_SECRET_MAX;
    random_bytes(client->key.secret, client->key.size);
}

void cancel_make_key(struct relay *relay, struct client *client, uint32_t version)
{
    do {
        uint32_t bits;
        random_bytes(&bits, sizeof(bits));
        cancel_make_secret(client, version);
        /* A negative or zero pid breaks clients. */
        client->key.pid = ((bits & 0x7fffffffu) >> RELAY_BITS << RELAY_BITS) |
                          (relay->index & ((1u << RELAY_BITS) - 1));
    } while (client->key.pid >> RELAY_BITS == 0 ||
             relay_find_key(relay, client->key.pid, client_secret(&client->key)) != NULL);
}

fault cancel_enter_key(struct relay *relay, struct client *client)
{
    return map_insert(&relay->keys, &client->key.link,
                      key_hash(client->key.pid, client_secret(&client->key)));
}

/* --- connecting to the backend ---------------------------------------------------------------- */

/* A request to a backend.  Sent from a coroutine of its own, because TLS handshakes need more stack
 * than a turn has. */
struct dial {
    struct server *server;
    deadline by;
    fault result;
};

static void cancel_dial(void *argument)
{
    struct dial *dial = argument;
    struct server *server = dial->server;
    struct link_target target;
    struct config *config = config_ref(server->pool->shown.config);
    server_target(server->pool, server->lease, &target);
    dial->result = link_cancel(&target, server->pid, wire_secret_span(&server->secret), dial->by);
    config_unref(&config);
}

static void cancel_dial_kept(void *argument)
{
    const struct dial *dial = argument;
    dial->server->keeper = co_self();
    cancel_dial(argument);
}

fault cancel_server(struct server *server, deadline by)
{
    struct dial dial = {server, by, OK};
    struct co_group group;
    co_group_init(&group);
    TRY(co_group_start(&group, cancel_dial_kept, &dial, CO_LARGE));
    server->cancels += 1;
    server->session.ledger.doubt |= DOUBT_CANCEL;
    co_group_join(&group);
    invariant(server->cancels > 0 && (server->session.ledger.doubt & DOUBT_CANCEL) != 0);
    server->cancels -= 1;
    server->keeper = co_self();
    return dial.result;
}

void cancel_finish(struct server *server)
{
    while (server->cancels > 0)
        co_wait_through(after(ms(50)));
}

/* Waits while a change of parameters is under way in front of the client's query: a cancel would
 * hit it instead.  Returns whether there is a query to cancel afterwards. */
static bool cancel_awaits_query(struct server *server, deadline by)
{
    const struct owed *head;
    while (server->client != NULL && (head = ledger_head(&server->session.ledger)) != NULL &&
           head->about == ABOUT_STATE) {
        if (now().us >= by.us)
            return false;
        if (co_wait(after(ms(1))) == FAULT_CANCELLED)
            return false;
    }
    return server->client != NULL && !ledger_quiet(&server->session.ledger) &&
           !ledger_marking(&server->session.ledger);
}

static void request_home(struct mail *mail)
{
    struct cancel_request *request = CONTAINER_OF(mail, struct cancel_request, mail);
    struct relay *relay = request->env->relays[request->home];
    invariant(relay->requests > 0);
    relay->requests -= 1;
    relay_check_end(relay);
    if (request->waiting == NULL) {
        free(request);
        return;
    }
    request->done = true;
    co_wake(request->waiting);
}

static void request_return(struct cancel_request *request)
{
    request->mail.deliver = request_home;
    mail_send(request->env->relays[request->home]->pools.machine, &request->mail);
}

/* Sends one request to the backend, then returns the request.  The server is withheld while a
 * request is under way: if it is freed meanwhile, the last request hands it back to the local
 * pool. */
static void cancel_run(void *argument)
{
    struct cancel_request *request = argument;
    struct server *server = request->server;
    struct relay *relay = local_pool_relay(server->pool);
    struct dial dial = {server, after(relay->pools.config->cancel_timeout), OK};
    if (cancel_awaits_query(server, dial.by)) {
        cancel_dial(&dial);
        server->session.ledger.doubt |= DOUBT_CANCEL;
        if (dial.result != OK)
            server->until = (deadline){0}; /* the request may be carried out later: close it */
        log_event(dial.result == OK ? LOG_INFO : LOG_WARNING, "cancel.sent",
                  log_id("client", &request->client), log_id("server", &server->id),
                  log_number("server_pid", server->pid),
                  log_text("result", fault_name(dial.result)));
    }
    request_return(request);
    invariant(relay->cancels > 0 && server->cancels > 0);
    relay->cancels -= 1;
    server->cancels -= 1;
    if (server->cancels == 0 && server->state == SERVER_CLEANING && server->withheld) {
        server->withheld = false;
        local_pool_free(server->pool, server);
    }
    relay_check_end(relay);
}

/* Starts cancelling a client's query.  true: cancel_run is under way and returns the request. */
static bool cancel_active(struct relay *relay, struct client *client,
                          struct cancel_request *request)
{
    struct server *server = client->server;
    if (server == NULL || ledger_quiet(&server->session.ledger) ||
        ledger_marking(&server->session.ledger))
        return false; /* the client has no query under way; PostgreSQL ignores such a request too */
    if (relay->cancels >= relay->pools.config->cancels_max) {
        log_event(LOG_WARNING, "cancel.dropped", log_id("client", &client->id),
                  log_id("server", &server->id), log_number("server_pid", server->pid),
                  log_number("limit", relay->pools.config->cancels_max));
        return false;
    }
    request->server = server;
    request->client = client->id;
    if (co_group_start(&relay->cancelling, cancel_run, request, CO_LARGE) != OK)
        return false;
    server->cancels += 1;
    relay->cancels += 1;
    return true;
}

/* Cancels a client's query, or refuses its claim.  A claim that is granted while its turn has not
 * begun is refused too: the query has not been sent yet. */
static bool cancel_client(struct relay *relay, struct client *client,
                          struct cancel_request *request)
{
    if (client->console) {
        client->asked = true;
        return false;
    }
    if (client->state == CLIENT_FLIGHT) {
        flight_cancel(client);
        return false;
    }
    if (client->claim.state == CLAIM_NONE || client->claim.state == CLAIM_REFUSED ||
        client->state == CLIENT_LOGIN)
        return cancel_active(relay, client, request);
    struct refusal *refusal = refusal_new("57014", "canceling statement due to user request");
    claim_refuse(&client->claim, refusal);
    invariant(client->claim.state == CLAIM_REFUSED && client->claim.server == NULL);
    refusal_unref(&refusal);
    local_pool_tell(client->pool);
    return false;
}

/* --- from relay to relay ---------------------------------------------------------------------- */

static void cancel_visit(struct mail *mail)
{
    struct cancel_request *request = CONTAINER_OF(mail, struct cancel_request, mail);
    struct relay *relay = request->env->relays[request->relay];
    struct client *client = relay_find_key(relay, request->key.pid, client_secret(&request->key));
    if (client != NULL) {
        if (!cancel_client(relay, client, request))
            request_return(request);
        return;
    }
    /* Go on to the next relay: keys of session pools have the backend's pid and name no relay, and
     * clients move.  The second round finds a client that moved to a relay already visited. */
    request->visits += 1;
    request->relay = (request->relay + 1) % request->env->relay_count;
    if (request->visits == 2 * request->env->relay_count) {
        request_return(request);
        return;
    }
    mail_send(request->env->relays[request->relay]->pools.machine, &request->mail);
}

void cancel_request(struct relay *relay, uint32_t pid, struct span secret)
{
    struct cancel_request *request = calloc(1, sizeof(*request));
    if (request == NULL)
        return;
    if (!key_set(&request->key, pid, secret)) {
        free(request); /* longer than any key of ours */
        return;
    }
    request->mail.deliver = cancel_visit;
    request->env = relay->pools.env;
    request->home = relay->index;
    request->relay = (pid & ((1u << RELAY_BITS) - 1)) % relay->pools.env->relay_count;
    request->waiting = co_self();
    relay->requests += 1; /* no relay is freed before the request has returned */
    mail_send(relay->pools.env->relays[request->relay]->pools.machine, &request->mail);
    while (!request->done && co_wait(NEVER) == OK)
        continue;
    if (request->done)
        free(request);
    else
        request->waiting = NULL;
}
