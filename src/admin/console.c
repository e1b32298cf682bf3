/*
 * console.c - A console session: the rest of the login, then one message after the other.
 */
#include "admin/console.h"

#include "admin/console_parts.h"
#include "machine/clock.h"
#include "relay/cancel.h"
#include "relay/relay.h"

#include <inttypes.h>
#include <stdio.h>

/* Maximum time that a client may take no bytes of a result; then it is disconnected. */
#define SEND_PATIENCE sec(60)
/* Bytes that are sent before other coroutines of this relay run. */
#define SLICE ((size_t)128 * 1024)

/* --- sending ---------------------------------------------------------------------------------- */

fault console_send(struct console *console, struct span rows)
{
    struct stream *stream = &console->client->stream;
    console->sending = buffer_fault(&console->out) == OK;
    TRY(link_send(stream, &console->out, after(SEND_PATIENCE)));
    while (rows.size > 0) {
        size_t size = MIN_OF(rows.size, SLICE);
        TRY(stream_write(stream, span_of(rows.at, size), after(SEND_PATIENCE)));
        rows = span_skip(rows, size);
        if (rows.size > 0)
            co_yield ();
    }
    console->sending = false;
    return OK;
}

void console_ready(struct console *console)
{
    wire_put_ready(&console->out, console->in_transaction ? WIRE_TX_ACTIVE : WIRE_TX_IDLE);
}

static void console_report(struct console *console, const char *severity, fault why)
{
    const char *detail = NULL;
    if (console->detail.size > 0) {
        buffer_append_byte(&console->detail, '\0');
        detail = buffer_fault(&console->detail) == OK ? (const char *)console->detail.at : NULL;
    }
    wire_put_report(&console->out,
                    &(struct wire_report){
                        .severity = severity,
                        .sqlstate = fault_detail_sqlstate(why),
                        .message = fault_detail(why),
                        .detail = detail,
                        .hint = why == FAULT_SYNTAX ? "SHOW HELP lists the commands." : NULL});
    buffer_clear(&console->detail);
}

void console_refuse(struct console *console, fault why)
{
    invariant(why != OK);
    console_report(console, "ERROR", why);
}

/* --- statements ------------------------------------------------------------------------------- */

enum console_role console_role(const struct console *console)
{
    const struct config *config = console->client->relay->pools.config;
    if (console->own && config_console_database(config, console->user))
        return CONSOLE_ALL;
    return config_console_role(config, console->user);
}

/* Checks permission for each command: a reload may have changed it. */
static fault check_role(const struct console *console, const struct console_command *command)
{
    enum console_role role = console_role(console);
    if (role == CONSOLE_ALL || (role == CONSOLE_READS && !command->admin))
        return OK;
    return fault_raise_state(FAULT_AUTH, "42501", "user \"%.*s\" may not %s on the console",
                             SPAN_ARG(console->user),
                             role == CONSOLE_NOTHING ? "do anything" : command->words);
}

static fault run_filtered(struct console *console, const struct console_call *call,
                          struct console_result *result)
{
    struct console_sieve sieve;
    console_sieve_init(&sieve, &call->filter);
    result->sieve = &sieve;
    fault ran = call->command->run == NULL ? OK : call->command->run(console, result);
    result->sieve = NULL;
    if (ran == OK)
        ran = console_sieve_pour(&sieve, result->columns, result->column_count, &result->sink);
    console_sieve_fini(&sieve);
    return ran;
}

fault console_run(struct console *console, const struct console_call *call,
                  struct console_result *result)
{
    const struct console_command *command = call->command;
    TRY(check_role(console, command));
    if (call->setting != NULL) {
        table_text(&result->sink, call->setting->value);
        table_end_row(&result->sink);
        return console_result_fault(result);
    }
    config_unref(&console->config);
    console->config = config_ref(console->client->relay->pools.config);
    console->call = call;
    console->client->asked = false;
    if (call->filter.any)
        TRY(run_filtered(console, call, result));
    else if (command->run != NULL)
        TRY(command->run(console, result));
    TRY(console_result_fault(result));
    if (command->begins || command->ends)
        console->in_transaction = command->begins;
    return OK;
}

void console_complete(struct console *console, const struct console_call *call, uint64_t rows)
{
    char tag[40];
    if (strcmp(call->command->tag, "SELECT") == 0)
        snprintf(tag, sizeof(tag), "SELECT %" PRIu64, rows);
    else
        snprintf(tag, sizeof(tag), "%s", call->command->tag);
    wire_put_command_complete(&console->out, tag);
}

/* Runs one statement of a simple query and sends its result; *ret_refused: it failed, so the rest
 * is skipped. */
static fault simple_statement(struct console *console, struct span statement, bool *ret_refused)
{
    struct console_call call;
    struct console_result result;
    fault why = console_understand(statement, console->client->relay->pools.config, &call);
    if (why != OK) {
        console_refuse(console, why);
        *ret_refused = true;
        return OK;
    }
    size_t count;
    const struct console_column *columns = console_call_columns(&call, &count);
    console_result_init(&result, columns, count, 0);
    why = console_run(console, &call, &result);
    if (why != OK) {
        console_refuse(console, why);
        *ret_refused = true;
    } else if (count > 0) {
        console_put_columns(&console->out, columns, count, 0);
    }
    fault sent = OK;
    if (why == OK) {
        sent = console_send(console, buffer_span(&result.rows));
        console_complete(console, &call, result.count);
    }
    console_result_fini(&result);
    return sent;
}

static fault simple_query(struct console *console, struct span body)
{
    struct span text, statement;
    bool refused = false, any;
    size_t run = 0;
    TRY(wire_read_query(body, &text));
    while (!refused) {
        fault why = console_next_statement(&text, &statement, &any);
        if (why != OK)
            console_refuse(console, why);
        refused = why != OK;
        if (refused || !any)
            break;
        if (statement.size == 0)
            continue;
        TRY(simple_statement(console, statement, &refused));
        run += 1;
    }
    if (run == 0 && !refused)
        wire_put_empty(&console->out, WIRE_EMPTY_QUERY);
    console_ready(console);
    return console_send(console, SPAN_NONE);
}

/* --- a session -------------------------------------------------------------------------------- */

static fault console_message(struct console *console, const struct wire_frame *frame)
{
    switch (frame->type) {
    case WIRE_QUERY:
        console->skipping = false;
        return simple_query(console, frame->body);
    case WIRE_PARSE:
    case WIRE_BIND:
    case WIRE_DESCRIBE:
    case WIRE_EXECUTE:
    case WIRE_CLOSE:
    case WIRE_FLUSH:
    case WIRE_SYNC:
        return console_extended(console, frame);
    case WIRE_FUNCTION_CALL:
        console_refuse(
            console, fault_raise(FAULT_UNSUPPORTED, "the console does not support function calls"));
        console_ready(console);
        return console_send(console, SPAN_NONE);
    case WIRE_COPY_DATA:
    case WIRE_COPY_DONE:
    case WIRE_COPY_FAIL:
        return OK; /* PostgreSQL also ignores these after a failed COPY */
    default:
        return fault_raise(FAULT_PROTOCOL, "the console does not accept messages of type 0x%02x",
                           frame->type);
    }
}

static void console_greet(struct console *console)
{
    struct client *client = console->client;
    for (size_t i = 0; i < console_setting_count; i++) {
        const struct console_setting *it = &console_settings[i];
        if (it->reported)
            wire_put_parameter_status(&console->out, span_text(it->name), span_text(it->value));
    }
    cancel_make_key(client->relay, client, WIRE_PROTOCOL_3_0);
    /* Without an entry, the session can't be cancelled; that is no reason to refuse it. */
    (void)!cancel_enter_key(client->relay, client);
    wire_put_backend_key(&console->out, client->key.pid, client_secret(&client->key));
    console_ready(console);
}

static fault console_session(struct console *console)
{
    struct wire_frame frame;
    console_greet(console);
    TRY(console_send(console, SPAN_NONE));
    for (;;) {
        TRY(link_read_message(&console->client->stream, &console->in, CONSOLE_MESSAGE_MAX, &frame,
                              NEVER));
        if (frame.type == WIRE_TERMINATE)
            return OK;
        TRY(console_message(console, &frame));
        if (co_cancelled())
            return FAULT_CANCELLED;
    }
}

void console_serve(struct client *client, struct pooler *pooler)
{
    struct console console = {
        .client = client,
        .pooler = pooler,
        .in = BUFFER_INIT(CONSOLE_MESSAGE_MAX + WIRE_HEADER),
        .out = BUFFER_INIT(CONSOLE_OUT_MAX),
        .detail = BUFFER_INIT(CONSOLE_DETAIL_MAX),
    };
    list_init(&console.statements);
    list_init(&console.portals);
    const struct span *user = params_find(client->params, SPAN("user"));
    console.user = user == NULL ? SPAN_NONE : *user;
    console.own = stream_peer_is_own(&client->stream);
    client->since = now();
    fault ended = console_session(&console);
    if (ended != OK && ended != FAULT_CLOSED && ended != FAULT_TIMEOUT && !console.sending) {
        buffer_clear(&console.out);
        console_report(&console, "FATAL", ended);
        /* Sends what it can: the connection ends either way. */
        (void)!link_send(&client->stream, &console.out, after(sec(1)));
    }
    console_extended_fini(&console);
    config_unref(&console.config);
    buffer_fini(&console.in);
    buffer_fini(&console.out);
    buffer_fini(&console.detail);
}
