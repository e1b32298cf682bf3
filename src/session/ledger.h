#pragma once
/*
 * ledger.h - the ordered list of replies that a server still owes, and what becomes of each.
 *
 * Each server has one.  Before a message that the server will answer is sent, the sender writes an
 * entry.  Each message from the server is passed to the ledger.  The ledger says whether it goes to
 * the client, and removes the entry when its reply is complete.  Replies that Trunkline makes
 * itself (to the Close of a shared statement) are entries too, so that they are sent in order.  An
 * empty ledger means that nothing is outstanding.  Pure: no sockets.  Design:
 * docs/internals/ledger.md
 *
 * Invariants: entries are answered strictly in order.  After an error in an extended-protocol batch
 * all entries up to the next Sync are dropped, as the server skips those messages.  `skipping` says
 * that this Sync has not been sent yet, so that messages sent until then owe nothing.
 *
 * The ledger can't know whether a COPY FROM STDIN that fails has read a Sync that was sent between
 * its beginning and its end.  A Sync that COPY has read is not answered.  `doubt` says that this or
 * something like it may have happened.  While it is not 0, the server goes to no other client
 * before a mark has been answered (turn_mark.c).
 */
#include "base/fault.h"
#include "wire/message.h"

enum owed_kind {
    OWED_NOTHING,
    OWED_QUERY,    /* until ReadyForQuery */
    OWED_FUNCTION, /* until ReadyForQuery */
    OWED_SYNC,     /* ReadyForQuery */
    OWED_MARK,     /* our Query with a unique row: until ReadyForQuery behind that row */
    OWED_PARSE,    /* ParseComplete */
    OWED_BIND,     /* BindComplete */
    OWED_DESCRIBE, /* RowDescription or NoData; of a statement, behind ParameterDescription */
    OWED_EXECUTE,  /* until CommandComplete, EmptyQueryResponse or PortalSuspended */
    OWED_CLOSE,    /* CloseComplete */
};

enum owed_fate {
    FATE_FORWARD,   /* the client's request: the client gets the reply */
    FATE_NOTED,     /* the same, and Trunkline keeps the reply */
    FATE_SWALLOW,   /* Trunkline's request: the client does not get the reply */
    FATE_SYNTHETIC, /* never sent to the server: Trunkline makes the reply, in order */
};

/* The subject of an entry; passed to `settle` when the entry is answered or dropped. */
enum owed_about {
    ABOUT_NOTHING,
    ABOUT_PARSE,     /* what: struct client_statement; exists if the Parse succeeds */
    ABOUT_SIGNATURE, /* what: struct client_statement; a Describe that settles its meaning */
    ABOUT_UNNAMED,   /* what: the server's unnamed_mark; replaces or closes the unnamed statement */
    ABOUT_UNNAMED_SIGNATURE, /* what: client's unnamed_number; the client describes it */
    ABOUT_UNNAMED_PROOF,     /* what: as ABOUT_UNNAMED; our Describe compares its shape */
    ABOUT_DUPLICATE,         /* what: struct client_statement; a Parse that must fail with 42P05 */
    ABOUT_CLOSE,             /* what: struct client_statement; the client closes it */
    ABOUT_ORPHAN,            /* what: its name, heap; Trunkline closes a statement on the server */
    ABOUT_INJECT,            /* what: struct client_statement; Trunkline parses it on the server */
    ABOUT_PROOF,             /* what: the same; our Describe compares its shape */
    ABOUT_EFFECTS,           /* what: struct query_effects, heap; the text may leave state behind */
    ABOUT_DEALLOCATE,        /* what: struct deallocation, heap; the text deallocates names */
    ABOUT_REFUSED,           /* what: struct refused, heap; must fail, with an error text of ours */
    ABOUT_POSITION,          /* where the log of the server is: see own_writes.h */
    ABOUT_STATE,             /* a change of session parameters, or cleaning */
};

struct owed {
    uint8_t kind;
    uint8_t fate;
    uint8_t about;
    bool named;    /* of an Execute: its portal has a name */
    uint32_t ends; /* CopyDone and CopyFail sent right behind it; written by the ledger only */
    void *what;    /* owned by the entry, released by `settle` */
};

enum owed_end { OWED_ANSWERED, OWED_DROPPED };

/* Reasons why the server may send more or fewer replies than the ledger has: bits of `doubt`. */
enum ledger_doubt {
    DOUBT_COPY = 1,   /* the server has asked for COPY data */
    DOUBT_CANCEL = 2, /* a cancel request was sent to the server */
    DOUBT_BROKEN = 4, /* a reply came that did not belong to the oldest entry */
    DOUBT_MARK = 8,   /* a mark was sent, and has not been answered */
};

struct ledger {
    struct owed *ring;
    uint32_t mask; /* size of the ring - 1; the ring doubles up to LEDGER_MAX entries */
    uint32_t head; /* index of the oldest entry */
    uint32_t count;
    bool skipping;   /* the server skips messages until a Sync that has not been sent */
    bool may_skip;   /* the server may skip although a Sync was sent: a COPY may have read it */
    bool copy_in;    /* the server reads COPY data: neither its end nor another message was sent */
    bool copying;    /* the COPY of the head has begun, and has not been answered */
    bool extended;   /* messages were sent after the last Sync, Query or FunctionCall */
    bool ready;      /* in doubt: ReadyForQuery came last, and only Syncs are owed since */
    bool unsure;     /* a COPY that failed may have read the Syncs at the head */
    bool murky;      /* ReadyForQuery came for an unsure Sync, or for a batch behind it */
    bool mark_begun; /* all replies from now on belong to the mark at the head */
    bool mark_shown; /* the row of that mark has come */
    uint8_t doubt;   /* enum ledger_doubt */
    uint32_t taken;  /* entries answered since the last ReadyForQuery */
    bool told;       /* the end of a reply, or an error, has come since the last ReadyForQuery */
    uint32_t copy_syncs; /* Syncs right behind the head that its COPY reads unless it fails */
    uint32_t syncs;      /* number of newest entries that are all Syncs */
    uint64_t ever;       /* entries written so far: the oldest is number `ever` - `count` */
    uint32_t batch;      /* number of Syncs sent so far: identifies the batch being sent */
    /* Called once for every entry with `about`, when the entry is answered or dropped. */
    void (*settle)(void *owner, const struct owed *owed, enum owed_end end);
    void *owner;
};

/* Maximum number of entries.  At the limit, the client is not read until some are answered. */
#define LEDGER_MAX 16384u

void ledger_init(struct ledger *ledger,
                 void (*settle)(void *owner, const struct owed *owed, enum owed_end end),
                 void *owner);
/** Drops all entries, the oldest first, and frees the ring. */
void ledger_fini(struct ledger *ledger);
/** Frees the ring of an empty ledger; the next entry allocates one again. */
void ledger_rest(struct ledger *ledger);

/* Bytes that an entry counts in memory_limit, with an allowance for what it owns on the heap. */
#define LEDGER_ENTRY_BYTES 48u
uint64_t ledger_ring_bytes(const struct ledger *ledger);

static inline bool ledger_empty(const struct ledger *ledger)
{
    return ledger->count == 0;
}
/** Returns whether the server may owe no more replies: nothing is owed, or only Syncs that a COPY
 *  may have read.  Enough for a client that keeps the server; before another client gets it, see
 *  ledger_may_mark. */
static inline bool ledger_quiet(const struct ledger *ledger)
{
    return ledger->count == 0 || (ledger->unsure && ledger->ready);
}
/** Makes room for `more` entries.  false: no memory, or the limit; wait for replies. */
bool ledger_make_room(struct ledger *ledger, uint32_t more);
/** Returns whether `more` entries fit, making room if need be.  false: wait for replies. */
static inline bool ledger_has_room(struct ledger *ledger, uint32_t more)
{
    return (ledger->ring != NULL && ledger->count + more <= ledger->mask + 1) ||
           ledger_make_room(ledger, more);
}
/** Returns whether nothing is owed behind the first Sync, Query or FunctionCall but a position. */
bool ledger_is_one_batch(const struct ledger *ledger);
/** Makes the ledger swallow the reply to the head. */
static inline void ledger_swallow(struct ledger *ledger)
{
    ledger->ring[ledger->head & ledger->mask].fate = FATE_SWALLOW;
}
/** Makes the ledger swallow all replies that are owed. */
void ledger_swallow_all(struct ledger *ledger);
/** Writes an entry for a message that is about to be sent (or is never sent: FATE_SYNTHETIC).
 *  While the server is skipping, only a Sync, which ends the skipping, is written; other entries
 *  are dropped at once.  The caller has made room. */
void ledger_owe(struct ledger *ledger, struct owed owed);
/** Returns the oldest entry; NULL when nothing is owed. */
static inline const struct owed *ledger_head(const struct ledger *ledger)
{
    return ledger->count == 0 ? NULL : &ledger->ring[ledger->head & ledger->mask];
}
/** Returns whether the next reply is made by Trunkline. */
static inline bool ledger_synthetic(const struct ledger *ledger)
{
    const struct owed *head = ledger_head(ledger);
    return head != NULL && head->fate == FATE_SYNTHETIC;
}
/** Returns whether the server may hold back its replies until a Sync that has not been sent.  A
 *  Sync that a COPY reads does not count. */
static inline bool ledger_awaits_sync(const struct ledger *ledger)
{
    return ledger->extended || ledger->skipping ||
           (ledger->copying && ledger_head(ledger)->kind == OWED_EXECUTE &&
            ledger->count == 1 + ledger->copy_syncs);
}
/** Removes the synthetic entry at the head, as answered. */
void ledger_give(struct ledger *ledger);

/* Fast path of ledger_take for the most common messages to be forwarded. */
enum ledger_plain {
    PLAIN_NOT,    /* none of these: call ledger_take */
    PLAIN_PART,   /* forward; more of the reply follows */
    PLAIN_ANSWER, /* forward; the reply is complete: call ledger_strike */
};
static inline enum ledger_plain ledger_plain(const struct ledger *ledger, uint8_t type)
{
    const struct owed *head = ledger_head(ledger);
    if (head == NULL || head->fate != FATE_FORWARD)
        return PLAIN_NOT;
    switch (type) {
    case WIRE_DATA_ROW:
    case WIRE_COPY_DATA:
        return head->kind == OWED_QUERY || head->kind == OWED_EXECUTE ? PLAIN_PART : PLAIN_NOT;
    case WIRE_ROW_DESCRIPTION:
        return head->kind == OWED_QUERY      ? PLAIN_PART
               : head->kind == OWED_DESCRIBE ? PLAIN_ANSWER
                                             : PLAIN_NOT;
    case WIRE_NO_DATA:
        return head->kind == OWED_DESCRIBE ? PLAIN_ANSWER : PLAIN_NOT;
    case WIRE_PARSE_COMPLETE:
        return head->kind == OWED_PARSE ? PLAIN_ANSWER : PLAIN_NOT;
    case WIRE_BIND_COMPLETE:
        return head->kind == OWED_BIND ? PLAIN_ANSWER : PLAIN_NOT;
    default:
        return PLAIN_NOT;
    }
}
/** Removes the head: its reply is complete. */
static inline void ledger_strike(struct ledger *ledger)
{
    struct owed owed = ledger->ring[ledger->head & ledger->mask];
    ledger->head = (ledger->head + 1) & ledger->mask;
    ledger->count -= 1;
    ledger->taken += 1;
    if (owed.about != ABOUT_NOTHING)
        ledger->settle(ledger->owner, &owed, OWED_ANSWERED);
}

enum ledger_verdict {
    VERDICT_FORWARD,
    VERDICT_SWALLOW,
    VERDICT_BREACH, /* no entry fits: the server can't be trusted any more */
};
/** Where replies may be missing (`doubt`), drops the entries that this message shows to have had no
 *  reply, so that the head is the entry that it answers.  ledger_take does the same; call it first
 *  only to look at the head before ledger_take. */
void ledger_align_in_doubt(struct ledger *ledger, uint8_t type);
static inline void ledger_align(struct ledger *ledger, uint8_t type)
{
    if (UNLIKELY(ledger->doubt != 0))
        ledger_align_in_doubt(ledger, type);
}
/** Passes one message of the server to the ledger. */
enum ledger_verdict ledger_take(struct ledger *ledger, uint8_t type);
/** Notes that CopyDone or CopyFail is sent: for the COPY under way, or for one that may be about to
 *  begin. */
void ledger_copy_ends(struct ledger *ledger);
/** Returns whether a Sync must be sent to get ReadyForQuery for what is under way. */
bool ledger_needs_sync(const struct ledger *ledger);

/* --- marks ------------------------------------------------------------------------------------ */

/** Returns whether a mark may be sent: the server is in doubt, ReadyForQuery came last, and only
 *  Syncs were sent since, which it may never answer. */
static inline bool ledger_may_mark(const struct ledger *ledger)
{
    return ledger->doubt != 0 && ledger->ready && !ledger->extended && !ledger->skipping;
}
/** Returns whether a mark is owed.  Nothing is sent behind a mark. */
static inline bool ledger_marking(const struct ledger *ledger)
{
    return (ledger->doubt & DOUBT_MARK) != 0 && ledger->ring != NULL && ledger->count > 0 &&
           ledger->ring[(ledger->head + ledger->count - 1) & ledger->mask].kind == OWED_MARK;
}
/** Notes that the row of the mark has come. */
void ledger_mark_shown(struct ledger *ledger);
/** Drops all entries.  For the time before a mark is sent: replies to what was sent before it are
 *  for no client. */
void ledger_drop_all(struct ledger *ledger);
