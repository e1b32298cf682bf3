#pragma once
/*
 * look_parts.h - shared by the files that analyze a text: position in the text, effects found.
 *
 * Every reader takes the tokens that it knows and stops at the first that it does not.
 */
#include "query/effects.h"
#include "query/scan_parts.h"

struct look {
    struct query_scan scan;
    struct query_token token; /* the current token, not consumed yet */
    struct query_effects *effects;
    unsigned statement;
    unsigned first; /* index of this statement's first effect */
    unsigned nesting;
    bool in_body; /* of a DO block: its ends are unreliable */
    bool select;  /* the statement may have an INTO clause of its own */
    bool create;  /* the statement creates an object, maybe in pg_temp */
    bool later;   /* the statement is executed later, maybe several times: PREPARE, DECLARE */
    bool single;  /* the statement is only one call of a function of advisory locks */
    char key[QUERY_NAME_SIZE]; /* the key of that lock, as the text spells it */
};

/* --- look.c: tokens --------------------------------------------------------------------------- */

void look_advance(struct look *look);
bool look_at_word(const struct look *look, const char *word);
bool look_at_punct(const struct look *look, char c);
/** Consumes the current token if it is `word`; returns whether it was. */
bool look_take(struct look *look, const char *word);
bool look_at_name(const struct look *look);
bool look_at_end(const struct look *look);
/** Returns whether the current token names a schema of temporary objects: pg_temp or pg_temp_N. */
bool look_at_temp_schema(const struct look *look);
/** Consumes a name such as a.b.c and returns its last part.  Sets *temporary if the first part is a
 *  schema of temporary objects. */
struct query_token look_take_object(struct look *look, bool *temporary);
/** Returns whether a string's value is its text: no escapes, no quotes, no continuation. */
bool look_is_plain(const struct query_token *token);

/* --- look.c: what was found ------------------------------------------------------------------- */

/** Adds an effect.  Returns NULL if it is not listed: too many effects, or an end in a DO block. */
struct query_effect *look_add(struct look *look, enum query_kind kind, enum query_act act);
void look_add_named(struct look *look, enum query_kind kind, enum query_act act,
                    const struct query_token *name);
void look_add_text(struct look *look, enum query_kind kind, enum query_act act, const char *name);
/** Marks kinds that the text may touch without showing how. */
void look_unsure(struct look *look, uint16_t kinds);

/* --- look_set.c: SET and RESET ---------------------------------------------------------------- */

bool look_is_of_transaction(struct span name);
/** Returns the kind of state that a parameter of this name changes; QUERY_SETTING for most. */
enum query_kind look_kind_of(struct span name);
/** Checks the current token, which is part of a value of search_path, for pg_temp. */
void look_path(struct look *look);
void look_on_set(struct look *look);
void look_on_reset(struct look *look);

/* --- look_calls.c: functions ------------------------------------------------------------------ */

/** Consumes a call of a function with effects, or only its name.  Returns false for other
 *  tokens. */
bool look_call(struct look *look);
/** Sets `single` and `key`.  Call it at the start of a statement. */
void look_at_locks(struct look *look);

/* --- effects.c -------------------------------------------------------------------------------- */

/** Analyzes a token anywhere in a statement.  Consumes it, and maybe more. */
void look_token(struct look *look);
