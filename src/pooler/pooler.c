#include "pooler/pooler.h"

#include "auth/auth_failures.h"
#include "machine/clock.h"
#include "machine/ids.h"
#include "pool/router.h"
#include "pooler/listeners.h"
#include "pooler/load.h"
#include "relay/guests.h"
#include "wire/messages.h"

#include <stdlib.h>
#include <sys/uio.h>

static_assert(RELAYS_MAX <= LOAD_RELAYS_MAX, "each relay has an entry");

struct pooler {
    struct pooler_env env;
    struct config *config; /* the latest version, counted */
    struct pooler_console console;
    uint32_t relays_ended;
    uint32_t next;            /* the relay to start with when relays have equally many clients */
    uint64_t fed[RELAYS_MAX]; /* sockets handed to each relay so far */
    struct listeners *listeners;
    struct co *waiting; /* waits for relays to end; NULL: none */
    struct load *load;
};

/* --- parts that others read ------------------------------------------------------------------- */

uint32_t pooler_relays(const struct pooler *pooler)
{
    return pooler->env.relay_count;
}

struct relay *pooler_relay(struct pooler *pooler, uint32_t index)
{
    invariant(index < pooler->env.relay_count);
    return pooler->env.relays[index];
}

struct router *pooler_router(struct pooler *pooler)
{
    return pooler->env.router;
}

struct machine *pooler_machine(struct pooler *pooler)
{
    return pooler->env.machine;
}

const struct pooler_console *pooler_console(const struct pooler *pooler)
{
    return &pooler->console;
}

bool pooler_stopping(const struct pooler *pooler)
{
    return pooler->env.stopping;
}

void pooler_set_budget(struct pooler *pooler, const struct pooler_budget *budget)
{
    __atomic_store_n(&pooler->env.clients_max, budget->clients == 0 ? UINT32_MAX : budget->clients,
                     __ATOMIC_RELAXED);
    guests_set_max(pooler->env.guests, budget->connections == 0 ? UINT32_MAX : budget->connections);
    router_set_budget(pooler->env.router, budget->servers);
}

uint32_t pooler_clients(const struct pooler *pooler)
{
    return env_clients(&pooler->env);
}

/* --- accepting -------------------------------------------------------------------------------- */

/* Returns the relay with the fewest clients; of equals, the next in turn. */
static struct relay *pooler_pick(struct pooler *pooler)
{
    uint32_t best = pooler->next % pooler->env.relay_count;
    uint64_t fewest = UINT64_MAX;
    for (uint32_t i = 0; i < pooler->env.relay_count; i++) {
        uint32_t index = (pooler->next + i) % pooler->env.relay_count;
        const struct relay *relay = pooler->env.relays[index];
        /* Sockets on their way are counted in `fed`, not by the relay. */
        uint64_t came = pooler->fed[index] + hint_read(&relay->told.came);
        uint64_t gone = hint_read(&relay->told.gone);
        uint64_t clients = came > gone ? came - gone : 0; /* one of the hints may be old */
        if (clients < fewest) {
            fewest = clients;
            best = index;
        }
    }
    pooler->next = best + 1;
    pooler->fed[best] += 1;
    return pooler->env.relays[best];
}

/* Closes a connection after one attempt to send the reason; waits for nothing. */
static void pooler_refuse(int handle, const struct address *peer, fault why)
{
    struct stream stream = STREAM_INIT;
    struct buffer out = BUFFER_INIT(1024);
    struct wire_report report = {
        .severity = "FATAL", .sqlstate = fault_story_sqlstate(why), .message = fault_story(why)};
    size_t sent;
    if (stream_adopt(&stream, handle, peer->family == ADDRESS_UNIX) != OK)
        return;
    wire_put_report(&out, &report);
    struct iovec part = {out.at, out.size};
    if (why != FAULT_CANCELLED && buffer_fault(&out) == OK)
        (void)!stream_write_some(&stream, &part, 1, &sent);
    buffer_fini(&out);
    stream_close(&stream);
}

void pooler_take(struct pooler *pooler, int handle, const struct address *peer, uint32_t listen)
{
    struct config *config = config_ref(pooler->config); /* kept over a reload while it waits */
    const struct listen_config *at = config_listen(config, listen);
    bool is_proxy = at != NULL && listen_from_proxy(at, peer);
    struct guest *guest = NULL;
    fault let = guests_admit(pooler->env.guests, config, peer, is_proxy, &guest);
    config_unref(&config);
    if (let == OK) {
        struct relay *relay = pooler_pick(pooler);
        guest_assign(guest, relay);
        let = relay_feed(relay, handle, peer, listen, guest);
    }
    if (let == OK)
        return;
    if (guest != NULL)
        guest_refuse(&guest);
    pooler_refuse(handle, peer, let);
}

static void pooler_relay_ended(struct mail *mail)
{
    struct relay *relay = CONTAINER_OF(mail, struct relay, ended);
    struct pooler *pooler = CONTAINER_OF(relay->pools.env, struct pooler, env);
    pooler->relays_ended += 1;
    if (pooler->waiting != NULL)
        co_wake(pooler->waiting);
}

/* --- life ------------------------------------------------------------------------------------- */

static fault pooler_begin(struct pooler *pooler)
{
    struct config *config = pooler->config;
    uint32_t relays = MIN_OF(MAX_OF(config->relays, 1u), (uint32_t)RELAYS_MAX);
    TRY(listeners_prepare(pooler->listeners, config));
    if (pooler->console.bound != NULL)
        TRY(pooler->console.bound(pooler->console.argument));
    TRY(router_new(&pooler->env, config, &pooler->env.router));
    /* Relays are counted before clients can come. */
    for (uint32_t i = 0; i < relays; i++) {
        TRY(relay_start(&pooler->env, i, config, &pooler->env.relays[i]));
        pooler->env.relay_count += 1;
    }
    load_set(pooler->load, config->hot_relay);
    return listeners_commit(pooler->listeners, config);
}

fault pooler_start(struct config *config, const struct pooler_console *console, struct pooler **ret)
{
    struct pooler *pooler = calloc(1, sizeof(*pooler));
    if (pooler == NULL)
        return FAULT_MEMORY;
    pooler->env.machine = machine_self();
    pooler->config = config_ref(config);
    pooler->console = *console;
    pooler->env.console = (struct console_target){console->serve, pooler};
    pooler->env.relay_ended = pooler_relay_ended;
    pooler->env.clients_max = UINT32_MAX;
    pooler->listeners = listeners_new(pooler);
    random_bytes(pooler->env.mock_secret, sizeof(pooler->env.mock_secret));
    pooler->env.failures = auth_failures_new();
    pooler->env.guests = guests_new();
    pooler->load = load_new(pooler);
    bool whole = pooler->listeners != NULL && pooler->env.failures != NULL &&
                 pooler->env.guests != NULL && pooler->load != NULL;
    fault result = whole ? pooler_begin(pooler) : FAULT_MEMORY;
    if (result != OK) {
        pooler_stop(pooler, after(sec(1)));
        pooler_free(&pooler);
        return result;
    }
    *ret = pooler;
    return OK;
}

fault pooler_reload(struct pooler *pooler, struct config *config)
{
    TRY(listeners_prepare(pooler->listeners, config));
    fault taken = router_reload(pooler->env.router, config);
    if (taken != OK) {
        listeners_abort(pooler->listeners);
        return taken;
    }
    config_ref(config);
    config_unref(&pooler->config);
    pooler->config = config;
    /* Relays come before the listeners, so that they know the listener of each new client. */
    for (uint32_t i = 0; i < pooler->env.relay_count; i++)
        relay_reload(pooler->env.relays[i], config);
    load_set(pooler->load, config->hot_relay);
    return listeners_commit(pooler->listeners, config);
}

static bool pooler_await_relays(struct pooler *pooler, deadline by)
{
    pooler->waiting = co_self();
    while (pooler->relays_ended < pooler->env.relay_count)
        if (co_wait(by) == FAULT_TIMEOUT)
            break;
    pooler->waiting = NULL;
    return pooler->relays_ended == pooler->env.relay_count;
}

void pooler_hurry(struct pooler *pooler)
{
    for (uint32_t i = 0; i < pooler->env.relay_count; i++)
        relay_halt(pooler->env.relays[i]);
}

bool pooler_stop(struct pooler *pooler, deadline by)
{
    pooler->env.stopping = true;
    if (pooler->load != NULL)
        load_stop(pooler->load);
    listeners_close(pooler->listeners);
    for (uint32_t i = 0; i < pooler->env.relay_count; i++)
        relay_stop(pooler->env.relays[i]);
    if (!pooler_await_relays(pooler, by)) {
        pooler_hurry(pooler);
        if (!pooler_await_relays(pooler, after(sec(5))))
            return false;
    }
    for (uint32_t i = 0; i < pooler->env.relay_count; i++)
        relay_release(pooler->env.relays[i]);
    for (uint32_t i = 0; i < pooler->env.relay_count; i++)
        relay_join(&pooler->env.relays[i]);
    pooler->env.relay_count = 0;
    return true;
}

void pooler_free(struct pooler **pooler)
{
    struct pooler *gone = TAKE(*pooler);
    if (gone == NULL)
        return;
    invariant(gone->env.relay_count == 0);
    listeners_free(&gone->listeners);
    router_free(&gone->env.router);
    config_unref(&gone->config);
    auth_failures_free(&gone->env.failures);
    guests_free(&gone->env.guests);
    load_free(&gone->load);
    free(gone);
}

/* --- visits to all machines ------------------------------------------------------------------- */

struct look {
    struct mail mail;
    struct pooler *pooler;
    bool (*look)(struct relay *relay, void *argument); /* true: visit this machine again */
    void *argument;
    struct machine *home; /* the caller's */
    struct co *asker;     /* the caller */
    uint32_t at;          /* number of relays visited */
    bool done;
};

static void look_home(struct mail *mail)
{
    struct look *look = CONTAINER_OF(mail, struct look, mail);
    look->done = true;
    co_wake(look->asker);
}

static void look_next(struct mail *mail)
{
    struct look *look = CONTAINER_OF(mail, struct look, mail);
    struct pooler *pooler = look->pooler;
    if (!look->look(look->at < pooler->env.relay_count ? pooler->env.relays[look->at] : NULL,
                    look->argument))
        look->at += 1;
    if (look->at < pooler->env.relay_count) {
        mail_send(pooler->env.relays[look->at]->pools.machine, mail);
    } else if (look->at == pooler->env.relay_count) {
        mail_send(pooler->env.machine, mail);
    } else {
        mail->deliver = look_home;
        mail_send(look->home, mail);
    }
}

void pooler_look_on(struct pooler *pooler, bool (*visit)(struct relay *relay, void *argument),
                    void *argument)
{
    struct look look = {.mail = {.deliver = look_next},
                        .pooler = pooler,
                        .look = visit,
                        .argument = argument,
                        .home = machine_self(),
                        .asker = co_self()};
    mail_send(pooler->env.relay_count > 0 ? pooler->env.relays[0]->pools.machine
                                          : pooler->env.machine,
              &look.mail);
    /* Waits also when cancelled: the visits use this stack.  Machines never block: it is short. */
    while (!look.done)
        if (co_wait(NEVER) == FAULT_CANCELLED && !look.done)
            co_yield ();
}

struct look_once {
    void (*visit)(struct relay *relay, void *argument);
    void *argument;
};

static bool look_only_once(struct relay *relay, void *argument)
{
    const struct look_once *once = argument;
    once->visit(relay, once->argument);
    return false;
}

void pooler_look(struct pooler *pooler, void (*visit)(struct relay *relay, void *argument),
                 void *argument)
{
    struct look_once once = {visit, argument};
    pooler_look_on(pooler, look_only_once, &once);
}
