#include "relay/flight/flight_check_parts.h"

#include "flight/resolve.h"

#include <stdlib.h>
#include <string.h>

/* No name or operator of a user is called, whatever search_path is. */
static const char question[] =
    "SELECT (SELECT c.system_identifier FROM pg_catalog.pg_control_system() AS c),"
    " CASE WHEN pg_catalog.pg_is_in_recovery() THEN '0' ELSE pg_catalog.substr("
    "pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8) END,"
    " (extract(epoch FROM pg_catalog.pg_postmaster_start_time())"
    " OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8,"
    " pg_catalog.pg_backend_pid(),"
    " pg_catalog.pg_my_temp_schema() OPERATOR(pg_catalog.<>) 0::pg_catalog.oid,"
    " pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.=) 'serializable',"
    " " RESOLVE_SETTINGS_DIGEST;

#define COLUMNS 7u

/* ParseComplete, BindComplete, DataRow, CommandComplete. */
#define REPLIES 4u

void flight_check_put(struct buffer *batch, bool named)
{
    const char *name = named ? "check" : "";
    size_t start = wire_begin(batch, WIRE_PARSE);
    wire_put_text(batch, name);
    wire_put_text(batch, question);
    wire_put_u16(batch, 0);
    wire_end(batch, start);
    start = wire_begin(batch, WIRE_BIND);
    wire_put_text(batch, "");
    wire_put_text(batch, name);
    wire_put_u16(batch, 0);
    wire_put_u16(batch, 0);
    wire_put_u16(batch, 0);
    wire_end(batch, start);
    start = wire_begin(batch, WIRE_EXECUTE);
    wire_put_text(batch, "");
    wire_put_u32(batch, 0);
    wire_end(batch, start);
}

/* --- the row ---------------------------------------------------------------------------------- */

/* Reads a number of this base; false: it is none. */
static bool read_number(struct span cell, int base, int64_t *ret)
{
    char text[32], *end;
    if (cell.size == 0 || cell.size >= sizeof(text))
        return false;
    memcpy(text, cell.at, cell.size);
    text[cell.size] = '\0';
    *ret = strtoll(text, &end, base);
    return *end == '\0';
}

static fault read_row(struct flight_check *check)
{
    static const int bases[COLUMNS] = {10, 16, 10, 10, 0, 0, 10};
    struct wire_reader in = wire_reader_over(span_skip(buffer_span(&check->row), WIRE_HEADER));
    int64_t values[COLUMNS] = {0};
    bool sound = wire_get_u16(&in) == COLUMNS;
    for (uint32_t i = 0; sound && i < COLUMNS; i++) {
        struct span cell = wire_get_bytes(&in, wire_get_u32(&in));
        if (bases[i] == 0)
            values[i] = span_is(cell, "t");
        else
            sound = read_number(cell, bases[i], &values[i]);
    }
    if (!sound || wire_done(&in) != OK)
        return fault_raise(FAULT_PROTOCOL, "the server's answer about itself has another form");
    check->server =
        (struct origin_server){(uint64_t)values[0], (uint32_t)values[1], (uint64_t)values[2]};
    check->pid = (uint32_t)values[3];
    check->temporary = values[4] != 0;
    check->serializable = values[5] != 0;
    check->settings = (uint64_t)values[6];
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

void flight_check_init(struct flight_check *check, struct flight_sink *inner,
                       fault (*found)(struct flight_check *check))
{
    *check = (struct flight_check){.sink = {check_part, check_drained},
                                   .inner = inner,
                                   .found = found,
                                   .row = BUFFER_INIT(FLIGHT_CHECK_ROW_MAX),
                                   .left = REPLIES};
}

void flight_check_fini(struct flight_check *check)
{
    buffer_fini(&check->row);
}

bool flight_check_done(const struct flight_check *check)
{
    return check->left == 0;
}
