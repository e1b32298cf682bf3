#include "instance/instance.h"

#include "admin/console.h"
#include "instance/config_load.h"
#include "machine/clock.h"
#include "machine/log.h"
#include "machine/signals.h"
#include "pooler/pooler.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define PROBLEMS_MOST ((size_t)256 * 1024)

/* The daemon as a whole; all of it on the pooler machine. */
struct instance {
    const char *path;
    struct config *config; /* the version in force, counted */
    uint64_t versions;     /* made so far, failed ones included */
    struct pooler *pooler;
    struct signals signals;
    struct co *main; /* waits for the end */
    bool stopping;
    int status;
};

/* --- configuration
 * -------------------------------------------------------------------------------------------- */

static void log_problems(int level, struct span problems)
{
    while (problems.size > 0) {
        const uint8_t *end = memchr(problems.at, '\n', problems.size);
        size_t line = end == NULL ? problems.size : (size_t)(end - problems.at);
        log_event(level, "config.problem", "text=\"%.*s\"", (int)line, (const char *)problems.at);
        problems = span_skip(problems, line + 1);
    }
}

static void instance_configure_log(const struct config *config)
{
    int failed =
        log_configure(config->log_level, (enum log_format)config->log_format, config->log_file);
    if (failed != 0)
        log_event(LOG_ERR, "log.unwritable", "file=%s errno=%d", config->log_file, -failed);
}

/* A version that can't be loaded changes nothing; `report` gets every problem of it. */
static fault instance_reload(void *argument, struct buffer *report)
{
    struct instance *instance = argument;
    struct config *config = NULL;
    fault result = config_load(instance->path, ++instance->versions, &config, report);
    if (result == OK)
        config_unreloadable(instance->config, config, report);
    if (result == OK)
        result = pooler_reload(instance->pooler, config);
    if (result != OK) {
        config_unref(&config);
        log_event(LOG_ERR, "config.reload_failed", "reason=\"%s\"", fault_story(result));
        log_problems(LOG_ERR, buffer_span(report));
        return result;
    }
    config_unref(&instance->config);
    instance->config = config;
    instance_configure_log(config);
    log_problems(LOG_WARNING, buffer_span(report));
    log_event(LOG_NOTICE, "config.reloaded", "version=%" PRIu64, config->version);
    return OK;
}

/* --- signals
 * ----------------------------------------------------------------------------------------------------
 */

static void instance_signal(struct instance *instance, int number)
{
    struct buffer report = BUFFER_INIT(PROBLEMS_MOST);
    if (number == SIGHUP) {
        (void)!instance_reload(instance, &report); /* it has logged what is wrong */
    } else if (instance->stopping) {
        log_event(LOG_NOTICE, "shutdown.at_once", "signal=%d", number);
        log_finish();
        _Exit(1);
    } else {
        log_event(LOG_NOTICE, "shutdown.started", "signal=%d", number);
        instance->stopping = true;
        co_wake(instance->main);
    }
    buffer_fini(&report);
}

static void instance_watch_signals(void *argument)
{
    struct instance *instance = argument;
    int number;
    while (signals_next(&instance->signals, &number, NEVER) == OK)
        instance_signal(instance, number);
}

/* --- life
 * ---------------------------------------------------------------------------------------------------------
 */

static fault instance_load(struct instance *instance)
{
    struct buffer problems = BUFFER_INIT(PROBLEMS_MOST);
    fault loaded = config_load(instance->path, ++instance->versions, &instance->config, &problems);
    fprintf(stderr, "%.*s", SPAN_ARG(buffer_span(&problems)));
    if (loaded != OK)
        fprintf(stderr, "trunkline: %s\n", fault_story(loaded));
    buffer_fini(&problems);
    return loaded;
}

static void instance_serve(struct instance *instance)
{
    struct co_group group;
    co_group_init(&group);
    instance->main = co_self();
    if (co_group_start(&group, instance_watch_signals, instance, CO_LARGE) != OK)
        instance->stopping = true;
    log_event(LOG_NOTICE, "ready", "version=%s relays=%u config=%s", TRUNKLINE_VERSION,
              pooler_relays(instance->pooler), instance->path);
    while (!instance->stopping)
        if (co_wait(NEVER) == FAULT_CANCELLED)
            break;
    if (!pooler_stop(instance->pooler, after(instance->config->shutdown_timeout))) {
        log_event(LOG_WARNING, "shutdown.incomplete", "reason=\"a relay did not end in time\"");
        log_finish();
        _Exit(0);
    }
    co_group_cancel(&group);
    co_group_join(&group);
}

static void instance_main(void *argument)
{
    static const int numbers[] = {SIGHUP, SIGINT, SIGTERM};
    struct instance *instance = argument;
    struct pooler_console console = {
        .serve = console_serve, .reload = instance_reload, .argument = instance};
    fault started = signals_open(&instance->signals, numbers, ARRAY_SIZE(numbers));
    if (started == OK)
        started = pooler_start(instance->config, &console, &instance->pooler);
    if (started != OK) {
        log_event(LOG_ERR, "start.failed", "reason=\"%s\"", fault_story(started));
        instance->status = 1;
    } else {
        instance_serve(instance);
        pooler_free(&instance->pooler);
        log_event(LOG_NOTICE, "shutdown.done", "status=0");
    }
    signals_close(&instance->signals);
    machine_stop();
}

int instance_run(const char *path)
{
    struct instance instance = {.path = path};
    if (instance_load(&instance) != OK)
        return 1;
    instance_configure_log(instance.config);
    if (machine_run("pooler", instance_main, &instance) != OK) {
        log_event(LOG_ERR, "start.failed", "reason=\"%s\"", fault_story(FAULT_SYSTEM));
        instance.status = 1;
    }
    config_unref(&instance.config);
    log_finish();
    return instance.status;
}
