/*
 * console_control.c - PAUSE, RESUME, DISABLE, ENABLE, RECONNECT, KILL, KILL_CLIENT, MOVE_CLIENT,
 * SUSPEND, WAIT_CLOSE and SHUTDOWN; SHOW STATE.
 *
 * The orders are carried out by pooler/control.h.  Commands that wait check repeatedly, at growing
 * intervals, until the condition holds, the client disconnects, or it sends a cancel request.
 */
#include "admin/console_parts.h"
#include "machine/clock.h"
#include "pooler/control.h"
#include "relay/relay.h"

#include <stdio.h>

#define LOOK_PAUSE_MIN ms(2)
#define LOOK_PAUSE_MAX ms(200)

/* --- which database --------------------------------------------------------------------------- */

/* Returns the command's database; NULL: all. */
static const char *database_of(const struct console *console)
{
    const char *argument = console->call->argument;
    return argument[0] == '\0' ? NULL : argument;
}

static fault check_database(const struct console *console)
{
    const char *database = database_of(console);
    const struct config *config = console->config;
    for (size_t i = 0; database != NULL && i < config->route_count; i++) {
        const char *name = config->routes[i].database;
        if (name == NULL || strcmp(name, database) == 0)
            return OK;
    }
    if (database == NULL)
        return OK;
    return fault_raise_state(FAULT_ROUTE, "3D000", "no route matches database \"%s\"", database);
}

static const struct orders *orders_of(const struct console *console)
{
    return &console->client->relay->pools.orders;
}

static bool is_paused(const struct console *console)
{
    const char *database = database_of(console);
    const struct orders *orders = orders_of(console);
    if (database == NULL)
        return orders->paused;
    return (orders_flags(orders, database) & ORDER_PAUSED) != 0;
}

/* --- waiting ---------------------------------------------------------------------------------- */

/* Sleeps before the next check.  Faults: CANCELLED, also by a cancel request of the client;
 * CLOSED. */
static fault rest(struct console *console, duration *pause)
{
    struct client *client = console->client;
    deadline until = after(*pause);
    pause->us = MIN_OF(2 * pause->us, LOOK_PAUSE_MAX.us);
    while (now().us < until.us) {
        fault waited = co_wait(until);
        if (waited == FAULT_CANCELLED)
            return waited;
        if (stream_hung_up(&client->stream))
            return FAULT_CLOSED;
        if (client->asked)
            break;
    }
    if (!client->asked)
        return OK;
    client->asked = false;
    return fault_raise_state(FAULT_CANCELLED, "57014", "canceling statement due to user request");
}

static fault wait_for_servers(struct console *console, bool to_close)
{
    duration pause = LOOK_PAUSE_MIN;
    while (control_servers(console->pooler, database_of(console), to_close) > 0)
        TRY(rest(console, &pause));
    return OK;
}

/* --- pausing ---------------------------------------------------------------------------------- */

fault console_pause(struct console *console, struct console_result *result)
{
    const char *database = database_of(console);
    duration pause = LOOK_PAUSE_MIN;
    fault waited = OK;
    TRY(check_database(console));
    bool before = is_paused(console);
    TRY(control_mark(console->pooler, database, ORDER_PAUSED, 0));
    while (waited == OK && control_servers(console->pooler, database, false) > 0) {
        waited = rest(console, &pause);
        if (waited == OK && !is_paused(console))
            return fault_raise_state(FAULT_CANCELLED, "57014",
                                     "PAUSE was ended by RESUME before it completed");
    }
    /* A cancelled PAUSE is undone; a PAUSE whose client has disconnected stays in force. */
    if (waited == FAULT_CANCELLED && !co_cancelled() && !before) {
        TRY(control_mark(console->pooler, database, 0, ORDER_PAUSED));
        return fault_raise_state(FAULT_CANCELLED, "57014",
                                 "canceling PAUSE due to user request; the pause was undone");
    }
    return waited;
}

fault console_resume(struct console *console, struct console_result *result)
{
    const char *database = database_of(console);
    if (database == NULL)
        return control_resume(console->pooler);
    TRY(check_database(console));
    if (orders_of(console)->closing)
        return fault_raise_state(FAULT_SHUTDOWN, "55000", "the pooler is shutting down");
    if (!is_paused(console))
        return fault_raise_state(FAULT_AGAIN, "55000", "database \"%s\" is not paused", database);
    return control_mark(console->pooler, database, 0, ORDER_PAUSED);
}

fault console_suspend(struct console *console, struct console_result *result)
{
    duration pause = LOOK_PAUSE_MIN;
    fault waited = OK;
    bool before = orders_of(console)->suspended;
    control_suspend(console->pooler, true);
    while (waited == OK && control_busy(console->pooler) > 0)
        waited = rest(console, &pause);
    if (waited != FAULT_CANCELLED || co_cancelled() || before)
        return waited;
    control_suspend(console->pooler, false);
    return fault_raise_state(FAULT_CANCELLED, "57014",
                             "canceling SUSPEND due to user request; the suspension was undone");
}

fault console_disable(struct console *console, struct console_result *result)
{
    TRY(check_database(console));
    return control_mark(console->pooler, database_of(console), ORDER_DISABLED, 0);
}

fault console_enable(struct console *console, struct console_result *result)
{
    TRY(check_database(console));
    return control_mark(console->pooler, database_of(console), 0, ORDER_DISABLED);
}

/* --- backends --------------------------------------------------------------------------------- */

static fault check_backends(const struct console *console, uint32_t count)
{
    if (count > 0)
        return OK;
    return fault_raise_state(FAULT_ROUTE, "42704",
                             "backend \"%s\" does not exist; SHOW BACKENDS lists host and addr",
                             console->call->argument);
}

fault console_drain(struct console *console, struct console_result *result)
{
    return check_backends(console, control_drain(console->pooler, console->call->argument));
}

fault console_undrain(struct console *console, struct console_result *result)
{
    return check_backends(console, control_undrain(console->pooler, console->call->argument));
}

/* --- ending connections ----------------------------------------------------------------------- */

fault console_reconnect(struct console *console, struct console_result *result)
{
    TRY(check_database(console));
    control_reconnect(console->pooler, database_of(console));
    return OK;
}

fault console_wait_close(struct console *console, struct console_result *result)
{
    TRY(check_database(console));
    return wait_for_servers(console, true);
}

fault console_kill(struct console *console, struct console_result *result)
{
    TRY(check_database(console));
    TRY(control_kill(console->pooler, database_of(console)));
    return wait_for_servers(console, false);
}

static int hex_of(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    char lower = (char)(digit | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static bool uuid_read(const char *text, struct uuid *ret)
{
    size_t digits = 0;
    for (const char *at = text; *at != '\0'; at++) {
        int value = hex_of(*at);
        if (*at == '-')
            continue;
        if (value < 0 || digits == 2 * sizeof(ret->bytes))
            return false;
        uint8_t *byte = &ret->bytes[digits / 2];
        *byte = digits % 2 == 0 ? (uint8_t)(value << 4) : (uint8_t)(*byte | value);
        digits += 1;
    }
    return digits == 2 * sizeof(ret->bytes);
}

fault console_kill_client(struct console *console, struct console_result *result)
{
    const char *text = console->call->argument;
    struct uuid id;
    if (!uuid_read(text, &id))
        return fault_raise(FAULT_SYNTAX, "invalid client id \"%s\"; SHOW CLIENTS lists the ids",
                           text);
    if (memcmp(id.bytes, console->client->id.bytes, sizeof(id.bytes)) == 0)
        return fault_raise_state(FAULT_UNSUPPORTED, "55000",
                                 "cannot kill the client that sends this command");
    if (!control_kill_client(console->pooler, &id))
        return fault_raise_state(FAULT_ROUTE, "42704", "client \"%s\" does not exist", text);
    return OK;
}

fault console_move_client(struct console *console, struct console_result *result)
{
    const char *text = console->call->argument;
    struct uuid id;
    if (!uuid_read(text, &id))
        return fault_raise(FAULT_SYNTAX, "invalid client id \"%s\"; SHOW CLIENTS lists the ids",
                           text);
    fault moved = control_move_client(console->pooler, &id);
    if (moved == FAULT_ROUTE)
        return fault_raise_state(FAULT_ROUTE, "42704", "client \"%s\" does not exist", text);
    return moved;
}

/* --- shutdown --------------------------------------------------------------------------------- */

struct shutdown {
    const struct pooler_console *console;
    enum pooler_shutdown how;
};

static void visit_shutdown(struct relay *relay, void *argument)
{
    const struct shutdown *shutdown = argument;
    if (relay == NULL && shutdown->console->shutdown != NULL)
        shutdown->console->shutdown(shutdown->console->argument, shutdown->how);
}

fault console_shutdown(struct console *console, struct console_result *result)
{
    const char *how = console->call->argument;
    struct shutdown shutdown = {pooler_console(console->pooler), SHUTDOWN_NOW};
    if (strcasecmp(how, "WAIT_FOR_SERVERS") == 0)
        shutdown.how = SHUTDOWN_WAIT_SERVERS;
    else if (strcasecmp(how, "WAIT_FOR_CLIENTS") == 0)
        shutdown.how = SHUTDOWN_WAIT_CLIENTS;
    else if (how[0] != '\0')
        return fault_raise(FAULT_SYNTAX,
                           "unknown option SHUTDOWN %s; use WAIT_FOR_SERVERS or WAIT_FOR_CLIENTS",
                           how);
    if (shutdown.how != SHUTDOWN_NOW)
        control_close(console->pooler);
    if (shutdown.how == SHUTDOWN_WAIT_SERVERS)
        TRY(control_mark(console->pooler, NULL, ORDER_PAUSED, 0));
    pooler_look(console->pooler, visit_shutdown, &shutdown);
    return OK;
}

/* --- state ------------------------------------------------------------------------------------ */

static const struct console_column state_columns[] = {
    {"key", COLUMN_TEXT, "`active`, `paused` or `suspended`"},
    {"value", COLUMN_TEXT, "`yes` or `no`, for the pooler as a whole"},
};
const struct console_view console_view_state = CONSOLE_VIEW(state_columns);

fault console_show_state(struct console *console, struct console_result *result)
{
    const struct orders *orders = orders_of(console);
    const struct {
        const char *key;
        bool value;
    } rows[] = {
        {"active", !orders->paused && !orders->suspended},
        {"paused", orders->paused},
        {"suspended", orders->suspended},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        table_text(&result->sink, rows[i].key);
        table_text(&result->sink, rows[i].value ? "yes" : "no");
        table_end_row(&result->sink);
    }
    return OK;
}
