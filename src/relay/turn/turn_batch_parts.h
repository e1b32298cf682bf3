#pragma once
/*
 * turn_batch_parts.h - one statement of a client that has arrived whole: a Query, or a batch of the
 * extended protocol that binds and executes the unnamed portal.
 *
 * Pure but for the client's names of statements.  Spans point into the message, or into the
 * client's statement.
 */
#include "session/digest.h"

struct client;

/* A message that has arrived whole. */
struct turn_message_whole {
    uint8_t type;
    struct span body;
};

/** Takes the next whole message off `rest`; false: there is none. */
bool turn_message_next(struct span *rest, struct turn_message_whole *ret);

struct turn_batch {
    bool extended;
    bool parses;       /* it begins with the Parse of the unnamed statement */
    bool named;        /* it binds a named statement */
    bool describes;    /* it describes the portal */
    bool limited;      /* it asks for a number of rows */
    struct span text;  /* of a Query: its body; else the same as `parse` */
    struct span parse; /* extended: a Parse's body behind the name: the text, NUL, the types */
    struct span bind;  /* extended: the Bind's body behind its two names */
    const struct digest *shape;  /* that the client knows of its statement; NULL: none */
    const struct params *params; /* of the session when it was parsed; NULL: unknown */
};

/** Reads the statement at the beginning of `rest`, which is what stands behind it then.  False: it
 *  is something else, or has not arrived whole. */
bool turn_batch_read(const struct client *client, struct span *rest, struct turn_batch *ret);
