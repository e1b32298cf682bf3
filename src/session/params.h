#pragma once
/*
 * params.h - sets of session parameters (name = value), shared by all who have the same.
 *
 * A set is immutable, sorted by name, counted, and interned per relay: two connections have the
 * same parameters exactly when they point to the same set, so that "nothing to send" is one
 * comparison. A set holds what differs from the server's own defaults: startup parameters,
 * `options`, and what SET changed since.  Names compare without case, values with case
 * (application_name's does matter).
 */
#include "base/buffer.h"
#include "base/map.h"
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
    bool acts;      /* on a server that rests, or on what is sent to it for the next client */
    uint32_t size;  /* of all of it */
    struct digest session; /* of all but application_name, on which no statement depends */
    struct param all[];    /* sorted; the bytes follow in the same allocation */
};

struct params_store {
    struct map sets;
    struct params *none; /* the empty set */
};

/* Limits of one set.  A client may say so many at its startup that there is room for whatever
 * servers report beside them, which its session may change: it does not end for a SET. */
#define PARAMS_MAX      128
#define PARAMS_REPORTED 32
#define PARAMS_STARTUP  (PARAMS_MAX - PARAMS_REPORTED)
#define PARAMS_SIZE_MAX 16384 /* bytes of names and values */

fault params_store_init(struct params_store *store) MUST_USE;
void params_store_fini(struct params_store *store); /* all sets but the empty one are gone */

/** The set of these (in any order; of equal names the last wins).  The caller owns a reference.
 *  Faults: LIMIT, MEMORY. */
fault params_intern(struct params_store *store, const struct param *all, size_t count,
                    struct params **ret) MUST_USE;
/** `set` with one name changed, or removed when `value` is NULL. */
fault params_with(struct params *set, struct span name, const struct span *value,
                  struct params **ret) MUST_USE;
struct params *params_ref(struct params *set);
void params_unref(struct params **set); /* NULL-safe */
/** Replaces *slot by `take`, dropping the reference that it held. */
void params_assign(struct params **slot, struct params *take);
/** The value, or NULL. */
const struct span *params_find(const struct params *set, struct span name);

/* In front of statements that take a snapshot, in the same text: the session's
 * default_transaction_* do not count for them.  Allowed once more while nothing else was said of
 * the transaction. */
#define PARAMS_PLAIN_TRANSACTION "SET LOCAL transaction_isolation='read committed';"
/** Appends SQL that leads a session from `from` to `to`; nothing when they are the same set.  What
 *  it does does not depend on what the session's parameters are.  `begins`: its transaction begins
 *  with it.
 *  Faults are the buffer's. */
void params_write_difference(struct buffer *sql, const struct params *from, const struct params *to,
                             bool begins);
/** Appends calls of set_config(), with commas, that lead a transaction from `from` to `to` until
 * its end; nothing when no statement tells them apart. */
void params_write_local(struct buffer *sql, const struct params *from, const struct params *to);
/** Appends a literal that means the same whatever the session's parameters are. */
void params_write_literal(struct buffer *sql, struct span text);
/** `set` without what acts on a server that no client has. */
fault params_at_rest(struct params *set, struct params **ret) MUST_USE;
/** Appends name NUL value NUL ... (startup packet form). */
void params_write_flat(struct buffer *out, const struct params *set);
/** The reverse of params_write_flat. */
fault params_read_flat(struct params_store *store, struct span flat, struct params **ret) MUST_USE;
