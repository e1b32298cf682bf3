#pragma once
/*
 * session_parts.h - what the files of a parade's session share.
 */
#include "base/buffer.h"
#include "machine/stream.h"
#include "parade/session.h"
#include "wire/messages.h"

struct parade_session {
    struct stream stream;
    struct buffer in;
    size_t taken; /* bytes of `in` that belong to messages already read */
    struct buffer out;
    struct buffer bytes; /* of all cells of the last statement */
    struct buffer cells; /* struct parade_cell, row by row */
    uint32_t rows;
    uint32_t columns; /* of each row; 0: no row yet */
    struct buffer notices;
    struct parade_error error;
    bool usable;
};

struct parade_cell {
    size_t at; /* in `bytes` */
    uint32_t size;
    bool null;
};

/** Forgets the rows, the notices and the error of the last statement. */
void parade_session_clear(struct parade_session *session);
/** Keeps a DataRow's cells.  Faults: PROTOCOL, LIMIT, MEMORY. */
fault parade_session_keep(struct parade_session *session, struct span body) MUST_USE;
/** Keeps an ErrorResponse; returns UPSTREAM, raised with its SQLSTATE. */
fault parade_session_reject(struct parade_session *session, struct span body);
/** Keeps a NoticeResponse. */
void parade_session_notice(struct parade_session *session, struct span body);
