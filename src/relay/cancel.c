#include "relay/cancel.h"

#include "machine/clock.h"
#include "machine/ids.h"
#include "machine/log.h"
#include "pool/claim.h"
#include "pool/lease.h"
#include "relay/relay.h"
#include "relay/turn/turn.h"
#include "wire/scram.h"
#include "wire/startup.h"

#include <stdlib.h>

#define RELAY_BITS 7 /* of the key's pid, lowest: which relay */
static_assert(RELAYS_MAX == 1u << RELAY_BITS, "each has a number of its own");

/* A request on its way from relay to relay, and back home when it is through. */
struct errand {
    struct mail mail;
    struct pooler_env *env;
    uint32_t home;         /* the relay that it came to */
    uint32_t relay;        /* where it is now */
    uint32_t visits;       /* relays that have looked */
    struct client_key key; /* asked for */
    struct server *server; /* whose query is being cancelled */
    struct co *waiting;    /* home's: the coroutine that waits for it; NULL: not any more */
    bool done;             /* home's: it is back */
};

/* --- keys ------------------------------------------------------------------------------------- */

static uint64_t key_hash(uint32_t pid, struct span secret)
{
    return hash_bytes(secret.at, secret.size, pid) | 1; /* 0 says: not entered */
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

/* --- dialling --------------------------------------------------------------------------------- */

/* Handshakes need more stack than a turn has, so the request goes out from a coroutine of its own.
 */
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
    server->ledger.doubt |= DOUBT_CANCEL;
    co_group_join(&group);
    server->cancels -= 1;
    server->keeper = co_self();
    return dial.result;
}

void cancel_finish(struct server *server)
{
    while (server->cancels > 0)
        co_wait_through(after(ms(50)));
}

/* While a change of parameters goes in front of the client's query, that would be hit instead.
 * Whether there is something to cancel afterwards. */
static bool cancel_awaits_query(struct server *server, deadline by)
{
    const struct owed *head;
    while (server->client != NULL && (head = ledger_head(&server->ledger)) != NULL &&
           head->about == ABOUT_STATE) {
        if (now().us >= by.us)
            return false;
        if (co_wait(after(ms(1))) == FAULT_CANCELLED)
            return false;
    }
    return server->client != NULL && !ledger_quiet(&server->ledger) &&
           !ledger_marking(&server->ledger);
}

static void errand_home(struct mail *mail)
{
    struct errand *errand = CONTAINER_OF(mail, struct errand, mail);
    if (errand->waiting == NULL) {
        free(errand);
        return;
    }
    errand->done = true;
    co_wake(errand->waiting);
}

static void errand_return(struct errand *errand)
{
    errand->mail.deliver = errand_home;
    mail_send(errand->env->relays[errand->home]->pools.machine, &errand->mail);
}

/* Withheld while the request is under way: whoever frees it meanwhile leaves it to us. */
static void cancel_run(void *argument)
{
    struct errand *errand = argument;
    struct server *server = errand->server;
    struct relay *relay = local_pool_relay(server->pool);
    struct dial dial = {server, after(relay->pools.config->cancel_timeout), OK};
    if (cancel_awaits_query(server, dial.by)) {
        char id[UUID_TEXT_SIZE];
        cancel_dial(&dial);
        server->ledger.doubt |= DOUBT_CANCEL;
        if (dial.result != OK)
            server->until = (deadline){0}; /* whenever it is carried out, it must meet nobody */
        log_event(dial.result == OK ? LOG_INFO : LOG_WARNING, "cancel.sent",
                  "server=%s pid=%u result=%s", uuid_text(&server->id, id), server->pid,
                  fault_name(dial.result));
    }
    errand_return(errand);
    relay->cancels -= 1;
    server->cancels -= 1;
    if (server->cancels == 0 && server->state == SERVER_CLEANING && server->withheld) {
        server->withheld = false;
        local_pool_free(server->pool, server);
    }
    relay_check_end(relay);
}

/* Whether the errand is under way now: cancel_run returns it. */
static bool cancel_active(struct relay *relay, struct client *client, struct errand *errand)
{
    struct server *server = client->server;
    if (server == NULL || ledger_quiet(&server->ledger) || ledger_marking(&server->ledger))
        return false; /* nothing of its own under way: PostgreSQL ignores such a request, and so do
                         we */
    if (relay->cancels >= relay->pools.config->cancels_max) {
        log_event(LOG_WARNING, "cancel.dropped", "pid=%u limit=%u", client->key.pid,
                  relay->pools.config->cancels_max);
        return false;
    }
    errand->server = server;
    if (co_group_start(&relay->errands, cancel_run, errand, CO_LARGE) != OK)
        return false;
    server->cancels += 1;
    relay->cancels += 1;
    return true;
}

static bool cancel_client(struct relay *relay, struct client *client, struct errand *errand)
{
    /* Granted, its turn has not begun: the query that was asked for is still here. */
    if (client->console) {
        client->asked = true;
        return false;
    }
    if (client->claim.state == CLAIM_NONE || client->claim.state == CLAIM_REFUSED ||
        client->state == CLIENT_LOGIN)
        return cancel_active(relay, client, errand);
    struct refusal *refusal = refusal_new("57014", "canceling statement due to user request");
    claim_refuse(&client->claim, refusal);
    refusal_unref(&refusal);
    local_pool_tell(client->pool);
    return false;
}

/* --- from relay to relay ---------------------------------------------------------------------- */

static void cancel_visit(struct mail *mail)
{
    struct errand *errand = CONTAINER_OF(mail, struct errand, mail);
    struct relay *relay = errand->env->relays[errand->relay];
    struct client *client = relay_find_key(relay, errand->key.pid, client_secret(&errand->key));
    if (client != NULL) {
        if (!cancel_client(relay, client, errand))
            errand_return(errand);
        return;
    }
    /* The keys of session pools are the backends' own and name no relay, and clients move: one that
     * went where this has been already is there in the second round. */
    errand->visits += 1;
    errand->relay = (errand->relay + 1) % errand->env->relay_count;
    if (errand->visits == 2 * errand->env->relay_count) {
        errand_return(errand);
        return;
    }
    mail_send(errand->env->relays[errand->relay]->pools.machine, &errand->mail);
}

void cancel_request(struct relay *relay, uint32_t pid, struct span secret)
{
    struct errand *errand = calloc(1, sizeof(*errand));
    if (errand == NULL)
        return;
    if (!key_set(&errand->key, pid, secret)) {
        free(errand); /* no key of ours is as long */
        return;
    }
    errand->mail.deliver = cancel_visit;
    errand->env = relay->pools.env;
    errand->home = relay->index;
    errand->relay = (pid & ((1u << RELAY_BITS) - 1)) % relay->pools.env->relay_count;
    errand->waiting = co_self();
    mail_send(relay->pools.env->relays[errand->relay]->pools.machine, &errand->mail);
    while (!errand->done && co_wait(NEVER) == OK)
        continue;
    if (errand->done)
        free(errand);
    else
        errand->waiting = NULL;
}
