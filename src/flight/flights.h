#pragma once
/*
 * flights.h - the executions under way whose answers several clients wait for.
 *
 * A flight is one execution of a key.  No client owns it: a runner executes the statement, and the
 * clients that wait read the flight's answer (answer.h).  The table is shared by all threads.  A
 * flight is counted: the table, the runner, each waiter and each mail under way have a reference.
 *
 *     ASKING ──> RUNNING ──> ENDED, LOST    ASKING, RUNNING ──> DECLINED
 *
 * ASKING    the runner finds out whether the statement may be shared; a join is always possible
 * RUNNING   the execution has been sent; a join is possible while no write has changed what it
 *           reads since then, and the beginning of the answer is still there
 * ENDED     nothing comes any more: see answer_ended()
 * DECLINED  the statement may not be shared: each waiter executes it by itself
 * LOST      the server was lost; waiters that have got nothing of the answer begin another flight
 *
 * Only the runner moves a flight on.  A flight in ENDED, DECLINED or LOST, or one that its last
 * waiter has left, is not in the table.  A waiter belongs to its machine's thread; everything else
 * is under the lock of the flight's shard.  Nothing here suspends.  Design:
 * docs/internals/flight.md
 */
#include "base/time.h"
#include "flight/answer.h"
#include "flight/generations.h"
#include "flight/l1.h"
#include "machine/machine.h"

struct flights;
struct flight;

enum flight_phase { FLIGHT_ASKING, FLIGHT_RUNNING, FLIGHT_ENDED, FLIGHT_DECLINED, FLIGHT_LOST };

/* A place among those that wait for a flight; zero: none. */
struct flight_waiter {
    struct node node; /* in audience->waiters */
    struct flight_audience *audience;
    struct flight *flight; /* counted; NULL: it waits for none */
    /* Called on the waiter's thread when there is news of its flight; it may leave the flight. */
    void (*news)(struct flight_waiter *waiter);
};

/** Makes an empty table; the caller owns it.  NULL without memory. */
struct flights *flights_new(const struct generations_table *generations);
void flights_free(struct flights **flights); /* NULL-safe; no flight may be left */

/* What the console shows of a flight; copied. */
struct flight_about {
    struct span text;
    struct span database;
    struct span user;
};

enum flight_role {
    FLIGHT_JOINED, /* another's execution; look at its phase and its answer at once */
    FLIGHT_LED,    /* a new flight, ASKING: the caller starts its runner, or declines it */
    FLIGHT_NONE,   /* no memory: the client executes the statement by itself */
};

/** Joins the flight of this key, or makes a new one in its place, and makes `waiter`, whose `news`
 *  is set, wait for it.  On a machine's thread.  `key`: of the cache's digests; copied. */
enum flight_role flights_join(struct flights *flights, const struct l1_key *key,
                              const struct flight_about *about, struct flight_waiter *waiter);
/** Whether there is a flight of this key whose execution has been sent, and that can be joined. */
bool flights_runs(struct flights *flights, const struct l1_key *key);
/** Makes a flight for which no client waits yet, to refresh an entry.  NULL: there is one already,
 * or no memory.  The caller owns a reference. */
struct flight *flights_refresh(struct flights *flights, const struct l1_key *key,
                               const struct flight_about *about);
/** Ends the wait, from the waiter's thread.  The last waiter's end abandons the flight.  Accepts a
 *  waiter that waits for none. */
void flight_leave(struct flight_waiter *waiter);

struct flight *flight_ref(struct flight *flight);
void flight_unref(struct flight **flight); /* NULL-safe */

/* How far an extended statement came. */
enum flight_progress { FLIGHT_AT_PARSE, FLIGHT_AT_BIND, FLIGHT_AT_EXECUTE };

/* --- any thread with a reference -------------------------------------------------------------- */

enum flight_phase flight_phase(const struct flight *flight);
/** The answer; borrowed from the flight.  NULL in ASKING and DECLINED. */
struct answer *flight_answer(const struct flight *flight);
/** How far the statement came; of an ENDED flight. */
enum flight_progress flight_progress(const struct flight *flight);
/** The flight's own copy of the key, valid as long as the flight. */
const struct l1_key *flight_key(const struct flight *flight);

/* --- the runner ------------------------------------------------------------------------------- */

/** Notes how far the statement came; before the end. */
void flight_set_progress(struct flight *flight, enum flight_progress progress);
/** Names the runner.  `abandoned` is called on its machine's thread, at most once, when the last
 *  waiter has left before the end; also at once if that has happened already. */
void flight_set_runner(struct flight *flight, struct machine *machine,
                       void (*abandoned)(struct flight *flight, void *context), void *context);
/** Whether a client waits, or the flight is a refresh. */
bool flight_wanted(const struct flight *flight);
/** ASKING, or RUNNING when an execution is repeated: the execution is about to be sent.  Takes a
 *  reference to `answer`, which must be the same each time; copies `reads`.  `captured`: of
 *  generations_capture().  `reads` NULL: nothing was captured, and no client joins from
 *  now on. */
void flight_run(struct flight *flight, struct answer *answer, const struct generations_reads *reads,
                uint64_t captured);
/** RUNNING: lets no client join from now on.  False: one has joined since flight_run(). */
bool flight_close(struct flight *flight) MUST_USE;
/** Tells the waiters of all threads that there is more of the answer, or another phase. */
void flight_tell(struct flight *flight);
/** Ends the flight, ENDED or LOST (behind answer_end) or DECLINED, and tells the waiters. */
void flight_end(struct flight *flight, enum flight_phase how);

/* --- console ---------------------------------------------------------------------------------- */

struct flight_view {
    char text[201]; /* the beginning of the statement, terminated */
    char database[64];
    char user[64];
    enum flight_phase phase;
    bool sealed; /* a write has changed what it reads: no client joins any more */
    uint32_t waiters;
    uint32_t joined; /* clients that have waited or wait */
    uint64_t bytes;  /* of the answer so far */
    moment since;
};

/** Describes up to `count` flights in the table from number *cursor on, which begins as 0, and
 *  moves it on.  0: there are no more.  Flights that come or go meanwhile may be left out or come
 *  twice. */
uint32_t flights_views(struct flights *flights, uint32_t *cursor, struct flight_view *views,
                       uint32_t count);
