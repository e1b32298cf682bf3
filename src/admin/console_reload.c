/*
 * RELOAD and SET: load the configuration again on the pooler machine, and report every problem of
 * it.
 *
 * Reading files blocks, and a reload changes state of the pooler machine: so a message starts a
 * coroutine there, and returns when it has finished.
 */
#include "admin/console_parts.h"

#include <stdio.h>

struct errand {
    struct mail mail;
    struct pooler *pooler;
    const struct console_call *call; /* SET: what is set */
    bool sets;
    struct buffer *report; /* of the asking console, which waits */
    struct machine *home;
    struct co *asker;
    bool done;
    fault result;
    char sqlstate[6]; /* of a failure: a story is lost with its coroutine */
    char story[FAULT_STORY_MAX];
};

/* Runs on the relay of the asking console. */
static void errand_home(struct mail *mail)
{
    struct errand *errand = CONTAINER_OF(mail, struct errand, mail);
    errand->done = true;
    co_wake(errand->asker);
}

static void errand_return(struct errand *errand, fault result)
{
    errand->result = result;
    if (result != OK) {
        snprintf(errand->story, sizeof(errand->story), "%s", fault_story(result));
        snprintf(errand->sqlstate, sizeof(errand->sqlstate), "%s", fault_story_sqlstate(result));
    }
    errand->mail.deliver = errand_home;
    mail_send(errand->home, &errand->mail);
}

static void errand_reload(void *argument)
{
    struct errand *errand = argument;
    const struct pooler_console *console = pooler_console(errand->pooler);
    fault result;
    if (pooler_stopping(errand->pooler))
        result = fault_raise(FAULT_SHUTDOWN, "the pooler is shutting down");
    else if (errand->sets)
        result = console->set(console->argument, errand->call->argument, errand->call->value,
                              errand->report);
    else
        result = console->reload(console->argument, errand->report);
    errand_return(errand, result);
}

/* Runs on the pooler machine. */
static void errand_arrive(struct mail *mail)
{
    struct errand *errand = CONTAINER_OF(mail, struct errand, mail);
    fault started = co_start(errand_reload, errand, CO_LARGE);
    if (started != OK)
        errand_return(errand, started);
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
    struct errand errand = {.mail = {.deliver = errand_arrive},
                            .pooler = console->pooler,
                            .call = console->call,
                            .sets = sets,
                            .report = &console->detail,
                            .home = machine_self(),
                            .asker = co_self()};
    buffer_clear(&console->detail);
    mail_send(pooler_machine(console->pooler), &errand.mail);
    /* The errand is on this stack, so only its return ends the wait. */
    while (!errand.done)
        if (co_wait(NEVER) == FAULT_CANCELLED && !errand.done)
            co_yield ();
    if (errand.result != OK)
        return fault_raise_state(errand.result, errand.sqlstate, "%s", errand.story);
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
