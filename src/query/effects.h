#pragma once
/*
 * effects.h - what a piece of SQL may do to the session that outlives its transaction.
 *
 * One pass over the text says which kinds of session state its statements may create or end.  It is
 * a guess on the careful side: it may name what does not happen (a setting that is what it was, a
 * lock that was not got), and misses what the text does not show (what functions, views and
 * triggers do when the server runs them).  Where the text has more than one reading it says so, in
 * `unsure`. It decides no policy.  Design: docs/internals/pins.md
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
    QUERY_LOCK,          /* pg_advisory_lock() and its kin of the session */
    QUERY_SEQUENCES,     /* lastval(), currval(): what they read others may have left */
    QUERY_SEED,          /* setseed() */
    QUERY_LOAD,          /* LOAD */
    QUERY_SLOT,          /* a temporary replication slot, a replication origin */
    QUERY_KINDS,
};
#define QUERY_KIND(kind) ((uint16_t)(1u << (kind)))
#define QUERY_ALL_KINDS  ((uint16_t)((1u << QUERY_KINDS) - 1))
/* Nothing in SQL ends these: only the end of the connection does. */
#define QUERY_INCURABLE ((uint16_t)(QUERY_KIND(QUERY_LOAD) | QUERY_KIND(QUERY_SLOT)))

enum query_act {
    QUERY_CREATES,
    QUERY_ENDS,     /* the one of this name */
    QUERY_ENDS_ALL, /* all of the kind */
};

/* The name of a role's end that leads to no role, whatever the session began with: SET ROLE NONE.
 */
#define QUERY_NO_ROLE "none"

/* PostgreSQL cuts identifiers at 63 bytes. */
#define QUERY_NAME_SIZE 64

struct query_effect {
    uint8_t kind;
    uint8_t act;
    uint8_t statement;          /* its place in the text, counted as CommandComplete will; from 0 */
    bool single;                /* locks: its statement is this one call, carried out once */
    bool may_reset;             /* set_config(): its value is NULL, or may be */
    char name[QUERY_NAME_SIZE]; /* of what is created or ended, folded; "": it can't be said */
};

/* Effects that are told one by one; what further ones create is told in `more`. */
#define QUERY_EFFECTS_MAX 16

struct query_effects {
    uint32_t references; /* the holder's, for sharing */
    uint8_t count;
    bool path;        /* it may put pg_temp on search_path: the text does not tell the value */
    bool makes;       /* it makes an object in whatever schema search_path names first */
    bool named;       /* the holder's: of a portal that has a name */
    bool calls;       /* it has a DO or a CALL, which may commit before it fails */
    bool resets;      /* it may reset parameters that it does not name */
    uint16_t creates; /* all kinds that it may create, `more` included */
    uint16_t more;
    uint16_t unsure; /* kinds of which the text does not tell what becomes of them */
    struct query_effect all[QUERY_EFFECTS_MAX];
};

/** False: the text has none.  Cheap, and right for most of what applications send; true says look
 *  closer. */
bool query_may_have_effects(struct span text);
/** The closer look; false: none after all. */
bool query_read_effects(struct span text, struct query_effects *ret);
/** Whether a long text that begins with this part could have any: a part without a first word tells
 *  nothing of it. */
bool query_start_may_have_effects(struct span part);
/** Whether a further part of a long text, wherever it was cut, could have any. */
bool query_part_may_have_effects(struct span part);
