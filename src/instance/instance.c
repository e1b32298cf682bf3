#include "instance/instance.h"

#include "admin/console.h"
#include "instance/budget.h"
#include "instance/config_load.h"
#include "instance/instance_log_parts.h"
#include "instance/reload.h"
#include "instance/watch_parts.h"
#include "machine/clock.h"
#include "machine/inherited.h"
#include "machine/log.h"
#include "machine/notify.h"
#include "machine/privileges.h"
#include "machine/process.h"
#include "machine/signals.h"
#include "pool/router.h"
#include "pooler/control.h"
#include "pooler/pooler.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

/* Time between checks whether all servers are free, or all clients have disconnected. */
#define AWAIT_PAUSE ms(100)
/* Maximum of bytes of all values that SET has set. */
#define OVERRIDES_MAX ((size_t)256 * 1024)
#define PROBLEMS_MAX  ((size_t)256 * 1024)
/* Highest signal number of Linux; the lowest is 1. */
#define SIGNALS_MAX 64

/* The daemon; all fields belong to the pooler machine. */
struct instance {
    const char *path;
    struct config *config;   /* the version in force, counted */
    struct buffer overrides; /* key NUL value NUL ...: what SET has set since the last reload */
    uint64_t versions;       /* loaded so far, failed ones included */
    struct pooler *pooler;
    struct signals signals;
    struct co *main;       /* waits for the end */
    struct co_group group; /* signals, watch, reloads of signals */
    struct watch watch;
    struct instance_log log;
    struct list waiting; /* struct reload_turn: the next to reload */
    bool reloading;
    bool stopping;
    bool awaits; /* a shutdown was requested on the console; then `how` is valid */
    enum pooler_shutdown how;
    bool ending;  /* no new reload may begin */
    bool at_once; /* open transactions are not waited for */
    int status;
};

/* --- configuration ---------------------------------------------------------------------------- */

static void log_problems(int level, struct span problems)
{
    while (problems.size > 0) {
        const uint8_t *end = memchr(problems.at, '\n', problems.size);
        size_t line = end == NULL ? problems.size : (size_t)(end - problems.at);
        log_event(level, "config.problem",
                  log_quote_span("text", span_of((const char *)problems.at, line)));
        problems = span_skip(problems, line + 1);
    }
}

/* --- reload ----------------------------------------------------------------------------------- */

/* A place in the queue for reloads; on its coroutine's stack. */
struct reload_turn {
    struct node node;
    struct co *co;
    bool mine;
};

/* Waits until no other reload is in progress: a reload suspends. */
static void reload_enter(struct instance *instance)
{
    struct reload_turn turn = {.co = co_self()};
    if (!instance->reloading) {
        invariant(list_empty(&instance->waiting));
        instance->reloading = true;
        return;
    }
    list_push(&instance->waiting, &turn.node);
    while (!turn.mine)
        co_wait_through(NEVER);
    invariant(instance->reloading);
}

static void reload_leave(struct instance *instance)
{
    invariant(instance->reloading);
    struct node *first = list_pop(&instance->waiting);
    instance->reloading = first != NULL;
    if (first == NULL)
        return;
    struct reload_turn *next = LIST_ENTRY(first, struct reload_turn, node);
    invariant(!next->mine && next->co != co_self());
    next->mine = true;
    co_wake(next->co);
}

/* Puts a new version in force.  Applies also its settings of the whole process: descriptors, core
 * dumps, log. */
static void instance_take(struct instance *instance, struct config *config, struct buffer *report)
{
    struct pooler_budget budget = {.clients = config->client_max};
    invariant(instance->reloading && !instance->ending);
    invariant(config->version > instance->config->version);
    invariant(config->version == instance->versions);
    if (budget_make(config, &budget) != OK)
        buffer_printf(report, "%s: warning: %s\n", config->path, fault_detail(FAULT_LIMIT));
    pooler_set_budget(instance->pooler, &budget);
    privileges_core_dumps(config->core_dumps);
    config_unref(&instance->config);
    instance->config = config;
    instance_log_configure(config);
    instance_log_renew(&instance->log);
}

static fault instance_reload_entered(struct instance *instance, struct buffer *report)
{
    struct config *config = NULL;
    if (instance->ending)
        return fault_raise(FAULT_SHUTDOWN, "the pooler is shutting down");
    fault result = reload_load(instance->path, ++instance->versions,
                               buffer_span(&instance->overrides), &config, report);
    if (result == OK)
        result = config_keep_unreloadable(instance->config, config, report);
    if (result == OK)
        result = pooler_reload(instance->pooler, config);
    if (result == OK)
        instance_take(instance, config, report);
    else
        config_unref(&config);
    return result;
}

/* Loads the file again.  A version that can't be loaded changes nothing; `report` gets all its
 * problems. */
static fault instance_load_again(struct instance *instance, struct buffer *report)
{
    notify_send("RELOADING=1\nMONOTONIC_USEC=%" PRId64 "\nSTATUS=Reloading", now_exact().us);
    uint64_t before = instance->config->version;
    log_stop_waiting(); /* the relays have to take the new version */
    fault result = instance_reload_entered(instance, report);
    uint64_t version = instance->config->version;
    invariant(result == OK ? version > before : version == before);
    if (result == OK) {
        log_problems(LOG_WARNING, buffer_span(report));
        log_event(LOG_NOTICE, "config.reloaded", log_number("version", version));
        notify_send("READY=1\nSTATUS=Ready: version %" PRIu64 " of the configuration", version);
    } else {
        (void)log_reopen();
        notify_send("READY=1\nSTATUS=Ready: the last reload failed, version %" PRIu64 " stays",
                    version);
        log_event(LOG_ERR, "config.reload_failed", log_quote("reason", fault_detail(result)));
        log_problems(LOG_ERR, buffer_span(report));
    }
    return result;
}

/* Reloads the file and drops the values that SET has set. */
static fault instance_reload(void *argument, struct buffer *report)
{
    struct instance *instance = argument;
    reload_enter(instance);
    struct buffer overrides = instance->overrides;
    instance->overrides = BUFFER_INIT(OVERRIDES_MAX);
    fault result = instance_load_again(instance, report);
    if (result != OK) {
        struct buffer none = instance->overrides;
        instance->overrides = overrides;
        overrides = none;
    }
    buffer_fini(&overrides);
    reload_leave(instance);
    return result;
}

/* Sets one value until the next reload; it is rejected like a wrong value in the file. */
static fault instance_set(void *argument, const char *key, const char *value, struct buffer *report)
{
    struct instance *instance = argument;
    struct buffer *overrides = &instance->overrides;
    reload_enter(instance);
    size_t before = overrides->size;
    buffer_append(overrides, key, strlen(key) + 1);
    buffer_append(overrides, value, strlen(value) + 1);
    fault result = buffer_fault(overrides);
    if (result == FAULT_LIMIT)
        (void)!fault_raise(FAULT_LIMIT, "SET commands since the last reload exceed %zu bytes",
                           overrides->max);
    if (result == OK)
        result = instance_load_again(instance, report);
    invariant(overrides->size >= before); /* a reload would have dropped them, and waits */
    if (result != OK) {                   /* the next one may fit */
        overrides->size = before;
        overrides->failed = OK;
    }
    reload_leave(instance);
    return result;
}

/* --- signals ---------------------------------------------------------------------------------- */

static void instance_hangup(void *argument)
{
    struct buffer report = BUFFER_INIT(PROBLEMS_MAX);
    (void)!instance_reload(argument, &report); /* it has logged what is wrong */
    buffer_fini(&report);
}

/* Executes RESUME without a name, as PgBouncer does on SIGUSR2. */
static void instance_resume(void *argument)
{
    struct instance *instance = argument;
    /* Waits for a reload in progress; keeps the relays from being stopped meanwhile. */
    reload_enter(instance);
    fault resumed = instance->ending ? fault_raise(FAULT_SHUTDOWN, "the pooler is shutting down")
                                     : control_resume(instance->pooler);
    if (resumed != OK)
        log_event(LOG_NOTICE, "signal.ignored", log_text("signal", "SIGUSR2"),
                  log_quote("reason", fault_detail(resumed)));
    reload_leave(instance);
}

static void instance_signal_stop(struct instance *instance, int number)
{
    if (instance->stopping && number != SIGQUIT) {
        log_event(LOG_NOTICE, "shutdown.at_once", log_number("signal", number));
        log_finish();
        process_leave(1);
    }
    invariant(instance->main != NULL);
    log_stop_waiting();
    log_event(LOG_NOTICE, "shutdown.started", log_number("signal", number));
    instance->at_once = number == SIGQUIT;
    if (instance->at_once && instance->ending)
        pooler_hurry(instance->pooler);
    instance->stopping = true;
    co_wake(instance->main);
}

static void instance_signal_ignore(int number)
{
    static const char reason[] = "it has no meaning here";
    const char *short_name = sigabbrev_np(number);
    char name[32];
    snprintf(name, sizeof(name), "SIG%s", short_name != NULL ? short_name : "");
    log_event(LOG_NOTICE, "signal.ignored",
              short_name != NULL ? log_text("signal", name) : log_number("signal", number),
              log_quote("reason", reason));
}

/* Starts a coroutine for each order that suspends, so that a signal to stop is still received. */
static void instance_signal(struct instance *instance, int number)
{
    switch (number) {
    case SIGHUP:
        if (co_group_start(&instance->group, instance_hangup, instance, CO_LARGE) != OK)
            log_event(LOG_ERR, "config.reload_failed",
                      log_quote("reason", fault_text(FAULT_MEMORY)));
        break;
    case SIGUSR1:
        instance_log_reopen(instance->config);
        break;
    case SIGUSR2:
        if (co_group_start(&instance->group, instance_resume, instance, CO_LARGE) != OK)
            log_event(LOG_NOTICE, "signal.ignored", log_text("signal", "SIGUSR2"),
                      log_quote("reason", fault_text(FAULT_MEMORY)));
        break;
    case SIGINT:
    case SIGTERM:
    case SIGQUIT:
        instance_signal_stop(instance, number);
        break;
    default:
        instance_signal_ignore(number);
    }
}

/* Returns false for signals that keep the system's default action: those that can't be caught,
 * those of a fault in the process, those of a terminal's job control, and those that are ignored by
 * default. */
static bool signal_is_taken(int number)
{
    static const int left[] = {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS,  SIGFPE,  SIGILL,
                               SIGTRAP, SIGABRT, SIGSYS,  SIGTSTP, SIGTTIN, SIGTTOU,
                               SIGCONT, SIGCHLD, SIGURG,  SIGWINCH};
    for (size_t i = 0; i < ARRAY_SIZE(left); i++)
        if (left[i] == number)
            return false;
    return number <= SIGSYS || number >= SIGRTMIN; /* the C library uses those between */
}

static fault instance_open_signals(struct instance *instance)
{
    int numbers[SIGNALS_MAX];
    size_t count = 0;
    for (int number = 1; number <= SIGNALS_MAX; number++)
        if (signal_is_taken(number))
            numbers[count++] = number;
    invariant(count <= ARRAY_SIZE(numbers));
    return signals_open(&instance->signals, numbers, count);
}

static void instance_watch_signals(void *argument)
{
    struct instance *instance = argument;
    int number;
    while (signals_next(&instance->signals, &number, NEVER) == OK)
        instance_signal(instance, number);
}

/* --- life ------------------------------------------------------------------------------------- */

static fault instance_load(struct instance *instance)
{
    struct buffer problems = BUFFER_INIT(PROBLEMS_MAX);
    fault loaded = config_load(instance->path, ++instance->versions, &instance->config, &problems);
    fprintf(stderr, "%.*s", SPAN_ARG(buffer_span(&problems)));
    if (loaded != OK)
        fprintf(stderr, "trunkline: %s\n", fault_detail(loaded));
    buffer_fini(&problems);
    return loaded;
}

/* Warns of a file that the user of the process can't read. */
static void readable_check(const struct config *config, const char *file)
{
    if (!privileges_readable(file))
        log_event(LOG_WARNING, "config.unreadable", log_text("file", file),
                  log_text("user", config->user), log_quote("reason", "a reload will fail"));
}

/* Drops privileges after every listener is bound. */
static fault instance_bound(void *argument)
{
    const struct instance *instance = argument;
    const struct config *config = instance->config;
    if (config->user != NULL) {
        TRY(instance_log_give(config));
        TRY(privileges_become(config->user));
        /* Changing the user resets this flag. */
        privileges_core_dumps(config->core_dumps);
        for (size_t i = 0; i < config->file_count; i++)
            readable_check(config, config->files[i]);
        if (config->auth_file != NULL)
            readable_check(config, config->auth_file);
    } else if (privileges_root()) {
        log_event(LOG_WARNING, "privileges.root",
                  log_quote("reason", "runs as root; set user, or start it as another user"));
        return OK;
    }
    privileges_shed();
    return OK;
}

/* Starts a shutdown that was requested on the console.  Until the servers are free or the clients
 * have disconnected, the console stays open and may shorten the wait. */
static void instance_shutdown(void *argument, enum pooler_shutdown how)
{
    struct instance *instance = argument;
    static const char *const texts[] = {
        [SHUTDOWN_NOW] = "now",
        [SHUTDOWN_WAIT_SERVERS] = "wait_for_servers",
        [SHUTDOWN_WAIT_CLIENTS] = "wait_for_clients",
    };
    log_stop_waiting();
    log_event(LOG_NOTICE, "shutdown.started", log_text("console", texts[how]));
    instance->how = how;
    instance->awaits = true;
    co_wake(instance->main);
}

/* Whether the shutdown requested on the console need not wait any longer. */
static bool instance_awaited(const struct instance *instance)
{
    if (!instance->awaits)
        return false;
    if (instance->how == SHUTDOWN_WAIT_SERVERS)
        return router_servers(pooler_router(instance->pooler), NULL, false) == 0;
    return instance->how == SHUTDOWN_NOW || pooler_clients(instance->pooler) == 0;
}

/* Waits for a shutdown request, and then for `shutdown_delay`, while new clients are still
 * accepted. */
static void instance_await_stop(struct instance *instance)
{
    while (!instance->stopping && !instance_awaited(instance))
        if (co_wait(instance->awaits ? after(AWAIT_PAUSE) : NEVER) == FAULT_CANCELLED)
            return;
    instance->at_once = instance->at_once || !instance->stopping;
    instance->stopping = true;
    duration max = instance->config->shutdown_timeout;
    notify_send("STOPPING=1\nSTATUS=Shutting down");
    if (max.us != NO_LIMIT.us)
        notify_send("EXTEND_TIMEOUT_USEC=%" PRId64,
                    instance->config->shutdown_delay.us + max.us + sec(10).us);
    deadline until = after(instance->config->shutdown_delay);
    while (!instance->at_once && co_wait(until) == OK)
        ;
}

static void instance_serve(struct instance *instance)
{
    instance->watch.pooler = instance->pooler;
    instance->log.pooler = instance->pooler;
    instance->log.config = &instance->config;
    if (co_group_start(&instance->group, instance_watch_signals, instance, CO_LARGE) != OK ||
        co_group_start(&instance->group, watch_main, &instance->watch, CO_LARGE) != OK ||
        co_group_start(&instance->group, instance_log_main, &instance->log, CO_LARGE) != OK)
        instance->stopping = true;
    log_event(LOG_NOTICE, "ready", log_text("version", TRUNKLINE_VERSION),
              log_number("relays", pooler_relays(instance->pooler)),
              log_text("config", instance->path));
    notify_send("READY=1\nSTATUS=Ready: version 1 of the configuration");
    instance_await_stop(instance);
    /* Waits for a reload in progress; no other begins. */
    reload_enter(instance);
    invariant(!instance->ending);
    instance->ending = true;
    reload_leave(instance);
    duration max = instance->at_once ? ms(0) : instance->config->shutdown_timeout;
    if (!watch_end_looks(&instance->watch, after(sec(5))) ||
        !instance_log_end_looks(&instance->log, after(sec(5))) ||
        !pooler_stop(instance->pooler, after(max))) {
        log_event(LOG_WARNING, "shutdown.incomplete",
                  log_quote("reason", "a relay did not end in time"));
        log_finish();
        process_leave(0);
    }
    co_group_cancel(&instance->group);
    co_group_join(&instance->group);
}

static fault instance_start(struct instance *instance)
{
    struct pooler_budget budget;
    struct pooler_console console = {.serve = console_serve,
                                     .reload = instance_reload,
                                     .set = instance_set,
                                     .shutdown = instance_shutdown,
                                     .bound = instance_bound,
                                     .argument = instance};
    TRY(budget_make(instance->config, &budget));
    TRY(instance_open_signals(instance));
    TRY(pooler_start(instance->config, &console, &instance->pooler));
    pooler_set_budget(instance->pooler, &budget);
    return OK;
}

static void instance_main(void *argument)
{
    struct instance *instance = argument;
    co_group_init(&instance->group);
    list_init(&instance->waiting);
    instance->main = co_self();
    /* Clients of the console may be served before the last listener is open. */
    reload_enter(instance);
    fault started = instance_start(instance);
    reload_leave(instance);
    if (started != OK) {
        log_event(LOG_ERR, "start.failed", log_quote("reason", fault_detail(started)));
        log_release(false);
        instance->status = 1;
    } else {
        log_release(true);
        instance_serve(instance);
        pooler_free(&instance->pooler);
        log_event(LOG_NOTICE, "shutdown.done", log_number("status", 0));
    }
    signals_close(&instance->signals);
    machine_stop();
}

int instance_run(const char *path)
{
    struct instance instance = {
        .path = path, .overrides = BUFFER_INIT(OVERRIDES_MAX), .signals = {.stream = STREAM_INIT}};
    process_keep_openssl();
    /* Called before any other thread starts, and before the first secret is read. */
    privileges_lock();
    privileges_core_dumps(false);
    notify_collect();
    (void)inherited_collect();
    if (instance_load(&instance) != OK)
        return 1;
    privileges_core_dumps(instance.config->core_dumps);
    log_hold(); /* until the start has succeeded or failed */
    instance_log_configure(instance.config);
    if (machine_run("pooler", instance_main, &instance) != OK) {
        log_event(LOG_ERR, "start.failed", log_quote("reason", fault_detail(FAULT_SYSTEM)));
        log_release(false);
        instance.status = 1;
    }
    buffer_fini(&instance.overrides);
    config_unref(&instance.config);
    log_finish();
    return instance.status;
}
