#pragma once
/*
 * calls.h - the statements that a server is executing for its client, in order, for their counts.
 *
 * A server has a struct calls only if statements are counted (SHOW STATEMENTS).  It stands beside
 * the ledger: each call names the ledger's entry that answers it by its place among all entries
 * that the ledger ever had, so calls whose entries are answered or dropped are known by a
 * comparison.  Owns references to outlines.  Pure: no sockets, nothing suspends.
 */
#include "base/span.h"
#include "base/time.h"
#include "session/ledger.h"

struct query_outline;

/* Calls that are noted; calls_sent returns further ones of a long pipeline. */
#define CALLS_MAX 4096u
/* Names that one server remembers of portals, and of statements in pools that do not keep their
 * texts.  The name noted longest ago goes first. */
#define CALLS_PORTALS    16u
#define CALLS_STATEMENTS 64u

enum call_kind {
    CALL_NONE,
    CALL_QUERY,   /* a Query or a function call: counted at its ReadyForQuery */
    CALL_PREPARE, /* a Parse or a Bind: counted only if it fails */
    CALL_EXECUTE, /* an Execute: counted when the portal is complete, or suspended */
};

/* What the name of a Parse or a Bind is one of, once the server has said that it is done. */
enum call_names { CALL_NAMES_NOTHING, CALL_NAMES_STATEMENT, CALL_NAMES_PORTAL };

struct call {
    uint64_t place; /* of its ledger entry */
    /* NULL until the call is done: that of the portal of an Execute, or of the statement of a Bind,
     * whose names may mean something else when the server comes to it. */
    struct query_outline *outline;
    enum call_names names;
    uint64_t name;   /* what it names; see calls_name */
    uint64_t source; /* the name that the outline is found by */
    bool skipped;    /* behind an error */
    enum call_kind kind;
    uint32_t limit; /* rows that an Execute asks for; 0: all */
    uint32_t errors;
    char sqlstate[6]; /* of the first of them */
    moment began;
    int64_t waited_us; /* for a server */
    uint64_t rows;
};

struct call_name {
    uint64_t hash; /* see calls_name */
    struct query_outline *outline;
};

struct calls {
    struct call *ring;
    uint32_t size; /* of the ring; a power of two, or 0 */
    uint32_t head;
    uint32_t count;
    struct call next;  /* the message being sent; kind NONE: none */
    uint64_t ever;     /* the ledger's count before that message */
    uint64_t passed;   /* bytes of replies that were walked past, before the present walk */
    uint64_t mark;     /* that count, and what was walked since, at the end of the last call */
    uint64_t last;     /* fingerprint of the last call that has ended */
    int64_t waited_us; /* for the server, not given to a call yet */
    moment ended;      /* the last call */
    bool unsure; /* a name was given that is not noted: no name is known until all is answered */
    uint32_t portals; /* noted so far */
    uint32_t statements;
    struct call_name portal[CALLS_PORTALS];
    struct call_name statement[CALLS_STATEMENTS];
};

struct calls *calls_new(void);         /* NULL: no memory */
void calls_free(struct calls **calls); /* NULL-safe */
/** The number by which a name of a statement or a portal is known. */
uint64_t calls_name(struct span name);
/** Notes that a message gives a name that can't be noted.  No name is known until the calls that
 *  are under way have ended. */
void calls_lose_name(struct calls *calls);
/** Forgets what portals, or all names, stand for: something else may have taken them. */
void calls_forget_portals(struct calls *calls);
void calls_forget_names(struct calls *calls);
/** Begins the message that is about to be sent; takes over the reference. */
void calls_begin(struct calls *calls, const struct ledger *ledger, const struct call *call,
                 struct query_outline *take_outline);
/** Notes the message as a call if the ledger owes a reply for it by now.  False: there is no room
 *  for it, and *ret is the call, whose outline the caller owns. */
bool calls_sent(struct calls *calls, const struct ledger *ledger, struct call *ret);
/** Drops the calls whose entries the ledger does not have any more; the names of those that were
 *  carried out are noted.  Returns the call that the oldest entry belongs to; NULL: it belongs
 *  to none. */
struct call *calls_head(struct calls *calls, const struct ledger *ledger);
/** Returns the call that an error is about: that of the oldest entry, or the first one behind it in
 *  the same batch.  NULL: there is none. */
struct call *calls_failed(struct calls *calls, const struct ledger *ledger);
/** Notes that the server skips what is behind an error, up to the end of the batch.  Called while
 *  the ledger still has the entry of the error. */
void calls_skip(struct calls *calls, const struct ledger *ledger);
/** Returns the oldest call that is executed, perhaps, and not answered; NULL: there is none. */
struct call *calls_lost(struct calls *calls, const struct ledger *ledger);
/** Removes the oldest call, up to and with `call`, which calls_head or calls_failed has returned.
 */
void calls_end(struct calls *calls, const struct call *call);
