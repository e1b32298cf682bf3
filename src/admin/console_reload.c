/*
 * console_reload.c - RELOAD and SET: load the configuration again on the pooler machine, and
 * report every problem of it.
 *
 * Reading files blocks, and a reload changes state of the pooler machine: so a message starts a
 * coroutine there, and returns when it has finished.
 */
#include "admin/console_parts.h"

#include <stdio.h>

struct reload_request {
    struct mail mail;
    struct pooler *pooler;
    const struct console_call *call; /* SET: what is set */
    bool sets;
    struct buffer *report; /* of the asking console, which waits */
    struct machine *home;
    struct co *asker;
    bool done;
    fault result;
    char sqlstate[6]; /* of a failure: a detail is lost with its coroutine */
    char detail[FAULT_STORY_MAX];
};

/* Runs on the relay of the asking console. */
static void request_home(struct mail *mail)
{
    struct reload_request *request = CONTAINER_OF(mail, struct reload_request, mail);
    request->done = true;
    co_wake(request->asker);
}

static void request_return(struct reload_request *request, fault result)
{
    request->result = result;
    if (result != OK) {
        snprintf(request->detail, sizeof(request->detail), "%s", fault_detail(result));
        snprintf(request->sqlstate, sizeof(request->sqlstate), "%s", fault_detail_sqlstate(result));
    }
    request->mail.deliver = request_home;
    mail_send(request->home, &request->mail);
}

static void request_reload(void *argument)
{
    struct reload_request *request = argument;
    const struct pooler_console *console = pooler_console(request->pooler);
    fault result;
    if (pooler_stopping(request->pooler))
        result = fault_raise(FAULT_SHUTDOWN, "the pooler is shutting down");
    else if (request->sets)
        result = console->set(console->argument, request->call->argument, request->call->value,
                              request->report);
    else
        result = console->reload(console->argument, request->report);
    request_return(request, result);
}

/* Runs on the pooler machine. */
static void request_arrive(struct mail *mail)
{
    struct reload_request *request = CONTAINER_OF(mail, struct reload_request, mail);
    fault started = co_start(request_reload, request, CO_LARGE);
    if (started != OK)
        request_return(request, started);
}

static void look_at_nothing(struct relay *relay, void *argument)
{
    (void)relay;
    (void)argument;
}

/* Sends one NOTICE per line: a loaded configuration may have warnings. */
static void tell_lines(struct console *console, struct span lines)
{
    char line[1024];
    while (lines.size > 0) {
        const uint8_t *end = memchr(lines.at, '\n', lines.size);
        size_t size = end == NULL ? lines.size : (size_t)(end - lines.at);
        snprintf(line, sizeof(line), "%.*s", (int)size, (const char *)lines.at);
        if (size > 0)
            wire_put_report(
                &console->out,
                &(struct wire_report){.severity = "NOTICE", .sqlstate = "00000", .message = line});
        lines = span_skip(lines, size + 1);
    }
}

static fault load(struct console *console, bool sets)
{
    struct reload_request request = {.mail = {.deliver = request_arrive},
                                     .pooler = console->pooler,
                                     .call = console->call,
                                     .sets = sets,
                                     .report = &console->detail,
                                     .home = machine_self(),
                                     .asker = co_self()};
    buffer_clear(&console->detail);
    mail_send(pooler_machine(console->pooler), &request.mail);
    /* The request is on this stack, so only its return ends the wait. */
    while (!request.done)
        if (co_wait(NEVER) == FAULT_CANCELLED && !request.done)
            co_yield ();
    if (request.result != OK)
        return fault_raise_state(request.result, request.sqlstate, "%s", request.detail);
    /* Each relay has the new version before this look reaches it, so the version is in force when
     * the client reads the tag. */
    pooler_look(console->pooler, look_at_nothing, NULL);
    tell_lines(console, buffer_span(&console->detail));
    buffer_clear(&console->detail);
    return OK;
}

fault console_reload(struct console *console, struct console_result *result)
{
    return load(console, false);
}

fault console_set(struct console *console, struct console_result *result)
{
    return load(console, true);
}
