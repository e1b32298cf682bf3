#pragma once
/*
 * pin.h - session state that a client has left on a server, and what its route does about it.
 *
 * A pin belongs to one server.  It lives from the first statement that may leave state until the
 * server is clean.  The turn reports to it, in order, what is sent and what is answered.  The pin
 * says whether the client must keep this server, and what must be cleaned.  It uses no sockets and
 * never waits.  Relays share nothing but the number of pinned servers in the pool's counts.
 * Design: docs/internals/pins.md
 *
 * Invariants: state that a transaction creates counts once it is committed; state that outlives a
 * rollback counts at once; state whose end is uncertain counts until the server has been cleaned.
 */
#include "base/fault.h"
#include "config/config.h"
#include "query/effects.h"
#include "session/effects.h"

struct owed;
struct pin;
struct server;
struct local_pool;

/* Numbers of effects on one relay, by kind; hints. */
struct pin_counts {
    uint64_t pinned[QUERY_KINDS];   /* pinned a server to its client */
    uint64_t cleaned[QUERY_KINDS];  /* were cleaned */
    uint64_t rejected[QUERY_KINDS]; /* refused by the route's policy */
    uint64_t full[QUERY_KINDS];     /* refused by pin_share */
};

/* What the console shows of a pin. */
struct pin_view {
    char reason[QUERY_NAME_SIZE + 32]; /* the first effect that pins: "SET work_mem" */
    uint16_t kinds;                    /* held now */
    deadline since;
};

/** Returns the name of the kind's setting: "set", "listen", ... */
const char *pin_kind_text(enum query_kind kind);
/** Writes a short form of the statement: "SET work_mem", "LISTEN". */
void pin_describe(const struct query_effect *effect, char *text, size_t size);
/** Returns how many servers of one pool clients may pin; at least 1. */
uint32_t pin_max(const struct route_config *route);

/* --- what is sent ----------------------------------------------------------------------------- */

/** Removes effects that need no pin: of tracked parameters, and of kinds that the route allows.
 *  *ret_rejected: the first effect that the route rejects, or NULL. */
void pin_filter(const struct local_pool *pool, struct query_effects *effects,
                const struct query_effect **ret_rejected);
/** Prepares the pin for effects that are about to be sent.  Adds a temporary object where pg_temp
 *  may be first on the server's search_path.  FULL: the pool's limit of pinned servers is reached;
 *  MEMORY. */
fault pin_expect(struct server *server, struct query_effects *effects) MUST_USE;
/** Notes that a text which was too long to be looked at may leave state of any kind.  MEMORY. */
fault pin_suspect(struct server *server) MUST_USE;
/** Notes that state of this kind may be there, and must be cleaned.  MEMORY. */
fault pin_add_uncertain(struct server *server, enum query_kind kind) MUST_USE;

/* --- what is answered ------------------------------------------------------------------------- */

/** Handles an entry with effects that is answered or dropped; takes the effects. */
void pin_settle(struct server *server, const struct owed *owed, bool answered);
/** Whether the command of `head` that has just completed may have made a temporary object.  To be
 *  called before pin_completed. */
bool pin_makes_temporary(const struct server *server, const struct owed *head);
/** Handles CommandComplete for `head`, which may be NULL. */
void pin_completed(struct server *server, const struct owed *head, struct span tag);
/** Handles ErrorResponse for `head`, which may be NULL. */
void pin_failed(struct server *server, const struct owed *head);
/** Handles ReadyForQuery with this status. */
void pin_ready(struct server *server, uint8_t status);

/* --- what follows ----------------------------------------------------------------------------- */

/** Whether the client must keep this server. */
bool pin_holds(const struct server *server);
/** Whether the server must be cleaned before another client gets it, as far as the texts tell. */
bool pin_is_dirty(const struct server *server);
/** Writes the SQL that cleans the server, "" when nothing is to be cleaned.  For a suspect server
 *  it covers every kind that can be cleaned. */
#define PIN_CLEANING_SIZE 512
const char *pin_cleaning(const struct server *server, char text[PIN_CLEANING_SIZE]);
/** Whether no SQL cleans the server: it must be closed. */
bool pin_incurable(const struct server *server);
/** Notes that the SQL of pin_cleaning was carried out, and frees the pin. */
void pin_cleaned(struct server *server);
/** Frees the pin without cleaning; does nothing without one. */
void pin_free(struct server *server);
/** Fills in what the console shows; the server must have a pin. */
void pin_look(const struct server *server, struct pin_view *ret);
