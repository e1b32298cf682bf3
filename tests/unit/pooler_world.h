#pragma once
/*
 * pooler_world.h - a whole pooler for a test: its configuration, its start and end, and streams to
 * it that speak the protocol.  In the real world and in the simulated one.
 *
 * The pooler's machine is the test's own; relays are machines of theirs.  What plays PostgreSQL
 * listens at world->backend.
 */
#include "config/config.h"
#include "link/link.h"
#include "machine/clock.h"
#include "machine/co.h"
#include "machine/log.h"
#include "pooler/pooler.h"
#include "relay/relay.h"
#include "unit.h"

#include <string.h>

struct world {
    struct pooler *pooler;
    struct config *config;
    struct listener backend;
    struct address at; /* of the pooler */
    struct listen_config listen;
    struct service_config service;
    struct host_config host;
    struct route_config routes[2];
};

static inline deadline soon(void)
{
    return after(sec(20));
}

static inline void world_put_service(struct world *world)
{
    world->host = (struct host_config){
        .host = "127.0.0.1", .port = world->backend.address.port, .weight = BACKEND_WEIGHT_PLAIN};
    world->service = (struct service_config){
        .name = "main",
        .hosts = &world->host,
        .host_count = 1,
        .connect_timeout = sec(10),
        .logins_max = 4,
        .connections_max = 100,
        .retry_min = ms(100),
        .retry_max = sec(5),
    };
}

/* Database "session" is a session pool, all others are transaction pools. */
static inline void world_put_routes(struct world *world, uint32_t pool_size)
{
    struct route_config route = {
        .service = &world->service,
        .auth = AUTH_TRUST,
        .mode = POOL_TRANSACTION,
        .pool_size = pool_size,
        .claim_timeout = sec(60),
        .claim_notice = sec(5),
        .check_delay = sec(30),
        .check_timeout = sec(2),
        .idle_timeout = NO_LIMIT,
        .server_lifetime = NO_LIMIT,
        .client_idle_timeout = NO_LIMIT,
        .prepared_max = 100,
    };
    world->routes[1] = route;
    route.database = "session";
    route.mode = POOL_SESSION;
    world->routes[0] = route;
}

static inline struct config *world_config(struct world *world, uint32_t relays)
{
    struct config *config = calloc(1, sizeof(*config));
    ck_assert_ptr_nonnull(config);
    *config = (struct config){
        .references = 1,
        .version = 1,
        .path = "/nowhere",
        .relays = relays,
        .client_max = 1000,
        .unauthenticated_max = 1000,
        .unauthenticated_source_max = 1000,
        .message_max = 1 << 20,
        .memory_max = 64 << 20,
        .chunk = 8192,
        .login_timeout = sec(60),
        .shutdown_timeout = sec(60),
        .drain_timeout = NO_LIMIT,
        .cancel_timeout = sec(10),
        .cancels_max = 16,
        .reset_timeout = sec(10),
        .overtake_max = ms(50),
        .listens = &world->listen,
        .listen_count = 1,
        .services = &world->service,
        .service_count = 1,
        .routes = world->routes,
        .route_count = ARRAY_SIZE(world->routes),
    };
    return config;
}

/* A port that was free a moment ago. */
static inline uint16_t world_free_port(void)
{
    struct listener listener;
    struct address at = {.family = ADDRESS_IPV4, .bytes = {127, 0, 0, 1}};
    ck_assert_int_eq(listener_open(&listener, &at, 1, 0), OK);
    uint16_t port = listener.address.port;
    listener_close(&listener);
    return port;
}

/* Settings may be changed before world_open. */
static inline void world_prepare(struct world *world, uint32_t relays, uint32_t pool_size)
{
    struct address at = {.family = ADDRESS_IPV4, .bytes = {127, 0, 0, 1}};
    ck_assert_int_eq(log_configure(LOG_CRIT, LOG_FORMAT_TEXT, NULL), 0);
    *world = (struct world){0};
    ck_assert_int_eq(listener_open(&world->backend, &at, 64, 0), OK);
    at.port = world_free_port();
    world->at = at;
    world->listen = (struct listen_config){
        .unix_group_number = -1, .host = "127.0.0.1", .port = at.port, .backlog = 64};
    world_put_service(world);
    world_put_routes(world, pool_size);
    world->config = world_config(world, relays);
}

static inline void world_open(struct world *world)
{
    static const struct pooler_console no_console = {0};
    ck_assert_int_eq(pooler_start(world->config, &no_console, &world->pooler), OK);
}

static inline void world_start(struct world *world, uint32_t relays, uint32_t pool_size)
{
    world_prepare(world, relays, pool_size);
    world_open(world);
}

static inline void world_stop_pooler(struct world *world)
{
    ck_assert(pooler_stop(world->pooler, soon()));
    pooler_free(&world->pooler);
}

/* The machine ends after this. */
static inline void world_stop(struct world *world)
{
    if (world->pooler != NULL)
        world_stop_pooler(world);
    config_unref(&world->config);
    listener_close(&world->backend);
    machine_stop();
    log_finish();
}

/* --- a stream that speaks the protocol -------------------------------------------------------- */

struct talk {
    struct stream stream;
    struct buffer out;
    struct buffer in;
    struct wire_frame frame; /* the last message read */
};
#define TALK_INIT                                                                                  \
    ((struct talk){.stream = STREAM_INIT, .out = BUFFER_INIT(1 << 20), .in = BUFFER_INIT(1 << 20)})

static inline void talk_end(struct talk *talk)
{
    stream_close(&talk->stream);
    buffer_fini(&talk->out);
    buffer_fini(&talk->in);
}

static inline void talk_put(struct talk *talk, char type, const void *body, size_t size)
{
    size_t start = wire_begin(&talk->out, (uint8_t)type);
    wire_put_bytes(&talk->out, span_of(body, size));
    wire_end(&talk->out, start);
}
/* A literal's NUL is the last string's. */
#define PUT(talk, type, literal) talk_put(talk, type, "" literal, sizeof(literal))
/* The same without it. */
#define PUT_BARE(talk, type, literal) talk_put(talk, type, "" literal, sizeof(literal) - 1)

static inline fault talk_flush(struct talk *talk)
{
    return link_send(&talk->stream, &talk->out, soon());
}

static inline fault talk_read(struct talk *talk)
{
    return link_read_message(&talk->stream, &talk->in, 1 << 20, &talk->frame, soon());
}

/* Connects to the pooler and says who it is; no answer is awaited. */
static inline fault talk_hello_with(struct talk *talk, const struct world *world,
                                    const char *database, const char *user, const char *name,
                                    const char *value)
{
    size_t start;
    TRY(stream_connect(&talk->stream, &world->at, NULL, soon()));
    wire_put_startup_begin(&talk->out, WIRE_PROTOCOL_3_0, &start);
    wire_put_startup_parameter(&talk->out, SPAN("user"), span_text(user));
    wire_put_startup_parameter(&talk->out, SPAN("database"), span_text(database));
    if (name != NULL)
        wire_put_startup_parameter(&talk->out, span_text(name), span_text(value));
    wire_put_startup_end(&talk->out, start);
    return talk_flush(talk);
}

static inline fault talk_hello(struct talk *talk, const struct world *world, const char *database,
                               const char *user)
{
    return talk_hello_with(talk, world, database, user, NULL, NULL);
}

/* Reads up to ReadyForQuery, or to an error, which is UPSTREAM. */
static inline fault talk_await_ready(struct talk *talk)
{
    do {
        TRY(talk_read(talk));
        if (talk->frame.type == WIRE_ERROR)
            return FAULT_UPSTREAM;
    } while (talk->frame.type != WIRE_READY);
    return OK;
}

/* What a server says after a login. */
static inline void talk_greet(struct talk *talk, uint32_t pid)
{
    wire_put_authentication(&talk->out, WIRE_AUTH_OK, SPAN_NONE);
    wire_put_parameter_status(&talk->out, SPAN("server_version"), SPAN("15.5"));
    wire_put_parameter_status(&talk->out, SPAN("client_encoding"), SPAN("UTF8"));
    wire_put_parameter_status(&talk->out, SPAN("application_name"), SPAN_NONE);
    uint8_t secret[4];
    wire_store_u32(secret, pid * 7);
    wire_put_backend_key(&talk->out, pid, span_of(secret, sizeof(secret)));
    wire_put_ready(&talk->out, WIRE_TX_IDLE);
}

/* The other side of a login: reads the startup packet and greets.  CLOSED: it was a cancel request,
 * whose pid is then *ret_cancelled. */
static inline fault talk_welcome(struct talk *talk, uint32_t pid, uint32_t *ret_cancelled)
{
    static const struct link_accept plain = {.tls_mode = TLS_MODE_DISABLE};
    uint8_t *bytes = malloc(WIRE_STARTUP_MAX);
    struct wire_startup startup;
    fault read = link_read_startup(&talk->stream, &plain, bytes, &startup, soon());
    bool cancel = read == OK && startup.kind == WIRE_STARTUP_CANCEL;
    if (cancel)
        *ret_cancelled = startup.cancel.pid;
    free(bytes);
    TRY(read);
    if (cancel)
        return FAULT_CLOSED;
    talk_greet(talk, pid);
    return talk_flush(talk);
}
