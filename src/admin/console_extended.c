/*
 * console_extended.c - the extended protocol on the console: statements are parsed at Parse and
 * run at Execute.
 *
 * There are no parameters.  Portals live until the end of their batch or, between BEGIN and COMMIT,
 * of the transaction: drivers that fetch in portions need that.
 */
#include "admin/console_parts.h"

#include "relay/relay.h"

#include <stdlib.h>

struct named {
    struct node node;
    struct console_call call;
    char *name;
};

struct portal {
    struct named named;
    struct console_result result;
    bool ran;
};

/* --- names ------------------------------------------------------------------------------------ */

static struct named *named_find(const struct list *list, struct span name)
{
    LIST_EACH (list, it) {
        struct named *named = LIST_ENTRY(it, struct named, node);
        if (span_is(name, named->name))
            return named;
    }
    return NULL;
}

static fault named_init(struct named *named, struct span name, const struct console_call *call)
{
    named->call = *call;
    named->name = strndup(name.size == 0 ? "" : (const char *)name.at, name.size);
    return named->name == NULL ? FAULT_MEMORY : OK;
}

static void statement_drop(struct console *console, struct named *named)
{
    list_remove(&console->statements, &named->node);
    free(named->name);
    free(named);
}

static void portal_drop(struct console *console, struct portal *portal)
{
    list_remove(&console->portals, &portal->named.node);
    console_result_fini(&portal->result);
    free(portal->named.name);
    free(portal);
}

static struct portal *portal_find(const struct console *console, struct span name)
{
    struct named *named = named_find(&console->portals, name);
    return named == NULL ? NULL : CONTAINER_OF(named, struct portal, named);
}

static void portals_drop(struct console *console)
{
    LIST_EACH_SAFE (&console->portals, it)
        portal_drop(console,
                    CONTAINER_OF(LIST_ENTRY(it, struct named, node), struct portal, named));
}

void console_extended_fini(struct console *console)
{
    portals_drop(console);
    LIST_EACH_SAFE (&console->statements, it)
        statement_drop(console, LIST_ENTRY(it, struct named, node));
}

static fault no_statement(struct span name)
{
    return fault_raise_state(FAULT_SYNTAX, "26000", "prepared statement \"%.*s\" does not exist",
                             SPAN_ARG(name));
}

static fault no_portal(struct span name)
{
    return fault_raise_state(FAULT_SYNTAX, "34000", "portal \"%.*s\" does not exist",
                             SPAN_ARG(name));
}

/* --- Parse ------------------------------------------------------------------------------------ */

/* Parses the one statement of `text`, or none. */
static fault understand_one(struct console *console, struct span text, struct console_call *ret)
{
    struct span statement = SPAN_NONE, more;
    bool any;
    TRY(console_next_statement(&text, &statement, &any));
    while (any && text.size > 0) {
        TRY(console_next_statement(&text, &more, &any));
        if (any && more.size > 0)
            return fault_raise(FAULT_SYNTAX,
                               "cannot insert multiple commands into a prepared statement");
    }
    return console_understand(statement, console->client->relay->pools.config, ret);
}

static fault extended_parse(struct console *console, struct span body)
{
    struct wire_parse parse;
    struct console_call call;
    TRY(wire_read_parse(body, &parse));
    TRY(understand_one(console, parse.query, &call));
    struct named *there = named_find(&console->statements, parse.statement);
    if (there != NULL && parse.statement.size > 0)
        return fault_raise_state(FAULT_SYNTAX, "42P05",
                                 "prepared statement \"%.*s\" already exists",
                                 SPAN_ARG(parse.statement));
    if (there != NULL)
        statement_drop(console, there);
    if (console->statements.count >= CONSOLE_NAMES_MAX)
        return fault_raise(FAULT_LIMIT, "more than %u prepared statements", CONSOLE_NAMES_MAX);
    struct named *named = calloc(1, sizeof(*named));
    if (named == NULL)
        return FAULT_MEMORY;
    fault made = named_init(named, parse.statement, &call);
    list_push(&console->statements, &named->node);
    if (made != OK) {
        statement_drop(console, named);
        return made;
    }
    wire_put_empty(&console->out, WIRE_PARSE_COMPLETE);
    return OK;
}

/* --- Bind ------------------------------------------------------------------------------------- */

/* Reads the result formats of a Bind: none means text, one applies to all columns. */
static fault read_formats(struct span body, size_t columns, uint64_t *ret)
{
    struct wire_reader in = wire_reader_over(body);
    (void)wire_get_string(&in);
    (void)wire_get_string(&in);
    uint16_t count = wire_get_u16(&in);
    (void)wire_get_bytes(&in, (size_t)count * 2);
    uint16_t values = wire_get_u16(&in);
    if (!in.failed && values > 0)
        return fault_raise(FAULT_PROTOCOL, "console commands take no parameters, %u found", values);
    count = wire_get_u16(&in);
    struct span formats = wire_get_bytes(&in, (size_t)count * 2);
    TRY(wire_done(&in));
    if (count > 1 && count != columns)
        return fault_raise(FAULT_PROTOCOL, "%u result formats for %zu columns", count, columns);
    *ret = 0;
    for (uint16_t i = 0; i < count; i++) {
        uint16_t format = wire_u16(formats.at + 2 * (size_t)i);
        if (format > 1)
            return fault_raise(FAULT_PROTOCOL, "unsupported format code: %u", format);
        if (format == 1)
            *ret |= count == 1 ? UINT64_MAX : (uint64_t)1 << i;
    }
    return OK;
}

static fault portal_new(struct console *console, struct span name, const struct console_call *call,
                        struct portal **ret)
{
    struct portal *there = portal_find(console, name);
    if (there != NULL && name.size > 0)
        return fault_raise_state(FAULT_SYNTAX, "42P03", "portal \"%.*s\" already exists",
                                 SPAN_ARG(name));
    if (there != NULL)
        portal_drop(console, there);
    if (console->portals.count >= CONSOLE_NAMES_MAX)
        return fault_raise(FAULT_LIMIT, "more than %u portals", CONSOLE_NAMES_MAX);
    struct portal *portal = calloc(1, sizeof(*portal));
    if (portal == NULL)
        return FAULT_MEMORY;
    fault made = named_init(&portal->named, name, call);
    list_push(&console->portals, &portal->named.node);
    if (made != OK) {
        portal_drop(console, portal);
        return made;
    }
    *ret = portal;
    return OK;
}

static fault extended_bind(struct console *console, struct span body)
{
    struct wire_bind_names names;
    struct portal *portal = NULL;
    size_t count;
    uint64_t binary = 0;
    TRY(wire_read_bind_names(body, &names));
    const struct named *statement = named_find(&console->statements, names.statement);
    if (statement == NULL)
        return no_statement(names.statement);
    (void)console_call_columns(&statement->call, &count);
    TRY(read_formats(body, count, &binary));
    TRY(portal_new(console, names.portal, &statement->call, &portal));
    const struct console_column *columns = console_call_columns(&portal->named.call, &count);
    console_result_init(&portal->result, columns, count, binary);
    wire_put_empty(&console->out, WIRE_BIND_COMPLETE);
    return OK;
}

/* --- Describe, Execute, Close ----------------------------------------------------------------- */

static fault extended_describe(struct console *console, struct span body)
{
    struct wire_target target;
    size_t count;
    TRY(wire_read_target(body, &target));
    if (target.kind == 'P') {
        const struct portal *portal = portal_find(console, target.name);
        if (portal == NULL)
            return no_portal(target.name);
        console_put_columns(&console->out, portal->result.columns, portal->result.column_count,
                            portal->result.binary);
        return OK;
    }
    const struct named *statement = named_find(&console->statements, target.name);
    if (statement == NULL)
        return no_statement(target.name);
    const struct console_column *columns = console_call_columns(&statement->call, &count);
    size_t start = wire_begin(&console->out, WIRE_PARAMETER_DESCRIPTION);
    wire_put_u16(&console->out, 0);
    wire_end(&console->out, start);
    console_put_columns(&console->out, columns, count, 0);
    return OK;
}

/* Runs a portal; *ret_end: a fault that ends the session. */
static fault extended_execute(struct console *console, struct span body, fault *ret_end)
{
    struct wire_execute execute;
    struct span rows;
    TRY(wire_read_execute(body, &execute));
    struct portal *portal = portal_find(console, execute.portal);
    if (portal == NULL)
        return no_portal(execute.portal);
    struct console_call *call = &portal->named.call;
    if (call->command == NULL) {
        wire_put_empty(&console->out, WIRE_EMPTY_QUERY);
        return OK;
    }
    if (!portal->ran)
        TRY(console_run(console, call, &portal->result));
    portal->ran = true;
    bool more = console_result_take(&portal->result, execute.rows, &rows);
    *ret_end = console_send(console, rows);
    if (more)
        wire_put_empty(&console->out, WIRE_PORTAL_SUSPENDED);
    else
        console_complete(console, call, portal->result.count);
    return OK;
}

static fault extended_close(struct console *console, struct span body)
{
    struct wire_target target;
    TRY(wire_read_target(body, &target));
    struct named *statement = named_find(&console->statements, target.name);
    struct portal *portal = portal_find(console, target.name);
    if (target.kind == 'S' && statement != NULL)
        statement_drop(console, statement);
    if (target.kind == 'P' && portal != NULL)
        portal_drop(console, portal);
    wire_put_empty(&console->out, WIRE_CLOSE_COMPLETE);
    return OK;
}

static fault extended_sync(struct console *console)
{
    console->skipping = false;
    if (!console->in_transaction)
        portals_drop(console);
    console_ready(console);
    return console_send(console, SPAN_NONE);
}

static fault extended_step(struct console *console, const struct wire_frame *frame, fault *ret_end)
{
    switch (frame->type) {
    case WIRE_PARSE:
        return extended_parse(console, frame->body);
    case WIRE_BIND:
        return extended_bind(console, frame->body);
    case WIRE_DESCRIBE:
        return extended_describe(console, frame->body);
    case WIRE_EXECUTE:
        return extended_execute(console, frame->body, ret_end);
    case WIRE_CLOSE:
        return extended_close(console, frame->body);
    default:
        invariant(frame->type == WIRE_FLUSH);
        *ret_end = console_send(console, SPAN_NONE);
        return OK;
    }
}

fault console_extended(struct console *console, const struct wire_frame *frame)
{
    fault end = OK;
    if (frame->type == WIRE_SYNC)
        return extended_sync(console);
    if (console->skipping)
        return OK;
    fault why = extended_step(console, frame, &end);
    if (why != OK) {
        console_refuse(console, why);
        console->skipping = true;
    }
    return end;
}
