/* session_rows.c - what a server answers: rows, errors and notices. */
#include "parade/session_parts.h"

#include "base/number.h"

#include <stdio.h>

static const struct parade_cell *cell_at(const struct parade_session *session, uint32_t row,
                                         uint32_t column)
{
    if (row >= session->rows || column >= session->columns)
        return NULL;
    const struct parade_cell *cells = (const struct parade_cell *)(const void *)session->cells.at;
    return &cells[(size_t)row * session->columns + column];
}

void parade_session_clear(struct parade_session *session)
{
    buffer_clear(&session->bytes);
    buffer_clear(&session->cells);
    buffer_clear(&session->notices);
    session->rows = session->columns = 0;
    session->error = (struct parade_error){0};
}

fault parade_session_keep(struct parade_session *session, struct span body)
{
    struct wire_reader in = wire_reader_over(body);
    uint16_t columns = wire_get_u16(&in);
    if (session->rows > 0 && columns != session->columns)
        return fault_raise(FAULT_PROTOCOL, "rows of %u and of %u columns", session->columns,
                           columns);
    session->columns = columns;
    for (uint16_t i = 0; i < columns; i++) {
        uint32_t size = wire_get_u32(&in);
        struct parade_cell cell = {.at = session->bytes.size, .null = size == UINT32_MAX};
        struct span text = cell.null ? SPAN_NONE : wire_get_bytes(&in, size);
        cell.size = (uint32_t)text.size;
        buffer_append_span(&session->bytes, text);
        buffer_append(&session->cells, &cell, sizeof(cell));
    }
    if (wire_done(&in) != OK)
        return fault_raise(FAULT_PROTOCOL, "a row that can't be read");
    if (buffer_fault(&session->bytes) != OK || buffer_fault(&session->cells) != OK)
        return fault_raise(FAULT_LIMIT, "an answer of more than %zu bytes", PARADE_ROWS_MAX);
    session->rows += 1;
    return OK;
}

fault parade_session_reject(struct parade_session *session, struct span body)
{
    struct wire_error said;
    struct parade_error *error = &session->error;
    if (wire_read_error(body, &said) != OK)
        return fault_raise(FAULT_PROTOCOL, "an error that can't be read");
    snprintf(error->sqlstate, sizeof(error->sqlstate), "%.*s", SPAN_ARG(said.sqlstate));
    snprintf(error->message, sizeof(error->message), "%.*s", SPAN_ARG(said.message));
    snprintf(error->detail, sizeof(error->detail), "%.*s", SPAN_ARG(said.detail));
    snprintf(error->hint, sizeof(error->hint), "%.*s", SPAN_ARG(said.hint));
    return fault_raise_state(FAULT_UPSTREAM, error->sqlstate, "%s (%s)", error->message,
                             error->sqlstate);
}

void parade_session_notice(struct parade_session *session, struct span body)
{
    struct wire_error said;
    if (wire_read_error(body, &said) != OK || span_is(said.sqlstate, "00000"))
        return;
    buffer_printf(&session->notices, "%.*s\n", SPAN_ARG(said.message));
    if (said.hint.size > 0)
        buffer_printf(&session->notices, "%.*s\n", SPAN_ARG(said.hint));
}

uint32_t parade_session_rows(const struct parade_session *session)
{
    return session->rows;
}

struct span parade_session_cell(const struct parade_session *session, uint32_t row, uint32_t column)
{
    const struct parade_cell *cell = cell_at(session, row, column);
    if (cell == NULL || cell->null)
        return SPAN_NONE;
    const uint8_t *bytes = session->bytes.at;
    return span_of(bytes != NULL ? bytes + cell->at : (const uint8_t *)"", cell->size);
}

bool parade_session_true(const struct parade_session *session, uint32_t row, uint32_t column)
{
    return span_is(parade_session_cell(session, row, column), "t");
}

int64_t parade_session_number(const struct parade_session *session, uint32_t row, uint32_t column)
{
    uint64_t number = 0;
    (void)number_read_bigint(parade_session_cell(session, row, column), &number);
    return (int64_t)number;
}

const struct parade_error *parade_session_error(const struct parade_session *session)
{
    return &session->error;
}

bool parade_session_usable(const struct parade_session *session)
{
    return session->usable;
}

struct span parade_session_notices(const struct parade_session *session)
{
    return buffer_span(&session->notices);
}
