#pragma once
/*
 * turn_names.h - between turn_parse.c and turn_statement.c, which rewrite messages that prepare,
 * name or close statements.
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

void turn_owe(struct turn *turn, enum owed_kind kind, enum owed_fate fate, enum owed_about about,
              void *what);
/** The same for a message that gives a name or takes one away. */
void turn_owe_name(struct turn *turn, enum owed_kind kind, enum owed_fate fate,
                   enum owed_about about, struct client_statement *named);
/** The message as it is; what is missing of a long one follows as it comes. */
void turn_forward(struct turn *turn, const struct message *message);
/** Writes a header; returns what is behind it. */
uint8_t *turn_put_header(uint8_t *at, uint8_t type, size_t size);
/** A Parse of `body` (text and types) under this name. */
fault turn_make_parse(struct turn *turn, const char *name, struct span body) MUST_USE;
/** A Describe of a statement under its name on the server. */
fault turn_make_describe(struct turn *turn, const char *name) MUST_USE;
/** Closes some of what nobody uses any more. */
fault turn_make_closings(struct turn *turn) MUST_USE;
/** For a name that was never used, of 128 bits that nobody can guess. */
struct digest turn_fresh_name(void);
/** Not a pointer: a number, for the entry of the message that comes next. */
void *turn_unnamed_mark(struct turn *turn);
/** The session's parameters were others when the client parsed `body`, and PostgreSQL may have
 *  evaluated literals under them. */
bool turn_then_differs(const struct turn *turn, const struct params *then,
                       struct span body); /* turn_then.c */
/** For the rest of the transaction the server's parameters become those, or (true) again what they
 *  are to be. */
fault turn_then_set(struct turn *turn, const struct params *then, bool back) MUST_USE;
/** A Parse of the client. */
fault turn_parse(struct turn *turn, const struct message *message) MUST_USE; /* turn_parse.c */
