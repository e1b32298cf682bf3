#pragma once
/*
 * flight_batch_parts.h - the statement of a flight, as a session sends it.
 *
 * A copy, because the client that began the flight may leave.  Pure.
 */
#include "base/buffer.h"
#include "relay/turn/turn_batch_parts.h"

/* What stands for a statement in a batch. */
struct flight_name {
    char text[8]; /* empty: unnamed */
    bool parses;  /* its Parse is a part of the batch */
};
#define FLIGHT_UNNAMED ((struct flight_name){.parses = true})

/** Appends the Parse, if it is a part of the batch.  `parse`: its body behind the name. */
void flight_batch_parse(struct buffer *messages, const struct flight_name *name, struct span parse);
/** Appends a Bind of the unnamed portal and its Execute.  `bind`: the Bind's body behind the names.
 *  `describes`: with a Describe in between. */
void flight_batch_execute(struct buffer *messages, const struct flight_name *name, struct span bind,
                          bool describes);

struct flight_batch {
    bool extended;
    bool tells;          /* extended: the statement is described, too */
    struct buffer parse; /* extended: the Parse's body behind the name; else the query */
    struct buffer bind;  /* extended: the Bind's body behind the names */
};

/** Copies a client's statement.  `extends`: a simple query becomes an extended one whose replies
 *  between BindComplete and ReadyForQuery are the same.  flight_batch_fault() says whether there
 * was memory. */
void flight_batch_init(struct flight_batch *batch, const struct turn_batch *from, bool extends);
void flight_batch_fini(struct flight_batch *batch);
fault flight_batch_fault(const struct flight_batch *batch) MUST_USE;
/** Appends all messages, up to the Query or the Sync. */
void flight_batch_put(const struct flight_batch *batch, const struct flight_name *name,
                      struct buffer *messages);
