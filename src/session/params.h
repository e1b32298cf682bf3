#pragma once
/*
 * params.h - sets of session parameters (name = value), shared where they are equal.
 *
 * A set is immutable, sorted by name, reference counted, and interned per relay.  Two connections
 * of a relay have the same parameters exactly when they point to the same set, so that "nothing to
 * send" is one comparison.  A set holds what differs from the server's defaults: startup
 * parameters, `options`, and what SET has changed since.  Names compare without case, values with
 * case (it matters for application_name).
 */
#include "base/buffer.h"
#include "base/map.h"
#include "base/time.h"
#include "session/digest.h"

struct param {
    struct span name;
    struct span value;
};

struct params {
    struct map_link link; /* in the store */
    struct params_store *store;
    uint32_t references;
    uint32_t count;
    bool temp_path; /* search_path names pg_temp */
    bool acts;      /* has a parameter that affects an idle server, or what is sent to it for the
                       next client: see params_at_rest */
    uint32_t size;  /* bytes of the allocation */
    struct digest session; /* of all but application_name, on which no statement depends */
    struct digest answer;  /* the same without time limits and what concerns idle sessions: on these
                              no answer depends, only whether there is one in time */
    bool limited;          /* it sets statement_timeout, in a spelling that is read here */
    duration limit;        /* that one; NO_LIMIT if it is 0, or not `limited` */
    struct param all[];    /* sorted; the bytes follow in the same allocation */
};

struct params_store {
    struct map sets;
    struct params *none; /* the empty set */
};

/* Limits of one set.  The limit at startup leaves room for the parameters that servers report,
 * which the session may change later: a SET must not end the client. */
#define PARAMS_MAX      128
#define PARAMS_REPORTED 32
#define PARAMS_STARTUP  (PARAMS_MAX - PARAMS_REPORTED)
#define PARAMS_SIZE_MAX 16384 /* bytes of names and values */

fault params_store_init(struct params_store *store) MUST_USE;
void params_store_fini(struct params_store *store); /* only the empty set may be left */

/** Finds or makes the set of these parameters, given in any order; of equal names the last wins.
 *  The caller owns a reference.  Faults: LIMIT, MEMORY. */
fault params_intern(struct params_store *store, const struct param *all, size_t count,
                    struct params **ret) MUST_USE;
/** Finds or makes `set` with one parameter changed, or removed when `value` is NULL. */
fault params_with(struct params *set, struct span name, const struct span *value,
                  struct params **ret) MUST_USE;
struct params *params_ref(struct params *set);
void params_unref(struct params **set); /* NULL-safe */
/** Drops the reference in *slot and stores `take` there, which takes over the caller's
 *  reference. */
void params_assign(struct params **slot, struct params *take);
/** Returns the value, or NULL if the set does not have the name. */
const struct span *params_find(const struct params *set, struct span name);
/** Whether transactions of a session with this set are serializable by default. */
bool params_serializable(const struct params *set);
/** Whether the set has the name with this value. */
bool params_has(const struct params *set, const struct param *param);

/* Written in front of statements that take a snapshot, in the same text, so that the session's
 * default_transaction_* do not apply to them.  The SET may be repeated in a transaction as long as
 * no other characteristic of it was set. */
#define PARAMS_PLAIN_TRANSACTION "SET LOCAL transaction_isolation='read committed';"
/** Appends SQL that changes a session's parameters from `from` to `to`; nothing when they are the
 *  same set.  The effect of the SQL does not depend on the session's parameters.  `begins`: the SQL
 *  is the first of its transaction.  Faults are the buffer's. */
void params_write_difference(struct buffer *sql, const struct params *from, const struct params *to,
                             bool begins);
/** Appends calls of set_config(), separated by commas, that change parameters from `from` to `to`
 *  until the end of the transaction; nothing when only application_name differs, on which no
 *  statement depends. */
void params_write_local(struct buffer *sql, const struct params *from, const struct params *to);
/** Appends a string literal whose meaning does not depend on the session's parameters. */
void params_write_literal(struct buffer *sql, struct span text);
/** Finds or makes `set` without the parameters that affect a server while no client has it: timers
 *  of idle sessions, keepalives, very short timeouts. */
fault params_at_rest(struct params *set, struct params **ret) MUST_USE;
/** Finds or makes `set` with a statement_timeout of 0 if it is `limited`: for an execution whose
 *  clients each have a limit of their own. */
fault params_unlimited(struct params *set, struct params **ret) MUST_USE;
/** Appends name NUL value NUL ... (startup packet form). */
void params_write_flat(struct buffer *out, const struct params *set);
/** Finds or makes the set that params_write_flat wrote. */
fault params_read_flat(struct params_store *store, struct span flat, struct params **ret) MUST_USE;
/** Whether a reported parameter is not set by sessions, and so never replayed on another server. */
bool params_are_fixed(struct span name);
/** Finds or makes the set of the reported parameters (name NUL value NUL ...) whose values follow
 *  each client from server to server: the defaults of a session.  Leaves out what exceeds
 *  PARAMS_MAX or half of PARAMS_SIZE_MAX.  Faults: MEMORY. */
fault params_read_defaults(struct params_store *store, struct span reported,
                           struct params **ret) MUST_USE;
/** Finds or makes the set that means on a session with the defaults `to` what `set` means on one
 *  with the defaults `from`.  Faults: LIMIT, MEMORY. */
fault params_rebase(struct params *set, const struct params *from, const struct params *to,
                    struct params **ret) MUST_USE;
/** Whether this is one of the reported parameters (name NUL value NUL ...) whose values follow each
 *  client from server to server. */
bool params_follow(struct span reported, struct span name);
