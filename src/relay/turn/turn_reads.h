#pragma once
/*
 * turn_reads.h - reads that go to replicas: of clients whose route has `reads`.
 *
 * Such a client has a second local pool, for its reads.  While it waits there for a server, or has
 * one of its servers, `client->pool` is that pool.  Design: docs/internals/splitting.md
 */
#include "relay/turn/turn.h"
#include "session/own_writes.h"

/* What a client needs to have its reads split; heap. */
struct client_reads {
    struct local_pool *home; /* the client's own; NULL unless `client->pool` is the other */
    struct local_pool *pool; /* for its reads; joined; NULL: none yet */
    struct own_writes writes;
    uint64_t fingerprint; /* of the read whose claim is made */
    bool begins;          /* it begins a transaction */
    bool stays;           /* the next message is for the primary: the replica did not complete it */
};

/** Decides which of its pools the client's next claim is made in.  `at`: what the client has sent
 *  and is not handled yet, from the beginning of a message.  Only if its route splits reads. */
void turn_reads_choose(struct client *client, const uint8_t *at, uint32_t size);
/** Ends what the client has at the other pool, for its end or its move to another relay; `ends`:
 *  frees all of it. */
void turn_reads_leave(struct client *client, bool ends);
/** Notes a server of either pool that the client has got.  Its parameters come next, then
 *  turn_reads_attached(). */
void turn_reads_attach(struct turn *turn);
/** Takes up a server of either pool that the client has got; `adopted`: what came of giving it the
 *  client's parameters.  The server may be given back, if it has not replayed what the client has
 *  seen: then the turn has none.  Suspends. */
fault turn_reads_attached(struct turn *turn, fault adopted) MUST_USE;
/** Returns the client to its own pool: it has no server and no claim. */
void turn_reads_home(struct client *client);
/** Notes that the turn has no server any more. */
void turn_reads_detached(struct turn *turn);
/** Looks at what the client has sent, before it is walked; nothing that was sent before is
 *  unanswered.  Decides whether the question for the position goes out with it. */
void turn_reads_look(struct turn *turn);
/** Whether all that the client has sent, from the beginning of a message to `size`, is one
 *  statement with which its transaction ends.  `open`: a transaction is open. */
bool turn_reads_is_last(const struct client *client, const uint8_t *at, uint32_t size, bool open);
/** Whether all of it, without the rest of a message, runs no statement. */
bool turn_reads_runs_nothing(const uint8_t *at, uint32_t size);
/** Notes that the client may run a statement from now on. */
void turn_reads_runs(struct turn *turn);
/** Takes the server's position, before the client loses the server, or asks for it.  True: the
 *  answer is awaited. */
bool turn_reads_asks(struct turn *turn);
/** Reads the answer. */
void turn_reads_told(struct turn *turn, struct span row);
/** Whether the client's next message must wait until it has lost this server, or until what was
 *  sent before is answered. */
bool turn_reads_stops(struct turn *turn);
/** Notes that a message of this type was sent. */
void turn_reads_sent(struct turn *turn, uint8_t type);
/** Whether the replies from `at` on are held back: whether the read succeeds is not known yet. */
bool turn_reads_holds(struct turn *turn, uint32_t at);
/** Handles the loss of a server while nothing is lost with it: the client goes on without. */
bool turn_reads_survives(struct turn *turn);
/** Whether a claim that was refused is made again at the client's own pool. */
bool turn_reads_goes_home(struct turn *turn);
