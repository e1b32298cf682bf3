#include "stage/stage.h"

#include "link/link.h"
#include "machine/clock.h"
#include "people/talk.h"

/*
 * An administrator at the console.  Whatever is said there, the answer is well-formed.
 */

/* One order, and what has come of it. */
struct order {
    const char *command;
    bool extended; /* by Parse, Bind, Describe, Execute, Sync */
    duration patience;
    void (*row)(void *argument, struct span row); /* a look at each; NULL: none */
    void *argument;
    int columns; /* described; -1: none are */
    bool failed;
};

static void order_row(struct order *order, struct span row)
{
    struct wire_reader in = wire_reader_over(row);
    int columns = wire_get_u16(&in);
    PROVE(columns == order->columns, "%s: a row of %d columns, and %d are described",
          order->command, columns, order->columns);
    for (int i = 0; i < columns; i++) {
        uint32_t size = wire_get_u32(&in);
        if (size != UINT32_MAX)
            (void)wire_get_bytes(&in, size);
    }
    PROVE(wire_done(&in) == OK, "%s: a row that does not end where it should", order->command);
    if (order->row != NULL)
        order->row(order->argument, row);
}

static void order_description(struct order *order, struct span body)
{
    struct wire_reader in = wire_reader_over(body);
    order->columns = wire_get_u16(&in);
    for (int i = 0; i < order->columns; i++) {
        (void)wire_get_string(&in);
        (void)wire_get_bytes(&in, 18);
    }
    PROVE(wire_done(&in) == OK, "%s: columns that do not end where they should", order->command);
}

static void order_hears(struct order *order, const struct wire_frame *frame)
{
    struct wire_error error;
    switch (frame->type) {
    case WIRE_DATA_ROW:
        order_row(order, frame->body);
        break;
    case WIRE_ROW_DESCRIPTION:
        order_description(order, frame->body);
        break;
    case WIRE_COMMAND_COMPLETE:
        order->columns = -1;
        break;
    case WIRE_ERROR:
        PROVE(wire_read_error(frame->body, &error) == OK);
        order->failed = true;
        say("console", 0, "%s: %.*s", order->command, SPAN_ARG(error.message));
        break;
    case WIRE_READY:
        PROVE(frame->body.size == 1);
        break;
    default:
        PROVE(frame->type == WIRE_NOTICE || frame->type == WIRE_EMPTY_QUERY ||
                  frame->type == WIRE_PARAMETER_STATUS ||
                  (order->extended &&
                   (frame->type == WIRE_PARSE_COMPLETE || frame->type == WIRE_BIND_COMPLETE ||
                    frame->type == WIRE_NO_DATA)),
              "%s: a '%c' came", order->command, frame->type);
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

/* What the world does to the connection is no failure. */
static fault order_asks(struct order *order, struct talk *talk)
{
    struct buffer none = BUFFER_INIT(16);
    struct link_greeting greeting;
    struct link_secret secret = {.password = SPAN("secret")};
    struct link_target target = {.address = stage.at, .host = "sim"};
    struct link_login login = {.target = &target,
                               .user = SPAN("admin"),
                               .database = SPAN("trunkline"),
                               .parameters = buffer_span(&none),
                               .secret = &secret};
    TRY(link_login(&talk->stream, &login, &greeting, after(sec(30))));
    buffer_fini(&greeting.parameters);
    if (order->extended)
        put_extended(&talk->out, order->command);
    else
        wire_put_query(&talk->out, span_text(order->command));
    TRY(talk_flush(talk, after(sec(30))));
    do {
        TRY(talk_next(talk, after(order->patience)));
        order_hears(order, &talk->frame);
    } while (talk->frame.type != WIRE_READY);
    return OK;
}

static bool order_runs(struct order *order)
{
    struct talk talk = TALK_INIT;
    order->columns = -1;
    say("console", 0, "%s", order->command);
    fault done = order_asks(order, &talk);
    talk_end(&talk);
    say("console", 0, "%s: %s", order->command, done == OK ? "done" : fault_story(done));
    return done == OK;
}

bool console_look(const char *command, void (*row)(void *argument, struct span row), void *argument)
{
    struct order order = {
        .command = command, .patience = sec(100), .row = row, .argument = argument};
    return order_runs(&order);
}

bool console_order(const char *command)
{
    return console_look(command, NULL, NULL);
}

enum console_outcome console_try(const char *command, bool extended, duration patience)
{
    struct order order = {.command = command, .extended = extended, .patience = patience};
    if (!order_runs(&order))
        return CONSOLE_LOST;
    return order.failed ? CONSOLE_REFUSED : CONSOLE_DONE;
}
