#pragma once
/*
 * turn.h - what a client does from its first byte after idling until it idles again.
 *
 * One coroutine over the pair of client and server, with one wait for any of: either one readable
 * or writable, a grant, a message, a deadline.  No blocking send and no second pump: a slow side
 * never stops the draining of the other.  Two lanes, one a direction; each walks message headers in
 * place in a lent chunk and forwards whole runs from there.  Design: docs/internals/turn.md
 */
#include "pool/server.h"
#include "relay/client.h"
#include "relay/relay.h"
#include "session/outbox.h"

struct lane {
    struct chunk *chunk; /* lent while bytes are in it */
    uint32_t begin;      /* first byte not walked */
    uint32_t end;        /* behind the last byte read */
    uint64_t passing;    /* bytes of a message that is forwarded as it comes */
    uint64_t dropping;   /* bytes of a message that is thrown away as it comes */
    bool keeps;          /* the up lane's: bytes from `kept` on stay where they are */
    bool sent_again;     /* what it keeps was sent twice */
    uint32_t kept;       /* first byte of a batch that may have to be sent again */
    uint8_t last;        /* type of the last message that was walked past; the down lane's */
    bool flushing;       /* TLS holds ciphertext of what was sent */
    struct outbox out;
};

/* 128 random bits in hex, and a NUL. */
#define MARK_SIZE 33

/* What a turn waits for, as far as limits of time go. */
enum turn_phase { PHASE_NONE, PHASE_ASKING, PHASE_SILENT };

/* Parameters that the client gave at its startup, and that texts may have reset since: see
 * turn_restore.c */
struct resets {
    uint64_t which[PARAMS_MAX / 64]; /* by their place in client->given */
    uint64_t told[PARAMS_MAX / 64];  /* the same: the server has reported another value since */
    uint32_t
        bound; /* portals that may do so, of which it is not known yet that they were executed */
    bool any;
    bool done;      /* a command has completed that may be one of these */
    bool unsure;    /* its text does not tell which of them */
    bool undone;    /* an error or a ROLLBACK came: answers do not tell either */
    bool restoring; /* the client's ReadyForQuery waits for ours */
};

struct turn {
    struct relay *relay;
    struct client *client; /* NULL: it has gone, the server is being cleaned */
    struct server *server; /* NULL: none yet, or released */
    uint8_t *held;         /* a message longer than a chunk that must be seen whole; heap */
    uint32_t held_size;
    uint32_t held_max; /* its whole length */
    uint32_t busy;     /* rounds without a wait */
    uint32_t bulk;     /* bytes from the server since the client last said something */
    struct resets resets;
    fault state_fault;     /* a change of parameters that should not have failed did */
    bool gathers;          /* it announces what it sends in larger parts: see turn_bulk.c */
    bool awaits;           /* the message that was looked at last waits for an answer */
    bool signs;            /* what passes in the down lane is kept in server->described */
    bool starved;          /* the up lane has the beginning of a message only */
    bool server_lost;      /* nothing can be sent to it any more */
    bool up_cut;           /* it got a part of a message only */
    bool server_gone;      /* and it has said its last word */
    bool muted;            /* the message under way in the down lane is not the client's */
    bool down_blocked;     /* whole messages wait in the down lane for room in its outbox */
    bool fatal;            /* it said closing, and the client was told */
    bool ready_after_drop; /* answer ReadyForQuery once `dropping` is done */
    bool closing;          /* the client said Terminate, or is to be ended */
    bool noting;           /* texts are kept, for slow queries are told with them */
    bool scans;            /* what passes up is a text: see turn_pin.c */
    uint8_t seam[3];       /* of that text, the last bytes before those to come */
    bool abandoned;        /* no client: what it left behind may fail in front of a mark */
    bool timed;            /* limits of time hold: see turn_time.c, whose fields these are */
    enum turn_phase phase;
    deadline phase_since;
    deadline phase_mark;  /* server->used then: it changes with each ReadyForQuery */
    struct lane up;       /* client to server; the first field that turn_init does not zero whole */
    struct lane down;     /* server to client */
    char mark[MARK_SIZE]; /* what the row of the mark under way holds: see turn_mark.c */
    char refused_state[6]; /* why the claim, or the parameters, were refused; for logins */
    char refused_text[240];
};

/** An empty turn; `turn->client` is NULL. */
void turn_init(struct turn *turn, struct relay *relay, struct server *server);

/** A parked client's stream has become ready: on the loop's stack.  Reads, and either stashes an
 *  incomplete message, queues a claim, or runs a turn. */
void turn_arrive(struct client *client);
/** Its queued claim was granted or refused: starts the turn with the stashed bytes. */
void turn_start_granted(struct client *client);
/** It is queued and has taken a part only of what it is told: starts the turn, which sends the rest
 *  of that and waits for the claim.  On the loop's stack; takes what the buffer holds. */
void turn_start_notice(struct client *client, struct buffer *take_rest);
/** Ends a session pool's client that is parked: says why (NULL: it has gone), cleans the server. */
void turn_end_session(struct client *client, const char *sqlstate, const char *text);

/* --- between the files of the turn ------------------------------------------------------------ */

/** What one lane did. */
fault turn_up(struct turn *turn, bool *moved) MUST_USE;   /* turn_up.c */
fault turn_down(struct turn *turn, bool *moved) MUST_USE; /* turn_down.c */
/** Whether a client may send a message with this header.  PROTOCOL, with the story. */
fault turn_check_header(const uint8_t header[WIRE_HEADER]) MUST_USE;
/** Whether a message of this type is for a server. */
bool turn_needs_server(uint8_t type);
/** Walks what is in the up lane's chunk. */
fault turn_walk_up(struct turn *turn) MUST_USE;
/** The same for the message in turn->held. */
fault turn_statement_held(struct turn *turn) MUST_USE;
/** Whether it names a statement, and an earlier batch that is not answered yet settles which there
 *  are.  `at`: a message that names one or may, its header at least. */
bool turn_awaits_names(const struct turn *turn, const uint8_t *at, uint32_t here);
/** Takes over the outcome of the client's claim. */
fault turn_settle_claim(struct turn *turn) MUST_USE;
/** Ends the turn and its client, for this reason; cleans or closes the server. */
void turn_fail(struct turn *turn, fault why); /* turn_end.c */
/** Handles one whole message of the client that prepares, names or closes statements. */
fault turn_statement(struct turn *turn, uint8_t type, const uint8_t *message,
                     uint32_t size) MUST_USE;
/** A Query with these effects is about to be sent: makes the server ready for it to give up names
 *  that Parse messages gave.  *ret: belongs to its entry; NULL: it gives none up. */
fault turn_deallocate(struct turn *turn, const struct query_effects *found,
                      struct deallocation **ret) MUST_USE; /* turn_deallocate.c */
/** A Bind makes this portal of a text with these effects: its Execute may give names up.  true: of
 *  statements of the client, so that the effects matter to nobody else. */
fault turn_deallocate_bind(struct turn *turn, struct span portal, const struct query_effects *found,
                           bool *ret_own) MUST_USE;
/** Another Bind makes a portal of this name. */
void turn_deallocate_rebind(struct turn *turn, struct span portal);
/** An Execute, whole; true: it was sent. */
fault turn_deallocate_execute(struct turn *turn, const uint8_t *at, uint32_t size,
                              bool *ret_taken) MUST_USE;
/** The portals of its transaction are gone. */
void turn_forget_portals(struct server *server);
/** Room for a made message on its way to the server; NULL: no memory. */
uint8_t *turn_make(struct turn *turn, size_t size); /* turn_statement.c */
/** Emits answers of ours that are next in the ledger. */
fault turn_give_synthetic(struct turn *turn) MUST_USE;
/** Makes the server's parameters the client's; may suspend where a value must be confirmed. */
fault turn_adopt_parameters(struct turn *turn) MUST_USE; /* turn_params.c */
/** The client is about to send a Query or Parse that reads what its session knows of sequences:
 *  forgets what may be of others.  *ret_owns: nothing is, or the server skips the message anyway.
 */
fault turn_own_sequences(struct turn *turn, bool *ret_owns) MUST_USE; /* turn_params.c */
/** Waits until either side or a claim has something new. */
fault turn_wait(struct turn *turn, deadline by) MUST_USE;
/** A Query, or a Parse where names are not changed, whose text may have effects on its session.
 *  false: it has none.  true: it was sent, or the refusal was prepared. */
fault turn_pin_text(struct turn *turn, const uint8_t *at, uint32_t size,
                    bool *ret_taken) MUST_USE; /* turn_pin.c */
/** A Bind of a statement with such effects: *ret_effects, heap, belong to its entry; NULL: none
 *  that matter.  *ret_refused: nothing is to be sent. */
fault turn_pin_bind(struct turn *turn, const struct query_effects *found, bool named,
                    struct query_effects **ret_effects, bool *ret_refused) MUST_USE;
/** A Parse of such a statement: whether its route refuses it. */
fault turn_pin_parse(struct turn *turn, const struct query_effects *found,
                     bool *ret_refused) MUST_USE;
/** Sends what must fail, in place of a message of an extended batch, and tells the client this. */
fault turn_pin_refuse(struct turn *turn, const char *sqlstate, const char *text) MUST_USE;
/** The first part of a text that passes as it comes, and each further one. */
fault turn_pin_long(struct turn *turn, struct span part) MUST_USE;
fault turn_pin_part(struct turn *turn, struct span part) MUST_USE;
/** The server's error is the answer to what was refused: says so. */
fault turn_pin_refused(struct turn *turn, const struct owed *owed) MUST_USE;
/** A text with these effects is about to be sent, or (`bound`) a portal of one to be bound: notes
 *  what it may reset.  turn_restore.c */
void turn_note_resets(struct turn *turn, const struct query_effects *effects, bool bound);
/** The same for a text that is not read whole. */
void turn_note_unknown_resets(struct turn *turn);
/** What leads to no role leaves something in the session of a client that came with a role. */
void turn_keep_no_role(const struct turn *turn, struct query_effects *effects);
/** Something may have been reset, and the server reports a parameter. */
void turn_note_report(struct turn *turn, struct span name);
/** Something may have been reset, and a command has completed with this tag. */
void turn_reset_tag(struct turn *turn, struct span tag);
/** Something may have been reset: whether a message of this type waits until the client's own
 *  values are there. */
bool turn_awaits_restore(const struct turn *turn, uint8_t type);
/** Something may have been reset, and ReadyForQuery has come: sets what the client gave, and keeps
 *  this back until that is done. */
fault turn_restore(struct turn *turn, uint8_t status, enum ledger_verdict *verdict) MUST_USE;
/** relay_memory.c: room for a long made message on the heap, counted; it is in the outbox. NULL:
 *  none, with the story raised. */
uint8_t *turn_make_long(struct turn *turn, size_t size);
/** statement_intern for the turn's client, once there is memory for the text. */
struct statement;
fault turn_intern(struct turn *turn, struct span body, struct statement **ret) MUST_USE;
/** effects_of_text for the turn's client, once there is memory for them. */
struct query_effects;
fault turn_effects_of(struct turn *turn, struct span body, struct query_effects **ret) MUST_USE;
struct refused;
void turn_pin_drop_refused(struct refused *refused);
/** A Bind that names a statement is about to be sent, whole: keeps it while nothing is answered, if
 *  it is the first of its batch and outside of a transaction. */
void turn_lost_keep(struct turn *turn, const uint8_t *at); /* turn_lost.c */
/** The server says that a statement does not exist: forgets what it has if that is one of ours.
 *  true: its batch is sent again, and the error is for nobody. */
bool turn_lost(struct turn *turn, struct span message);
/** An error that names a statement by its name on the server: appends it with its client's name. */
void turn_error_rename(const struct turn *turn, struct span body, struct buffer *out);
/** Nothing is sent again: something has been answered. */
void turn_lost_end(struct turn *turn);
/** Whether this message is an answer to a Describe of ours; keeps it.  turn_shape.c */
bool turn_shape_wanted(const struct turn *turn, uint8_t type);
void turn_shape_keep(struct turn *turn, struct span part);
/** A command of the server's has completed with this tag, behind a message of type `last`: whether
 *  it may have changed the schema. */
void turn_schema_tag(struct turn *turn, struct span tag);
/** ReadyForQuery with this status. */
void turn_schema_ready(struct turn *turn, uint8_t status);
/** A message is about to replace or close its client's unnamed statement; if it may be skipped,
 * that one is kept until it is known.  turn_unnamed.c */
void turn_unnamed_keep_before(struct turn *turn);
/** The statement was replaced or closed by the message whose entry is written next. */
void turn_unnamed_replaced(struct turn *turn);
/** That entry is answered or dropped; true: it was skipped, and its client has what it had. */
bool turn_unnamed_undo(struct server *server, const struct owed *owed, enum owed_end end);
void turn_unnamed_drop_before(struct client *client);
/** A simple query destroys the unnamed statement (manual, "Simple Query"). */
static inline void turn_forget_unnamed(struct turn *turn)
{
    if (turn->client->unnamed != NULL)
        client_keep_unnamed(turn->client, SPAN_NONE);
    else /* too long to be kept, it may be on another server */
        turn->client->unnamed_number = ++turn->relay->unnamed_ever;
    turn->server->unnamed_of = 0;
}
/** Whether texts are looked at. */
static inline bool turn_gates(const struct turn *turn)
{
    return turn->client->pool->route->mode != POOL_SESSION;
}
/** Whether statements have other names on servers. */
static inline bool turn_remaps(const struct turn *turn)
{
    const struct route_config *route = turn->client->pool->route;
    return route->mode != POOL_SESSION && route->prepared_max > 0;
}
/** So many bytes came from the server. */
void turn_bulk_came(struct turn *turn, uint32_t bytes); /* turn_bulk.c */
/** They come one by one again. */
void turn_bulk_end(struct turn *turn);
/* Memory, as far as memory_limit goes: relay_memory.c.  These may suspend, and end somebody that
 * holds more.  MEMORY, with the story. */
fault turn_lend_late(struct turn *turn, struct chunk **ret) MUST_USE;
static inline fault turn_lend(struct turn *turn, struct chunk **ret)
{
    *ret = chunk_lend(&turn->relay->chunks);
    return LIKELY(*ret != NULL) ? OK : turn_lend_late(turn, ret);
}
/** Room for a message of this size in turn->held. */
fault turn_hold(struct turn *turn, uint32_t size) MUST_USE;
void turn_drop_held(struct turn *turn);
/** Its first `size` bytes go to the server. */
void turn_send_held(struct turn *turn, size_t size);
/** turn_wait, and a look at what has come meanwhile. */
fault turn_bulk_wait(struct turn *turn) MUST_USE;
/** The same where limits of time hold.  TIMEOUT: one has passed, with the story. */
fault turn_wait_timed(struct turn *turn) MUST_USE; /* turn_time.c */
/** Detaches the server when nothing is owed and its transaction is over, else does nothing. */
void turn_release(struct turn *turn);
/** The same, whatever the session's state: for a server that the client's batch never reached. */
void turn_detach_server(struct turn *turn);
/** Sends what waits in the down lane, as far as it goes. */
fault turn_send_down(struct turn *turn, bool *moved) MUST_USE;
/** Sends what waits in the up lane, as far as it goes. */
fault turn_send_up(struct turn *turn, bool *moved) MUST_USE;
/** One round of both lanes, for a server whose client sends nothing; waits if neither moved.  A
 *  change of parameters that failed is left in `state_fault`.  Faults as turn_drain's. */
fault turn_step(struct turn *turn, deadline by) MUST_USE; /* turn_params.c */
/** Until nothing is owed any more.  Faults: UPSTREAM (the server closed), TIMEOUT, CANCELLED. */
fault turn_drain(struct turn *turn, deadline by) MUST_USE;
/** Whether servers of this pool have taken all values in which `want` differs from `have`. */
bool turn_params_confirmed(const struct local_pool *pool, const struct params *have,
                           const struct params *want);
/** Sends what is in `out`, which is consumed, and behind it a mark: after OK nothing of what was
 *  sent to the server before is still to be answered, its transaction is over and it is in no
 *  doubt.  `cleaning`: statements that are carried out and committed first, each with its
 * semicolon; none: SPAN_NONE.  The server must be idle, or become so by what is in `out`. Suspends.
 * MEMORY; UPSTREAM: it has closed, or failed on the mark; TIMEOUT, PROTOCOL; then it must be
 * closed. */
fault turn_mark(struct turn *turn, struct buffer *take_out, struct span cleaning,
                deadline by) MUST_USE; /* turn_mark.c */
/** A message of the server while a mark is owed.  UPSTREAM: it is an error in place of its row. */
fault turn_take_mark(struct turn *turn, uint8_t type, struct span body) MUST_USE;
/** The server of a client that is connected owes nothing but Syncs which it may never answer: marks
 *  it.  A server that fails is closed, and the client goes on without.  Suspends. */
fault turn_prove(struct turn *turn) MUST_USE;
/** Logs and counts that a server is closed because it was in doubt and its mark failed. */
void turn_tell_unmarked(const struct server *server, const char *why);
/** Claims a server for the batch whose first message has come; suspends.  On refusal answers the
 *  client itself (and there is still no server). */
fault turn_claim(struct turn *turn) MUST_USE;
/** Answers the batch under way with an error of our own; the connection stays usable. */
fault turn_refuse(struct turn *turn, const char *sqlstate, const char *text) MUST_USE;
/** Appends a message of ours to what goes to the client. */
fault turn_say(struct turn *turn, struct buffer *message) MUST_USE;
/** The client has gone: cancels, rolls back, resets, and frees its server, or closes it. */
void turn_clean(struct turn *turn); /* turn_end.c */
/** Sends `sql` to the server and waits for its ReadyForQuery; nothing else may be owed.
 *  UPSTREAM: the server said an error (its story). */
fault turn_ask(struct turn *turn, struct span sql, deadline by) MUST_USE;
/** Puts a query of ours behind what goes up; its answer is swallowed, and an error of it is left in
 *  `state_fault`.  Faults: MEMORY. */
fault turn_put_state(struct turn *turn, struct span sql) MUST_USE;
/** All that was meant for the other side has left the process. */
static inline bool lane_sent(const struct lane *lane)
{
    return outbox_empty(&lane->out) && !lane->flushing;
}
/** Gives the lane's chunk back if nothing is in it. */
void lane_settle(struct lane *lane, struct chunk_store *store);

/* --- operations of the pool (pools.h) --------------------------------------------------------- */

/** turn_settle.c: an entry of a server's ledger is answered or dropped. */
void turn_settle(void *server, const struct owed *owed, enum owed_end end);
/** turn_mark.c: asks a free server that is in doubt for a mark; it comes free or is closed. */
void turn_mark_alone(struct server *server);
/** turn_end.c: puts a server's session in order, on a coroutine of its own. */
void turn_clean_alone(struct server *server);
/** turn_check.c: asks an idle server whether it still answers.  MEMORY. */
fault turn_check(struct server *server) MUST_USE;
/** turn_time.c: parked clients go by their local pool's new limits; `was`: there was one before. */
void client_arm_all(struct local_pool *pool, bool was);
