#pragma once
/*
 * statements.h - prepared statements that follow a client from server to server.
 *
 * A client's name stands for a text with its declared types, and for its `meaning`: what the text
 * meant when it was parsed.  Names with the same meaning may use one statement of a server.  A name
 * that is not shared has a meaning of its own.  On a server each statement has a name that was
 * never used before and can't be guessed.  All data belongs to one relay; no locks.  Design:
 * docs/internals/statements.md
 */
#include "base/list.h"
#include "base/map.h"
#include "query/effects.h"
#include "session/params.h"
#include "session/signature.h"
#include "wire/messages.h"

#define STATEMENT_NAME_SIZE 36 /* "tl_", 32 digits, NUL */
/* PostgreSQL compares this many bytes of a statement's name, also for names in Parse messages. */
#define STATEMENT_NAME_KEPT 63u
/* Maximum number of names of one client. */
#define CLIENT_STATEMENTS_MAX 10000u

/* Text and types, shared by the clients of one relay that prepared the same. */
struct statement {
    struct map_link link;
    struct map *store;
    uint32_t references;
    struct query_effects *effects; /* of the text; NULL: none */
    bool alters;                   /* the text may change parameters of session or transaction */
    bool timely;                   /* the text has a literal such as 'now', evaluated at Parse */
    uint8_t outcome;               /* query_outcome_of() the text */
    bool follows;                  /* FETCH, EXECUTE: columns of a cursor or another statement */
    uint32_t size;                 /* of `body` */
    struct digest digest;
    uint8_t body[]; /* of the Parse message, behind the statement's name */
};

/** Finds or makes the statement with this Parse body (what follows the name).  The caller owns a
 *  reference.  Faults: MEMORY, LIMIT. */
fault statement_intern(struct map *store, struct span body, struct statement **ret) MUST_USE;
/** As statement_intern, for a body whose digest is known. */
fault statement_intern_as(struct map *store, const struct digest *digest, struct span body,
                          struct statement **ret) MUST_USE;
struct statement *statement_ref(struct statement *statement);
void statement_unref(struct statement **statement); /* NULL-safe */
/** Returns whether this Parse body is a utility command such as SET, SHOW or COMMIT.  PostgreSQL
 *  evaluates nothing of these at Parse, and some must come before any query of a transaction. */
bool statement_is_command(struct span body);
/** Returns whether this Parse body is a FETCH or EXECUTE, whose columns are those of a cursor or
 *  another statement and may change. */
bool statement_follows(struct span body);

/* A state of the catalog that the daemon knows from elsewhere, for statements of its own; zeros: it
 * knows none.  Statements of different states share nothing. */
struct statement_catalog {
    uint64_t epoch;
    uint64_t generation;
};

/* The meaning of a client's statement at its Parse. */
struct meaning {
    struct digest key;     /* equal keys: the same meaning; unique until the meaning is known */
    struct digest session; /* of the session's parameters at the Parse: see params.h */
    struct digest shape;   /* of parameters and columns; valid if `shaped` */
    uint64_t generation;   /* of the database, when the Parse was sent */
    struct statement_catalog catalog; /* of the client */
    bool shaped;
    bool shared; /* other names may have the same meaning */
};

/* A client's name for a statement. */
struct client_statement {
    struct map_link link; /* in the client's map while `current` */
    uint32_t references;
    bool current;
    bool pending;  /* the Parse has not been answered yet */
    uint16_t size; /* of `name`, at most STATEMENT_NAME_KEPT */
    struct statement *statement;
    struct params *params; /* of the session at the Parse; NULL: unknown */
    struct meaning meaning;
    char name[]; /* not terminated */
};

/** Adds a name, cut to STATEMENT_NAME_KEPT bytes.  The map and the caller each own a reference.
 *  Faults: LIMIT, MEMORY. */
fault client_statement_add(struct map *names, struct span name, struct statement *statement,
                           struct client_statement **ret) MUST_USE;
struct client_statement *client_statement_find(const struct map *names, struct span name);
/** Returns any name with the meaning `key`; NULL: none. */
const struct client_statement *client_statement_meaning(const struct map *names,
                                                        const struct digest *key);
/** Removes the name from the map and drops the map's reference. */
void client_statement_remove(struct map *names, struct client_statement *named);
/** Puts a removed name back into the map, because its Close was never carried out.  false: the name
 *  is taken, or no memory. */
bool client_statement_restore(struct map *names, struct client_statement *named);
struct client_statement *client_statement_ref(struct client_statement *named);
void client_statement_unref(struct client_statement **named);
/** Removes all names and frees the map; for the client's end. */
void client_statements_clear(struct map *names);
/** Removes all names whose Parse was answered, after DEALLOCATE ALL or DISCARD ALL.  A Parse that
 *  is not answered yet comes behind that command. */
void client_statements_deallocate(struct map *names);
/** Sets the meaning of a name, once its signature is known.  `defaults`: those of the session, if
 *  other names may have the same meaning; NULL: none may. */
void client_statement_means(struct client_statement *named, const struct signature *signature,
                            const struct digest *defaults);

/* Names that a text deallocates by SQL's DEALLOCATE; owned by the text's ledger entry. */
struct deallocation {
    struct query_effects *effects; /* other effects of the text, heap; NULL: none that matter */
    uint8_t count;
    uint8_t done; /* DEALLOCATE commands of the text that have completed */
    bool all;     /* the text has DEALLOCATE ALL or DISCARD ALL: all names go when its tag comes */
    struct {
        struct client_statement *named;
        uint8_t place; /* of its DEALLOCATE among those of the text, from 1 */
    } names[QUERY_EFFECTS_MAX];
};

/* A portal whose Execute deallocates names.  Each server has a short list of them. */
struct giving_portal {
    struct giving_portal *next; /* the next older portal */
    struct digest name;
    uint64_t client; /* number of the client that bound the portal */
    struct query_effects *effects;
};
#define GIVING_PORTALS_MAX 16u

/* A statement that one server has, provided that the messages sent so far are carried out. */
struct server_statement {
    struct map_link link; /* in `known` while it may be used */
    struct node used;     /* in `used`, most recently used first, or in `orphans` or `closing` */
    struct digest key;    /* of its meaning */
    uint64_t owner;       /* number of the only client that may use it; 0: any with this meaning */
    bool pending;         /* the Parse has not been answered */
    bool unproven;        /* Trunkline parsed it and has not compared its shape yet */
    bool differs;         /* its shape is not what its client knows */
    char name[STATEMENT_NAME_SIZE];
};
struct server_statements {
    struct map known;
    struct list used;
    struct list orphans; /* no longer used; to be closed */
    struct list closing; /* orphans whose Close was sent */
    uint32_t max;        /* statements in `used`, beyond which the least recently used is closed */
};

void server_statements_init(struct server_statements *on, uint32_t max);
void server_statements_fini(struct server_statements *on);
/** Returns the statement of this meaning for the client with this number, and makes it the most
 *  recently used.  NULL: none, or it belonged to another client and was made an orphan. */
struct server_statement *server_statement_use(struct server_statements *on,
                                              const struct digest *key, uint64_t client);
/** Returns the statement of this meaning, borrowed; NULL: none. */
struct server_statement *server_statement_find(const struct server_statements *on,
                                               const struct digest *key);
/** Adds a statement whose Parse is sent, under a name made of `fresh`.  The server must have none
 *  of this meaning.  Faults: MEMORY. */
fault server_statement_add(struct server_statements *on, const struct digest *key,
                           const struct digest *fresh, struct server_statement **ret) MUST_USE;
/** Notes that the Parse was answered, or (`parsed` false) failed or was skipped: then removes the
 *  statement. */
void server_statement_settle(struct server_statements *on, const struct digest *key, bool parsed);
/** Changes the key of a statement once its meaning is known.  An older statement of that meaning
 *  becomes an orphan. */
void server_statement_rename(struct server_statements *on, const struct digest *from,
                             const struct digest *to);
/** Makes a statement an orphan. */
void server_statement_drop(struct server_statements *on, struct server_statement *known);
/** Adds an orphan for a name that may exist on the server and that no client uses.  Faults:
 *  MEMORY. */
fault server_statement_litter(struct server_statements *on, const struct digest *fresh) MUST_USE;
/** Makes orphans of the least recently used statements beyond `max`. */
void server_statement_evict(struct server_statements *on);
/** Returns an orphan whose Close the caller sends now, and moves it to `closing`.  NULL: none. */
const struct server_statement *server_statement_orphan(struct server_statements *on);
/** Notes that the Close was answered, or (`closed` false) was skipped: then it is an orphan
 *  again. */
void server_statement_closed(struct server_statements *on, const char name[STATEMENT_NAME_SIZE],
                             bool closed);
/** Removes all statements but pending ones: DEALLOCATE ALL was carried out. */
void server_statements_deallocated(struct server_statements *on);
/** Makes orphans of all statements whose Parse was answered: they may be gone from the server. */
void server_statements_doubt(struct server_statements *on);
/** Returns whether the server has no statement of ours. */
static inline bool server_statements_empty(const struct server_statements *on)
{
    return on->used.count + on->orphans.count + on->closing.count == 0;
}
/** Returns the statement with this name on the server, as far as known; NULL: none. */
const struct server_statement *server_statement_named(const struct server_statements *on,
                                                      struct span name);

/** Writes the name on a server that is made of the bits of `fresh`. */
void statement_name(const struct digest *fresh, char name[STATEMENT_NAME_SIZE]);
