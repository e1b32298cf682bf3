#include "clients/behaviours.h"
#include "clients/extra.h"
#include "machine/clock.h"
#include "model/model.h"
#include "oracle/replication.h"
#include "scenario/scenario.h"

#include <stdio.h>
#include <string.h>

/*
 * Replication connections: each byte of the log arrives once and in order, and no time limit for
 * queries applies.
 */
#define BEHIND_MAX 65536u  /* bytes of the log that it requests again */
#define STREAM_MAX 400000u /* us */
#define HURRY_MAX  4000u   /* us */
#define PIECE_HEAD 25      /* of a piece: its type, two places, a clock */
#define AHEAD      (1u << 30)

struct replica {
    struct extra_conn extra;
    struct sim_client *client;
    uint32_t replication;
    bool physical;
    uint64_t at;  /* of the log: the next byte */
    uint64_t end; /* of the log, by IDENTIFY_SYSTEM */
};

static uint64_t get_u64(struct wire_reader *in)
{
    uint64_t high = wire_get_u32(in);
    return high << 32 | wire_get_u32(in);
}

static void put_u64(struct buffer *out, uint64_t value)
{
    wire_put_u32(out, (uint32_t)(value >> 32));
    wire_put_u32(out, (uint32_t)value);
}

static uint8_t replica_received(const struct replica *replica)
{
    return replica->extra.conn.frame.type;
}

/* --- login ------------------------------------------------------------------------------------ */

static fault replica_login(struct replica *replica)
{
    static const char *const words[] = {"true", "on", "1", "yes"};
    const char *word = words[sim_client_draw(replica->client, ARRAY_SIZE(words))];
    char name[REPLICATION_NAME];
    struct buffer parameters = BUFFER_INIT(256);
    struct link_target target;
    struct link_secret secret = {.password = SPAN(SCENARIO_PASSWORD)};
    replication_name(replica->replication, name);
    sim_client_target(replica->client, &target);
    wire_put_text(&parameters, "replication");
    wire_put_text(&parameters, replica->physical ? word : "database");
    wire_put_text(&parameters, "application_name");
    wire_put_text(&parameters, name);
    struct link_login login = {.target = &target,
                               .user = SPAN("joe"),
                               .database = SPAN("app"),
                               .parameters = buffer_span(&parameters),
                               .secret = &secret};
    fault done = extra_login(&replica->extra, &login);
    trace("replication", replica->replication, "logs in: %s",
          done == OK ? "well" : fault_detail(done));
    buffer_fini(&parameters);
    return done;
}

static void check_refusal(const struct replica *replica, fault done)
{
    bool is_full = done == FAULT_UPSTREAM && strcmp(replica->extra.sqlstate, "53300") == 0;
    if (extra_is_excused(&replica->extra) || scenario_has(KIND_bandwidth) ||
        scenario_has(KIND_short_writes))
        return;
    CHECK(is_full, "replication %u is refused: %s", replica->replication, replica->extra.sqlstate);
    replication_check_refusal(replica->replication);
}

/* --- commands --------------------------------------------------------------------------------- */

static fault replica_send(struct replica *replica, const char *query)
{
    replication_set_command(replica->replication, query);
    wire_put_query(&replica->extra.conn.out, span_text(query));
    return extra_flush(&replica->extra);
}

/* An error and ReadyForQuery. */
static fault replica_expect_error(struct replica *replica, const char *sqlstate)
{
    TRY(extra_next(&replica->extra));
    CHECK(replica_received(replica) == WIRE_ERROR && strcmp(replica->extra.sqlstate, sqlstate) == 0,
          "replication %u receives '%c' %s instead of %s", replica->replication,
          replica_received(replica), replica->extra.sqlstate, sqlstate);
    TRY(extra_next(&replica->extra));
    CHECK(replica_received(replica) == WIRE_READY);
    return OK;
}

static void replica_read_identity(struct replica *replica)
{
    unsigned high = 0, low = 0;
    struct span values[4];
    char place[32];
    struct wire_reader in = wire_reader_over(replica->extra.conn.frame.body);
    CHECK(wire_get_u16(&in) == ARRAY_SIZE(values));
    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        uint32_t size = wire_get_u32(&in);
        values[i] = size == UINT32_MAX ? SPAN_NONE : wire_get_bytes(&in, size);
    }
    snprintf(place, sizeof(place), "%.*s", SPAN_ARG(values[2]));
    CHECK(sscanf(place, "%X/%X", &high, &low) == 2, "the log ends at '%s'", place);
    replica->end = (uint64_t)high << 32 | low;
    CHECK(span_is(values[3], replica->physical ? "" : "app"), "replication %u is at '%.*s'",
          replica->replication, SPAN_ARG(values[3]));
}

static fault replica_identify(struct replica *replica)
{
    static const uint8_t must[] = {WIRE_ROW_DESCRIPTION, WIRE_DATA_ROW, WIRE_COMMAND_COMPLETE,
                                   WIRE_READY};
    TRY(replica_send(replica, "IDENTIFY_SYSTEM"));
    for (size_t i = 0; i < ARRAY_SIZE(must); i++) {
        TRY(extra_next(&replica->extra));
        CHECK(replica_received(replica) == must[i], "replication %u receives '%c' as reply %zu",
              replica->replication, replica_received(replica), i);
        if (must[i] == WIRE_DATA_ROW)
            replica_read_identity(replica);
    }
    return OK;
}

/* SQL needs logical replication; the extended protocol is refused. */
static fault replica_send_refused(struct replica *replica)
{
    char query[REPLICATION_NAME + 16], text[CLIENT_TEXT], must[REPLICATION_NAME];
    struct buffer *out = &replica->extra.conn.out;
    if (sim_client_one_in(replica->client, 2)) {
        size_t start = wire_begin(out, WIRE_PARSE);
        wire_put_text(out, "");
        wire_put_text(out, "SELECT 1");
        wire_put_u16(out, 0);
        wire_end(out, start);
        wire_put_empty(out, WIRE_SYNC);
        TRY(extra_flush(&replica->extra));
        return replica_expect_error(replica, "08P01");
    }
    replication_name(replica->replication, must);
    snprintf(query, sizeof(query), "SELECT '%s'", must);
    if (replica->physical) {
        TRY(replica_send(replica, query));
        return replica_expect_error(replica, "0A000");
    }
    replication_set_command(replica->replication, query);
    TRY(extra_query(&replica->extra, query, text));
    CHECK(strcmp(text, must) == 0 || (text[0] == '\0' && (scenario_has(KIND_out_of_memory) ||
                                                          scenario_has(KIND_statement_timeout))),
          "replication %u is answered '%s'", replica->replication, text);
    return OK;
}

/* --- the stream ------------------------------------------------------------------------------- */

static void replica_read_piece(struct replica *replica)
{
    struct span body = replica->extra.conn.frame.body;
    struct wire_reader in = wire_reader_over(body);
    CHECK(replica_received(replica) == WIRE_COPY_DATA && body.size > 1,
          "replication %u receives '%c' in a stream", replica->replication,
          replica_received(replica));
    if (wire_get_u8(&in) == 'k') /* a keepalive */
        return;
    uint64_t at = get_u64(&in);
    CHECK(body.at[0] == 'w' && body.size > PIECE_HEAD && at == replica->at,
          "replication %u is sent the log from %llX on instead of %llX", replica->replication,
          (unsigned long long)at, (unsigned long long)replica->at);
    for (size_t i = PIECE_HEAD; i < body.size; i++)
        CHECK(body.at[i] == model_log_byte(replica->at++),
              "byte %zu of a piece of the log is wrong", i);
}

static fault replica_send_status(struct replica *replica)
{
    struct buffer *out = &replica->extra.conn.out;
    bool wants_reply = sim_client_one_in(replica->client, 3);
    size_t start = wire_begin(out, WIRE_COPY_DATA);
    wire_put_u8(out, 'r');
    for (int i = 0; i < 3; i++)
        put_u64(out, replica->at);
    put_u64(out, replication_next_status(replica->replication));
    wire_put_u8(out, wants_reply);
    wire_end(out, start);
    return extra_flush(&replica->extra);
}

static fault replica_receive(struct replica *replica)
{
    deadline until = after((duration){.us = 1 + sim_client_draw(replica->client, STREAM_MAX)});
    while (now().us < until.us) {
        fault heard = extra_next_by(&replica->extra, until);
        if (heard == FAULT_TIMEOUT)
            return OK;
        TRY(heard);
        replica_read_piece(replica);
        if (sim_client_one_in(replica->client, 8))
            TRY(sim_client_pause(replica->client, 20000));
        for (uint32_t i = sim_client_draw(replica->client, 3); i > 0; i--)
            TRY(replica_send_status(replica));
    }
    return OK;
}

/* Data in transit arrives before the end, and the server has received every status message. */
static fault replica_end_stream(struct replica *replica)
{
    static const uint8_t must[] = {WIRE_COPY_DONE, WIRE_COMMAND_COMPLETE, WIRE_COMMAND_COMPLETE,
                                   WIRE_READY};
    wire_put_empty(&replica->extra.conn.out, WIRE_COPY_DONE);
    TRY(extra_flush(&replica->extra));
    for (size_t i = 0; i < ARRAY_SIZE(must);) {
        TRY(extra_next(&replica->extra));
        if (i == 0 && replica_received(replica) == WIRE_COPY_DATA) {
            replica_read_piece(replica);
            continue;
        }
        CHECK(replica_received(replica) == must[i],
              "replication %u receives '%c' at the end of its stream", replica->replication,
              replica_received(replica));
        i += 1;
    }
    replication_check_received(replica->replication);
    return OK;
}

static fault replica_start(struct replica *replica, uint64_t at)
{
    char query[64];
    bool has_timeline = sim_client_one_in(replica->client, 2);
    replica->at = at;
    snprintf(query, sizeof(query), "START_REPLICATION %X/%X%s", (unsigned)(at >> 32), (unsigned)at,
             has_timeline ? " TIMELINE 1" : "");
    TRY(replica_send(replica, query));
    TRY(extra_next(&replica->extra));
    CHECK(replica_received(replica) == WIRE_COPY_BOTH,
          "replication %u receives '%c' instead of a stream", replica->replication,
          replica_received(replica));
    return OK;
}

/* CLOSED: the client disconnects during the stream. */
static fault replica_stream(struct replica *replica)
{
    uint64_t behind = MIN_OF(replica->end - MODEL_LOG_BEGINS, (uint64_t)BEHIND_MAX);
    uint64_t back = sim_client_draw(replica->client, (uint32_t)behind + 1);
    if (sim_client_one_in(replica->client, 6)) {
        TRY(replica_start(replica, replica->end + AHEAD));
        return replica_expect_error(replica, "XX000");
    }
    TRY(replica_start(replica, replica->end - back));
    TRY(replica_receive(replica));
    if (sim_client_one_in(replica->client, 3))
        return FAULT_CLOSED;
    return replica_end_stream(replica);
}

static fault replica_run(struct replica *replica)
{
    TRY(replica_identify(replica));
    if (sim_client_one_in(replica->client, 4)) /* no stream: nothing is left in doubt */
        return OK;
    for (uint32_t i = 1 + sim_client_draw(replica->client, 2); i > 0; i--) {
        if (sim_client_one_in(replica->client, 3))
            TRY(replica_send_refused(replica));
        TRY(replica_stream(replica));
        TRY(replica_identify(replica));
    }
    return OK;
}

fault behave_replication(struct sim_client *client)
{
    static const char *const limits[] = {"57014", "25P03", "25P04", "57P05"};
    struct replica replica = {.client = client, .replication = replication_add()};
    replica.physical = sim_client_one_in(client, 2);
    extra_init(&replica.extra, client);
    if (sim_client_one_in(client, 2)) /* disconnects while its server logs in */
        replica.extra.patience = (duration){sim_client_draw(client, HURRY_MAX)};
    fault done = replica_login(&replica);
    if (done != OK) {
        if (done != FAULT_TIMEOUT)
            check_refusal(&replica, done);
    } else {
        replication_logged_in(replica.replication, replica.extra.pid);
        done = replica_run(&replica);
        for (size_t i = 0; done != OK && i < ARRAY_SIZE(limits); i++)
            CHECK(strcmp(replica.extra.sqlstate, limits[i]) != 0,
                  "replication %u is ended by a limit: %s", replica.replication, limits[i]);
        if (sim_client_one_in(client, 2)) {
            wire_put_empty(&replica.extra.conn.out, WIRE_TERMINATE);
            (void)!conn_flush(&replica.extra.conn, after(sec(1)));
        }
    }
    extra_close(&replica.extra);
    replication_closed(replica.replication);
    return OK;
}
