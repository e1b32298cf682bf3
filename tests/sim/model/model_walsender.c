/* model_walsender.c - a session for replication: its commands, and the log that it streams. */
#include "model_inside.h"

#include <inttypes.h>
#include <stdio.h>

#define SYSTEM     "7710994904750184334"
#define COMMAND    256   /* longest that is looked at */
#define PIECE_MAX  8192  /* of the log, in one message */
#define GROWS_MAX  4000  /* bytes at a time */
#define PAUSE_MAX  10000 /* us between them */
#define REPLY_SIZE 34    /* of a standby's status: 'r', three places, its clock, a question */
#define PLACE(at)  (uint32_t)((at) >> 32), (uint32_t)(at)

/* What stands in it says where. */
uint8_t model_log_byte(uint64_t at)
{
    return (uint8_t)((at * 0x9e3779b97f4a7c15) >> 56);
}

uint64_t model_log_end(const struct model *model)
{
    return model->log_end;
}

static void put_u64(struct buffer *out, uint64_t value)
{
    wire_put_u32(out, (uint32_t)(value >> 32));
    wire_put_u32(out, (uint32_t)value);
}

/* --- IDENTIFY_SYSTEM -------------------------------------------------------------------------- */

static void put_column(struct buffer *out, const char *name, enum sql_type type)
{
    wire_put_text(out, name);
    wire_put_u32(out, 0);
    wire_put_u16(out, 0);
    wire_put_u32(out, sql_types[type].oid);
    wire_put_u16(out, (uint16_t)sql_types[type].size);
    wire_put_u32(out, type == SQL_TEXT ? UINT32_MAX : 0);
    wire_put_u16(out, 0);
}

static void put_value(struct buffer *out, const char *text)
{
    if (text == NULL) {
        wire_put_u32(out, UINT32_MAX);
        return;
    }
    wire_put_u32(out, (uint32_t)strlen(text));
    wire_put_bytes(out, span_text(text));
}

static void identify_system(struct model_session *session)
{
    char place[32];
    struct buffer *out = &session->out;
    bool physical = session->replication == WIRE_REPLICATION_PHYSICAL;
    snprintf(place, sizeof(place), "%X/%X", PLACE(session->model->log_end));
    size_t start = wire_begin(out, WIRE_ROW_DESCRIPTION);
    wire_put_u16(out, 4);
    put_column(out, "systemid", SQL_TEXT);
    put_column(out, "timeline", SQL_INT4);
    put_column(out, "xlogpos", SQL_TEXT);
    put_column(out, "dbname", SQL_TEXT);
    wire_end(out, start);
    start = wire_begin(out, WIRE_DATA_ROW);
    wire_put_u16(out, 4);
    put_value(out, SYSTEM);
    put_value(out, "1");
    put_value(out, place);
    put_value(out, physical ? NULL : session->database);
    wire_end(out, start);
    wire_put_command_complete(out, "IDENTIFY_SYSTEM");
}

/* --- what a standby says ---------------------------------------------------------------------- */

static fault take_reply(struct model_session *session, struct span body)
{
    struct buffer *out = &session->out;
    const struct model_watch *watch = &session->model->options.watch;
    if (body.size != REPLY_SIZE || body.at[0] != 'r')
        return fault_raise(FAULT_CLOSED, "a standby says what means nothing");
    if (watch->status_received != NULL) {
        struct model_session_view view = model_session_look(session);
        watch->status_received(watch->argument, &view, body);
    }
    if (body.at[REPLY_SIZE - 1] == 0)
        return OK;
    size_t start = wire_begin(out, WIRE_COPY_DATA);
    wire_put_u8(out, 'k');
    put_u64(out, session->decodes ? session->decoded_to : session->model->log_end);
    put_u64(out, (uint64_t)now().us);
    wire_put_u8(out, 0);
    wire_end(out, start);
    return model_flush(session);
}

/* All that comes until then. */
static fault hear(struct model_session *session, deadline by, bool *ret_done)
{
    struct wire_frame frame;
    for (;;) {
        fault heard = model_read_by(session, by, &frame);
        if (heard == FAULT_AGAIN)
            return OK;
        TRY(heard);
        switch (frame.type) {
        case WIRE_COPY_DATA:
            TRY(take_reply(session, frame.body));
            break;
        case WIRE_COPY_DONE:
            *ret_done = true;
            return OK;
        case WIRE_TERMINATE:
            return fault_raise(FAULT_CLOSED, "the standby has said goodbye");
        default:
            return model_raise_fatal(session, "08P01", "invalid standby message type \"%c\"",
                                     frame.type);
        }
    }
}

/* --- the stream ------------------------------------------------------------------------------- */

static uint64_t put_piece(struct model_session *session, uint64_t at)
{
    struct buffer *out = &session->out;
    struct model *model = session->model;
    uint64_t max = 1 + model_draw(model, PIECE_MAX);
    uint64_t size = MIN_OF(max, model->log_end - at);
    size_t start = wire_begin(out, WIRE_COPY_DATA);
    wire_put_u8(out, 'w');
    put_u64(out, at);
    put_u64(out, model->log_end);
    put_u64(out, (uint64_t)now().us);
    for (uint64_t i = 0; i < size; i++)
        wire_put_u8(out, model_log_byte(at + i));
    wire_end(out, start);
    return size;
}

static fault stream_log(struct model_session *session, uint64_t at)
{
    struct model *model = session->model;
    for (bool done = false;;) {
        bool behind = at < model->log_end;
        duration pause = {.us = behind ? 0 : (int64_t)model_draw(model, PAUSE_MAX)};
        TRY(hear(session, after(pause), &done));
        TRY(model_check(session));
        if (done)
            return OK;
        if (!behind)
            model->log_end += 1 + model_draw(model, GROWS_MAX);
        at += put_piece(session, at);
        TRY(model_flush(session));
    }
}

static fault start_replication(struct model_session *session, uint64_t at)
{
    struct buffer *out = &session->out;
    uint64_t end = session->model->log_end;
    size_t start = wire_begin(out, WIRE_COPY_BOTH);
    wire_put_u8(out, 0);
    wire_put_u16(out, 0);
    wire_end(out, start);
    TRY(model_flush(session));
    if (at > end)
        return model_raise(session, "XX000",
                           "requested starting point %X/%X is ahead of the WAL flush position of "
                           "this server %X/%X",
                           PLACE(at), PLACE(end));
    TRY(stream_log(session, at));
    wire_put_empty(out, WIRE_COPY_DONE);
    wire_put_command_complete(out, "START_STREAMING");
    wire_put_command_complete(out, "START_REPLICATION");
    return OK;
}

/* --- commands --------------------------------------------------------------------------------- */

static bool begins_with(const char *text, const char *word)
{
    size_t size = strlen(word);
    text += strspn(text, " \t\r\n");
    return strncmp(text, word, size) == 0 && strchr(" \t\r\n;", text[size]) != NULL;
}

/* Nothing but blanks and a semicolon behind the command. */
static bool is_ended(const char *rest)
{
    rest += strspn(rest, " \t\r\n");
    rest += *rest == ';';
    return rest[strspn(rest, " \t\r\n")] == '\0';
}

static fault syntax_error(struct model_session *session)
{
    return model_raise(session, "42601", "syntax error");
}

static fault run_start(struct model_session *session, const char *text)
{
    unsigned high, low;
    int size = 0;
    if (sscanf(text, " START_REPLICATION PHYSICAL %X/%X%n", &high, &low, &size) != 2 &&
        sscanf(text, " START_REPLICATION %X/%X%n", &high, &low, &size) != 2)
        return syntax_error(session);
    int more = 0;
    (void)sscanf(text + size, " TIMELINE 1%n", &more);
    if (!is_ended(text + size + more))
        return syntax_error(session);
    return start_replication(session, (uint64_t)high << 32 | low);
}

static fault run_identify(struct model_session *session, const char *text)
{
    if (!is_ended(strstr(text, "IDENTIFY_SYSTEM") + strlen("IDENTIFY_SYSTEM")))
        return syntax_error(session);
    identify_system(session);
    return OK;
}

/* --- decoding --------------------------------------------------------------------------------- */

static fault stream_decoded(struct model_session *session)
{
    for (bool done = false;;) {
        TRY(model_decode_some(session));
        TRY(hear(session, model_decode_due(session), &done));
        session->nudged = false;
        TRY(model_check(session));
        if (done)
            return OK;
    }
}

static fault create_slot(struct model_session *session, const char *name)
{
    struct buffer *out = &session->out;
    static const char *const columns[] = {"slot_name", "consistent_point", "snapshot_name",
                                          "output_plugin"};
    char place[32];
    TRY(model_log_await_running(session));
    model_decode_begin(session);
    snprintf(place, sizeof(place), "%X/%X", PLACE(session->decoded_to));
    size_t start = wire_begin(out, WIRE_ROW_DESCRIPTION);
    wire_put_u16(out, ARRAY_SIZE(columns));
    for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
        put_column(out, columns[i], SQL_TEXT);
    wire_end(out, start);
    start = wire_begin(out, WIRE_DATA_ROW);
    wire_put_u16(out, ARRAY_SIZE(columns));
    put_value(out, name);
    put_value(out, place);
    put_value(out, NULL);
    put_value(out, "test_decoding");
    wire_end(out, start);
    wire_put_command_complete(out, "CREATE_REPLICATION_SLOT");
    return OK;
}

/* CREATE_REPLICATION_SLOT "name" TEMPORARY LOGICAL test_decoding NOEXPORT_SNAPSHOT */
static fault run_create(struct model_session *session, const char *text)
{
    char name[MODEL_NAME];
    int size = 0;
    if (sscanf(text,
               " CREATE_REPLICATION_SLOT \"%63[^\"]\" TEMPORARY LOGICAL test_decoding "
               "NOEXPORT_SNAPSHOT%n",
               name, &size) != 1 ||
        size == 0 || !is_ended(text + size))
        return syntax_error(session);
    return create_slot(session, name);
}

/* START_REPLICATION SLOT "name" LOGICAL 0/0 (...): of the session's own slot. */
static fault run_decode(struct model_session *session)
{
    struct buffer *out = &session->out;
    if (!session->decodes)
        return model_raise(session, "42704", "replication slot does not exist");
    size_t start = wire_begin(out, WIRE_COPY_BOTH);
    wire_put_u8(out, 0);
    wire_put_u16(out, 0);
    wire_end(out, start);
    TRY(model_flush(session));
    TRY(stream_decoded(session));
    wire_put_empty(out, WIRE_COPY_DONE);
    wire_put_command_complete(out, "START_REPLICATION");
    return OK;
}

fault model_replication_command(struct model_session *session, struct span text)
{
    char command[COMMAND];
    const struct model_watch *watch = &session->model->options.watch;
    snprintf(command, sizeof(command), "%.*s", SPAN_ARG(text));
    bool identify = begins_with(command, "IDENTIFY_SYSTEM");
    bool start = begins_with(command, "START_REPLICATION");
    if (begins_with(command, "CREATE_REPLICATION_SLOT"))
        return run_create(session, command);
    if (start && strstr(command, " LOGICAL ") != NULL)
        return run_decode(session);
    if (!identify && !start &&
        (session->replication == WIRE_REPLICATION_LOGICAL || begins_with(command, "SHOW")))
        return model_query(session, text);
    if (watch->statement != NULL) {
        struct model_session_view view = model_session_look(session);
        watch->statement(watch->argument, &view, span_text(command));
    }
    if (!identify && !start)
        return model_raise(session, "0A000",
                           "cannot execute SQL commands in WAL sender for physical replication");
    if (tx_is_failed(session))
        return tx_refuse_failed(session);
    return identify ? run_identify(session, command) : run_start(session, command);
}
