#include "pool/server.h"

#include "base/probes.h"
#include "flight/inside.h"
#include "machine/clock.h"
#include "machine/co.h"
#include "machine/ids.h"
#include "machine/log.h"
#include "pool/claim.h"
#include "pool/closing.h"
#include "pool/counts.h"
#include "pool/lease_parts.h"
#include "pool/local_pool.h"
#include "pool/router.h"
#include "session/calls.h"
#include "session/pin.h"

#include <stdlib.h>
#include <sys/uio.h>

#define TO(state) (1u << (state))

static const uint8_t permitted[SERVER_STATES] = {
    [SERVER_CONNECTING] = TO(SERVER_CLEANING),
    [SERVER_IDLE] = TO(SERVER_ACTIVE) | TO(SERVER_CLEANING),
    [SERVER_ACTIVE] = TO(SERVER_ACTIVE) | TO(SERVER_IDLE) | TO(SERVER_CLEANING),
    [SERVER_CLEANING] = TO(SERVER_ACTIVE) | TO(SERVER_IDLE) | TO(SERVER_CLEANING),
};

static void server_idle_event(struct waker *waker);

/* The largest ledger, in bytes, that an idle server keeps.  The next client may have no long
 * pipeline. */
#define RING_KEPT 16384u

/* Gives a server its first state on this relay. */
static void server_enter_pool(struct server *server, struct local_pool *pool,
                              enum server_state first)
{
    server->pool = pool;
    server->session.rules = &pool->pin_rules;
    server->state = first;
    list_push(&pool->busy, &server->node);
}

/* --- life ------------------------------------------------------------------------------------- */

struct server *server_new(struct local_pool *pool, struct lease *take_lease)
{
    struct server *server = calloc(1, sizeof(*server));
    if (server == NULL)
        return NULL;
    if (pool->route->is_inside && !server_writes_begin(server, pool)) {
        free(server);
        return NULL;
    }
    server->stream = STREAM_INIT;
    server->idle_waker.wake = server_idle_event;
    server->lease = take_lease;
    session_init(&server->session, pool->pools->params.none,
                 generation_of(&pool->pools->env->generations, pool->route->server_database != NULL
                                                                   ? pool->route->server_database
                                                                   : pool->database),
                 pool->route->prepared_max);
    server->id = uuid_new();
    server->reported = BUFFER_INIT(65536);
    server->until = NEVER;
    ledger_init(&server->session.ledger, pool->pools->does->settle, server);
    server_enter_pool(server, pool, SERVER_CONNECTING);
    pool->logins += 1;
    return server;
}

void server_forget_owner(struct server *server)
{
    struct claim *owner = TAKE(server->last_claim);
    if (owner == NULL)
        return;
    claim_note_served(owner, server);
    owner->last_server = NULL;
}

/* Takes a server off its local pool's lists and cuts its tie to its last client. */
static void server_leave_pool(struct server *server)
{
    struct local_pool *pool = server->pool;
    if (server->state == SERVER_CONNECTING)
        pool->logins -= 1;
    list_remove(server->state == SERVER_IDLE ? &pool->idle : &pool->busy, &server->node);
    server_forget_owner(server);
    hint_write(&pool->hints.idle, pool->idle.count);
}

/* --- servers that clients have pinned --------------------------------------------------------- */

bool server_pin(struct server *server)
{
    struct local_pool *pool = server->pool;
    if (!server->pinned)
        server->pinned = counts_pin(pool->counts[COUNTS_POOL], local_pool_pin_max(pool->route));
    return server->pinned;
}

void server_unpin(struct server *server)
{
    if (server->pinned)
        counts_unpin(server->pool->counts[COUNTS_POOL]);
    server->pinned = false;
}

void server_free_pin(struct server *server)
{
    pin_free(&server->session);
    server_unpin(server);
}

static void server_free(struct server *server)
{
    session_fini(&server->session);
    inside_writes_free(&server->writes);
    buffer_fini(&server->reported);
    free(server->note);
    calls_free(&server->calls);
    free(server);
}

/* Sends Terminate if that is possible without waiting; else shuts down the sending side. */
static void server_send_terminate(struct server *server)
{
    static const uint8_t terminate[] = {WIRE_TERMINATE, 0, 0, 0, 4};
    struct iovec part = {(void *)terminate, sizeof(terminate)};
    struct stream *stream = &server->stream;
    size_t sent = 0;
    bool may = !server->broken && ledger_empty(&server->session.ledger);
    if (!may || stream_write_some(stream, &part, 1, &sent) != OK || sent < sizeof(terminate) ||
        stream_flush_some(stream) != OK)
        stream_end(stream);
}

/* Takes a server off its local pool and frees what that has for it: only the connection is left,
 * and what can be sent to another relay. */
static void server_strip(struct server *server)
{
    invariant(server->session.pin == NULL &&
              ledger_ring_bytes(&server->session.ledger) == 0); /* counted.h */
    server->pool->pools->does->forget(server);
    params_unref(&server->session.params);
    params_unref(&server->session.defaults);
    params_unref(&server->session.startup);
    server->session.rules = NULL;
    server->session.unnamed.of = 0;
    server_leave_pool(server);
    invariant(!server->pinned);
    server->pool = NULL;
}

void server_close(struct server **server, const char *reason, bool lost)
{
    struct server *gone = TAKE(*server);
    struct local_pool *pool = gone->pool;
    invariant(gone->client == NULL && gone->cancels == 0);
    PROBE4(server__close, pool->database, pool->user, gone, reason);
    if (UNLIKELY(pool->route->is_watched || gone->writes != NULL))
        server_writes_lost(gone, lost);
    log_event(LOG_INFO, "server.closed", log_id("server", &gone->id),
              log_text("database", pool->database), log_text("user", pool->user),
              log_number("server_pid", gone->pid),
              log_number("age_ms", between(gone->since, now()).us / 1000),
              log_quote("reason", reason));
    struct lease *lease = TAKE(gone->lease);
    lease->how = LEASE_CLOSED;
    lease->end = lost ? SLOT_LOST : SLOT_ENDED;
    if (stream_open(&gone->stream))
        server_send_terminate(gone);
    if (gone->fenced) /* it may be unreachable, and its slot is wanted elsewhere */
        stream_close(&gone->stream);
    ledger_fini(&gone->session.ledger);
    pool->pools->does->forget(gone); /* also state left by entries that were dropped just now */
    if (stream_open(&gone->stream) && !stream_hung_up(&gone->stream) && !pool->pools->stopping) {
        server_strip(gone);
        lease->ending = closing_begin(pool->pools, lease, gone);
    } else {
        stream_close(&gone->stream);
        server_leave_pool(gone);
        server_free(gone);
    }
    local_pool_settle_recalls(pool);
    local_pool_tell(pool);
    mail_send(pool->pools->env->machine, &lease->to_router);
    local_pool_maybe_retire(pool);
    pools_settled(pool->pools);
}

bool server_end_login(struct server **server, struct lease *lease)
{
    struct server *gone = TAKE(*server);
    struct local_pools *pools = gone->pool->pools;
    invariant(gone->state == SERVER_CONNECTING && gone->lease == NULL);
    server_send_terminate(gone);
    ledger_fini(&gone->session.ledger);
    server_strip(gone);
    return closing_begin(pools, lease, gone);
}

void server_drop_login(struct server **server)
{
    struct server *gone = TAKE(*server);
    invariant(gone->state == SERVER_CONNECTING && gone->lease == NULL);
    stream_close(&gone->stream);
    server_leave_pool(gone);
    server_free(gone);
}

void server_become(struct server *server, enum server_state next)
{
    struct local_pool *pool = server->pool;
    invariant((permitted[server->state] & TO(next)) != 0);
    if (server->state == SERVER_CONNECTING)
        pool->logins -= 1;
    if (server->state == SERVER_IDLE) {
        list_remove(&pool->idle, &server->node);
        list_push(&pool->busy, &server->node);
    }
    /* The coroutine that moved its bytes may end before the next one is attached.  Bytes that
     * arrive in between are seen then. */
    server->stream.waker = NULL;
    server->keeper = NULL;
    if (next == SERVER_IDLE) {
        invariant(server->client == NULL && ledger_empty(&server->session.ledger));
        if (UNLIKELY(server->writes != NULL))
            server_writes_rest(server);
        if (ledger_ring_bytes(&server->session.ledger) > RING_KEPT)
            ledger_rest(&server->session.ledger);
        list_remove(&pool->busy, &server->node);
        list_push_front(&pool->idle, &server->node);
    }
    server->state = next;
}

void server_keep(struct server *server)
{
    invariant(server->state == SERVER_CLEANING);
    server->keeper = co_self();
    server->stream.waker = co_waker(server->keeper);
}

/* --- idle ------------------------------------------------------------------------------------- */

/* Handles the messages that an idle server has sent; false: the server can't be used any more, and
 * neither can it after a part of a message. */
static bool server_idle_messages(struct server *server, struct span bytes)
{
    struct span rest = bytes;
    struct wire_frame frame;
    while (wire_next_frame(&rest, 1u << 20, &frame) == OK) {
        struct wire_parameter parameter;
        if (frame.type == WIRE_NOTICE || frame.type == WIRE_NOTIFICATION)
            continue;
        if (frame.type != WIRE_PARAMETER_STATUS ||
            wire_read_parameter_status(frame.body, &parameter) != OK ||
            server_learn(server, parameter.name, parameter.value, NULL) != OK)
            return false;
    }
    return rest.size == 0;
}

/* Reads what an idle server sends.  ParameterStatus after a reload of PostgreSQL's settings,
 * notices and notifications are accepted.  Anything else closes the server. */
static void server_idle_event(struct waker *waker)
{
    struct server *server = CONTAINER_OF(waker, struct server, idle_waker);
    uint8_t bytes[4096];
    size_t size;
    invariant(server->state == SERVER_IDLE);
    while (stream_may_read(&server->stream)) {
        fault read = stream_read_some(&server->stream, bytes, sizeof(bytes), &size);
        if (read == FAULT_AGAIN)
            return;
        if (read != OK || !server_idle_messages(server, span_of(bytes, size))) {
            server->broken = true;
            server_close(&server,
                         "the server closed the connection or sent something unexpected while idle",
                         true);
            return;
        }
    }
}

void server_watch(struct server *server)
{
    server->stream.waker = &server->idle_waker;
    if (stream_may_read(&server->stream) || stream_hung_up(&server->stream))
        server_idle_event(&server->idle_waker);
}

/* --- parameters ------------------------------------------------------------------------------- */

fault server_set_defaults(struct server *server)
{
    struct local_pool *pool = server->pool;
    struct span said = buffer_span(&server->reported);
    invariant(server->session.defaults == NULL);
    if (pool->route->mode == POOL_SESSION)
        return OK;
    if (pool->reported.defaults == NULL ||
        !span_equal(buffer_span(&pool->reported.parameters), said))
        return params_read_defaults(&pool->pools->params, said, &server->session.defaults);
    server->session.defaults = params_ref(pool->reported.defaults);
    return OK;
}

/* Finds the default of a parameter: the value that the server reported at its login; in session
 * pools, the value that the pool knows from its first server.  NULL: there is none. */
static const struct span *server_default(const struct server *server, struct span name,
                                         struct span *ret)
{
    const struct local_pool *pool = server->pool;
    if (server->session.defaults != NULL)
        return params_find(server->session.defaults, name);
    if (!pool->reported.known)
        return NULL;
    *ret = wire_find_parameter(buffer_span(&pool->reported.parameters), (const char *)name.at);
    return ret->at == NULL ? NULL : ret;
}

bool server_tracks(const struct local_pool *pool, struct span name)
{
    return params_follow(buffer_span(&pool->reported.parameters), name);
}

fault server_learn(struct server *server, struct span name, struct span value,
                   struct params **client)
{
    if (span_is(name, "in_hot_standby"))
        server->standby = server->standby && span_is(value, "on");
    if (params_are_fixed(name))
        return OK;
    struct span preset;
    const struct span *known = server_default(server, name, &preset);
    const struct span *kept = known != NULL && span_equal(*known, value) ? NULL : &value;
    TRY(session_learn(&server->session, name, kept));
    if (client == NULL || *client == NULL)
        return OK;
    struct params *params;
    TRY(params_with(*client, name, kept, &params));
    params_assign(client, params);
    return OK;
}

/* --- moving between relays -------------------------------------------------------------------- */

/* Parameter sets are interned per relay, so a transfer carries them as bytes. */
void server_detach(struct server *server)
{
    struct buffer flat = BUFFER_INIT(PARAMS_SIZE_MAX * 2 + PARAMS_MAX * 2);
    params_write_flat(&flat, server->session.params);
    server->flat_params_size = (uint32_t)flat.size;
    if (server->session.startup != NULL)
        params_write_flat(&flat, server->session.startup);
    invariant(buffer_fault(&flat) == OK || flat.at == NULL);
    ledger_rest(&server->session.ledger); /* the ledger's memory is counted at this relay */
    server->flat = flat.at;
    server->flat_size = (uint32_t)flat.size;
    server->travels_with_startup = server->session.startup != NULL;
    server_strip(server);
    stream_detach(&server->stream);
}

void server_part(struct server *server)
{
    server_send_terminate(server);
}

void server_discard(struct server **server)
{
    struct server *gone = TAKE(*server);
    invariant(gone->pool == NULL && gone->session.params == NULL);
    stream_close(&gone->stream);
    free(gone->flat);
    server_free(gone);
}

static fault server_unpack(struct server *server, struct local_pools *pools)
{
    struct span flat = span_of(server->flat, server->flat_size);
    struct span own = span_of(flat.at, server->flat_params_size);
    TRY(params_read_flat(&pools->params, own, &server->session.params));
    if (server->travels_with_startup)
        TRY(params_read_flat(&pools->params, span_skip(flat, own.size), &server->session.startup));
    return stream_attach(&server->stream);
}

void server_arrive(struct local_pool *pool, struct lease *take_lease)
{
    struct server *server = TAKE(take_lease->server);
    server->lease = take_lease;
    server_enter_pool(server, pool, SERVER_CLEANING);
    local_pool_tell_served(pool);
    hint_add(&pool->hints.arrived, 1);
    server_note_doom(server);
    fault unpacked = server_unpack(server, pool->pools);
    free(server->flat);
    server->flat = NULL;
    local_pool_learn(pool, buffer_span(&server->reported));
    if (unpacked == OK)
        unpacked = server_set_defaults(server);
    if (unpacked != OK) {
        if (server->session.params == NULL)
            server->session.params = params_ref(pool->pools->params.none);
        server->broken = true;
    }
    local_pool_free(pool, server);
}

void server_note_doom(struct server *server)
{
    if (server->lease != NULL && __atomic_load_n(&server->lease->to_close, __ATOMIC_RELAXED))
        server->until = (deadline){0};
}

bool server_move(struct server *server)
{
    if (server->lease == NULL ||
        !__atomic_exchange_n(&server->lease->move, false, __ATOMIC_RELAXED))
        return false;
    server->lease->moved = true;
    server->until = (deadline){0};
    return true;
}

const char *server_state_text(const struct server *server)
{
    switch (server->state) {
    case SERVER_CONNECTING:
        return "login";
    case SERVER_IDLE:
        return "idle";
    case SERVER_ACTIVE:
        return server->cancels > 0 ? "being_canceled" : "active";
    default:
        return server->cancels > 0 ? "being_canceled" : "tested";
    }
}

const struct address *server_address(const struct server *server)
{
    return server->lease == NULL ? NULL : &server->lease->target.address;
}
