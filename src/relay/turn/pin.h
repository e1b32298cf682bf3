#pragma once
/*
 * pin.h - session state that a client has left on a server, and what its route wants of that.
 *
 * A pin belongs to one server and lives from the first statement that may leave something until the
 * server is clean.  What is sent and what is answered is told to it in order; it says whether the
 * client must keep this server, and what to clean.  It knows no sockets and decides no wait; only
 * pins_* of the pool are shared, by the counts.  Design: docs/internals/pins.md
 *
 * Invariants: what was created by a transaction counts once that is committed, what outlives a
 * rollback at once; state whose end is uncertain counts until the server has been cleaned.
 */
#include "base/fault.h"
#include "config/config.h"
#include "query/effects.h"
#include "session/effects.h"

struct owed;
struct pin;
struct server;
struct local_pool;

/* What became of statements with effects on one relay, by kind; hints. */
struct pin_counts {
    uint64_t pinned[QUERY_KINDS];   /* made their client keep its server */
    uint64_t cleaned[QUERY_KINDS];  /* were cleaned away */
    uint64_t rejected[QUERY_KINDS]; /* refused by the route's policy */
    uint64_t full[QUERY_KINDS];     /* refused by pin_share */
};

/* For the console. */
struct pin_view {
    char reason[QUERY_NAME_SIZE + 32]; /* the first that pins: "SET work_mem" */
    uint16_t kinds;                    /* held now */
    deadline since;
};

/** "set", "listen", ...: the kind's setting. */
const char *pin_kind_text(enum query_kind kind);
/** "SET work_mem", "LISTEN": the statement in short. */
void pin_describe(const struct query_effect *effect, char *text, size_t size);
/** How many servers of one pool clients may keep. */
uint32_t pin_max(const struct route_config *route);

/* --- what is sent ----------------------------------------------------------------------------- */

/** Leaves those that the route tracks; *ret_rejected: the first that it refuses, or NULL. */
void pin_filter(const struct local_pool *pool, struct query_effects *effects,
                const struct query_effect **ret_rejected);
/** Makes ready for effects that are about to be sent, and adds what the server's search_path makes
 * of them.  FULL: no more servers of the pool may be kept; MEMORY. */
fault pin_expect(struct server *server, struct query_effects *effects) MUST_USE;
/** Anything may be left there by a text that was too long to be looked at. */
fault pin_suspect(struct server *server) MUST_USE;
/** Something of this kind may have been left there, and is to be cleaned. */
fault pin_add_uncertain(struct server *server, enum query_kind kind) MUST_USE;

/* --- what is answered ------------------------------------------------------------------------- */

/** An entry about effects is answered or dropped; takes the effects. */
void pin_settle(struct server *server, const struct owed *owed, bool answered);
/** Whether the command of `head` that has completed now is one that makes a temporary object;
 * before pin_completed. */
bool pin_makes_temporary(const struct server *server, const struct owed *head);
/** CommandComplete for `head`, which may be NULL. */
void pin_completed(struct server *server, const struct owed *head, struct span tag);
/** ErrorResponse for `head`, which may be NULL. */
void pin_failed(struct server *server, const struct owed *head);
/** ReadyForQuery with this status. */
void pin_ready(struct server *server, uint8_t status);

/* --- what follows ----------------------------------------------------------------------------- */

/** Its client must keep it. */
bool pin_holds(const struct server *server);
/** It must be cleaned before anybody gets it, as far as the texts tell. */
bool pin_is_dirty(const struct server *server);
/** What cleans it, of all that there can be where it is suspect; "" when there is nothing to clean.
 */
#define PIN_CLEANING_SIZE 512
const char *pin_cleaning(const struct server *server, char text[PIN_CLEANING_SIZE]);
/** Nothing does: it must be closed. */
bool pin_incurable(const struct server *server);
/** That was done, so RESET ALL may have been; it is nobody's any more. */
void pin_cleaned(struct server *server);
/** Forgets everything, without cleaning; NULL-safe. */
void pin_free(struct server *server);
void pin_look(const struct server *server, struct pin_view *ret);
