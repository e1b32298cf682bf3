#pragma once
/*
 * shape.h - what a SQL text may commit, and the text without the values of its literals.
 *
 * A single pass over the tokens, without PostgreSQL's grammar: on the path of each statement of a
 * service whose writers are all inside (flight/inside.h).  Errs on the side of the larger extent.
 */
#include "base/buffer.h"

/* What a statement may change, beside what a catalog has to tell. */
enum query_shape_extent {
    QUERY_SHAPE_NOTHING, /* transactions, settings of the session, LISTEN, LOCK */
    QUERY_SHAPE_ROWS, /* SELECT, INSERT, COPY and the like: rows, also by functions and triggers */
    QUERY_SHAPE_UNKNOWN, /* rows of any table: cursors, EXECUTE, several statements */
    QUERY_SHAPE_CATALOG, /* any other: DDL, roles, DO, CALL, COMMIT PREPARED */
};

struct query_shape {
    enum query_shape_extent extent;
    bool ends;    /* it may end the open transaction, or a part of it */
    bool settles; /* it changes settings of the session, or which objects its names denote */
    bool presets; /* it may change the settings that sessions begin with */
    bool sure;    /* the text without literals is good: one statement, no doubtful token */
};

/** Looks at a text; a NUL ends it.  If `shape.sure`, appends the text without comments and without
 *  the values of strings and short integers: two texts that give the same bytes differ in nothing
 *  that a name denotes.  The buffer's fault says whether there was room. */
struct query_shape query_shape_of(struct span text, struct buffer *bare);
