#pragma once
/*
 * statements.h - prepared statements that follow a client from server to server.
 *
 * A statement is known by a digest (SHA-256, cut to 128 bits) of its parameter types and its text;
 * its name on every server is made of that, so a name always means the same text, is never reused
 * for another, and a server may move between relays.  A client maps its own names to statements; a
 * server keeps the digests it has prepared, the least recently used first out.
 * All of one relay; nothing locks.
 */
#include "base/list.h"
#include "base/map.h"
#include "query/effects.h"
#include "wire/messages.h"

#define DIGEST_SIZE         16
#define STATEMENT_NAME_SIZE 36 /* "tl_", 32 digits, NUL */
/* Names one client may have at a time. */
#define CLIENT_STATEMENTS_MOST 10000u

/* Text and types, shared by the clients of one relay that prepared the same. */
struct statement {
    struct map_link link;
    struct map *store;
    uint32_t references;
    struct query_effects *effects; /* of the text; NULL: none */
    uint32_t size;                 /* of `body` */
    uint8_t digest[DIGEST_SIZE];
    char name[STATEMENT_NAME_SIZE];
    uint8_t body[]; /* a Parse message's, after the statement's name */
};

/** The statement with this Parse body (what follows the name); the caller owns a reference.
 *  Faults: MEMORY, LIMIT. */
fault statement_intern(struct map *store, struct span body, struct statement **ret) MUST_USE;
/** The same, whose digest is known. */
fault statement_intern_as(struct map *store, const uint8_t digest[DIGEST_SIZE], struct span body,
                          struct statement **ret) MUST_USE;
struct statement *statement_ref(struct statement *statement);
void statement_unref(struct statement **statement); /* NULL-safe */

/* A client's name for one. */
struct client_statement {
    struct map_link link; /* in the client's map while `current` */
    uint32_t references;
    bool current;
    bool pending;  /* its Parse has not been answered yet */
    uint16_t size; /* of `name` */
    struct statement *statement;
    char name[]; /* not terminated */
};

/** Enters a name; the map holds a reference, and so does the caller.  Faults: LIMIT, MEMORY. */
fault client_statement_add(struct map *names, struct span name, struct statement *statement,
                           struct client_statement **ret) MUST_USE;
struct client_statement *client_statement_find(const struct map *names, struct span name);
/** Takes the name out of the map, dropping the map's reference. */
void client_statement_remove(struct map *names, struct client_statement *named);
/** Puts a removed name back (its Close was never carried out); false when the name is taken. */
bool client_statement_restore(struct map *names, struct client_statement *named);
void client_statement_unref(struct client_statement **named);
/** Forgets all names (the client's end). */
void client_statements_clear(struct map *names);
/** Forgets those that exist on a server (DEALLOCATE ALL, DISCARD ALL): others come after it. */
void client_statements_deallocate(struct map *names);

/* Names that a text gives up by SQL's DEALLOCATE; belongs to the entry of its answer. */
struct deallocation {
    struct query_effects *effects; /* what else the text may do, heap; NULL: nothing that matters */
    uint8_t count;
    uint8_t done; /* DEALLOCATE commands of the text that have completed */
    struct {
        struct client_statement *named;
        uint8_t place; /* among those commands, from 1 */
    } names[QUERY_EFFECTS_MOST];
};

/* What one server has prepared, as far as what was sent to it so far will be carried out. */
struct server_statement {
    struct map_link link;
    struct node used; /* in `used`, most recently used first, or in `closing` */
    uint32_t pending; /* Parses of it that were sent and not answered yet */
    uint32_t batch;   /* the last of them belongs to: see struct ledger */
    uint32_t closes;  /* Closes of it, for room, that were sent and not answered yet */
    bool doubtful;    /* a Parse of it failed or was skipped: it may be there or not */
    bool closing;     /* such a Close was sent last */
    uint8_t digest[DIGEST_SIZE];
};
struct server_statements {
    struct map known;
    struct list used;
    struct list closing;
    uint32_t most;
};

enum statement_place {
    STATEMENT_ABSENT,
    STATEMENT_THERE,
    STATEMENT_UNSURE, /* that depends on an earlier batch: close it, then parse it */
};

void server_statements_init(struct server_statements *on, uint32_t most);
void server_statements_fini(struct server_statements *on);
/** Whether messages of this batch may name it.  It becomes the most recently used. */
enum statement_place server_statement_use(struct server_statements *on,
                                          const uint8_t digest[DIGEST_SIZE], uint32_t batch);
/** A Parse of it is sent.  Faults: MEMORY. */
fault server_statement_add(struct server_statements *on, const uint8_t digest[DIGEST_SIZE],
                           uint32_t batch) MUST_USE;
/** That Parse was answered, or (false) failed or was skipped. */
void server_statement_settle(struct server_statements *on, const uint8_t digest[DIGEST_SIZE],
                             bool parsed);
/** The least recently used one when there are more than `most`: its Close is sent.  NULL: none. */
const struct server_statement *server_statement_evict(struct server_statements *on);
/** That Close was answered, or (false) was skipped. */
void server_statement_evicted(struct server_statements *on, const uint8_t digest[DIGEST_SIZE],
                              bool closed);
/** The tables under them have changed their shape: each is parsed again before its next use. */
void server_statements_doubt(struct server_statements *on);
/** The name on servers of the statement with this digest. */
void statement_name(const uint8_t digest[DIGEST_SIZE], char name[STATEMENT_NAME_SIZE]);
