#include "scenario/scenario.h"

#include "clients/conn.h"
#include "link/link.h"
#include "machine/clock.h"

/*
 * An administrator's connection to the console; checks that each reply is well-formed.
 */

/* A command and its result. */
struct command {
    const char *text;
    bool extended; /* by Parse, Bind, Describe, Execute, Sync */
    duration patience;
    void (*row)(void *argument, struct span row); /* called for each; NULL: not */
    void *argument;
    int columns; /* of RowDescription; -1: none */
    bool failed;
};

static void command_row(struct command *command, struct span row)
{
    struct wire_reader in = wire_reader_over(row);
    int columns = wire_get_u16(&in);
    CHECK(columns == command->columns, "%s: a row of %d columns, and %d are described",
          command->text, columns, command->columns);
    for (int i = 0; i < columns; i++) {
        uint32_t size = wire_get_u32(&in);
        if (size != UINT32_MAX)
            (void)wire_get_bytes(&in, size);
    }
    CHECK(wire_done(&in) == OK, "%s: a row that does not end where it should", command->text);
    if (command->row != NULL)
        command->row(command->argument, row);
}

static void command_description(struct command *command, struct span body)
{
    struct wire_reader in = wire_reader_over(body);
    command->columns = wire_get_u16(&in);
    for (int i = 0; i < command->columns; i++) {
        (void)wire_get_string(&in);
        (void)wire_get_bytes(&in, 18);
    }
    CHECK(wire_done(&in) == OK, "%s: columns that do not end where they should", command->text);
}

static void command_reply(struct command *command, const struct wire_frame *frame)
{
    struct wire_error error;
    switch (frame->type) {
    case WIRE_DATA_ROW:
        command_row(command, frame->body);
        break;
    case WIRE_ROW_DESCRIPTION:
        command_description(command, frame->body);
        break;
    case WIRE_COMMAND_COMPLETE:
        command->columns = -1;
        break;
    case WIRE_ERROR:
        CHECK(wire_read_error(frame->body, &error) == OK);
        command->failed = true;
        trace("console", 0, "%s: %.*s", command->text, SPAN_ARG(error.message));
        break;
    case WIRE_READY:
        CHECK(frame->body.size == 1);
        break;
    default:
        CHECK(frame->type == WIRE_NOTICE || frame->type == WIRE_EMPTY_QUERY ||
                  frame->type == WIRE_PARAMETER_STATUS ||
                  (command->extended &&
                   (frame->type == WIRE_PARSE_COMPLETE || frame->type == WIRE_BIND_COMPLETE ||
                    frame->type == WIRE_NO_DATA)),
              "%s: a '%c' came", command->text, frame->type);
    }
}

static void put_extended(struct buffer *out, const char *command)
{
    size_t start = wire_begin(out, WIRE_PARSE);
    wire_put_text(out, "");
    wire_put_text(out, command);
    wire_put_u16(out, 0);
    wire_end(out, start);
    start = wire_begin(out, WIRE_BIND);
    wire_put_text(out, "");
    wire_put_text(out, "");
    wire_put_u16(out, 0);
    wire_put_u16(out, 0);
    wire_put_u16(out, 0);
    wire_end(out, start);
    start = wire_begin(out, WIRE_DESCRIBE);
    wire_put_u8(out, 'P');
    wire_put_text(out, "");
    wire_end(out, start);
    start = wire_begin(out, WIRE_EXECUTE);
    wire_put_text(out, "");
    wire_put_u32(out, 0);
    wire_end(out, start);
    wire_put_empty(out, WIRE_SYNC);
}

/* A lost connection is no failure. */
static fault command_exchange(struct command *command, struct conn *conn)
{
    struct buffer none = BUFFER_INIT(16);
    struct link_reported reported;
    struct link_secret secret = {.password = SPAN("secret")};
    struct link_target target = {.address = scenario.at, .host = "sim"};
    struct link_login login = {.target = &target,
                               .user = SPAN("admin"),
                               .database = SPAN("trunkline"),
                               .parameters = buffer_span(&none),
                               .secret = &secret};
    TRY(link_login(&conn->stream, &login, &reported, after(sec(30))));
    buffer_fini(&reported.parameters);
    if (command->extended)
        put_extended(&conn->out, command->text);
    else
        wire_put_query(&conn->out, span_text(command->text));
    TRY(conn_flush(conn, after(sec(30))));
    do {
        TRY(conn_next(conn, after(command->patience)));
        command_reply(command, &conn->frame);
    } while (conn->frame.type != WIRE_READY);
    return OK;
}

static bool command_run(struct command *command)
{
    struct conn conn = CONN_INIT;
    command->columns = -1;
    trace("console", 0, "%s", command->text);
    fault done = command_exchange(command, &conn);
    conn_close(&conn);
    trace("console", 0, "%s: %s", command->text, done == OK ? "done" : fault_detail(done));
    return done == OK;
}

bool console_query(const char *text, void (*row)(void *argument, struct span row), void *argument)
{
    struct command command = {.text = text, .patience = sec(100), .row = row, .argument = argument};
    return command_run(&command);
}

bool console_execute(const char *text)
{
    return console_query(text, NULL, NULL);
}

enum console_outcome console_try(const char *text, bool extended, duration patience)
{
    struct command command = {.text = text, .extended = extended, .patience = patience};
    if (!command_run(&command))
        return CONSOLE_LOST;
    return command.failed ? CONSOLE_REFUSED : CONSOLE_DONE;
}
