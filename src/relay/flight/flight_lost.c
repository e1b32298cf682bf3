/*
 * flight_lost.c - asks which lost backends are still there.
 *
 * A backend leaves pg_stat_activity when its transaction has ended, and what that committed is
 * visible then.  A process id that the server has used again keeps the doubt until that one is
 * gone, too.
 */
#include "relay/flight/flight_lost_parts.h"

#include "base/number.h"
#include "machine/clock.h"
#include "relay/flight/flight_check_parts.h"
#include "wire/messages.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ASK_MAX   sec(2)
#define ROW_MAX   4096u
#define QUERY_MAX 4096u
#define COLUMNS   4u

/* No name or operator of a user is called, whatever search_path is. */
static const char question[] = "SELECT " FLIGHT_SERVER_COLUMNS ","
                               " (SELECT pg_catalog.string_agg(a.pid::pg_catalog.text, ',') FROM"
                               " pg_catalog.unnest('{%s}'::pg_catalog.int4[]) AS p(pid),"
                               " LATERAL pg_catalog.pg_stat_get_activity(p.pid) AS a)";

struct lost_sink {
    struct flight_sink sink;
    struct buffer row;
    bool refused;
};

static fault lost_part(struct flight_sink *sink, const struct flight_part *part)
{
    struct lost_sink *lost = CONTAINER_OF(sink, struct lost_sink, sink);
    lost->refused = lost->refused || part->type == WIRE_ERROR;
    if (part->type == WIRE_DATA_ROW)
        buffer_append_span(&lost->row, part->bytes);
    return buffer_fault(&lost->row);
}

static void lost_drained(struct flight_sink *sink UNUSED)
{
}

/* --- the answer ------------------------------------------------------------------------------- */

/* Whether the list of process ids has this one. */
static bool has_pid(struct span list, uint32_t pid)
{
    char wanted[16];
    int size = snprintf(wanted, sizeof(wanted), "%" PRIu32, pid);
    while (list.size > 0) {
        const uint8_t *comma = memchr(list.at, ',', list.size);
        size_t here = comma == NULL ? list.size : (size_t)(comma - list.at);
        if (here == (size_t)size && memcmp(list.at, wanted, here) == 0)
            return true;
        list = span_skip(list, comma == NULL ? here : here + 1);
    }
    return false;
}

/* Reads the row.  False: it has another form. */
static bool read_row(struct span row, struct origin_server *server, struct span *ret_there)
{
    struct wire_reader in = wire_reader_over(span_skip(row, WIRE_HEADER));
    struct span cells[COLUMNS];
    uint64_t timeline;
    if (row.size <= WIRE_HEADER || wire_get_u16(&in) != COLUMNS)
        return false;
    for (uint32_t i = 0; i < COLUMNS; i++) {
        uint32_t size = wire_get_u32(&in);
        cells[i] = size == UINT32_MAX ? SPAN_NONE : wire_get_bytes(&in, size);
    }
    if (wire_done(&in) != OK || !number_read_bigint(cells[0], &server->system) ||
        !number_read(cells[1], 16, &timeline) || !number_read_bigint(cells[2], &server->instance))
        return false;
    server->timeline = (uint32_t)timeline;
    *ret_there = cells[3];
    return true;
}

/* --- asking ----------------------------------------------------------------------------------- */

static void put_question(const uint32_t *pids, uint32_t count, struct buffer *message)
{
    struct buffer list = BUFFER_INIT(QUERY_MAX), sql = BUFFER_INIT(QUERY_MAX);
    for (uint32_t i = 0; i < count; i++)
        buffer_printf(&list, "%s%" PRIu32, i == 0 ? "" : ",", pids[i]);
    buffer_printf(&sql, question, buffer_fault(&list) == OK ? (const char *)list.at : "");
    wire_put_query(message, buffer_span(&sql));
    buffer_fini(&list);
    buffer_fini(&sql);
}

void flight_lost_ask(struct flight_session *session, struct origin *origin, uint64_t epoch)
{
    struct inside *inside = origin_inside(origin);
    uint32_t pids[INSIDE_LOST_MAX];
    uint32_t count = inside == NULL ? 0 : inside_lost_pids(inside, pids);
    struct lost_sink lost = {.sink = {lost_part, lost_drained}, .row = BUFFER_INIT(ROW_MAX)};
    struct buffer message = BUFFER_INIT(QUERY_MAX);
    struct origin_server server;
    struct span there;
    if (count == 0)
        return;
    put_question(pids, count, &message);
    fault asked = buffer_fault(&message);
    if (asked == OK)
        asked = flight_session_ask(session, buffer_span(&message), &lost.sink, after(ASK_MAX));
    if (asked == OK && !lost.refused && read_row(buffer_span(&lost.row), &server, &there) &&
        origin_is(origin, epoch, &server))
        for (uint32_t i = 0; i < count; i++)
            if (!has_pid(there, pids[i]))
                inside_gone(inside, pids[i]);
    buffer_fini(&lost.row);
    buffer_fini(&message);
}
