#pragma once
/*
 * pin.h - state that a client has left in a session, and what is to be done about it.
 *
 * A pin belongs to one session.  It lives from the first statement that may leave state until the
 * session is clean.  The turn reports to it, in order, what is sent and what is answered.  The pin
 * says whether the client must keep this session, and what must be cleaned.  It uses no sockets and
 * never waits.  It counts no pinned servers: pool/server.h.
 * Design: docs/internals/pins.md
 *
 * Invariants: state that a transaction creates counts once it is committed; state that outlives a
 * rollback counts at once; state whose end is uncertain counts until the session has been cleaned.
 */
#include "base/fault.h"
#include "base/time.h"
#include "query/effects.h"
#include "session/effects.h"

struct owed;
struct params;
struct pin;
struct session;

/* Numbers of effects on one relay, by kind; hints. */
struct pin_counts {
    uint64_t pinned[QUERY_KINDS];   /* pinned a server to its client */
    uint64_t cleaned[QUERY_KINDS];  /* were cleaned */
    uint64_t rejected[QUERY_KINDS]; /* refused by the route's policy */
    uint64_t full[QUERY_KINDS];     /* refused by pin_share */
};

/* What a pool does about state that clients leave: sets of kinds.  A kind in none of them is
 * cleaned at the end of the transaction. */
struct pin_rules {
    uint16_t allowed;          /* left for the next client */
    uint16_t rejected;         /* its statements are rejected */
    uint16_t pinning;          /* the client keeps its server until the state has ended */
    struct pin_counts *counts; /* what happens is counted here */
};

/* What the console shows of a pin. */
struct pin_view {
    char reason[QUERY_NAME_SIZE + 32]; /* the first effect that pins: "SET work_mem" */
    uint16_t kinds;                    /* held now */
    moment since;
};

/** Returns the name of the kind's setting: "set", "listen", ... */
const char *pin_kind_text(enum query_kind kind);
/** Writes a short form of the statement: "SET work_mem", "LISTEN". */
void pin_describe(const struct query_effect *effect, char *text, size_t size);

/* --- what is sent ----------------------------------------------------------------------------- */

/** Removes effects that need no pin: of tracked parameters, and of kinds that the rules allow.
 *  `reported`: the parameters that servers of the pool report, which follow their client.
 *  *ret_rejected: the first effect that the rules reject, or NULL. */
void pin_filter(const struct pin_rules *rules, struct span reported, struct query_effects *effects,
                const struct query_effect **ret_rejected);
/** Adds a temporary object where pg_temp may be first on the session's search_path. */
void pin_expect_path(struct session *session, struct query_effects *effects);
/** Makes the session's pin if it has none.  MEMORY. */
fault pin_begin(struct session *session) MUST_USE;
/** Notes effects that are about to be sent; the session must have a pin. */
void pin_expect(struct session *session, const struct query_effects *effects);
/** Notes that a text which was too long to be looked at may leave state of any kind.  MEMORY. */
fault pin_suspect(struct session *session) MUST_USE;
/** Notes that state of this kind may be there, and must be cleaned.  MEMORY. */
fault pin_add_uncertain(struct session *session, enum query_kind kind) MUST_USE;

/* --- what is answered ------------------------------------------------------------------------- */

/** Handles an entry with effects that is answered or dropped; takes the effects. */
void pin_settle(struct session *session, const struct owed *owed, bool answered);
/** Whether the command of `head` that has just completed may have made a temporary object.  To be
 *  called before pin_completed. */
bool pin_makes_temporary(const struct session *session, const struct owed *head);
/** Handles CommandComplete for `head`, which may be NULL. */
void pin_completed(struct session *session, const struct owed *head, struct span tag);
/** Handles ErrorResponse for `head`, which may be NULL. */
void pin_failed(struct session *session, const struct owed *head);
/** Handles ReadyForQuery with this status. */
void pin_ready(struct session *session, uint8_t status);

/* --- what follows ----------------------------------------------------------------------------- */

/** Whether the client must keep this session. */
bool pin_holds(const struct session *session);
/** Whether the server must be cleaned before another client gets it, as far as the texts tell. */
bool pin_is_dirty(const struct session *session);
/** Writes the SQL that cleans the server, "" when nothing is to be cleaned.  For a suspect server
 *  it covers every kind that can be cleaned. */
#define PIN_CLEANING_SIZE 512
const char *pin_cleaning(const struct session *session, char text[PIN_CLEANING_SIZE]);
/** Whether no SQL cleans the server: it must be closed. */
bool pin_incurable(const struct session *session);
/** Notes that the SQL of pin_cleaning was carried out, and frees the pin.  `none`: the empty set of
 *  parameters. */
void pin_cleaned(struct session *session, struct params *none);
/** Frees the pin without cleaning; does nothing without one. */
void pin_free(struct session *session);
/** Fills in what the console shows; the session must have a pin. */
void pin_look(const struct session *session, struct pin_view *ret);
