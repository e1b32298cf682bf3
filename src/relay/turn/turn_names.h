#pragma once
/*
 * turn_names.h - functions shared by turn_parse.c, turn_statement.c and turn_then.c, which rewrite
 * messages that prepare, name or close statements.
 */
#include "relay/turn/turn.h"
#include "wire/messages.h"

/* A whole message of the client, or the first bytes of a Bind or of an unnamed Parse. */
struct message {
    uint8_t type;
    const uint8_t *at;
    uint32_t here; /* bytes at `at` */
    uint32_t size; /* of the whole message, type included */
};

static inline struct span message_body(const struct message *message)
{
    return span_of(message->at + WIRE_HEADER, message->here - WIRE_HEADER);
}

/** Writes an entry of the ledger for a message to the server. */
void turn_owe(struct turn *turn, enum owed_kind kind, enum owed_fate fate, enum owed_about about,
              void *what);
/** Writes an entry for a message that gives a statement its name or takes it away. */
void turn_owe_name(struct turn *turn, enum owed_kind kind, enum owed_fate fate,
                   enum owed_about about, struct client_statement *named);
/** Forwards the message as it is; the missing bytes of a long one follow as they arrive. */
void turn_forward(struct turn *turn, const struct message *message);
/** Writes a header; returns the byte behind it. */
uint8_t *turn_put_header(uint8_t *at, uint8_t type, size_t size);
/** Sends a Parse of `body` (text and types) under this name.  MEMORY. */
fault turn_make_parse(struct turn *turn, const char *name, struct span body) MUST_USE;
/** Sends a Describe of a statement under its name on the server.  MEMORY. */
fault turn_make_describe(struct turn *turn, const char *name) MUST_USE;
/** Closes up to two statements on the server that no client uses any more.  MEMORY. */
fault turn_make_closings(struct turn *turn) MUST_USE;
/** Draws 128 random bits for a statement name that was never used and can't be guessed. */
struct digest turn_fresh_name(void);
/** Returns a number, not a pointer, for the entry of the message that is sent next. */
void *turn_unnamed_mark(struct turn *turn);
/** Whether the session's parameters differ from those under which the client parsed `body`, and
 *  PostgreSQL may have evaluated literals under them. */
bool turn_then_differs(const struct turn *turn, const struct params *then,
                       struct span body); /* turn_then.c */
/** Sets the server's parameters for the rest of the transaction: to `then`, or (`back`) to those of
 *  its session. */
fault turn_then_set(struct turn *turn, const struct params *then, bool back) MUST_USE;
/** Handles a Parse of the client. */
fault turn_parse(struct turn *turn, const struct message *message) MUST_USE; /* turn_parse.c */
