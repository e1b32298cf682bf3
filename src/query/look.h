#pragma once
/*
 * look.h - what the files of the closer look share: the place in the text, and what was found.
 *
 * Every reader takes the tokens that it knows and leaves the look at the first that it does not.
 */
#include "query/effects.h"
#include "query/scan.h"

struct look {
    struct query_scan scan;
    struct query_token token; /* not consumed yet */
    struct query_effects *effects;
    unsigned statement;
    unsigned first; /* effect of this statement */
    unsigned nesting;
    bool in_body; /* of a DO block: what it ends can't be relied upon */
    bool select;  /* the statement may have an INTO of its own */
    bool create;  /* it makes an object, maybe one in pg_temp */
    bool later;   /* what it says is carried out later, maybe several times: PREPARE, DECLARE */
    bool single;  /* the statement is one call of a function of advisory locks, and nothing else */
    char key[QUERY_NAME_SIZE]; /* that call's, as its text says it */
};

/* --- look.c: tokens --------------------------------------------------------------------------- */

void look_advance(struct look *look);
bool look_at_word(const struct look *look, const char *word);
bool look_at_punct(const struct look *look, char c);
/** Whether it was there; then it is behind. */
bool look_take(struct look *look, const char *word);
bool look_at_name(const struct look *look);
bool look_at_end(const struct look *look);
/** At the schema of temporary objects, whatever its number. */
bool look_at_temp_schema(const struct look *look);
/** The last part of a.b.c; *temporary: the first one is the schema of temporary objects. */
struct query_token look_take_object(struct look *look, bool *temporary);
/** Whether a string stands for itself: no escapes, no quotes, no continuation. */
bool look_is_plain(const struct query_token *token);

/* --- look.c: what was found ------------------------------------------------------------------- */

/** NULL: there are too many to tell. */
struct query_effect *look_add(struct look *look, enum query_kind kind, enum query_act act);
void look_add_named(struct look *look, enum query_kind kind, enum query_act act,
                    const struct query_token *name);
void look_add_text(struct look *look, enum query_kind kind, enum query_act act, const char *name);
/** These kinds may have been touched: the text does not tell. */
void look_unsure(struct look *look, uint16_t kinds);

/* --- look_set.c: SET and RESET ---------------------------------------------------------------- */

bool look_is_of_transaction(struct span name);
/** The kind of what a parameter of this name changes; QUERY_SETTING where it is a mere setting. */
enum query_kind look_kind_of(struct span name);
/** A value of search_path, up to the end of the statement or of the argument. */
void look_path(struct look *look);
void look_on_set(struct look *look);
void look_on_reset(struct look *look);

/* --- look_calls.c: functions ------------------------------------------------------------------ */

/** At a function that matters: takes its call, or the name alone. False: it is another. */
bool look_call(struct look *look);
/** In front of a statement: sets `single` and `key`. */
void look_at_locks(struct look *look);

/* --- effects.c -------------------------------------------------------------------------------- */

/** One token anywhere in a statement; consumes at least that. */
void look_token(struct look *look);
