#pragma once
/*
 * statements.h - prepared statements that follow a client from server to server.
 *
 * A client's name stands for a text with its declared types, and for what that meant when it was
 * parsed: its `meaning`.  Names with the same meaning may use one statement of a server; a name
 * that local pools with nobody has a meaning of its own.  On a server each statement has a name
 * that was never used before and can't be guessed.  All of one relay; nothing locks. Design:
 * docs/internals/statements.md
 */
#include "base/list.h"
#include "base/map.h"
#include "query/effects.h"
#include "session/params.h"
#include "session/signature.h"
#include "wire/messages.h"

#define STATEMENT_NAME_SIZE 36 /* "tl_", 32 digits, NUL */
/* PostgreSQL tells names of statements apart by so many bytes, also those of Parse messages. */
#define STATEMENT_NAME_KEPT 63u
/* Names one client may have at a time. */
#define CLIENT_STATEMENTS_MAX 10000u

/* Text and types, shared by the clients of one relay that prepared the same. */
struct statement {
    struct map_link link;
    struct map *store;
    uint32_t references;
    struct query_effects *effects; /* of the text; NULL: none */
    bool alters;                   /* the text may change its session, or its transaction's */
    bool timely;                   /* it has a literal such as 'now', which Parse evaluates */
    bool follows;                  /* FETCH, EXECUTE: its columns are those of something else */
    uint32_t size;                 /* of `body` */
    struct digest digest;
    uint8_t body[]; /* a Parse message's, after the statement's name */
};

/** The statement with this Parse body (what follows the name); the caller owns a reference.
 *  Faults: MEMORY, LIMIT. */
fault statement_intern(struct map *store, struct span body, struct statement **ret) MUST_USE;
/** The same, whose digest is known. */
fault statement_intern_as(struct map *store, const struct digest *digest, struct span body,
                          struct statement **ret) MUST_USE;
struct statement *statement_ref(struct statement *statement);
void statement_unref(struct statement **statement); /* NULL-safe */
/** Whether this Parse body is a command on the session or its transaction, as SET, SHOW and COMMIT:
 *  PostgreSQL evaluates nothing of it at its Parse, and some come before any query. */
bool statement_is_command(struct span body);
/** Whether its columns are those of something else, which may change. */
bool statement_follows(struct span body);

/* What a client's Parse meant. */
struct meaning {
    struct digest key;     /* equal: the same; until it is known, the client's alone */
    struct digest session; /* of the session's parameters at the Parse: see params.h */
    struct digest shape;   /* of parameters and columns; if `shaped` */
    uint64_t generation;   /* of the database, when the Parse was sent */
    bool shaped;
    bool shared; /* others may have the same */
};

/* A client's name for a statement. */
struct client_statement {
    struct map_link link; /* in the client's map while `current` */
    uint32_t references;
    bool current;
    bool pending;  /* its Parse has not been answered yet */
    uint16_t size; /* of `name`, at most STATEMENT_NAME_KEPT */
    struct statement *statement;
    struct params *params; /* of the session at its Parse; NULL: not known */
    struct meaning meaning;
    char name[]; /* not terminated */
};

/** Enters a name, cut to what is kept; the map holds a reference, and so does the caller.  Faults:
 * LIMIT, MEMORY. */
fault client_statement_add(struct map *names, struct span name, struct statement *statement,
                           struct client_statement **ret) MUST_USE;
struct client_statement *client_statement_find(const struct map *names, struct span name);
/** One that means this, of however many; NULL: none. */
const struct client_statement *client_statement_meaning(const struct map *names,
                                                        const struct digest *key);
/** Takes the name out of the map, dropping the map's reference. */
void client_statement_remove(struct map *names, struct client_statement *named);
/** Puts a removed name back (its Close was never carried out); false when the name is taken. */
bool client_statement_restore(struct map *names, struct client_statement *named);
struct client_statement *client_statement_ref(struct client_statement *named);
void client_statement_unref(struct client_statement **named);
/** Forgets all names (the client's end). */
void client_statements_clear(struct map *names);
/** Forgets those that exist on a server (DEALLOCATE ALL, DISCARD ALL): others come after it. */
void client_statements_deallocate(struct map *names);
/** What it meant is known: with this signature, and shared or its own. */
void client_statement_means(struct client_statement *named, const struct signature *signature,
                            bool shared);

/* Names that a text gives up by SQL's DEALLOCATE; belongs to the entry of its answer. */
struct deallocation {
    struct query_effects *effects; /* what else the text may do, heap; NULL: nothing that matters */
    uint8_t count;
    uint8_t done; /* DEALLOCATE commands of the text that have completed */
    bool all;     /* it has a DEALLOCATE ALL or DISCARD ALL: all names, when its tag comes */
    struct {
        struct client_statement *named;
        uint8_t place; /* among those commands, from 1 */
    } names[QUERY_EFFECTS_MAX];
};

/* A portal whose Execute gives names up.  A server has few of them. */
struct giving_portal {
    struct giving_portal *next; /* an older one */
    struct digest name;
    uint64_t client; /* number of the one that bound it */
    struct query_effects *effects;
};
#define GIVING_PORTALS_MAX 16u

/* What one server has prepared, as far as what was sent to it so far will be carried out. */
struct server_statement {
    struct map_link link; /* in `known` while it may be used */
    struct node used;     /* in `used`, most recently used first, or in one of the others */
    struct digest key;    /* of its meaning */
    uint64_t owner;       /* number of the only client that may use it; 0: any that means it */
    bool pending;         /* its Parse has not been answered */
    bool unproven;        /* Trunkline parsed it, and has not seen what came out */
    bool differs;         /* that was not what its client knows */
    char name[STATEMENT_NAME_SIZE];
};
struct server_statements {
    struct map known;
    struct list used;
    struct list orphans; /* nobody may use them: they are to be closed */
    struct list closing; /* and their Closes were sent */
    uint32_t max;
};

void server_statements_init(struct server_statements *on, uint32_t max);
void server_statements_fini(struct server_statements *on);
/** The one of this meaning for the client of this number; becomes the most recently used.  NULL:
 *  none, or it was made an orphan because it is another client's. */
struct server_statement *server_statement_use(struct server_statements *on,
                                              const struct digest *key, uint64_t client);
/** Borrowed; NULL: none. */
struct server_statement *server_statement_find(const struct server_statements *on,
                                               const struct digest *key);
/** A Parse under a name made of `fresh` is sent; there is none of this meaning.  Faults: MEMORY. */
fault server_statement_add(struct server_statements *on, const struct digest *key,
                           const struct digest *fresh, struct server_statement **ret) MUST_USE;
/** That Parse was answered, or (false) failed or was skipped. */
void server_statement_settle(struct server_statements *on, const struct digest *key, bool parsed);
/** Its meaning is known; what had that before is an orphan. */
void server_statement_rename(struct server_statements *on, const struct digest *from,
                             const struct digest *to);
/** Nobody uses it any more. */
void server_statement_drop(struct server_statements *on, struct server_statement *known);
/** Something of this name may be there, which nobody uses.  Faults: MEMORY. */
fault server_statement_litter(struct server_statements *on, const struct digest *fresh) MUST_USE;
/** The least recently used are orphans when there are more than `most`. */
void server_statement_evict(struct server_statements *on);
/** An orphan whose Close is to be sent, and now is.  NULL: none. */
const struct server_statement *server_statement_orphan(struct server_statements *on);
/** That Close was answered, or (false) was skipped. */
void server_statement_closed(struct server_statements *on, const char name[STATEMENT_NAME_SIZE],
                             bool closed);
/** DEALLOCATE ALL was carried out. */
void server_statements_deallocated(struct server_statements *on);
/** They may be there or not: each is an orphan. */
void server_statements_doubt(struct server_statements *on);
/** Whether nothing of ours is there. */
static inline bool server_statements_empty(const struct server_statements *on)
{
    return on->used.count + on->orphans.count + on->closing.count == 0;
}
/** Whether the server is believed to have one of this name; NULL: not. */
const struct server_statement *server_statement_named(const struct server_statements *on,
                                                      struct span name);

/** The name on a server that is made of these bits. */
void statement_name(const struct digest *fresh, char name[STATEMENT_NAME_SIZE]);
