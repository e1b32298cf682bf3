#pragma once
/*
 * answer.h - the answer of one execution, which many clients may read while it arrives.
 *
 * An answer is the bytes of RowDescription, DataRows and CommandComplete (or of an ErrorResponse,
 * for those that wait), in chunks.  One thread at a time produces it; any thread may read what has
 * been published, without a lock.  Published bytes never change.  References are counted by
 * atomics, and the last one frees the memory, on whichever thread it is: an answer is counted in an
 * answer_memory, which all threads share, and in no relay's store.  Design:
 * docs/internals/flight.md
 *
 * Beyond `result_max` bytes an answer can't be stored and no reader can begin any more.  From then
 * on a chunk lives only until the last reader has read it, so the memory is bounded by how far the
 * slowest reader is behind: see answer_lag.
 */
#include "base/fault.h"
#include "base/span.h"

struct answer;
struct answer_chunk;

/* The memory of answers, stored or under way.  Its owner outlives them. */
struct answer_memory {
    uint64_t bytes; /* atomic */
    uint64_t max;   /* atomic */
};

enum answer_end {
    ANSWER_RUNNING,
    ANSWER_COMPLETE, /* the last message is CommandComplete */
    ANSWER_ERROR,    /* the last message is ErrorResponse */
    ANSWER_BROKEN,   /* there is no more: the server was lost, or there was no memory */
};

void answer_memory_init(struct answer_memory *memory, uint64_t max);
/** Sets a new limit.  Memory beyond it stays in use until it is freed. */
void answer_memory_bound(struct answer_memory *memory, uint64_t max);
/** Returns the bytes in use, with what the allocator adds. */
uint64_t answer_memory_bytes(const struct answer_memory *memory);

/** Whether three quarters of the limit are in use. */
bool answer_memory_tight(const struct answer_memory *memory);

/* A digest of a statement's parameters and columns, which its client was told; zeros: unknown. */
struct answer_shape {
    uint64_t words[2];
};

/** Makes an empty answer; the caller owns a reference and is the producer.  NULL at the limit or
 *  without memory; FAULT_MEMORY's message is then set. */
struct answer *answer_new(struct answer_memory *memory, uint64_t result_max);
/** Counts one more reference to an answer to which the caller has one. */
struct answer *answer_ref(struct answer *answer);
void answer_unref(struct answer **answer); /* NULL-safe */

/* --- producer --------------------------------------------------------------------------------- */

/** Appends the RowDescription, before anything else; readers may leave it out.  Faults: MEMORY, and
 *  the answer must then be ended as broken. */
fault answer_describe(struct answer *answer, struct span message) MUST_USE;
/** Notes the digest of the statement's parameters and columns, before anything is appended. */
void answer_set_shape(struct answer *answer, struct answer_shape shape);
/** Copies bytes behind the last ones.  Readers see them after answer_publish.  Faults: MEMORY, and
 *  the answer must then be ended as broken; an answer beyond result_max is no fault. */
fault answer_append(struct answer *answer, struct span bytes) MUST_USE;
/** Lets readers see all that was appended; it must end with a whole message. */
void answer_publish(struct answer *answer);
/** Publishes the end.  What was appended and not published is published with COMPLETE and ERROR,
 *  and never with BROKEN, since a part of a message may be among it.  The producer appends no more,
 *  and keeps its reference. */
void answer_end(struct answer *answer, enum answer_end how);

/* --- any thread ------------------------------------------------------------------------------- */

enum answer_end answer_ended(const struct answer *answer);
/** Published bytes, those of the RowDescription among them. */
uint64_t answer_bytes(const struct answer *answer);
/** Bytes of the RowDescription; 0: the answer has none, or it is not published yet. */
uint64_t answer_description(const struct answer *answer);
/** Returns the digest of the statement's parameters and columns; of an answer that has bytes. */
struct answer_shape answer_shape(const struct answer *answer);
/** Returns whether the answer is one of a statement of this shape, as far as both are known. */
bool answer_suits(const struct answer *answer, struct answer_shape shape);
/** Returns whether the answer is complete and within result_max. */
bool answer_storable(const struct answer *answer);
/** Memory of a storable answer, with what the allocator adds. */
uint64_t answer_footprint(const struct answer *answer);
/** Returns an answer of the same bytes that is as small as can be, for a long life: a copy, or the
 *  same one with one more reference if a copy would save less than an eighth or there is no memory
 *  for it.  The answer must be storable. */
struct answer *answer_pack(struct answer *answer);

/* --- readers ---------------------------------------------------------------------------------- */

/* A place in an answer; of one thread at a time.  It has references of its own. */
struct answer_reader {
    struct answer *answer;
    struct answer_chunk *chunk;
    uint64_t at; /* bytes of the answer that were read */
    bool rows;   /* the RowDescription is still to be left out */
};

enum answer_part { ANSWER_WHOLE, ANSWER_ROWS /* without the RowDescription */ };

/** Begins to read at the start.  False: the answer is beyond result_max, and its first bytes may be
 *  gone; `ret` is then unchanged. */
bool answer_open(struct answer *answer, enum answer_part part, struct answer_reader *ret) MUST_USE;
/** Returns the next published bytes that lie together; empty: there are none now.  They are valid
 *  until answer_consume or answer_close. */
struct span answer_peek(struct answer_reader *reader);
/** Passes `count` bytes of those that answer_peek returned last. */
void answer_consume(struct answer_reader *reader, size_t count);
/** Returns how the answer ended if all of it was read, else ANSWER_RUNNING. */
enum answer_end answer_read_all(struct answer_reader *reader);
/** Published bytes that this reader has not read yet. */
uint64_t answer_lag(const struct answer_reader *reader);
/** Ends reading.  Accepts a reader that is closed, or was never opened and is zero. */
void answer_close(struct answer_reader *reader);
