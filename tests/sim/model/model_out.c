/* model_out.c - what a session says: errors, notices, rows; and how it is sent. */
#include "model_inside.h"

#include <stdarg.h>
#include <stdio.h>

#define FLUSH_AT 8192 /* the server's own buffer */

/* --- errors ----------------------------------------------------------------------------------- */

static void raise(struct model_session *session, bool fatal, const char *sqlstate,
                  const char *format, va_list arguments)
{
    struct model_error *error = &session->error;
    *error = (struct model_error){.fatal = fatal};
    snprintf(error->sqlstate, sizeof(error->sqlstate), "%s", sqlstate);
    vsnprintf(error->message, sizeof(error->message), format, arguments);
}

fault model_raise(struct model_session *session, const char *sqlstate, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    raise(session, false, sqlstate, format, arguments);
    va_end(arguments);
    return FAULT_UPSTREAM;
}

fault model_raise_fatal(struct model_session *session, const char *sqlstate, const char *format,
                        ...)
{
    va_list arguments;
    va_start(arguments, format);
    raise(session, true, sqlstate, format, arguments);
    va_end(arguments);
    return FAULT_UPSTREAM;
}

void model_detail(struct model_session *session, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(session->error.detail, sizeof(session->error.detail), format, arguments);
    va_end(arguments);
}

void model_hint(struct model_session *session, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(session->error.hint, sizeof(session->error.hint), format, arguments);
    va_end(arguments);
}

/* With the routine that raised it, which only servers tell. */
void model_put_error(struct model_session *session)
{
    const struct model_error *error = &session->error;
    struct buffer *out = &session->out;
    size_t start = out->size;
    wire_put_report(out, &(struct wire_report){.severity = error->fatal ? "FATAL" : "ERROR",
                                               .sqlstate = error->sqlstate,
                                               .message = error->message,
                                               .detail = error->detail[0] ? error->detail : NULL,
                                               .hint = error->hint[0] ? error->hint : NULL});
    out->size -= 1;
    wire_put_u8(out, 'R');
    wire_put_text(out, "model_raise");
    wire_put_u8(out, 0);
    wire_end(out, start);
}

/* Whether client_min_messages lets it through. */
static bool is_wanted(const struct model_session *session, const char *severity)
{
    const char *min = model_guc_value(session, "client_min_messages");
    if (strcmp(min, "error") == 0)
        return false;
    return strcmp(min, "warning") != 0 || strcmp(severity, "WARNING") == 0;
}

fault model_warn(struct model_session *session, const char *severity, const char *sqlstate,
                 const char *format, ...)
{
    char message[300];
    va_list arguments;
    if (!is_wanted(session, severity))
        return OK;
    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    size_t start = session->out.size;
    wire_put_report(
        &session->out,
        &(struct wire_report){.severity = severity, .sqlstate = sqlstate, .message = message});
    model_tells(session, start);
    return model_flush(session);
}

void model_tells(const struct model_session *session, size_t start)
{
    const struct model_watch *watch = &session->model->options.watch;
    const struct buffer *out = &session->out;
    if (watch->async_sent == NULL || !session->ready || out->size < start + WIRE_HEADER)
        return;
    struct model_session_view view = model_session_look(session);
    size_t body = start + WIRE_HEADER;
    watch->async_sent(watch->argument, &view, out->at[start],
                      span_of(out->at + body, out->size - body));
}

/* --- sending ---------------------------------------------------------------------------------- */

/* Waits for room; a wake-up that is not the stream's is for whoever looks at the flags. */
static fault await_room(struct model_session *session)
{
    session->stream.waker = co_waker(session->co);
    fault waited = co_wait(NEVER);
    session->stream.waker = NULL;
    TRY(waited);
    /* Whoever does not read can't be told why it ends. */
    return session->end == END_NOT ? OK : fault_raise(FAULT_CLOSED, "ended while it was writing");
}

static fault send_bytes(struct model_session *session, struct span bytes)
{
    while (bytes.size > 0) {
        struct iovec part = {(void *)(uintptr_t)bytes.at, bytes.size};
        size_t sent = 0;
        fault wrote = stream_write_some(&session->stream, &part, 1, &sent);
        if (wrote == FAULT_AGAIN) {
            TRY(await_room(session));
            continue;
        }
        TRY(wrote);
        bytes = span_skip(bytes, sent);
    }
    for (;;) {
        fault flushed = stream_flush_some(&session->stream);
        if (flushed != FAULT_AGAIN)
            return flushed;
        TRY(await_room(session));
    }
}

fault model_flush(struct model_session *session)
{
    struct model *model = session->model;
    struct span bytes = buffer_span(&session->out);
    TRY(buffer_fault(&session->out));
    if (bytes.size == 0)
        return OK;
    if (session->ready && model_chance(model, model->options.faults.crash)) {
        bytes.size = (size_t)model_draw(model, bytes.size);
        (void)!send_bytes(session, bytes);
        model->counts.crashes += 1;
        return fault_raise(FAULT_CLOSED, "crashed while it was writing");
    }
    fault sent = send_bytes(session, bytes);
    buffer_clear(&session->out);
    return sent;
}

fault model_flush_much(struct model_session *session)
{
    return session->out.size < FLUSH_AT ? OK : model_flush(session);
}

/* --- rows ------------------------------------------------------------------------------------- */

uint32_t model_target_count(const struct sql_stmt *stmt)
{
    uint32_t count = 0;
    for (const struct sql_target *it = stmt->targets; it != NULL; it = it->next)
        count++;
    return count;
}

static uint16_t format_of(const struct model_portal *portal, uint32_t column)
{
    if (portal == NULL || portal->format_count == 0)
        return 0;
    return portal->format_count == 1 ? portal->formats[0] : portal->formats[column];
}

void model_put_row_description(struct model_session *session, const struct sql_stmt *stmt,
                               const struct model_portal *portal)
{
    struct buffer *out = &session->out;
    struct model_table *table = NULL;
    uint32_t column = 0;
    if (stmt->source == SQL_FROM_TABLE)
        (void)!model_table_find(session, stmt->table, &table);
    size_t start = wire_begin(out, WIRE_ROW_DESCRIPTION);
    wire_put_u16(out, (uint16_t)model_target_count(stmt));
    for (const struct sql_target *it = stmt->targets; it != NULL; it = it->next) {
        const struct sql_expr *expr = it->expr;
        bool own = table != NULL && expr->kind == SQL_COLUMN;
        wire_put_string(out, it->label);
        wire_put_u32(out, own ? table->oid : 0);
        wire_put_u16(out, (uint16_t)(own ? expr->number + 1 : 0));
        wire_put_u32(out, sql_types[expr->type].oid);
        wire_put_u16(out, (uint16_t)sql_types[expr->type].size);
        wire_put_u32(out, UINT32_MAX);
        wire_put_u16(out, format_of(portal, column++));
    }
    wire_end(out, start);
}

static void put_binary(struct buffer *out, enum sql_type type, const struct sql_value *value)
{
    switch (type) {
    case SQL_BOOL:
        wire_put_u32(out, 1);
        wire_put_u8(out, value->number != 0);
        return;
    case SQL_INT4:
        wire_put_u32(out, 4);
        wire_put_u32(out, (uint32_t)value->number);
        return;
    case SQL_INT8:
        wire_put_u32(out, 8);
        wire_put_u32(out, (uint32_t)((uint64_t)value->number >> 32));
        wire_put_u32(out, (uint32_t)value->number);
        return;
    case SQL_VOID:
        wire_put_u32(out, 0);
        return;
    default:
        wire_put_u32(out, (uint32_t)value->text.size);
        wire_put_bytes(out, value->text);
        return;
    }
}

void model_put_row(struct buffer *out, struct sql_arena *arena, const struct sql_stmt *stmt,
                   const struct sql_value *values, const struct model_portal *portal)
{
    uint32_t column = 0;
    size_t start = wire_begin(out, WIRE_DATA_ROW);
    wire_put_u16(out, (uint16_t)model_target_count(stmt));
    for (const struct sql_target *it = stmt->targets; it != NULL; it = it->next, column++) {
        const struct sql_value *value = &values[column];
        if (value->null) {
            wire_put_u32(out, UINT32_MAX);
        } else if (format_of(portal, column) == 1) {
            put_binary(out, it->expr->type, value);
        } else {
            struct span text = sql_value_text(arena, it->expr->type, value);
            wire_put_u32(out, (uint32_t)text.size);
            wire_put_bytes(out, text);
        }
    }
    wire_end(out, start);
}
