#pragma once
/*
 * ledger.h - the ordered list of answers that a server still owes, and what becomes of each.
 *
 * One per server.  Whoever sends a message to the server that will be answered writes an entry
 * first; each message that comes back is taken to the ledger, which says whether it goes to the
 * client, and strikes the entry out once it is fully answered.  Answers that Trunkline gives itself
 * (a Parse that the server has already) are entries too, so that they come in their turn.  "Nothing
 * outstanding" is an empty ledger.  Pure; nothing here knows sockets.  Design:
 * docs/internals/ledger.md
 *
 * Invariants: entries are answered strictly in order; after an error in an extended-protocol batch
 * all entries up to the next Sync are dropped (the server skips those messages); `skipping` says
 * that this Sync has not been sent yet, so that messages sent meanwhile owe nothing.
 *
 * One thing the ledger can't know: whether a COPY FROM STDIN that fails has read a Sync that was
 * sent between its beginning and its end.  A Sync that it has read is not answered.  `doubt` says
 * that this, or something like it, may have happened; while it is not 0, the server goes to no
 * other client before a mark has been answered (turn_mark.c).
 */
#include "base/fault.h"
#include "wire/message.h"

enum owed_kind {
    OWED_NOTHING,
    OWED_QUERY,    /* until ReadyForQuery */
    OWED_FUNCTION, /* until ReadyForQuery */
    OWED_SYNC,     /* ReadyForQuery */
    OWED_MARK,     /* a Query of ours: until ReadyForQuery behind the row that only it can give */
    OWED_PARSE,    /* ParseComplete */
    OWED_BIND,     /* BindComplete */
    OWED_DESCRIBE, /* RowDescription or NoData, a ParameterDescription before it for statements */
    OWED_EXECUTE,  /* until CommandComplete, EmptyQueryResponse or PortalSuspended */
    OWED_CLOSE,    /* CloseComplete */
};

enum owed_fate {
    FATE_FORWARD,   /* the client's own: it sees the answer */
    FATE_NOTED,     /* the same, and Trunkline keeps it */
    FATE_SWALLOW,   /* Trunkline asked: the client sees nothing of it */
    FATE_SYNTHETIC, /* never sent: Trunkline answers when its turn comes */
};

/* What an entry is about, for whoever must know when it is answered or dropped. */
enum owed_about {
    ABOUT_NOTHING,
    ABOUT_PARSE,     /* what: struct client_statement; it exists if this succeeds */
    ABOUT_SIGNATURE, /* what: struct client_statement; says what that means */
    ABOUT_UNNAMED,   /* what: its server's unnamed_mark; the unnamed statement that this makes */
    ABOUT_UNNAMED_SIGNATURE, /* what: its number; the client asks what that statement is */
    ABOUT_UNNAMED_PROOF,     /* what: as ABOUT_UNNAMED; whether it is that on this server */
    ABOUT_DUPLICATE,         /* what: struct client_statement; a Parse that must fail with 42P05 */
    ABOUT_CLOSE,             /* what: struct client_statement; the client closes it */
    ABOUT_ORPHAN,            /* what: its name, heap; Trunkline closes a statement on the server */
    ABOUT_INJECT,            /* what: struct client_statement; Trunkline parses it on the server */
    ABOUT_PROOF,             /* what: the same; says whether it means there what its client knows */
    ABOUT_EFFECTS,           /* what: struct query_effects, heap; the text may leave state behind */
    ABOUT_DEALLOCATE,        /* what: struct deallocation, heap; the text gives names up */
    ABOUT_REFUSED,           /* what: struct refused, heap; must fail, and is told in other words */
    ABOUT_STATE,             /* a change of session parameters, or cleaning */
};

struct owed {
    uint8_t kind;
    uint8_t fate;
    uint8_t about;
    bool named;    /* an Execute: of a portal that has a name */
    uint32_t ends; /* the ledger's: ends of a COPY that were sent right behind it */
    void *what;    /* owned by the entry, released by the ledger's `settle` */
};

enum owed_end { OWED_ANSWERED, OWED_DROPPED };

/* Why one answer more or less than the ledger has may come: bits of `doubt`. */
enum ledger_doubt {
    DOUBT_COPY = 1,   /* the server has asked for COPY data */
    DOUBT_CANCEL = 2, /* a cancel request was sent to it */
    DOUBT_BROKEN = 4, /* an answer came that did not belong to the oldest entry */
    DOUBT_MARK = 8,   /* a mark was sent to it, and has not been answered */
};

struct ledger {
    struct owed *ring;
    uint32_t mask; /* of the ring's size; the ring doubles up to LEDGER_MAX */
    uint32_t head; /* index of the oldest entry */
    uint32_t count;
    bool skipping;   /* the server skips until a Sync that has not been sent */
    bool may_skip;   /* perhaps it does so although one was sent: a COPY may have read it */
    bool copy_in;    /* the server is reading COPY data, and its end has not been sent */
    bool copying;    /* the COPY of the head has begun, and has not been answered */
    bool extended;   /* messages were sent after the last Sync, Query or FunctionCall */
    bool ready;      /* in doubt: ReadyForQuery came last, and only Syncs are owed since */
    bool unsure;     /* a COPY that failed may have read the Syncs at the head */
    bool murky;      /* ReadyForQuery came for one of those, or for a batch behind it */
    bool mark_begun; /* what comes from now on belongs to the mark at the head */
    bool mark_shown; /* its row has come */
    uint8_t doubt;   /* enum ledger_doubt */
    uint32_t taken;  /* entries struck out since the last ReadyForQuery */
    bool told;       /* an end of an answer has come since the last ReadyForQuery, or an error */
    uint32_t copy_syncs; /* Syncs right behind the head that its COPY reads if it does not fail */
    uint32_t syncs;      /* newest entries that are all Syncs */
    uint32_t
        batch; /* Syncs sent so far: what is sent now is carried out or skipped with its batch */
    /* Called once for every entry with `about`, when it is answered or dropped. */
    void (*settle)(void *owner, const struct owed *owed, enum owed_end end);
    void *owner;
};

/* Entries at most; then the client is not read until some are answered. */
#define LEDGER_MAX 16384u

void ledger_init(struct ledger *ledger,
                 void (*settle)(void *owner, const struct owed *owed, enum owed_end end),
                 void *owner);
/** Drops what is left. */
void ledger_fini(struct ledger *ledger);
/** Gives its memory back while nothing is owed; it comes again when it is needed. */
void ledger_rest(struct ledger *ledger);

/* What an entry is counted for in memory_limit, with what it may hold on the heap for itself. */
#define LEDGER_ENTRY_BYTES 48u
uint64_t ledger_ring_bytes(const struct ledger *ledger);

static inline bool ledger_empty(const struct ledger *ledger)
{
    return ledger->count == 0;
}
/** Whether the server may have nothing more to say: only Syncs are owed, which a COPY may have
 * read. For a client that keeps the server; another one must not get it (ledger_may_mark). */
static inline bool ledger_quiet(const struct ledger *ledger)
{
    return ledger->count == 0 || (ledger->unsure && ledger->ready);
}
/** Makes room for `more` entries; false: wait for answers. */
bool ledger_make_room(struct ledger *ledger, uint32_t more);
/** Whether `more` entries fit; if not, wait for answers. */
static inline bool ledger_has_room(struct ledger *ledger, uint32_t more)
{
    return (ledger->ring != NULL && ledger->count + more <= ledger->mask + 1) ||
           ledger_make_room(ledger, more);
}
/** Whether nothing is owed behind the first Sync. */
bool ledger_is_one_batch(const struct ledger *ledger);
/** The head's answer is for nobody. */
static inline void ledger_swallow(struct ledger *ledger)
{
    ledger->ring[ledger->head & ledger->mask].fate = FATE_SWALLOW;
}
/** Writes an entry for a message that is about to be sent (or is never sent: FATE_SYNTHETIC). While
 *  the server is skipping, only a Sync, which ends that, is written; others are dropped at once. */
void ledger_owe(struct ledger *ledger, struct owed owed);
/** The entry whose turn it is; NULL when nothing is owed. */
static inline const struct owed *ledger_head(const struct ledger *ledger)
{
    return ledger->count == 0 ? NULL : &ledger->ring[ledger->head & ledger->mask];
}
/** Whether the next answer is Trunkline's own. */
static inline bool ledger_synthetic(const struct ledger *ledger)
{
    const struct owed *head = ledger_head(ledger);
    return head != NULL && head->fate == FATE_SYNTHETIC;
}
/** Whether the server may keep its answers to itself until a Sync comes that has not been sent: one
 *  that a COPY has read is none. */
static inline bool ledger_awaits_sync(const struct ledger *ledger)
{
    return ledger->extended || ledger->skipping ||
           (ledger->copying && ledger_head(ledger)->kind == OWED_EXECUTE &&
            ledger->count == 1 + ledger->copy_syncs);
}
/** Strikes out the synthetic entry at the head. */
void ledger_give(struct ledger *ledger);

/* A message that is the client's own, and the most common of its kind. */
enum ledger_plain {
    PLAIN_NOT,    /* or another: ledger_take knows */
    PLAIN_PART,   /* more of the answer follows */
    PLAIN_ANSWER, /* the whole of it: ledger_strike */
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
/** Strikes out the head: its whole answer has come. */
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
    VERDICT_BREACH, /* an answer to nothing: the server can't be trusted any more */
};
/** Where answers may be missing (`doubt`), drops what this message shows to have had none, so that
 *  the head is what it answers.  ledger_take does it too; for who looks at the head before. */
void ledger_align_in_doubt(struct ledger *ledger, uint8_t type);
static inline void ledger_align(struct ledger *ledger, uint8_t type)
{
    if (UNLIKELY(ledger->doubt != 0))
        ledger_align_in_doubt(ledger, type);
}
/** Takes one message of the server to the ledger. */
enum ledger_verdict ledger_take(struct ledger *ledger, uint8_t type);
/** CopyDone or CopyFail is sent: to the COPY under way, or to one that may be about to begin. */
void ledger_copy_ends(struct ledger *ledger);
/** Whether a Sync must be sent to get ReadyForQuery for what is under way. */
bool ledger_needs_sync(const struct ledger *ledger);

/* --- marks ------------------------------------------------------------------------------------ */

/** Whether the server was idle at its last word, and nothing was sent since but Syncs, which it may
 *  never answer: a mark would tell. */
static inline bool ledger_may_mark(const struct ledger *ledger)
{
    return ledger->doubt != 0 && ledger->ready && !ledger->extended && !ledger->skipping;
}
/** Whether a mark is owed; nothing is sent behind it. */
static inline bool ledger_marking(const struct ledger *ledger)
{
    return (ledger->doubt & DOUBT_MARK) != 0 && ledger->ring != NULL && ledger->count > 0 &&
           ledger->ring[(ledger->head + ledger->count - 1) & ledger->mask].kind == OWED_MARK;
}
/** The row of the mark has come. */
void ledger_mark_shown(struct ledger *ledger);
/** Drops all that is owed: what follows is a mark, and nothing before it is for anybody. */
void ledger_drop_all(struct ledger *ledger);
