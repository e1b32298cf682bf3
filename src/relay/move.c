#include "relay/move.h"
#include "relay/turn/turn_reads.h"

#include "machine/clock.h"
#include "machine/ids.h"
#include "machine/log.h"
#include "pool/local_pool_command.h"
#include "relay/cancel.h"
#include "relay/client_log.h"
#include "relay/relay.h"

#include <stdio.h>
#include <stdlib.h>

/* A client is active if its last turn began within this time; only active clients are moved. */
#define MOVE_ACTIVE sec(1)
/* A client that has moved stays for this time. */
#define MOVE_REST sec(10)
/* Clients looked at, and clients moved, before the relay goes on with other work. */
#define WALKED_AT_A_TIME 1024u
#define MOVED_AT_A_TIME  32u
/* Clients moved for one order, at most. */
#define MOVED_MAX 512u

/* --- the transfer ----------------------------------------------------------------------------- */

struct transfer {
    struct mail mail;
    struct client *client;
    struct relay *to;
    struct config *config;            /* counted: the version of the client's local pool */
    const struct route_config *route; /* in `config` */
    struct counts *counts[COUNTS];    /* counted; the client stays counted in each */
    bool keyed;                       /* the client has a cancel key */
    uint32_t unnamed_params;          /* of the unnamed statement; as packed.params */
    struct link_secret secret; /* how the local pool logs in to servers; without the password */
    uint64_t shown_of;         /* as in struct credentials */
    uint64_t proven_of;        /* as in struct credentials */
    char *password;            /* heap, wiped when freed; NULL: none */
    struct buffer names;       /* database NUL user NUL */
    struct buffer params;      /* flat */
    struct buffer given;       /* flat */
    struct buffer defaults;    /* flat */
    struct buffer unnamed;     /* parameters of the unnamed statement, flat, if not the client's */
    struct buffer statements;  /* for each: struct packed and what follows it */
};

/* A named statement.  Its parameters (flat), its name and the body of its Parse follow. */
struct packed {
    struct digest digest;
    struct meaning meaning;
    uint32_t body;   /* bytes */
    uint32_t params; /* bytes, or one of the two values below */
    uint16_t name;   /* bytes */
};
#define PARAMS_THE_CLIENTS UINT32_MAX /* the client's present parameters */
#define PARAMS_UNKNOWN     (UINT32_MAX - 1)

static void transfer_free(struct transfer **transfer)
{
    struct transfer *gone = TAKE(*transfer);
    if (gone == NULL)
        return;
    for (int i = 0; i < COUNTS; i++)
        counts_unref(&gone->counts[i]);
    config_unref(&gone->config);
    local_pool_wipe_password(&gone->password);
    explicit_bzero(&gone->secret, sizeof(gone->secret));
    buffer_fini(&gone->names);
    buffer_fini(&gone->params);
    buffer_fini(&gone->unnamed);
    buffer_fini(&gone->given);
    buffer_fini(&gone->defaults);
    buffer_fini(&gone->statements);
    free(gone);
}

/* --- which clients can move ------------------------------------------------------------------- */

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

/* Writes the parameters of a Parse, flat, if they are known and not the client's present ones.
 * Returns packed.params. */
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

static fault pack_statements(struct buffer *out, const struct client *client)
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
        struct buffer params = BUFFER_INIT(MOVE_STATE_MAX);
        packed.params = pack_params(&params, client, named->params);
        buffer_append(out, &packed, sizeof(packed));
        buffer_append_span(out, buffer_span(&params));
        fault whole = buffer_fault(&params);
        buffer_fini(&params);
        TRY(whole);
        buffer_append(out, named->name, named->size);
        buffer_append(out, statement->body, statement->size);
    }
    return buffer_fault(out);
}

static fault pack_secret(struct transfer *transfer, const struct local_pool *pool)
{
    transfer->secret = pool->credentials.secret;
    transfer->secret.password = SPAN_NONE;
    transfer->shown_of = pool->credentials.shown_of;
    transfer->proven_of = pool->credentials.proven_of;
    if (pool->credentials.password == NULL)
        return OK;
    transfer->password = strdup(pool->credentials.password);
    return transfer->password == NULL ? FAULT_MEMORY : OK;
}

static fault transfer_pack(struct transfer *transfer, struct client *client)
{
    struct local_pool *pool = client->pool;
    buffer_append(&transfer->names, pool->database, strlen(pool->database) + 1);
    buffer_append(&transfer->names, pool->user, strlen(pool->user) + 1);
    params_write_flat(&transfer->params, client->params);
    if (client->given != NULL)
        params_write_flat(&transfer->given, client->given);
    if (client->defaults != NULL)
        params_write_flat(&transfer->defaults, client->defaults);
    TRY(pack_statements(&transfer->statements, client));
    if (client->unnamed != NULL)
        transfer->unnamed_params = pack_params(&transfer->unnamed, client, client->unnamed_params);
    TRY(buffer_fault(&transfer->names));
    TRY(buffer_fault(&transfer->params));
    TRY(buffer_fault(&transfer->given));
    TRY(buffer_fault(&transfer->defaults));
    TRY(buffer_fault(&transfer->unnamed));
    transfer->config = config_ref(pool->config);
    transfer->route = pool->route;
    for (int i = 0; i < COUNTS; i++)
        transfer->counts[i] = counts_ref(pool->counts[i]);
    return pack_secret(transfer, pool);
}

/* Removes a client from its relay and releases what belongs to the relay. */
static void client_uproot(struct client *client)
{
    struct relay *relay = client->relay;
    timer_disarm(&client->timer);
    stream_detach(&client->stream);
    client->stream.waker = NULL;
    relay_drop_client(relay, client);
    if (client->key.link.hash != 0)
        map_remove(&relay->keys, &client->key.link);
    if (client->claim.last_server != NULL)
        server_forget_owner(client->claim.last_server);
    client_statements_clear(&client->statements);
    client->statements = MAP_INIT(CLIENT_STATEMENTS_MAX);
    params_unref(&client->params);
    params_unref(&client->unnamed_params);
    params_unref(&client->given);
    params_unref(&client->defaults);
    client_uncount_unnamed(client);
    client->admitted = false;
    turn_reads_leave(client, false);
    local_pool_leave(TAKE(client->pool));
    client_become(client, CLIENT_DETACHED);
    hint_add(&relay->hints.gone, 1);
    hint_add(&relay->hints.left, 1);
}

static void transfer_arrive(struct mail *mail);

fault move_client(struct client *client, struct relay *to)
{
    struct transfer *transfer = calloc(1, sizeof(*transfer));
    invariant(move_hindrance(client) == NULL && to != client->relay);
    if (transfer == NULL)
        return FAULT_MEMORY;
    transfer->names = transfer->params = transfer->given = transfer->defaults = transfer->unnamed =
        transfer->statements = BUFFER_INIT(MOVE_STATE_MAX);
    fault packed = transfer_pack(transfer, client);
    if (packed != OK) {
        transfer_free(&transfer);
        return packed;
    }
    log_event(LOG_DEBUG, "client.moved", log_id("client", &client->id),
              log_number("from", client->relay->index), log_number("to", to->index));
    transfer->mail.deliver = transfer_arrive;
    transfer->to = to;
    transfer->client = client;
    transfer->keyed = client->key.link.hash != 0;
    client_uproot(client);
    mail_send(to->pools.machine, &transfer->mail);
    return OK;
}

/* --- arriving --------------------------------------------------------------------------------- */

/* Makes a client one of this relay's clients, also if the rest of the arrival fails. */
static fault client_root(struct client *client, struct relay *relay, bool keyed)
{
    client->relay = relay;
    client->serial = ++relay->clients_ever;
    client->unnamed_number = ++relay->unnamed_ever;
    client->moved = now();
    list_push(&relay->clients, &client->node);
    hint_write(&relay->hints.clients, relay->clients.count);
    hint_add(&relay->hints.came, 1);
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

/* Gives the local pool the credentials that came with the client, if it has none of its own.  Not
 * if a reload has changed what they depend on. */
static fault unpack_secret(struct transfer *transfer, struct local_pool *pool)
{
    TRY(local_pool_set_secret(pool));
    if (transfer->shown_of != pool->credentials.shown_of)
        return OK;
    if (pool->credentials.password != NULL || pool->credentials.secret.have_keys ||
        pool->credentials.secret.md5[0] != '\0')
        return OK;
    pool->credentials.secret = transfer->secret;
    pool->credentials.password = TAKE(transfer->password);
    if (pool->credentials.password != NULL)
        pool->credentials.secret.password = span_text(pool->credentials.password);
    pool->credentials.proven_of = transfer->proven_of;
    return OK;
}

/* Finds or makes this relay's local pool of the client's pool.  The pool is taken from this relay's
 * version of the configuration if the route is the same there, else from the client's version. */
static fault unpack_pool(struct transfer *transfer, struct local_pool **ret)
{
    struct relay *relay = transfer->to;
    const char *names = (const char *)transfer->names.at;
    struct span database = span_text(names);
    struct span user = span_text(names + database.size + 1);
    const struct route_config *route =
        config_route_like(relay->pools.config, database, user, transfer->route);
    if (route != NULL && route_same_identity(route, transfer->route))
        return local_pool_of(&relay->pools, route, database, user, ret);
    struct local_pool_key key = {transfer->route, database, user};
    return local_pool_of_version(&relay->pools, transfer->config, &key, ret);
}

static fault transfer_unpack(struct transfer *transfer)
{
    struct client *client = transfer->client;
    struct relay *relay = transfer->to;
    TRY(client_root(client, relay, transfer->keyed));
    if (relay->pools.stopping)
        return fault_raise(FAULT_SHUTDOWN, "the pooler is shutting down");
    TRY(params_read_flat(&relay->pools.params, buffer_span(&transfer->params), &client->params));
    TRY(params_read_flat(&relay->pools.params, buffer_span(&transfer->given), &client->given));
    if (transfer->defaults.size > 0)
        TRY(params_read_flat(&relay->pools.params, buffer_span(&transfer->defaults),
                             &client->defaults));
    TRY(unpack_statements(client, buffer_span(&transfer->statements)));
    if (client->unnamed != NULL)
        TRY(unpack_params(client, transfer->unnamed_params, buffer_span(&transfer->unnamed),
                          &client->unnamed_params));
    TRY(unpack_pool(transfer, &client->pool));
    local_pool_join(client->pool);
    return unpack_secret(transfer, client->pool);
}

/* Keeps a client in its counts; changes those that differ because a reload gave it another pool. */
static void client_settle(struct client *client, struct transfer *transfer)
{
    struct counts *const *counts = client->pool->counts;
    for (int i = 0; i < COUNTS; i++) {
        if (counts[i] == transfer->counts[i])
            continue;
        counts_dismiss(transfer->counts[i]);
        (void)!counts_admit(counts[i], 0);
    }
    client->admitted = true;
}

/* Disconnects a client that could not arrive, with this fault. */
static void transfer_fail(struct transfer *transfer, fault why)
{
    char sqlstate[6], text[FAULT_STORY_MAX];
    struct client *client = transfer->client;
    bool ends = why == FAULT_CANCELLED || why == FAULT_SHUTDOWN;
    memcpy(sqlstate, ends ? "57P01" : fault_detail_sqlstate(why), sizeof(sqlstate));
    snprintf(text, sizeof(text), "%s",
             ends ? "terminating connection due to administrator command" : fault_detail(why));
    for (int i = 0; i < COUNTS; i++)
        counts_dismiss(transfer->counts[i]);
    client_farewell(&client, sqlstate, text);
    transfer_free(&transfer);
}

static void transfer_done(struct transfer *transfer)
{
    struct client *client = transfer->client;
    client_settle(client, transfer);
    transfer_free(&transfer);
    client_park_again(client);
}

/* Waits until the router knows this relay's local pool.  Runs on a coroutine of its own. */
static void transfer_wait(void *argument)
{
    struct transfer *transfer = argument;
    struct client *client = transfer->client;
    client->co = co_self();
    fault entered =
        client->leaving
            ? FAULT_CANCELLED
            : local_pool_enter(client->pool, after(client->relay->pools.config->login_timeout));
    client->co = NULL;
    if (entered == OK && client->leaving)
        entered = FAULT_CANCELLED;
    if (entered != OK)
        transfer_fail(transfer, entered);
    else
        transfer_done(transfer);
}

static void transfer_arrive(struct mail *mail)
{
    struct transfer *transfer = CONTAINER_OF(mail, struct transfer, mail);
    fault unpacked = transfer_unpack(transfer);
    if (unpacked != OK)
        transfer_fail(transfer, unpacked);
    else if (local_pool_is_entered(transfer->client->pool))
        transfer_done(transfer);
    else if (co_start(transfer_wait, transfer, CO_SMALL) != OK)
        transfer_fail(transfer, FAULT_MEMORY);
}

/* --- orders to move a part of a relay's clients ----------------------------------------------- */

struct order {
    struct mail mail;
    struct relay *from;
    struct relay *to;
    uint64_t serial;  /* of the last client looked at */
    uint32_t portion; /* thousandths of the clients to move */
    uint32_t due;     /* clients due to move, in thousandths of a client */
    uint32_t left;    /* clients that may still move for this order */
    bool any;
};

static bool lately(moment at, duration since)
{
    return at.us != 0 && between(at, now()).us < since.us;
}

/* Adds the portion to what is due for each client that counts; moves the client if one is due and
 * it can move. */
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

/* Looks at some of the relay's clients, in the order of their serials, and mails the order again
 * for the rest. */
static void order_deliver(struct mail *mail)
{
    struct order *order = CONTAINER_OF(mail, struct order, mail);
    struct relay *relay = order->from;
    uint32_t walked = 0, min = order->left - MIN_OF(order->left, MOVED_AT_A_TIME);
    bool more = false;
    LIST_EACH_SAFE (&relay->clients, it) {
        struct client *client = LIST_ENTRY(it, struct client, node);
        if (client->serial <= order->serial)
            continue;
        more = walked++ == WALKED_AT_A_TIME || order->left == min;
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
    order->due = 490; /* rounds to whole clients; half of a single client rounds down to none */
    order->left = MOVED_MAX;
    order->any = any;
    mail_send(from->pools.machine, &order->mail);
    return OK;
}
