#pragma once
/*
 * inside.h - writes of services whose writers all come through this daemon (`writers: inside`).
 *
 * Nothing tells of writes but the daemon's own connections, so each of them notes what it may
 * commit.  What a session has noted is held in doubt from before the message is forwarded that may
 * commit it, until its ReadyForQuery was read, and is raised before any of that answer goes to the
 * client.  If the connection is lost in between, the doubt lasts until the server says that its
 * backend is gone.  Design: docs/internals/flight.md
 *
 * `struct inside` is one service: any thread; nothing suspends; valid until insides_free().
 * `struct inside_writes` belongs to one connection to a server, and to that one's thread.
 */
#include "flight/generations.h"
#include "flight/verdict.h"

struct inside;
struct insides;

/* Backends that were lost with writes in doubt; with more of them all stays in doubt until the
 * service has another primary. */
#define INSIDE_LOST_MAX 64u

/* --- services --------------------------------------------------------------------------------- */

/* A service of a configuration. */
struct inside_service {
    struct span name;
    uint64_t servers; /* a digest of which they are */
};

/** Makes an empty table; the caller owns it.  NULL without memory. */
struct insides *insides_new(struct generations_table *generations);
/** Ends all doubt.  No session has noted writes any more.  NULL-safe. */
void insides_free(struct insides **insides);
/** Takes the services that a configuration declares.  `first`: it is the configuration with which
 *  the process starts.  A declaration counts if the first configuration has it, and as long as each
 *  later one has it with the same servers: then no connection is older than the declaration. */
void insides_declare(struct insides *insides, const struct inside_service *all, size_t count,
                     bool first);
/** Finds a service, or makes it.  NULL: no memory. */
struct inside *insides_get(struct insides *insides, struct span service);
/** Another server is the primary, or may be: doubt about backends of the one before ends, and all
 *  that is in memory is changed.  Called before the next primary is used. */
void insides_change(struct insides *insides, struct span service);

/** Whether the declaration counts. */
bool inside_counts(const struct inside *inside);
/** Whether the catalog has just changed.  Verdicts are not made then: each costs the server some
 *  milliseconds, and the next change may come at once. */
bool inside_rests(const struct inside *inside);
/** Returns the number of a database of the service in generations.h, for answers of mode strict. */
uint64_t inside_database(const struct inside *inside, struct span database);
/** Returns the generation of the catalogs and roles of all of its databases. */
uint64_t inside_catalog(const struct inside *inside);
/** Begins the set of an execution in this database. */
void inside_reads_init(const struct inside *inside, struct generations_reads *reads,
                       uint64_t database);
/** Changes all that is in memory: the server is another one, or has other settings. */
void inside_raise_all(struct inside *inside);

/** Returns the generation of the settings that servers have from their login on, those of roles and
 *  databases.  A connection that is older than the latest one may give names other tables. */
uint64_t inside_settings(const struct inside *inside);
/** Notes that such a connection was asked for a verdict; returns how often that was so. */
void inside_note_unfit(struct inside *inside);
uint64_t inside_unfit(const struct inside *inside);

/** A connection was lost: the server may have restarted, so stored answers wait for an execution
 *  that finds it as it was. */
void inside_suspect(struct inside *inside);
/** Returns how often inside_suspect() was called. */
uint64_t inside_suspicions(const struct inside *inside);

/* --- lost backends ---------------------------------------------------------------------------- */

/** Copies the process ids of lost backends; returns their number. */
uint32_t inside_lost_pids(struct inside *inside, uint32_t pids[INSIDE_LOST_MAX]);
bool inside_has_lost(struct inside *inside);
/** Ends the doubt about all of them: the server has been started again, or is another one. */
void inside_forget_lost(struct inside *inside);
/** Ends the doubt about a lost backend: the primary has no such process any more. */
void inside_gone(struct inside *inside, uint32_t pid);

/* --- writes of one connection ----------------------------------------------------------------- */

enum inside_extent { INSIDE_NOTHING, INSIDE_TABLES, INSIDE_DATABASE, INSIDE_CATALOG };

struct inside_writes {
    struct inside *inside;
    uint64_t database;
    uint64_t settings;             /* inside_settings() from before its login */
    uint64_t catalog;              /* inside_catalog() when the first table was noted */
    enum inside_extent extent;     /* of what was noted and may be committed */
    struct generations_writes set; /* INSIDE_TABLES: them */
    bool doubts;                   /* what follows is held */
    enum inside_extent held;
    struct generations_writes held_set;
    struct generations_writes held_catalog;
    uint64_t era; /* of the doubt */

    /* Of the statements since the last ReadyForQuery: */
    uint32_t completes; /* of CommandComplete */
    bool rolled_back;   /* the last one of these said ROLLBACK */
    bool others;        /* a statement ended without one: PortalSuspended, or a function's result */
    bool failed;        /* ErrorResponse */
    /* Of all statements that it was told to prepare, where a Bind does not tell which one it is: */
    enum inside_extent parsed;
    bool parsed_presets;
    bool scans;    /* a long Query is sent, part by part */
    uint8_t alter; /* bytes of "alter" that the parts of a long Query end with */
    /* Of those since the last idle one: */
    bool ends;    /* the open transaction may have been ended */
    bool settles; /* names may denote other things than before */
    bool presets; /* settings of roles or databases may change */
};

/** Makes the notes of a connection that is about to log in; the caller owns them.  NULL: no memory.
 */
struct inside_writes *inside_writes_new(struct inside *inside, struct span database);
/** Frees notes without doubt.  NULL-safe. */
void inside_writes_free(struct inside_writes **writes);
/** Notes writes of tables; `catalog`: the generation for which the verdict is good; `key`: the
 * digest of the only primary key that is written in the verdict's `key_relation`, NULL: any. */
void inside_writes_listed(struct inside_writes *writes, const struct verdict *verdict,
                          uint64_t catalog, const uint64_t *key);
/** Notes writes of an extent. */
void inside_writes_note(struct inside_writes *writes, enum inside_extent extent);
/** Holds all that was noted, because the next message may commit it. */
void inside_writes_doubt(struct inside_writes *writes);
/** What is held may have been committed: raises it, while it is held. */
void inside_writes_raise(struct inside_writes *writes);
/** Ends the doubt, behind inside_writes_raise() or if nothing was committed. */
void inside_writes_settle(struct inside_writes *writes);
/** Forgets what was noted: the transaction is over. */
void inside_writes_clear(struct inside_writes *writes);
/** The connection is lost: what is in doubt stays so until its backend is gone. */
void inside_writes_lost(struct inside_writes *writes, uint32_t pid);

/* --- console ---------------------------------------------------------------------------------- */

struct inside_view {
    struct span service;
    bool counts;
    uint64_t writes;   /* transactions that may have written */
    uint64_t unlisted; /* of these: any table, or the catalog */
    uint32_t lost;
};
void insides_each(struct insides *insides,
                  void (*see)(void *argument, const struct inside_view *view), void *argument);
