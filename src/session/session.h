#pragma once
/*
 * session.h - what one session at a PostgreSQL backend holds, as far as Trunkline knows it.
 *
 * Embedded in its server.  The session knows no client, no server and no pool: what it needs of
 * them it is given.  Nothing here waits.  Design: docs/internals/local-pools.md
 */
#include "session/generation.h"
#include "session/ledger.h"
#include "session/own_writes.h"
#include "session/params.h"
#include "session/statements.h"

/* Whether an unnamed statement that Trunkline parsed on the server has the result columns that its
 * client was told. */
enum unnamed_proof { UNNAMED_GOOD, UNNAMED_UNPROVEN, UNNAMED_DIFFERS };

/* The unnamed statement of the session. */
struct session_unnamed {
    uint64_t of;    /* its number (unnamed_number of its client); 0: unknown */
    uint32_t mark;  /* number of messages that made or closed an unnamed statement */
    uint32_t batch; /* the ledger's batch of the latest of these messages */
    enum unnamed_proof proof;
    bool pends;  /* the client's latest Parse or Close of it may be skipped */
    bool unsure; /* Trunkline's latest Parse of it is not answered and may be skipped */
};

struct session {
    struct ledger ledger;
    struct params *params;   /* parameters that differ from `defaults` */
    struct params *defaults; /* what it reported at its login; session pools: NULL */
    struct params *startup;  /* session pools: the parameters of its startup packet */
    struct server_statements statements;
    struct buffer described;       /* replies to a Describe sent by Trunkline, received so far */
    uint64_t *generation;          /* of its database: see generation.h */
    struct giving_portal *giving;  /* the newest of its transaction */
    struct pin *pin;               /* session state that its client has left; NULL: none */
    const struct pin_rules *rules; /* of its pool */
    struct session_unnamed unnamed;
    struct wal_position position; /* what the server last said of its log */
    bool replica;                 /* it said so as a replica */
    uint8_t transaction;          /* status byte of the last ReadyForQuery */
    uint8_t unanswered;  /* query_outcome_of() what was sent since the last ReadyForQuery */
    bool wrote;          /* the open transaction, or a statement under way, may have written;
                            noted where writes are watched (server_writes.c) */
    bool looked;         /* and this was known already when its first statement was sent */
    bool path_unsure;    /* its client may have put pg_temp on search_path */
    bool sequences_own;  /* lastval() and currval() are its last client's */
    bool sequences_used; /* a client has had it since its sequence state was discarded */
    bool suspect;        /* had a client of a route with isolation: clean it for the next one */
    bool unmade;         /* setting its parameters (ABOUT_STATE) failed: `params` may be wrong */
    bool altered;        /* the open transaction may have changed the meaning of statement texts */
    bool reshaping;      /* the open transaction may have changed the schema */
    bool doubtful;       /* SET or RESET may have changed parameters that are not reported */
};

/** Initializes all but the ledger, which its owner does.  `none`: the empty set of parameters. */
void session_init(struct session *session, struct params *none, uint64_t *generation,
                  uint32_t prepared_max);
/** Frees all of it; the pin and the portals must be gone. */
void session_fini(struct session *session);
/** Notes that a reported parameter has this value; NULL: its default.  MEMORY. */
fault session_learn(struct session *session, struct span name, const struct span *value) MUST_USE;
