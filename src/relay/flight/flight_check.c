#include "relay/flight/flight_check_parts.h"

#include "base/number.h"
#include "flight/resolve.h"

/* No name or operator of a user is called, whatever search_path is. */
static const char question[] = /* the body of a Parse behind the name: ends with no types */
    "SELECT " FLIGHT_SERVER_COLUMNS ","
    " pg_catalog.pg_backend_pid(),"
    " pg_catalog.pg_my_temp_schema() OPERATOR(pg_catalog.<>) 0::pg_catalog.oid,"
    " pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.=) 'serializable',"
    " " RESOLVE_SETTINGS_DIGEST ","
    " pg_catalog.current_setting('server_version_num')\0\0";

#define QUESTION_MAX 4096u /* bytes: the question's messages */
#define COLUMNS      8u

/* BindComplete, DataRow, CommandComplete. */
#define REPLIES 3u

struct span flight_check_parse(void)
{
    return span_of(question, sizeof(question));
}

void flight_check_put(struct buffer *batch, const struct flight_name *name)
{
    static const uint8_t nothing[6];
    flight_batch_parse(batch, name, flight_check_parse());
    flight_batch_execute(batch, name, span_of(nothing, sizeof(nothing)), false);
}

/* --- the row ---------------------------------------------------------------------------------- */

static fault read_row(struct flight_check *check)
{
    static const int bases[COLUMNS] = {10, 16, 10, 10, 0, 0, 10, 10};
    struct wire_reader in = wire_reader_over(span_skip(buffer_span(&check->row), WIRE_HEADER));
    uint64_t values[COLUMNS] = {0};
    bool sound = wire_get_u16(&in) == COLUMNS;
    for (uint32_t i = 0; sound && i < COLUMNS; i++) {
        struct span cell = wire_get_bytes(&in, wire_get_u32(&in));
        if (bases[i] == 0)
            values[i] = span_is(cell, "t");
        else if (bases[i] == 16)
            sound = number_read(cell, 16, &values[i]);
        else
            sound = number_read_bigint(cell, &values[i]);
    }
    if (!sound || wire_done(&in) != OK)
        return fault_raise(FAULT_PROTOCOL, "the server's answer about itself has another form");
    check->server = (struct origin_server){values[0], (uint32_t)values[1], values[2]};
    check->pid = (uint32_t)values[3];
    check->temporary = values[4] != 0;
    check->serializable = values[5] != 0;
    check->settings = values[6];
    check->version = values[7];
    return OK;
}

/* --- the sink --------------------------------------------------------------------------------- */

static fault take_row(struct flight_check *check, const struct flight_part *part)
{
    if (part->first)
        buffer_clear(&check->row);
    buffer_append_span(&check->row, part->bytes);
    TRY(buffer_fault(&check->row));
    return part->last ? read_row(check) : OK;
}

static bool is_reply(uint8_t type)
{
    return type == WIRE_PARSE_COMPLETE || type == WIRE_BIND_COMPLETE || type == WIRE_DATA_ROW ||
           type == WIRE_COMMAND_COMPLETE;
}

static fault check_part(struct flight_sink *sink, const struct flight_part *part)
{
    struct flight_check *check = CONTAINER_OF(sink, struct flight_check, sink);
    if (check->left == 0 || !is_reply(part->type))
        return check->inner->part(check->inner, part);
    if (part->type == WIRE_DATA_ROW)
        TRY(take_row(check, part));
    check->left -= part->last ? 1 : 0;
    return check->left == 0 ? check->found(check) : OK;
}

static void check_drained(struct flight_sink *sink)
{
    struct flight_check *check = CONTAINER_OF(sink, struct flight_check, sink);
    check->inner->drained(check->inner);
}

void flight_check_init(struct flight_check *check, const struct flight_name *name,
                       struct flight_sink *inner, fault (*found)(struct flight_check *check))
{
    *check = (struct flight_check){.sink = {check_part, check_drained},
                                   .inner = inner,
                                   .found = found,
                                   .row = BUFFER_INIT(FLIGHT_CHECK_ROW_MAX),
                                   .left = REPLIES + (name->parses ? 1 : 0)};
}

void flight_check_fini(struct flight_check *check)
{
    buffer_fini(&check->row);
}

bool flight_check_done(const struct flight_check *check)
{
    return check->left == 0;
}

/* --- alone ------------------------------------------------------------------------------------ */

struct alone_sink {
    struct flight_sink sink;
    bool refused;
};

static fault alone_part(struct flight_sink *sink, const struct flight_part *part)
{
    struct alone_sink *alone = CONTAINER_OF(sink, struct alone_sink, sink);
    alone->refused = alone->refused || part->type == WIRE_ERROR;
    return OK;
}

static void alone_drained(struct flight_sink *sink UNUSED)
{
}

static fault alone_found(struct flight_check *check UNUSED)
{
    return OK;
}

fault flight_check_alone(struct flight_session *session, const struct flight_name *name,
                         struct flight_check *ret, bool *ret_said)
{
    struct alone_sink alone = {.sink = {alone_part, alone_drained}};
    struct buffer messages = BUFFER_INIT(QUESTION_MAX);
    flight_check_put(&messages, name);
    wire_put_empty(&messages, WIRE_SYNC);
    flight_check_init(ret, name, &alone.sink, alone_found);
    fault asked = buffer_fault(&messages);
    if (asked == OK)
        asked = flight_session_ask(session, buffer_span(&messages), &ret->sink, NEVER);
    *ret_said = asked == OK && !alone.refused && flight_check_done(ret);
    flight_check_fini(ret);
    buffer_fini(&messages);
    return asked;
}
