#pragma once
/*
 * turn.h - what a client does from its first byte after idling until it idles again.
 *
 * One coroutine serves the pair of client and server.  It waits once for any of: either socket
 * readable or writable, a grant, a message, a deadline.  No send blocks, so a slow peer never stops
 * the reading from the other one.  A turn has two directions, one for each direction.  A direction
 * walks the message headers in place, in a lent chunk, and forwards whole runs of messages from
 * there. Design: docs/internals/turn.md
 */
#include "pool/server.h"
#include "relay/client.h"
#include "relay/relay.h"
#include "session/outbox.h"

struct direction {
    struct chunk *chunk; /* lent while bytes are in it */
    uint32_t begin;      /* first byte not walked */
    uint32_t end;        /* behind the last byte read */
    uint64_t passing;    /* bytes left of a message that is forwarded as it arrives */
    uint64_t dropping;   /* bytes left of a message that is discarded as it arrives */
    bool keeps;          /* up direction: bytes from `kept` on stay where they are */
    bool sent_again;     /* up direction: the kept batch has been sent a second time */
    uint32_t kept;       /* up direction: first byte of a batch that may have to be sent again */
    uint8_t last;        /* down direction: type of the last message that was walked past */
    bool flushing;       /* TLS holds ciphertext of what was sent */
    struct outbox out;
};

/* 128 random bits in hex, and a NUL. */
#define MARK_SIZE 33

/* What a turn waits for, for the timeouts: nothing noted, a reply of the server, the client. */
enum turn_phase { PHASE_NONE, PHASE_ASKING, PHASE_SILENT };

/* Startup parameters of the client that a query may have reset: see turn_restore.c */
struct resets {
    uint64_t which[PARAMS_MAX / 64]; /* a bit for each, by its index in client->given */
    uint64_t told[PARAMS_MAX / 64];  /* the same: the server has reported a new value since */
    uint32_t bound;                  /* portals that may reset one, not known to be executed */
    bool any;
    bool done;      /* a command has completed that may have reset one */
    bool unsure;    /* the text of a query does not tell which of them it resets */
    bool undone;    /* an error or a ROLLBACK came: the replies do not tell either */
    bool restoring; /* our query that restores them is sent; its ReadyForQuery is forwarded */
};

/* clang-format off */
/*
 *   SERVING ──> CLOSING ──> CLEANING ──> ABANDONED
 *      └───────────────────────^
 *
 * SERVING    has a client
 * CLOSING    the client sent Terminate: nothing of it is read any more
 * CLEANING   has no client; its server is cleaned, marked or checked
 * ABANDONED  the same, and what the client left behind may fail in front of a mark
 */
/* clang-format on */
enum turn_state { TURN_SERVING, TURN_CLOSING, TURN_CLEANING, TURN_ABANDONED, TURN_STATES };

/* How far the server has ended its side.  Each value includes those before it. */
enum server_end {
    SERVER_OPEN,
    SERVER_UNWRITABLE, /* nothing can be sent to it any more; what it has sent is still read */
    SERVER_CLOSED      /* it has closed its side: nothing more comes from it */
};

/* The client's message that is looked at, or that passes up. */
struct turn_message {
    bool starved;     /* only its beginning has arrived */
    bool awaits;      /* it waits for a reply of the server */
    bool again;       /* it was judged by the firewall, and is walked again */
    bool cut;         /* the server got only a part of it */
    bool ready_after; /* send ReadyForQuery once `dropping` is 0 */
    bool scans;       /* it is SQL to be looked at as it passes: see turn_pin.c */
    uint8_t seam[3];  /* the last bytes of that SQL that were looked at */
};

/* The server's message that passes down, or is next. */
struct turn_reply {
    bool kept;      /* it is kept in server->session.described */
    bool swallowed; /* it is not forwarded to the client */
    bool fatal;     /* a FATAL error has come that the client gets to see */
    bool blocked;   /* whole messages wait in the down direction for room in its outbox */
};

/* Long results: see turn_bulk.c, which owns these fields. */
struct turn_bulk {
    uint32_t bytes; /* from the server since the client last sent anything */
    bool gathers;   /* the server's socket announces 64 KiB at a time */
};

/* A server of a client whose reads are split: see turn_reads.c, which owns these fields. */
struct turn_reads {
    bool away;      /* it is of the pool for reads */
    bool stopped;   /* the client's next message waits: see turn_reads_stops */
    bool undecided; /* the replies to a read are held back until it can't fail any more */
    bool again;     /* the read failed: its replies are swallowed, then it is sent again */
    bool checking;  /* nothing of the client's was sent yet */
    bool watched;   /* what the client has seen matters: each walk is looked at */
    bool unrun;     /* the client has only prepared statements so far, or described them */
    bool with;      /* the question goes out with the Query or Sync that is walked next */
    bool asked;     /* the position behind all that the client did was asked for */
    bool told;      /* and the server has told it */
};

/* Timeouts: see turn_time.c, which owns these fields. */
struct turn_times {
    bool set; /* timeouts are set */
    enum turn_phase phase;
    moment since; /* start of the phase */
    moment mark;  /* server->used at that time: each ReadyForQuery changes it */
};

struct turn {
    struct relay *relay;
    struct client *client; /* NULL: it has disconnected, the server is being cleaned */
    struct server *server; /* NULL: none yet, or released */
    uint8_t *held;         /* a message longer than a chunk that must be seen whole; heap */
    uint32_t held_size;    /* bytes of it that have arrived */
    uint32_t held_max;     /* its whole length */
    uint32_t busy;         /* rounds since the last wait */
    enum turn_state state;
    enum server_end server_end; /* OPEN without a server */
    fault state_fault;          /* the server rejected a query of ours, or the pool a transaction */
    int64_t waited_us;          /* for its server, not counted for a statement yet */
    uint8_t looks;              /* at what the client sends: POOL_LOOKS_*, from its pool */
    struct turn_message message;
    struct turn_reply reply;
    struct turn_bulk bulk;
    struct turn_times times;
    struct resets resets;
    struct turn_reads reads;
    struct direction up;   /* client to server; the first field that turn_init zeroes in part */
    struct direction down; /* server to client */
    char mark[MARK_SIZE];  /* what the row of the mark under way holds: see turn_mark.c */
    char refused_state[6]; /* why the claim or the parameters were refused; for logins */
    char refused_text[240];
};

/** Initializes a turn: SERVING, or CLEANING without a client. */
void turn_init(struct turn *turn, struct relay *relay, struct client *client,
               struct server *server);
/** Moves a turn to another state.  CLEANING takes its client away. */
void turn_become(struct turn *turn, enum turn_state next);
/** Notes that the server has ended its side so far; keeps what is known if that includes it. */
void turn_server_ends(struct turn *turn, enum server_end how);
/** Whether the server has closed, or said that it does: no reply is to be waited for. */
static inline bool turn_server_is_gone(const struct turn *turn)
{
    return turn->server_end == SERVER_CLOSED || turn->reply.fatal;
}

/** Handles a parked client whose stream has become ready.  Reads once, and either stashes an
 *  incomplete message, queues a claim, or runs a turn.  On the loop's stack. */
void turn_arrive(struct client *client);
/** Starts the turn of a queued client whose claim was granted or refused; loads its stash. */
void turn_start_granted(struct client *client);
/** Starts the turn of a queued client to which only a part of its notice could be sent.  The turn
 *  sends the rest and waits for the claim.  On the loop's stack; takes over the buffer's bytes. */
void turn_start_notice(struct client *client, struct buffer *take_rest);
/** Ends a parked client that holds a server, and cleans the server.  Sends `text` with this state;
 *  NULL: sends nothing, `text` is the reason for the log. */
void turn_end_session(struct client *client, const char *sqlstate, const char *text);

/* --- between the files of the turn ------------------------------------------------------------ */

/* turn_calls.c, with POOL_LOOKS_CALLS: */
/** Finds out what a message for the server is, before it is sent.  `whole`: all of its body is
 * here. Suspends if its text is not known.  Faults: CANCELLED. */
COLD fault turn_calls_look(struct turn *turn, uint8_t type, struct span body, bool whole) MUST_USE;
/** Notes that message as a call, if it was sent. */
COLD void turn_calls_sent(struct turn *turn);
/** Looks at a reply before the ledger takes it.  `walked`: bytes from the beginning of the walk to
 *  the end of this message. */
COLD void turn_calls_answer(struct turn *turn, uint8_t type, struct span body, uint64_t walked);
/** Writes the audit's lines of the calls that get no answer: the client or the server is gone. */
COLD void turn_calls_lost(const struct turn *turn);
/** Notes how many bytes of replies a walk has gone past. */
COLD void turn_calls_walked(const struct turn *turn, uint64_t walked);

/** Moves bytes in one direction as far as they go.  *moved becomes true if anything moved. */
fault turn_up(struct turn *turn, bool *moved) MUST_USE;   /* turn_up.c */
fault turn_down(struct turn *turn, bool *moved) MUST_USE; /* turn_down.c */
/** Checks whether a client may send a message with this header.  PROTOCOL, with the detail. */
fault turn_check_header(const uint8_t header[WIRE_HEADER]) MUST_USE;
/** Whether a message of this type needs a server. */
bool turn_needs_server(uint8_t type);
/** Walks the messages in the up direction's chunk. */
fault turn_walk_up(struct turn *turn) MUST_USE;
/** Handles the message in turn->held as turn_statement does. */
fault turn_statement_held(struct turn *turn) MUST_USE;
/** Whether a message must wait until an earlier batch is answered, which settles the names of
 *  statements.  `at`: a message that names a statement or may, at least its header. */
bool turn_awaits_names(const struct turn *turn, const uint8_t *at, uint32_t here);
/** Takes over the outcome of the client's claim: attaches the server, or refuses the batch. */
fault turn_settle_claim(struct turn *turn) MUST_USE;
/** Ends the turn and its client for this reason; cleans or closes the server. */
void turn_fail(struct turn *turn, fault why); /* turn_end.c */
/** Handles one message of the client that prepares, names or closes statements: whole, or the first
 *  bytes of a Bind or of an unnamed Parse. */
fault turn_statement(struct turn *turn, uint8_t type, const uint8_t *message,
                     uint32_t size) MUST_USE;
/** Prepares the server for a Query with these effects, about to be sent, that may DEALLOCATE names
 *  given by Parse messages.  *ret belongs to the entry of the Query; NULL: it deallocates none. */
fault turn_deallocate(struct turn *turn, const struct query_effects *found,
                      struct deallocation **ret) MUST_USE; /* turn_deallocate.c */
/** Notes a Bind that makes this portal of a text with these effects: its Execute may DEALLOCATE
 *  names.  *ret_own: they are the client's own statements, and the effects matter to no pin. */
fault turn_deallocate_bind(struct turn *turn, struct span portal, const struct query_effects *found,
                           bool *ret_own) MUST_USE;
/** Forgets the noted portal of this name, which another Bind replaces. */
void turn_deallocate_rebind(struct turn *turn, struct span portal);
/** Handles a whole Execute of a noted portal.  *ret_taken: it was sent. */
fault turn_deallocate_execute(struct turn *turn, const uint8_t *at, uint32_t size,
                              bool *ret_taken) MUST_USE;
/** Forgets the noted portals of a server whose transaction is over. */
void turn_forget_portals(struct server *server);
/** Returns room for a made message to the server; NULL: no memory. */
uint8_t *turn_make(struct turn *turn, size_t size); /* turn_statement.c */
/** Makes a Sync of the pooler's own, whose answer is swallowed.  False: no memory. */
bool turn_make_sync(struct turn *turn) MUST_USE; /* turn_lost.c */
/** Sends the synthetic replies at the head of the ledger to the client. */
fault turn_give_synthetic(struct turn *turn) MUST_USE;
/** Makes the server's parameters the client's; suspends where the server must confirm a value. */
fault turn_adopt_parameters(struct turn *turn) MUST_USE; /* turn_params.c */
/** Sends DISCARD SEQUENCES in front of a Query or Parse that calls lastval() or currval(), if their
 *  values may be another client's.  *ret_owns: they are this client's by then, or the server skips
 *  the message anyway. */
fault turn_own_sequences(struct turn *turn, bool *ret_owns) MUST_USE; /* turn_params.c */
/** Waits until either socket or a claim has something new. */
fault turn_wait(struct turn *turn, deadline by) MUST_USE;
/** Handles a Query, or a Parse that keeps its name, whose text may have effects on its session.
 *  *ret_taken: it was sent, or the refusal was prepared; false: the text has no effects. */
fault turn_pin_text(struct turn *turn, const uint8_t *at, uint32_t size,
                    bool *ret_taken) MUST_USE; /* turn_pin.c */
/** Handles a Bind of a statement with such effects.  *ret_effects, heap, belong to its entry; NULL:
 *  none that matter.  *ret_refused: the Bind must not be sent. */
fault turn_pin_bind(struct turn *turn, const struct query_effects *found, bool named,
                    struct query_effects **ret_effects, bool *ret_refused) MUST_USE;
/** Handles a Parse of such a statement.  *ret_refused: its route refuses it. */
fault turn_pin_parse(struct turn *turn, const struct query_effects *found,
                     bool *ret_refused) MUST_USE;
/** Sends, in place of a message of an extended batch, an Execute that must fail.  The client gets
 *  this state and text for the server's error. */
fault turn_pin_refuse(struct turn *turn, const char *sqlstate, const char *text) MUST_USE;
/** The same, in place of a Query or a function call. */
fault turn_pin_refuse_query(struct turn *turn, const char *sqlstate, const char *text) MUST_USE;
/** Looks at the first part of a text that is forwarded as it arrives, and at each further one. */
fault turn_pin_long(struct turn *turn, struct span part) MUST_USE;
fault turn_pin_part(struct turn *turn, struct span part) MUST_USE;
/** Sends the client our error for a refused statement in place of the server's. */
fault turn_pin_refused(struct turn *turn, const struct owed *owed) MUST_USE;
/** Notes which startup parameters a text with these effects may reset.  `bound`: a portal of it is
 *  about to be bound; else the text is about to be sent.  turn_restore.c */
void turn_note_resets(struct turn *turn, const struct query_effects *effects, bool bound);
/** Notes that a text which is not read whole may reset any of them. */
void turn_note_unknown_resets(struct turn *turn);
/** Turns SET ROLE NONE into an effect that creates state, if the client's startup gave a role. */
void turn_keep_no_role(const struct turn *turn, struct query_effects *effects);
/** Notes that the server has reported a new value of a parameter; while turn->resets.any. */
void turn_note_report(struct turn *turn, struct span name);
/** Notes a command that has completed with this tag; RESET, DISCARD ALL, or any while
 *  turn->resets.any. */
void turn_reset_tag(struct turn *turn, struct span tag);
/** Whether a message of this type waits until the client's startup values are restored; while
 *  turn->resets.any. */
bool turn_awaits_restore(const struct turn *turn, uint8_t type);
/** Handles ReadyForQuery while turn->resets.any: restores the client's startup values where they
 *  were reset, and holds ReadyForQuery back until that is done. */
fault turn_restore(struct turn *turn, uint8_t status, enum ledger_verdict *verdict) MUST_USE;
/** Returns room on the heap, counted in memory_limit, for a long made message; the outbox owns it.
 *  NULL: no memory, with the detail raised.  relay_memory.c */
uint8_t *turn_make_long(struct turn *turn, size_t size);
/** Calls statement_intern for the turn's client; suspends until there is memory for the text. */
struct statement;
fault turn_intern(struct turn *turn, struct span body, struct statement **ret) MUST_USE;
/** Calls effects_of_text for the turn's client; suspends until there is memory for them. */
struct query_effects;
fault turn_effects_of(struct turn *turn, struct span body, struct query_effects **ret) MUST_USE;
struct refused;
void turn_pin_drop_refused(struct refused *refused);
/** Keeps a whole Bind that names a statement and is about to be sent, if it is the first message of
 *  its batch and no transaction is open.  It is kept until a reply has come. */
void turn_lost_keep(struct turn *turn, const uint8_t *at); /* turn_lost.c */
/** Handles the server's error that a statement does not exist.  If Trunkline prepared it, all
 *  statements of the server become orphans.  Returns true if the batch is sent again and the client
 *  must not see the error. */
bool turn_lost(struct turn *turn, struct span message);
/** Appends an error with the client's name of a statement in place of the server's; nothing if the
 *  error names none. */
void turn_error_rename(const struct turn *turn, struct span body, struct buffer *out);
/** Stops keeping the batch once a reply is on its way to the client. */
void turn_lost_end(struct turn *turn);
/** Whether a message of this type is part of the reply to a Describe whose result is kept.
 *  turn_shape.c */
bool turn_shape_wanted(const struct turn *turn, uint8_t type);
/** Keeps a part of that reply in server->session.described. */
void turn_shape_keep(struct turn *turn, struct span part);
/** Notes whether a command that has completed with this tag may have changed the schema. */
void turn_schema_tag(struct turn *turn, struct span tag);
/** Notes ReadyForQuery with this status. */
void turn_schema_ready(struct turn *turn, uint8_t status);
/** Keeps the client's unnamed statement before a message that may be skipped replaces or closes it.
 *  turn_unnamed.c */
void turn_unnamed_keep_before(struct turn *turn);
/** Notes that the message whose entry is written next has replaced or closed the statement. */
void turn_unnamed_replaced(struct turn *turn);
/** Handles that entry when it is answered or dropped.  Returns true if the message failed or was
 *  skipped, and what the client has now is settled. */
bool turn_unnamed_undo(struct server *server, const struct owed *owed, enum owed_end end);
void turn_unnamed_drop_before(struct client *client);
/** Forgets the client's unnamed statement: a simple query destroys it (manual, "Simple Query"). */
static inline void turn_forget_unnamed(struct turn *turn)
{
    if (turn->client->unnamed != NULL)
        client_keep_unnamed(turn->client, SPAN_NONE);
    else /* too long to be kept, it may be on another server */
        turn->client->unnamed_number = ++turn->relay->unnamed_ever;
    turn->server->session.unnamed.of = 0;
}
/** Whether query texts are looked at for session state. */
static inline bool turn_gates(const struct turn *turn)
{
    return turn->client->pool->route->mode != POOL_SESSION;
}
/** Notes that this text is about to run, or one that is not known (SPAN_NONE), if writes are
 * watched: before session.unanswered is.  `bind`: the values that it is bound to, as in
 * flight_writes.h.  turn_writes.c */
void turn_writes_note(struct turn *turn, struct span text, struct span bind);
static inline void turn_note_run(struct turn *turn, struct span text)
{
    if (UNLIKELY((turn->looks & POOL_LOOKS_WRITES) != 0))
        turn_writes_note(turn, text, SPAN_NONE);
}
/** Whether statements have other names on servers. */
static inline bool turn_remaps(const struct turn *turn)
{
    const struct route_config *route = turn->client->pool->route;
    return route->mode != POOL_SESSION && route->prepared_max > 0;
}
/** Counts bytes that came from the server; starts gathering when the result is long. */
void turn_bulk_came(struct turn *turn, uint32_t bytes); /* turn_bulk.c */
/** Ends gathering: the server's socket announces each byte again. */
void turn_bulk_end(struct turn *turn);
/* Memory within memory_limit: relay_memory.c.  Lending and holding may suspend, and may end another
 * client that holds more.  MEMORY, with the detail. */
fault turn_lend_late(struct turn *turn, struct chunk **ret) MUST_USE;
static inline fault turn_lend(struct turn *turn, struct chunk **ret)
{
    *ret = chunk_lend(&turn->relay->chunks);
    return LIKELY(*ret != NULL) ? OK : turn_lend_late(turn, ret);
}
/** Takes room on the heap for a message of this size in turn->held. */
fault turn_hold(struct turn *turn, uint32_t size) MUST_USE;
void turn_drop_held(struct turn *turn);
/** Sends the first `size` bytes of turn->held to the server; the outbox owns it from then on. */
void turn_send_held(struct turn *turn, size_t size);
/** Waits like turn_wait, at most for a short time, while the server's bytes are gathered. */
fault turn_bulk_wait(struct turn *turn) MUST_USE;
/** Waits like turn_wait where timeouts are set.  TIMEOUT: one has passed, with the detail. */
fault turn_wait_timed(struct turn *turn) MUST_USE; /* turn_time.c */
/** Ends a server that is not idle because its backend is no longer the primary: nothing is sent to
 *  it from now on.  Its client gets an error.  turn_fence.c */
void turn_fence(struct server *server);
/** Gives back a server that was fenced after the claim was granted, and claims another. */
fault turn_claim_again(struct turn *turn) MUST_USE;
/** Detaches the server if it owes nothing, its transaction is over and no pin holds it; else does
 *  nothing. */
void turn_release(struct turn *turn);
/** Detaches the server whatever its state: for a server that the client's batch never reached. */
void turn_detach_server(struct turn *turn);
/** Sends what waits in the down direction, as far as it goes. */
fault turn_send_down(struct turn *turn, bool *moved) MUST_USE;
/** Sends what waits in the up direction, as far as it goes. */
fault turn_send_up(struct turn *turn, bool *moved) MUST_USE;
/** Runs one round of both directions for a server whose client sends nothing; waits if neither
 * moved.  A failed change of parameters is left in `state_fault`.  Faults as turn_drain's. */
fault turn_step(struct turn *turn, deadline by) MUST_USE; /* turn_params.c */
/** Waits until the server owes nothing.  Faults: UPSTREAM (it has closed), TIMEOUT, CANCELLED. */
fault turn_drain(struct turn *turn, deadline by) MUST_USE;
/** Whether servers of this pool have accepted all values in which `want` differs from `have`. */
bool turn_params_confirmed(const struct local_pool *pool, const struct params *have,
                           const struct params *want);
/** Sends `out`, which it consumes, and a mark behind it.  After OK the server has sent all replies
 *  that it owed, its transaction is over, and it is in no doubt.  `cleaning`: statements that are
 *  carried out and committed first, each with its semicolon; none: SPAN_NONE.  The server must be
 *  idle, or become idle by what is in `out`.  Suspends.  Faults: MEMORY; UPSTREAM (the server
 *  closed, or failed on the mark), TIMEOUT, PROTOCOL: it must be closed then. */
fault turn_mark(struct turn *turn, struct buffer *take_out, struct span cleaning,
                deadline by) MUST_USE; /* turn_mark.c */
/** Looks at a message of the server while a mark is owed.  UPSTREAM: an error in place of the
 *  mark's row. */
fault turn_take_mark(struct turn *turn, uint8_t type, struct span body) MUST_USE;
/** Marks the server of a connected client that owes only Syncs which it may never answer.  A server
 *  that fails after its reply has begun is closed, and the client goes on without one.  Suspends.
 *  UPSTREAM: it failed before, so that the client must be told. */
fault turn_prove(struct turn *turn) MUST_USE;
/** Logs and counts that a server is closed because it was in doubt and its mark failed. */
void turn_tell_unmarked(const struct server *server, const char *why);
/** Claims a server for the batch whose first message has come; suspends.  If the claim is refused,
 *  tells the client why, and the turn still has no server. */
fault turn_claim(struct turn *turn) MUST_USE;
/** Answers the batch under way with an error of our own; the connection stays usable. */
fault turn_refuse(struct turn *turn, const char *sqlstate, const char *text) MUST_USE;
/** Appends a message of ours to what goes to the client; frees the buffer. */
fault turn_say(struct turn *turn, struct buffer *message) MUST_USE;
/** Cleans the server of a client that has disconnected: cancels, rolls back and resets.  Frees the
 *  server for the next claim, or closes it.  Suspends. */
void turn_clean(struct turn *turn); /* turn_end.c */
/** Sends `sql` to the server and waits for its ReadyForQuery; nothing else may be owed.  Suspends.
 *  UPSTREAM: the server answered with an error (its detail). */
fault turn_ask(struct turn *turn, struct span sql, deadline by) MUST_USE;
/** Appends a query of ours to what goes to the server.  Its reply is swallowed, and an error in it
 *  is left in `state_fault`.  Faults: MEMORY. */
fault turn_put_state(struct turn *turn, struct span sql) MUST_USE;
/** Whether all bytes for the receiver have left the process. */
static inline bool direction_sent(const struct direction *direction)
{
    return outbox_empty(&direction->out) && !direction->flushing;
}
/** Gives the direction's chunk back if no bytes are in it, kept, or on their way. */
void direction_settle(struct direction *direction, struct chunk_store *store);

/* --- operations of the pool (pools.h) --------------------------------------------------------- */

/** Handles an entry of a server's ledger that is answered or dropped.  turn_settle.c */
void turn_settle(void *server, const struct owed *owed, enum owed_end end);
/** Marks a free server that is in doubt, on a coroutine of its own.  The server becomes free or is
 *  closed.  turn_mark.c */
void turn_mark_alone(struct server *server);
/** Cleans a server's session on a coroutine of its own.  turn_end.c */
void turn_clean_alone(struct server *server);
/** Checks on a coroutine of its own whether an idle server still answers.  MEMORY.  turn_check.c */
fault turn_check(struct server *server) MUST_USE;
/** Arms the timers of parked clients by their local pool's new timeouts.  `was`: a timeout was set
 *  before.  turn_time.c */
void client_arm_all(struct local_pool *pool, bool was);
