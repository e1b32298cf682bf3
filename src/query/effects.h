#pragma once
/*
 * effects.h - finds what a SQL text may do to session state that outlives its transaction.
 *
 * One pass over the text says which kinds of session state its statements may create or end.  The
 * result errs on the safe side: it may name an effect that does not happen (a setting that keeps
 * its value, a lock that was not granted).  It misses what the text does not show: what functions,
 * views and triggers do when the server runs them.  `unsure` has the kinds that the text may touch
 * without showing how.  Policies are decided by the caller.  Design: docs/internals/pins.md
 */
#include "base/span.h"

enum query_kind {
    QUERY_SETTING,       /* SET of a parameter */
    QUERY_ROLE,          /* SET ROLE */
    QUERY_AUTHORIZATION, /* SET SESSION AUTHORIZATION */
    QUERY_CONFIG,        /* set_config() */
    QUERY_TEMPORARY,     /* CREATE TEMP, SELECT INTO TEMP */
    QUERY_PREPARE,       /* PREPARE */
    QUERY_LISTEN,        /* LISTEN */
    QUERY_CURSOR,        /* DECLARE ... WITH HOLD */
    QUERY_LOCK,          /* pg_advisory_lock() and the other functions of session-level locks */
    QUERY_SEQUENCES,     /* lastval(), currval(): they may read values of another client */
    QUERY_SEED,          /* setseed() */
    QUERY_LOAD,          /* LOAD */
    QUERY_SLOT,          /* a temporary replication slot, a replication origin */
    QUERY_KINDS,
};
#define QUERY_KIND(kind) ((uint16_t)(1u << (kind)))
#define QUERY_ALL_KINDS  ((uint16_t)((1u << QUERY_KINDS) - 1))
/* Kinds that no SQL ends, only the end of the connection. */
#define QUERY_INCURABLE ((uint16_t)(QUERY_KIND(QUERY_LOAD) | QUERY_KIND(QUERY_SLOT)))

enum query_act {
    QUERY_CREATES,
    QUERY_ENDS,     /* the state of this name */
    QUERY_ENDS_ALL, /* all state of the kind */
};

/* Name of the effect of SET ROLE NONE: the session has no role then, whatever it began with. */
#define QUERY_NO_ROLE "none"

/* PostgreSQL cuts identifiers at 63 bytes. */
#define QUERY_NAME_SIZE 64

struct query_effect {
    uint8_t kind;
    uint8_t act;
    uint8_t statement;          /* index in the text from 0, counted as CommandComplete will be */
    bool single;                /* locks: the statement is only this call, executed once */
    bool may_reset;             /* set_config(): its value is NULL, or may be */
    char name[QUERY_NAME_SIZE]; /* of what is created or ended, folded; "": unknown */
};

/* Effects that are listed one by one.  The kinds of further ones are in `more`. */
#define QUERY_EFFECTS_MAX 16

struct query_effects {
    uint32_t references; /* set by the holder, which shares it */
    uint8_t count;
    bool path;        /* may put pg_temp on search_path: the text does not show the value */
    bool makes;       /* creates an object in the first schema of search_path */
    bool named;       /* set by the holder: belongs to a portal with a name */
    bool calls;       /* has a DO or a CALL, which may commit before it fails */
    bool resets;      /* may reset parameters that it does not name */
    uint16_t creates; /* all kinds that it may create, including `more` */
    uint16_t more;
    uint16_t unsure; /* kinds that the text may touch; it does not show how */
    struct query_effect all[QUERY_EFFECTS_MAX];
};

/** Returns false if the text has no effects.  Cheap, and false for most of what applications send.
 *  After true call query_read_effects(). */
bool query_may_have_effects(struct span text);
/** The same.  *ret_outcome: query_outcome_of() of the text, found by the same walk. */
bool query_filter(struct span text, uint8_t *ret_outcome);
/** The same.  *ret_outcome: query_outcome_of() of the text, found by the same walk; less a SELECT
 *  INTO of at most 15 bytes. */
bool query_filter(struct span text, uint8_t *ret_outcome);
/** Analyzes the text.  Returns false if it has no effects after all. */
bool query_read_effects(struct span text, struct query_effects *ret);
/** Returns whether a long text that begins with this part may have effects.  Returns true for a
 *  part without a first word, which says nothing about the text. */
bool query_start_may_have_effects(struct span part);
/** Returns whether a further part of a long text, wherever it was cut, may have effects. */
bool query_part_may_have_effects(struct span part);
