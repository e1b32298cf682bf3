#include "relay/move.h"
#include "relay/client_log.h"

#include "machine/clock.h"
#include "machine/ids.h"
#include "machine/log.h"
#include "relay/cancel.h"
#include "relay/relay.h"

#include <stdio.h>
#include <stdlib.h>

/* Who was active so lately is worth moving. */
#define MOVE_ACTIVE sec(1)
/* Who has moved stays for so long. */
#define MOVE_REST sec(10)
/* Clients that are walked over, and moved, before others of the relay have their turn. */
#define WALKED_AT_A_TIME 1024u
#define MOVED_AT_A_TIME  32u
/* And for one order. */
#define MOVED_MOST 512u

/* --- the parcel ------------------------------------------------------------------------------- */

struct parcel {
    struct mail mail;
    struct client *client;
    struct relay *to;
    struct config *config;            /* counted: the version of its local pool */
    const struct route_config *route; /* in there */
    struct census *census[CENSUSES];  /* counted; the client is counted in there */
    bool keyed;                       /* it has a cancel key */
    uint32_t unnamed_params;          /* as in struct packed */
    struct link_secret secret; /* how the local pool logs in to servers; its password is ours */
    uint64_t shown_of;         /* of which secrets: as in struct credentials */
    uint64_t proven_of;
    char *password;
    struct buffer names;      /* database NUL user NUL */
    struct buffer params;     /* flat */
    struct buffer given;      /* the same */
    struct buffer unnamed;    /* of its unnamed statement, if they are others */
    struct buffer statements; /* struct packed and what follows it, one after another */
};

/* A named statement; its name and the body of its Parse follow. */
struct packed {
    struct digest digest;
    struct meaning meaning;
    uint32_t body;
    uint32_t params; /* bytes of them, flat, or one of the two below */
    uint16_t name;
};
#define PARAMS_THE_CLIENTS UINT32_MAX /* the ones that it has now */
#define PARAMS_UNKNOWN     (UINT32_MAX - 1)

static void parcel_free(struct parcel **parcel)
{
    struct parcel *gone = TAKE(*parcel);
    if (gone == NULL)
        return;
    for (int i = 0; i < CENSUSES; i++)
        census_unref(&gone->census[i]);
    config_unref(&gone->config);
    local_pool_wipe_password(&gone->password);
    explicit_bzero(&gone->secret, sizeof(gone->secret));
    buffer_fini(&gone->names);
    buffer_fini(&gone->params);
    buffer_fini(&gone->unnamed);
    buffer_fini(&gone->given);
    buffer_fini(&gone->statements);
    free(gone);
}

/* --- who may go ------------------------------------------------------------------------------- */

static bool client_rests(const struct client *client)
{
    return client->state == CLIENT_PARKED && client->server == NULL &&
           client->claim.state == CLAIM_NONE && client->stash == NULL && client->naming == 0 &&
           !client->ahead && !client->skipping && !stream_may_read(&client->stream) &&
           stream_quiet(&client->stream);
}

const char *move_hindrance(const struct client *client)
{
    const struct local_pool *pool = client->pool;
    const struct orders *orders = &client->relay->pools.orders;
    if (client->console || pool == NULL || pool->route->mode == POOL_SESSION ||
        pool->route->is_replication || pool->route->is_lookup)
        return "only clients of transaction and statement pools move";
    if (client->relay->pools.stopping || client->leaving || client->killed || client->shed ||
        pool->obsolete || stream_hung_up(&client->stream))
        return "it is about to end";
    if (orders->suspended || orders->still > 0)
        return "an order about clients is under way";
    if (!client_rests(client) || !client->admitted)
        return "it is in the middle of something";
    return NULL;
}

/* --- leaving ---------------------------------------------------------------------------------- */

/* Parameters at a Parse, if they are not the client's of now. */
static uint32_t pack_params(struct buffer *out, const struct client *client,
                            const struct params *params)
{
    size_t before = out->size;
    if (params == client->params)
        return PARAMS_THE_CLIENTS;
    if (params == NULL)
        return PARAMS_UNKNOWN;
    params_write_flat(out, params);
    return (uint32_t)(out->size - before);
}

static void pack_statements(struct buffer *out, const struct client *client)
{
    const struct map *statements = &client->statements;
    for (struct map_link *link = map_next(statements, NULL); link != NULL;
         link = map_next(statements, link)) {
        const struct client_statement *named = MAP_ENTRY(link, struct client_statement, link);
        const struct statement *statement = named->statement;
        struct packed packed = {.digest = statement->digest,
                                .meaning = named->meaning,
                                .body = statement->size,
                                .name = named->size};
        invariant(named->references == 1 && !named->pending);
        struct buffer params = BUFFER_INIT(MOVE_LUGGAGE_MOST);
        packed.params = pack_params(&params, client, named->params);
        buffer_append(out, &packed, sizeof(packed));
        buffer_append_span(out, buffer_span(&params));
        buffer_fini(&params);
        buffer_append(out, named->name, named->size);
        buffer_append(out, statement->body, statement->size);
    }
}

static fault pack_secret(struct parcel *parcel, const struct local_pool *pool)
{
    parcel->secret = pool->credentials.secret;
    parcel->secret.password = SPAN_NONE;
    parcel->shown_of = pool->credentials.shown_of;
    parcel->proven_of = pool->credentials.proven_of;
    if (pool->credentials.password == NULL)
        return OK;
    parcel->password = strdup(pool->credentials.password);
    return parcel->password == NULL ? FAULT_MEMORY : OK;
}

static fault parcel_pack(struct parcel *parcel, struct client *client)
{
    struct local_pool *pool = client->pool;
    buffer_append(&parcel->names, pool->database, strlen(pool->database) + 1);
    buffer_append(&parcel->names, pool->user, strlen(pool->user) + 1);
    params_write_flat(&parcel->params, client->params);
    if (client->given != NULL)
        params_write_flat(&parcel->given, client->given);
    pack_statements(&parcel->statements, client);
    if (client->unnamed != NULL)
        parcel->unnamed_params = pack_params(&parcel->unnamed, client, client->unnamed_params);
    TRY(buffer_fault(&parcel->names));
    TRY(buffer_fault(&parcel->params));
    TRY(buffer_fault(&parcel->given));
    TRY(buffer_fault(&parcel->unnamed));
    TRY(buffer_fault(&parcel->statements));
    parcel->config = config_ref(pool->config);
    parcel->route = pool->route;
    for (int i = 0; i < CENSUSES; i++)
        parcel->census[i] = census_ref(pool->census[i]);
    return pack_secret(parcel, pool);
}

/* What was this relay's stays behind. */
static void client_uproot(struct client *client)
{
    struct relay *relay = client->relay;
    timer_disarm(&client->timer);
    stream_detach(&client->stream);
    client->stream.waker = NULL;
    relay_drop_client(relay, client);
    if (client->key.link.hash != 0)
        map_remove(&relay->keys, &client->key.link);
    if (client->claim.last_server != NULL) {
        client_log_parting(client, client->claim.last_server);
        server_forget_owner(client->claim.last_server);
    }
    client_statements_clear(&client->statements);
    client->statements = MAP_INIT(CLIENT_STATEMENTS_MOST);
    params_unref(&client->params);
    params_unref(&client->unnamed_params);
    params_unref(&client->given);
    client_uncount_unnamed(client);
    client->admitted = false;
    local_pool_leave(TAKE(client->pool));
    client->state = CLIENT_LOGIN; /* nobody's events are for it */
    hint_add(&relay->told.gone, 1);
    hint_add(&relay->told.left, 1);
}

static void parcel_arrive(struct mail *mail);

fault move_client(struct client *client, struct relay *to)
{
    char id[UUID_TEXT_SIZE];
    struct parcel *parcel = calloc(1, sizeof(*parcel));
    invariant(move_hindrance(client) == NULL && to != client->relay);
    if (parcel == NULL)
        return FAULT_MEMORY;
    parcel->names = parcel->params = parcel->given = parcel->unnamed = parcel->statements =
        BUFFER_INIT(MOVE_LUGGAGE_MOST);
    fault packed = parcel_pack(parcel, client);
    if (packed != OK) {
        parcel_free(&parcel);
        return packed;
    }
    log_event(LOG_DEBUG, "client.moved", "client=%s from=%u to=%u", uuid_text(&client->id, id),
              client->relay->index, to->index);
    parcel->mail.deliver = parcel_arrive;
    parcel->to = to;
    parcel->client = client;
    parcel->keyed = client->key.link.hash != 0;
    client_uproot(client);
    mail_send(to->pools.machine, &parcel->mail);
    return OK;
}

/* --- arriving --------------------------------------------------------------------------------- */

/* From here on it is one of this relay's, whatever becomes of it. */
static fault client_root(struct client *client, struct relay *relay, bool keyed)
{
    client->relay = relay;
    client->serial = ++relay->clients_ever;
    client->unnamed_number = ++relay->unnamed_ever;
    client->moved = now();
    list_push(&relay->clients, &client->node);
    hint_write(&relay->told.clients, relay->clients.count);
    hint_add(&relay->told.came, 1);
    client_hold(client, relay->pools.orders.suspended);
    client_count_unnamed(client);
    client->key.link = (struct map_link){.hash = 0};
    TRY(stream_attach(&client->stream));
    return keyed ? cancel_enter_key(relay, client) : OK;
}

static fault unpack_params(struct client *client, uint32_t packed, struct span flat,
                           struct params **ret)
{
    *ret = NULL;
    if (packed == PARAMS_UNKNOWN)
        return OK;
    if (packed != PARAMS_THE_CLIENTS)
        return params_read_flat(&client->relay->pools.params, flat, ret);
    *ret = params_ref(client->params);
    return OK;
}

static fault unpack_statements(struct client *client, struct span rest)
{
    while (rest.size > 0) {
        struct packed packed;
        struct statement *statement;
        struct client_statement *named;
        memcpy(&packed, rest.at, sizeof(packed));
        rest = span_skip(rest, sizeof(packed));
        struct span flat = span_of(rest.at, packed.params < PARAMS_UNKNOWN ? packed.params : 0);
        rest = span_skip(rest, flat.size);
        struct span name = span_of(rest.at, packed.name);
        rest = span_skip(rest, packed.name);
        struct span body = span_of(rest.at, packed.body);
        rest = span_skip(rest, packed.body);
        TRY(statement_intern_as(&client->relay->statements, &packed.digest, body, &statement));
        fault added = client_statement_add(&client->statements, name, statement, &named);
        statement_unref(&statement);
        TRY(added);
        named->pending = false;
        named->meaning = packed.meaning;
        fault known = unpack_params(client, packed.params, flat, &named->params);
        client_statement_unref(&named);
        TRY(known);
    }
    return OK;
}

/* What this relay has learned by itself is at least as good; what the configuration says differs
 * where a reload has come meanwhile. */
static fault unpack_secret(struct parcel *parcel, struct local_pool *pool)
{
    TRY(local_pool_set_secret(pool));
    if (parcel->shown_of != pool->credentials.shown_of)
        return OK;
    if (pool->credentials.password != NULL || pool->credentials.secret.have_keys ||
        pool->credentials.secret.md5[0] != '\0')
        return OK;
    pool->credentials.secret = parcel->secret;
    pool->credentials.password = TAKE(parcel->password);
    if (pool->credentials.password != NULL)
        pool->credentials.secret.password = span_text(pool->credentials.password);
    pool->credentials.proven_of = parcel->proven_of;
    return OK;
}

/* This relay's local pool of its pool: by the version in force here, if the route is the same in
 * there; else by its own version, of which that local pool is. */
static fault unpack_pool(struct parcel *parcel, struct local_pool **ret)
{
    struct relay *relay = parcel->to;
    const char *names = (const char *)parcel->names.at;
    struct span database = span_text(names);
    struct span user = span_text(names + database.size + 1);
    const struct route_config *route =
        config_route_like(relay->pools.config, database, user, parcel->route);
    if (route != NULL && route_same_identity(route, parcel->route))
        return local_pool_of(&relay->pools, route, database, user, ret);
    struct local_pool_key key = {parcel->route, database, user};
    return local_pool_of_version(&relay->pools, parcel->config, &key, ret);
}

static fault parcel_unpack(struct parcel *parcel)
{
    struct client *client = parcel->client;
    struct relay *relay = parcel->to;
    TRY(client_root(client, relay, parcel->keyed));
    if (relay->pools.stopping)
        return fault_raise(FAULT_SHUTDOWN, "the pooler is shutting down");
    TRY(params_read_flat(&relay->pools.params, buffer_span(&parcel->params), &client->params));
    TRY(params_read_flat(&relay->pools.params, buffer_span(&parcel->given), &client->given));
    TRY(unpack_statements(client, buffer_span(&parcel->statements)));
    if (client->unnamed != NULL)
        TRY(unpack_params(client, parcel->unnamed_params, buffer_span(&parcel->unnamed),
                          &client->unnamed_params));
    TRY(unpack_pool(parcel, &client->pool));
    local_pool_join(client->pool);
    return unpack_secret(parcel, client->pool);
}

/* It is counted as before; elsewhere, if a reload has given it another pool. */
static void client_settle(struct client *client, struct parcel *parcel)
{
    struct census *const *census = client->pool->census;
    for (int i = 0; i < CENSUSES; i++) {
        if (census[i] == parcel->census[i])
            continue;
        census_dismiss(parcel->census[i]);
        (void)!census_admit(census[i], 0);
    }
    client->admitted = true;
}

/* No seat for it: it ends here. */
static void parcel_fail(struct parcel *parcel, fault why)
{
    char sqlstate[6], text[FAULT_STORY_MOST];
    struct client *client = parcel->client;
    bool ends = why == FAULT_CANCELLED || why == FAULT_SHUTDOWN;
    memcpy(sqlstate, ends ? "57P01" : fault_story_sqlstate(why), sizeof(sqlstate));
    snprintf(text, sizeof(text), "%s",
             ends ? "terminating connection due to administrator command" : fault_story(why));
    for (int i = 0; i < CENSUSES; i++)
        census_dismiss(parcel->census[i]);
    client_farewell(&client, sqlstate, text);
    parcel_free(&parcel);
}

static void parcel_done(struct parcel *parcel)
{
    struct client *client = parcel->client;
    client_settle(client, parcel);
    parcel_free(&parcel);
    client_park_again(client);
}

/* The router does not know this relay's local pool of the pool yet. */
static void parcel_wait(void *argument)
{
    struct parcel *parcel = argument;
    struct client *client = parcel->client;
    client->co = co_self();
    fault entered =
        client->leaving
            ? FAULT_CANCELLED
            : local_pool_enter(client->pool, after(client->relay->pools.config->login_timeout));
    client->co = NULL;
    if (entered == OK && client->leaving)
        entered = FAULT_CANCELLED;
    if (entered != OK)
        parcel_fail(parcel, entered);
    else
        parcel_done(parcel);
}

static void parcel_arrive(struct mail *mail)
{
    struct parcel *parcel = CONTAINER_OF(mail, struct parcel, mail);
    fault unpacked = parcel_unpack(parcel);
    if (unpacked != OK)
        parcel_fail(parcel, unpacked);
    else if (local_pool_is_entered(parcel->client->pool))
        parcel_done(parcel);
    else if (co_start(parcel_wait, parcel, CO_SMALL) != OK)
        parcel_fail(parcel, FAULT_MEMORY);
}

/* --- some of many ----------------------------------------------------------------------------- */

struct order {
    struct mail mail;
    struct relay *from;
    struct relay *to;
    uint64_t serial;  /* of the last client that was walked over */
    uint32_t portion; /* of a thousand */
    uint32_t due;     /* thousandths of a client that are to go */
    uint32_t left;    /* that may go */
    bool any;
};

static bool lately(deadline at, duration since)
{
    return at.us != 0 && between(at, now()).us < since.us;
}

/* Each that counts makes the portion more due; those that can go then do. */
static void order_consider(struct order *order, struct client *client)
{
    if (!order->any && (!lately(client->since, MOVE_ACTIVE) || lately(client->moved, MOVE_REST)))
        return;
    order->due += order->portion;
    if (order->due < 1000 || move_hindrance(client) != NULL || move_client(client, order->to) != OK)
        return;
    order->due -= 1000;
    order->left -= 1;
}

/* Clients stand in the order of their serials. */
static void order_deliver(struct mail *mail)
{
    struct order *order = CONTAINER_OF(mail, struct order, mail);
    struct relay *relay = order->from;
    uint32_t walked = 0, least = order->left - MIN_OF(order->left, MOVED_AT_A_TIME);
    bool more = false;
    LIST_EACH_SAFE (&relay->clients, it) {
        struct client *client = LIST_ENTRY(it, struct client, node);
        if (client->serial <= order->serial)
            continue;
        more = walked++ == WALKED_AT_A_TIME || order->left == least;
        if (more)
            break;
        order->serial = client->serial;
        order_consider(order, client);
    }
    if (more && order->left > 0 && !relay->pools.stopping)
        mail_send(relay->pools.machine, &order->mail);
    else
        free(order);
}

fault move_some(struct relay *from, struct relay *to, uint32_t portion, bool any)
{
    struct order *order = calloc(1, sizeof(*order));
    if (order == NULL)
        return FAULT_MEMORY;
    order->mail.deliver = order_deliver;
    order->from = from;
    order->to = to;
    order->portion = portion;
    order->due = 490; /* rounds, but half of one client is none */
    order->left = MOVED_MOST;
    order->any = any;
    mail_send(from->pools.machine, &order->mail);
    return OK;
}
