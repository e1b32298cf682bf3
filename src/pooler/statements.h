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
    uint32_t size; /* of `body` */
    uint8_t digest[DIGEST_SIZE];
    char name[STATEMENT_NAME_SIZE];
    uint8_t body[]; /* a Parse message's, after the statement's name */
};

/** The statement with this Parse body (what follows the name); the caller owns a reference.
 *  Faults: MEMORY, LIMIT. */
fault statement_intern(struct map *store, struct span body, struct statement **ret) MUST_USE;
struct statement *statement_ref(struct statement *statement);
void statement_unref(struct statement **statement); /* NULL-safe */

/* A client's name for one. */
struct client_statement {
    struct map_link link; /* in the client's map while `current` */
    uint32_t references;
    bool current;
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
/** Forgets all names (DEALLOCATE ALL, DISCARD ALL, the client's end). */
void client_statements_clear(struct map *names);

/* What one server has prepared. */
struct server_statement {
    struct map_link link;
    struct node used; /* most recently used first */
    uint8_t digest[DIGEST_SIZE];
};
struct server_statements {
    struct map known;
    struct list used;
    uint32_t most;
};
void server_statements_init(struct server_statements *on, uint32_t most);
void server_statements_fini(struct server_statements *on);
/** NULL when it is not prepared there; else it becomes the most recently used. */
struct server_statement *server_statement_use(struct server_statements *on,
                                              const uint8_t digest[DIGEST_SIZE]);
/** Enters one as most recently used.  NULL: no memory. */
struct server_statement *server_statement_add(struct server_statements *on,
                                              const uint8_t digest[DIGEST_SIZE]);
/** Takes the least recently used one out when there are more than `most`; the caller owns it. */
struct server_statement *server_statement_evict(struct server_statements *on);
void server_statement_remove(struct server_statements *on, const uint8_t digest[DIGEST_SIZE]);
/** Puts an evicted one back: its Close was never carried out. */
void server_statement_restore(struct server_statements *on, struct server_statement *take);
/** The name on servers of the statement with this digest. */
void statement_name(const uint8_t digest[DIGEST_SIZE], char name[STATEMENT_NAME_SIZE]);
