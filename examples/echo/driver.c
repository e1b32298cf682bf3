#include "driver.h"

#include "machine/clock.h"
#include "machine/dns.h"
#include "machine/dns_system.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void driver_wake(struct driver *driver)
{
    if (driver->co != NULL)
        co_wake(driver->co);
}

/* --- connections ------------------------------------------------------------------------------ */

static void idle_event(struct waker *waker)
{
    struct connection *connection = CONTAINER_OF(waker, struct connection, idle_waker);
    if (!stream_hung_up(&connection->stream))
        return;
    connection->stream.waker = NULL;
    fleet_slot_lost(connection->slot, now());
    driver_wake(connection->driver);
}

static void connection_free(struct connection *connection)
{
    list_remove(&connection->driver->connections, &connection->node);
    stream_close(&connection->stream);
    free(connection);
}

static void connection_close(struct connection *connection)
{
    struct fleet_slot *slot = connection->slot;
    connection_free(connection);
    fleet_slot_closed(slot, now());
}

/* Tells the pool what came of a task. */
static void connection_report(struct connection *connection, fault result)
{
    struct fleet_slot *slot = connection->slot;
    if (connection->order == FLEET_CONNECT && result != OK) {
        connection_free(connection);
        fleet_slot_failed(slot, SLOT_UNREACHABLE, now());
        return;
    }
    connection->stream.waker = connection->order == FLEET_ACQUIRE ? NULL : &connection->idle_waker;
    if (connection->order == FLEET_CONNECT)
        fleet_slot_connected(slot, ROLE_UNKNOWN, now());
    else
        fleet_slot_checked(slot, result == OK ? FLEET_VALID : FLEET_INVALID, now());
}

static fault connection_run(struct connection *connection)
{
    const struct connector *connector = connection->driver->settings.connector;
    struct stream *stream = &connection->stream;
    switch (connection->order) {
    case FLEET_CONNECT:
        return connector->connect(stream, fleet_slot_backend(connection->slot), connection->by);
    case FLEET_ACQUIRE:
        return connector->on_acquire == NULL ? OK : connector->on_acquire(stream, connection->by);
    case FLEET_CHECK:
        return connector->is_valid == NULL ? OK : connector->is_valid(stream, connection->by);
    default:
        return connector->on_recycle == NULL ? OK : connector->on_recycle(stream, connection->by);
    }
}

static void connection_main(void *argument)
{
    struct connection *connection = argument;
    struct driver *driver = connection->driver;
    connection->task = co_self();
    connection->stream.waker = NULL;
    fault result = connection->closing ? FAULT_CANCELLED : connection_run(connection);
    connection->busy = false;
    connection->task = NULL;
    if (connection->closing)
        connection_close(connection);
    else
        connection_report(connection, result);
    driver_wake(driver);
}

/* Starts the task of a step. */
static void connection_do(struct connection *connection, const struct fleet_step *step)
{
    connection->order = step->order;
    connection->by = step->by;
    connection->busy = true;
    if (co_start(connection_main, connection, CO_LARGE) == OK)
        return;
    connection->busy = false;
    connection_report(connection, FAULT_MEMORY);
}

static void do_connect(struct driver *driver, const struct fleet_step *step)
{
    struct connection *connection = calloc(1, sizeof(*connection));
    if (connection == NULL) {
        fleet_slot_failed(step->slot, SLOT_REJECTED, now());
        return;
    }
    *connection = (struct connection){
        .driver = driver, .slot = step->slot, .stream = STREAM_INIT, .idle_waker = {idle_event}};
    list_push(&driver->connections, &connection->node);
    fleet_slot_set_data(step->slot, connection);
    connection_do(connection, step);
}

static void do_close(struct connection *connection)
{
    connection->closing = true;
    if (!connection->busy)
        connection_close(connection);
    else if (connection->task != NULL)
        co_cancel(connection->task);
}

static void tell_owner(const struct fleet_step *step)
{
    struct held *held = CONTAINER_OF(step->claim, struct held, claim);
    held->done = true;
    held->refused = step->order == FLEET_REFUSED;
    held->refusal = step->refusal;
    co_wake(held->owner);
}

static void driver_step(struct driver *driver)
{
    struct fleet_step step;
    while ((step = fleet_pool_step(driver->pool, now())).order != FLEET_NOTHING) {
        switch (step.order) {
        case FLEET_CONNECT:
            do_connect(driver, &step);
            break;
        case FLEET_CLOSE:
            do_close(fleet_slot_data(step.slot));
            break;
        case FLEET_GRANTED:
        case FLEET_REFUSED:
            tell_owner(&step);
            break;
        default:
            connection_do(fleet_slot_data(step.slot), &step);
        }
    }
}

/* --- names ------------------------------------------------------------------------------------ */

struct query {
    struct driver *driver;
    uint64_t number;
};

static void query_done(void *argument, int status, const uint8_t *answer, size_t size)
{
    struct query *query = argument;
    struct driver *driver = query->driver;
    resolver_answer(driver->resolver, now(), query->number, status, span_of(answer, size));
    driver->queries -= 1;
    free(query);
    driver_wake(driver);
}

static void query_send(struct driver *driver, const struct resolver_query *wanted)
{
    struct query *query = malloc(sizeof(*query));
    int status = -1;
    if (query != NULL) {
        *query = (struct query){driver, wanted->number};
        driver->queries += 1;
        status = dns_ask(&wanted->server, wanted->name, wanted->type, wanted->timeout, query_done,
                         query);
    }
    if (status == 0)
        return;
    driver->queries -= query != NULL ? 1 : 0;
    free(query);
    resolver_answer(driver->resolver, now(), wanted->number, status, SPAN_NONE);
}

/* Asks what is due, and gives the pool the backends that were found. */
static void driver_resolve(struct driver *driver)
{
    struct resolver_query query;
    struct dns_system system;
    size_t count;
    if (service_wants_resolving(driver->service))
        resolver_demand(driver->resolver);
    if (resolver_begins(driver->resolver, now()) && dns_system_read(&system) == OK)
        resolver_set_system(driver->resolver, &system);
    while (resolver_ask(driver->resolver, now(), &query))
        query_send(driver, &query);
    if (resolver_version(driver->resolver) == driver->version)
        return;
    driver->version = resolver_version(driver->resolver);
    const struct backend_found *found = resolver_found(driver->resolver, &count);
    if (service_set_backends(driver->service, found, count) != OK)
        fprintf(stderr, "driver: %s\n", fault_detail(FAULT_MEMORY));
    fleet_pool_changed(driver->pool, now());
}

/* --- life ------------------------------------------------------------------------------------- */

static void driver_main(void *argument)
{
    struct driver *driver = argument;
    driver->co = co_self();
    while (!fleet_pool_over(driver->pool) || driver->queries > 0) {
        if (!driver->over)
            driver_resolve(driver);
        driver_step(driver);
        deadline due = fleet_pool_due(driver->pool);
        if (!driver->over)
            due = earlier_of(due, resolver_due(driver->resolver));
        if (!fleet_pool_over(driver->pool) || driver->queries > 0)
            (void)!co_wait(due);
    }
    driver->co = NULL;
    driver->running = false;
    co_wake(driver->ending);
}

static void driver_fini(struct driver *driver)
{
    resolver_free(&driver->resolver);
    if (driver->pool != NULL)
        fleet_pool_free(&driver->pool);
    service_free(&driver->service);
}

fault driver_start(struct driver *driver, const struct driver_settings *settings)
{
    uint64_t seed = (uint64_t)now().us;
    *driver = (struct driver){.settings = *settings};
    list_init(&driver->connections);
    fault made = service_new(settings->service, &settings->limits, &driver->service);
    if (made == OK)
        made = fleet_pool_new(driver->service, &settings->policy, now(), &driver->pool);
    if (made == OK)
        made = resolver_new(&settings->resolver, seed, &driver->resolver);
    if (made == OK)
        service_seed(driver->service, seed);
    if (made == OK)
        made = co_start(driver_main, driver, CO_LARGE);
    driver->running = made == OK;
    if (made != OK)
        driver_fini(driver);
    return made;
}

void driver_end(struct driver *driver)
{
    driver->over = true;
    driver->ending = co_self();
    fleet_pool_end(driver->pool);
    driver_wake(driver);
    while (driver->running)
        co_wait_through(NEVER);
    driver_fini(driver);
}

/* --- claims ----------------------------------------------------------------------------------- */

struct stream *driver_claim(struct driver *driver, struct held *held, duration wait)
{
    held->owner = co_self();
    held->done = held->refused = false;
    fleet_claim(driver->pool, &held->claim, now(), after(wait));
    driver_wake(driver);
    while (!held->done) {
        if (co_wait(NEVER) != FAULT_CANCELLED)
            continue;
        if (!held->done)
            fleet_claim_withdraw(driver->pool, &held->claim, now());
        break;
    }
    if (!held->done || held->refused)
        return NULL;
    struct connection *connection = fleet_slot_data(held->claim.slot);
    return &connection->stream;
}

void driver_release(struct driver *driver, struct held *held, bool works)
{
    fleet_release(driver->pool, &held->claim, works ? FLEET_RETURNED : FLEET_BROKEN, now());
    driver_wake(driver);
}
