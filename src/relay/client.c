#include "relay/client.h"
#include "relay/client_log.h"

#include "machine/clock.h"
#include "machine/ids.h"
#include "machine/log.h"
#include "pool/counts.h"
#include "relay/flight/flight_shadow.h"
#include "relay/flight/flight_wait.h"
#include "relay/preauth.h"
#include "relay/relay.h"
#include "relay/turn/turn_firewall_names.h"
#include "relay/turn/turn_reads.h"
#include "session/counted.h"
#include "wire/messages.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>

#define TO(state) (1u << (state))

static const uint8_t permitted[CLIENT_STATES] = {
    [CLIENT_LOGIN] = TO(CLIENT_PARKED) | TO(CLIENT_TURN),
    [CLIENT_PARKED] = TO(CLIENT_QUEUED) | TO(CLIENT_FLIGHT) | TO(CLIENT_TURN) | TO(CLIENT_DETACHED),
    [CLIENT_FLIGHT] = TO(CLIENT_PARKED),
    [CLIENT_QUEUED] = TO(CLIENT_TURN),
    [CLIENT_TURN] = TO(CLIENT_TURN) | TO(CLIENT_PARKED) | TO(CLIENT_DETACHED),
    [CLIENT_DETACHED] = TO(CLIENT_PARKED),
};

static void client_event(struct waker *waker);
static void client_held_event(struct waker *waker);
static void client_timer_fired(struct waker *waker);

/* --- life ------------------------------------------------------------------------------------- */

static struct address *address_keep(const struct address *address)
{
    size_t size =
        address->family == ADDRESS_UNIX ? sizeof(*address) : offsetof(struct address, path);
    struct address *kept = malloc(size);
    if (kept != NULL)
        memcpy(kept, address, size);
    return kept;
}

fault client_set_peer(struct client *client, const struct address *peer)
{
    struct address *kept = address_keep(peer);
    if (kept == NULL)
        return FAULT_MEMORY;
    free(client->peer);
    client->peer = kept;
    return OK;
}

static struct client *client_new(struct relay *relay, const struct address *peer)
{
    struct client *client = calloc(1, sizeof(*client));
    if (client == NULL)
        return NULL;
    client->peer = address_keep(peer);
    if (client->peer == NULL) {
        free(client);
        return NULL;
    }
    client->stream = STREAM_INIT;
    client->waker.wake = relay->pools.orders.suspended ? client_held_event : client_event;
    client->timer_waker.wake = client_timer_fired;
    client->timer = TIMER_INIT(&client->timer_waker);
    client->relay = relay;
    client->statements = MAP_INIT(CLIENT_STATEMENTS_MAX);
    client->id = uuid_new();
    client->serial = ++relay->clients_ever;
    client->unnamed_number = ++relay->unnamed_ever;
    client->connected = now();
    list_push(&relay->clients, &client->node);
    hint_write(&relay->hints.clients, relay->clients.count);
    return client;
}

static void client_free(struct client *client)
{
    struct relay *relay = client->relay;
    turn_reads_leave(client, true);
    flight_shadow_drop(client);
    timer_disarm(&client->timer);
    relay_drop_client(relay, client);
    if (client->key.link.hash != 0)
        map_remove(&relay->keys, &client->key.link);
    if (client->claim.last_server != NULL)
        server_forget_owner(client->claim.last_server);
    client_statements_clear(&client->statements);
    turn_firewall_names_forget(client);
    params_unref(&client->params);
    params_unref(&client->unnamed_params);
    params_unref(&client->given);
    params_unref(&client->defaults);
    client_prove(client);
    if (client->fed)
        preauths_closed(relay->pools.env->preauths);
    if (client->counted)
        env_client_gone(relay->pools.env);
    for (int i = 0; i < COUNTS && client->admitted; i++)
        counts_dismiss(client->pool->counts[i]);
    if (client->internal && client->pool != NULL) {
        client->pool->internals -= 1;
        relay->internals -= 1;
    }
    if (client->pool != NULL)
        local_pool_leave(client->pool);
    client_keep_unnamed(client, SPAN_NONE);
    turn_unnamed_drop_before(client);
    effects_free(client->unnamed_effects);
    client_drop_stash(client);
    free(client->peer);
    free(client);
    hint_add(&relay->hints.gone, 1);
    relay_check_end(relay);
}

void client_prove(struct client *client)
{
    if (client->preauth == NULL)
        return;
    preauth_end(&client->preauth);
    hint_add(&client->relay->hints.preauths, UINT64_MAX);
}

void client_crowd_out(struct client *client)
{
    client->crowded = true;
    client_end(client);
}

/* False: the unauthenticated connection has been told to disconnect. */
static bool client_set_preauth(struct client *client, struct preauth *preauth)
{
    client->preauth = preauth;
    client->fed = preauth != NULL;
    if (preauth == NULL)
        return true;
    hint_add(&client->relay->hints.preauths, 1);
    return preauth_set_client(preauth, client);
}

void client_accept(struct relay *relay, int handle, const struct address *peer, uint32_t listen,
                   struct preauth *take_preauth)
{
    struct client *client = client_new(relay, peer);
    if (client == NULL) {
        if (take_preauth != NULL) {
            preauths_closed(relay->pools.env->preauths);
            preauth_end(&take_preauth);
        }
        struct stream stream = STREAM_INIT;
        hint_add(&relay->hints.gone, 1);
        if (stream_adopt(&stream, handle, peer->family == ADDRESS_UNIX) == OK)
            stream_close(&stream);
        return;
    }
    client->listen = listen;
    bool stays = client_set_preauth(client, take_preauth);
    if (stream_adopt(&client->stream, handle, peer->family == ADDRESS_UNIX) != OK ||
        co_start(client_login, client, CO_LARGE) != OK) {
        stream_close(&client->stream);
        client_free(client);
    } else if (!stays) {
        client_crowd_out(client);
    }
}

fault client_start_internal(const struct client *like, const struct statement_catalog *catalog,
                            struct stream *ret_end)
{
    struct relay *relay = like->relay;
    struct params *params = NULL;
    invariant(like->pool != NULL && !like->console);
    TRY(params_unlimited(like->params, &params));
    struct client *client = client_new(relay, like->peer);
    if (client == NULL) {
        params_unref(&params);
        return FAULT_MEMORY;
    }
    client->params = params;
    __atomic_fetch_add(&relay->hints.assigned, 1, __ATOMIC_RELAXED);
    client->internal = true;
    client->catalog = *catalog;
    client->listen = like->listen;
    fault paired = stream_pair(ret_end, &client->stream);
    if (paired != OK) {
        client_free(client);
        return paired;
    }
    client->pool = like->pool;
    local_pool_join(client->pool);
    client->pool->internals += 1;
    relay->internals += 1;
    if (like->defaults != NULL)
        params_assign(&client->defaults, params_ref(like->defaults));
    if (like->given != NULL)
        params_assign(&client->given, params_ref(like->given));
    (void)client_park(client); /* nothing has been sent yet */
    return OK;
}

void client_become(struct client *client, enum client_state next)
{
    invariant((permitted[client->state] & TO(next)) != 0);
    switch (next) {
    case CLIENT_PARKED:
    case CLIENT_DETACHED:
        invariant(client->claim.state == CLAIM_NONE);
        client->co = NULL;
        break;
    case CLIENT_QUEUED:
        invariant(client->claim.state == CLAIM_WAITING && client->server == NULL);
        break;
    default:
        break;
    }
    client->state = next;
}

void client_close(struct client **client, const char *reason)
{
    struct client *gone = TAKE(*client);
    invariant(gone->server == NULL && gone->claim.state == CLAIM_NONE);
    client_log_gone(gone, reason);
    stream_close(&gone->stream);
    client_free(gone);
}

const char *client_ids(const struct client *client, const struct server *server, char *text,
                       size_t size)
{
    char own[UUID_TEXT_SIZE], other[UUID_TEXT_SIZE];
    if (server == NULL)
        snprintf(text, size, "client %s", uuid_text(&client->id, own));
    else
        snprintf(text, size, "client %s, server %s", uuid_text(&client->id, own),
                 uuid_text(&server->id, other));
    return text;
}

/* Formats ids like client_ids.  Names the server also after client_part has taken it away. */
static const char *farewell_ids(const struct client *client, char *text, size_t size)
{
    char own[UUID_TEXT_SIZE], other[UUID_TEXT_SIZE];
    if (client->server != NULL || !client->parted)
        return client_ids(client, client->server, text, size);
    snprintf(text, size, "client %s, server %s", uuid_text(&client->id, own),
             uuid_text(&client->claim.served_by, other));
    return text;
}

void client_farewell(struct client **client, const char *sqlstate, const char *text)
{
    struct buffer out = BUFFER_INIT(1024);
    char ids[CLIENT_IDS_SIZE];
    struct wire_report report = {.severity = "FATAL",
                                 .sqlstate = sqlstate,
                                 .message = text,
                                 .detail = farewell_ids(*client, ids, sizeof(ids))};
    size_t sent;
    wire_put_report(&out, &report);
    struct iovec part = {out.at, out.size};
    /* Try once: a client that does not read gets only the end of the connection. */
    if (stream_takes_message(&(*client)->stream) && buffer_fault(&out) == OK &&
        stream_write_some(&(*client)->stream, &part, 1, &sent) == OK)
        (void)!stream_flush_some(&(*client)->stream);
    buffer_fini(&out);
    client_close(client, text);
}

/* --- parked ----------------------------------------------------------------------------------- */

/* Most stashes hold one short message while its claim waits; they reuse blocks of one size. */
#define STASH_BLOCK  256u
#define STASHES_KEPT 4096u

struct stash_block {
    struct stash_block *next;
};

static uint8_t *stash_lend(struct relay *relay, size_t size)
{
    struct stash_block *block = relay->stashes;
    size = MAX_OF(size, (size_t)STASH_BLOCK);
    if (!counted_add(size))
        return NULL;
    if (size > STASH_BLOCK || block == NULL) {
        uint8_t *one = malloc(size);
        if (one == NULL)
            counted_remove(size);
        return one;
    }
    relay->stashes = block->next;
    relay->stash_count -= 1;
    return (uint8_t *)block;
}

void client_drop_stash(struct client *client)
{
    struct relay *relay = client->relay;
    struct stash_block *block = (struct stash_block *)(void *)TAKE(client->stash);
    if (block == NULL)
        return;
    counted_remove(MAX_OF(client->stash_size, STASH_BLOCK));
    if (client->stash_size > STASH_BLOCK || relay->stash_count == STASHES_KEPT) {
        free(block);
    } else {
        block->next = relay->stashes;
        relay->stashes = block;
        relay->stash_count += 1;
    }
    client->stash_size = 0;
}

void client_free_stashes(struct relay *relay)
{
    while (relay->stashes != NULL) {
        struct stash_block *block = relay->stashes;
        relay->stashes = block->next;
        free(block);
    }
    relay->stash_count = 0;
}

fault client_stash(struct client *client, const uint8_t *at, size_t size)
{
    uint8_t *stash = stash_lend(client->relay, size);
    if (stash == NULL)
        return FAULT_MEMORY;
    memcpy(stash, at, size);
    client_drop_stash(client);
    client->stash = stash;
    client->stash_size = (uint32_t)size;
    return OK;
}

void client_keep_unnamed(struct client *client, struct span body)
{
    /* A new number: another server may still have an older unnamed statement of this client. */
    client->unnamed_number = ++client->relay->unnamed_ever;
    client->unnamed_shaped = false;
    if (body.size == 0 || body.size > CLIENT_UNNAMED_MAX) {
        free(client->unnamed);
        chunk_unhold(&client->relay->chunks, client->unnamed_room);
        client->unnamed = NULL;
        client->unnamed_size = client->unnamed_room = 0;
        return;
    }
    if (body.size > client->unnamed_room) {
        uint64_t more = body.size - client->unnamed_room;
        bool room = chunk_hold(&client->relay->chunks, more);
        uint8_t *kept = room ? realloc(client->unnamed, body.size) : NULL;
        if (room && kept == NULL)
            chunk_unhold(&client->relay->chunks, more);
        if (kept == NULL) {
            client_keep_unnamed(client, SPAN_NONE);
            return;
        }
        client->unnamed = kept;
        client->unnamed_room = (uint32_t)body.size;
    }
    memcpy(client->unnamed, body.at, body.size);
    client->unnamed_size = (uint32_t)body.size;
}

static uint64_t unnamed_bytes(const struct client *client)
{
    return client->unnamed_room + effects_bytes(client->unnamed_effects);
}

void client_uncount_unnamed(struct client *client)
{
    counted_remove(unnamed_bytes(client));
}

/* Drops the effects with the body: without a body every Bind fails, so that no effects can
 * occur. */
void client_count_unnamed(struct client *client)
{
    if (counted_add(unnamed_bytes(client)))
        return;
    free(client->unnamed);
    free(client->unnamed_effects);
    client->unnamed = NULL;
    client->unnamed_effects = NULL;
    client->unnamed_size = client->unnamed_room = 0;
}

bool client_claim(struct client *client, struct waker *waker)
{
    struct claim *claim = &client->claim;
    invariant(client->server == NULL);
    claim->client = client;
    claim->pool = client->pool;
    claim->params = client->params;
    claim->login = client->state == CLIENT_LOGIN;
    return claim_make(claim, waker);
}

static void client_park_server(struct client *client)
{
    if (client->server != NULL)
        client->server->stream.waker = &client->waker;
}

bool client_has_more(const struct client *client)
{
    if (client->ahead)
        return true;
    if (stream_may_read(&client->stream) || stream_hung_up(&client->stream))
        return true;
    return client->server != NULL &&
           (stream_may_read(&client->server->stream) || stream_hung_up(&client->server->stream));
}

bool client_park(struct client *client)
{
    if (UNLIKELY(client->shadow != NULL))
        flight_shadow_drop(client);
    client_become(client, CLIENT_PARKED);
    client->stream.waker = &client->waker;
    client_park_server(client);
    client_arm_idle(client);
    return client_has_more(client) && !client_held(client);
}

void client_park_again(struct client *client)
{
    client_become(client, CLIENT_PARKED);
    client->stream.waker = &client->waker;
    if (client->silent.us == 0)
        client->silent = now();
    if (!client_held(client))
        timer_set(&client->timer, now()); /* handles input and checks idle time from the loop */
}

/* Disconnects a client that is parked, with or without a server of a session pool. */
static void client_end_parked(struct client *client, const char *sqlstate, const char *text)
{
    if (client->flight != NULL && !flight_drop(client))
        sqlstate = NULL; /* a part of a message was sent */
    if (client->claim.state != CLAIM_NONE)
        claim_withdraw(&client->claim);
    if (client->server != NULL) {
        turn_end_session(client, sqlstate, text);
        return;
    }
    if (sqlstate != NULL)
        client_farewell(&client, sqlstate, text);
    else
        client_close(&client, text);
}

const char client_shed_why[] =
    "terminating connection: memory_limit is in use, and no client holds more of it than this one";
static const char client_why[] = "terminating connection: the pooler is shutting down";

static const char client_killed[] = "terminating connection due to administrator command";

fault client_drained(const struct client *client)
{
    return fault_raise_state(FAULT_CANCELLED, "57P01",
                             "terminating connection due to drain_timeout (%" PRId64
                             " ms): a reload has changed or removed the client's route",
                             client->pool->drain_limit.us / 1000);
}

fault client_outrun(const struct client *client)
{
    return fault_raise_state(FAULT_CANCELLED, "57P01",
                             "terminating connection: the primary of service \"%s\" has changed "
                             "(failover)",
                             client->pool->route->service->name);
}

static const char *client_reason(const struct client *client)
{
    if (client->fenced)
        return fault_detail(client_outrun(client));
    if (client->drained)
        return fault_detail(client_drained(client));
    return client->killed ? client_killed : client_why;
}

void client_drain(struct client *client)
{
    client->drained = true;
    client_end(client);
}

void client_kill(struct client *client)
{
    client->killed = true;
    client_end(client);
}

void client_fence(struct client *client)
{
    client->fenced = true;
    client_end(client);
}

void client_end(struct client *client)
{
    if (client->co != NULL)
        co_cancel(client->co);
    else if (client->shed)
        client_end_parked(client, "53200", client_shed_why);
    else if (client->state == CLIENT_PARKED || client->state == CLIENT_QUEUED ||
             client->state == CLIENT_FLIGHT)
        client_end_parked(client, "57P01", client_reason(client));
    else
        client->leaving = true; /* the coroutine is about to begin */
}

/* Returns whether the client streams replication data, which has no end to wait for. */
static bool client_streams(const struct client *client)
{
    const struct server *server = client->server;
    return server != NULL && server->pool->route->is_replication && server->session.ledger.copy_in;
}

void client_leave(struct client *client)
{
    switch (client->state) {
    case CLIENT_PARKED:
        if (client->server == NULL || client->server->session.transaction == WIRE_TX_IDLE) {
            client_end_parked(client, "57P01", client_why);
            return;
        }
        client->leaving = true;
        return;
    case CLIENT_QUEUED:
        client_end_parked(client, "57P01", client_why);
        return;
    default:
        client->leaving = true;
        if (client->co != NULL &&
            (client->state == CLIENT_LOGIN || client->state == CLIENT_DETACHED || client->console ||
             client_streams(client)))
            co_cancel(client->co);
    }
}

static void client_event(struct waker *waker)
{
    struct client *client = CONTAINER_OF(waker, struct client, waker);
    if (LIKELY(client->state == CLIENT_PARKED)) {
        turn_arrive(client);
        return;
    }
    switch (client->state) {
    case CLIENT_QUEUED:
        if (client->claim.state != CLAIM_WAITING)
            turn_start_granted(client);
        else if (stream_hung_up(&client->stream))
            client_end_parked(client, NULL, "left while it waited for a server");
        return;
    case CLIENT_FLIGHT:
        flight_event(client);
        return;
    case CLIENT_LOGIN:
    case CLIENT_TURN:
        return; /* a coroutine handles it, or is about to begin */
    default:
        invariant(client->state != CLIENT_DETACHED);
    }
}

/* The waker while clients are held (SUSPEND): a parked client's stream remembers its input. */
static void client_held_event(struct waker *waker)
{
    const struct client *client = CONTAINER_OF(waker, struct client, waker);
    if (client->state != CLIENT_PARKED)
        client_event(waker);
}

bool client_held(const struct client *client)
{
    return client->waker.wake == client_held_event;
}

void client_hold(struct client *client, bool held)
{
    client->waker.wake = held ? client_held_event : client_event;
    if (!held && client->state == CLIENT_PARKED)
        timer_set(&client->timer, now()); /* handles input and checks idle time from the loop */
}

static void client_timer_fired(struct waker *waker)
{
    struct client *client = CONTAINER_OF(waker, struct client, timer_waker);
    if (client->state == CLIENT_FLIGHT) {
        flight_overdue(client);
        return;
    }
    if (client->state != CLIENT_PARKED || client_held(client))
        return;
    if (client_has_more(client)) {
        client_arm_idle_again(client); /* the read may find nothing */
        turn_arrive(client);
        return;
    }
    fault overdue = client_overdue(client);
    if (overdue == OK) {
        client_arm_idle_again(client);
        return;
    }
    char sqlstate[6], text[FAULT_STORY_MAX];
    memcpy(sqlstate, fault_detail_sqlstate(overdue), sizeof(sqlstate));
    snprintf(text, sizeof(text), "%s", fault_detail(overdue));
    client_end_parked(client, sqlstate, text);
}

const char *client_state_text(const struct client *client)
{
    switch (client->state) {
    case CLIENT_LOGIN:
        return "login";
    case CLIENT_QUEUED:
    case CLIENT_FLIGHT:
        return "waiting";
    case CLIENT_TURN:
        return client->claim.state == CLAIM_WAITING ? "waiting" : "active";
    default:
        return client->server != NULL ? "active" : "idle";
    }
}
