#include "flight/answer.h"

#include "base/check.h"

#include <inttypes.h>
#include <stdlib.h>

/* The first chunk is a part of the answer.  The next ones grow, so that a long answer has few and a
 * short one wastes little. */
#define CHUNK_FIRST 512u
#define CHUNK_MIN   4096u
#define CHUNK_MAX   65536u
/* What malloc adds to a block, at most on average: its header and rounding up to 16 bytes. */
#define BLOCK_EXTRA 16u

/* Owned by: the answer (the first), its predecessor, the producer (the last), and each reader that
 * is in it. */
struct answer_chunk {
    struct answer_chunk *next; /* set before bytes of it are published */
    uint64_t from;             /* place of its first byte in the answer */
    uint32_t size;             /* of `bytes` */
    uint32_t references;       /* atomic */
    uint8_t bytes[];
};

/* `published`, `described` and `end` are written by the producer with release, in this order, and
 * read with acquire, in the opposite one.  What lies before `published` is immutable. */
struct answer {
    struct answer_memory *memory;
    uint64_t result_max;
    struct answer_chunk *last; /* the producer's; NULL once the end was published */
    uint64_t appended;         /* the producer's */
    uint64_t published;        /* atomic */
    uint32_t described;        /* bytes of the RowDescription; fixed before anything is published */
    struct answer_shape shape; /* the same */
    uint32_t references;       /* atomic */
    uint32_t openings;   /* atomic; 1 for being within result_max, and readers that begin now */
    uint32_t readers;    /* atomic */
    uint64_t footprint;  /* the producer's until the end, then fixed */
    enum answer_end end; /* atomic */
    bool outgrown;       /* beyond result_max; the producer's until the end, then fixed */
    bool discarding;     /* the producer's: outgrown, and the last reader has left */
    struct answer_chunk first; /* the last member, with its bytes; freed with the answer */
};

/* --- memory ----------------------------------------------------------------------------------- */

void answer_memory_init(struct answer_memory *memory, uint64_t max)
{
    *memory = (struct answer_memory){.max = max};
}

void answer_memory_bound(struct answer_memory *memory, uint64_t max)
{
    __atomic_store_n(&memory->max, max, __ATOMIC_RELAXED);
}

uint64_t answer_memory_bytes(const struct answer_memory *memory)
{
    return __atomic_load_n(&memory->bytes, __ATOMIC_RELAXED);
}

bool answer_memory_tight(const struct answer_memory *memory)
{
    return answer_memory_bytes(memory) > __atomic_load_n(&memory->max, __ATOMIC_RELAXED) / 4 * 3;
}

static void *memory_alloc(struct answer_memory *memory, size_t size)
{
    uint64_t bytes = size + BLOCK_EXTRA;
    uint64_t max = __atomic_load_n(&memory->max, __ATOMIC_RELAXED);
    uint64_t before = __atomic_fetch_add(&memory->bytes, bytes, __ATOMIC_RELAXED);
    void *at = before + bytes > max ? NULL : malloc(size);
    if (at != NULL)
        return at;
    __atomic_fetch_sub(&memory->bytes, bytes, __ATOMIC_RELAXED);
    (void)fault_raise(FAULT_MEMORY,
                      "no memory for %zu bytes of an answer: %" PRIu64 " are in use, the limit is "
                      "%" PRIu64,
                      size, before, max);
    return NULL;
}

static void memory_free(struct answer_memory *memory, void *at, size_t size)
{
    uint64_t bytes = size + BLOCK_EXTRA;
    uint64_t before = __atomic_fetch_sub(&memory->bytes, bytes, __ATOMIC_RELAXED);
    invariant(before >= bytes);
    free(at);
}

static struct answer *answer_alloc(struct answer_memory *memory, uint64_t result_max, uint32_t size)
{
    struct answer *answer = memory_alloc(memory, sizeof(*answer) + size);
    if (answer == NULL)
        return NULL;
    *answer = (struct answer){.memory = memory,
                              .result_max = result_max,
                              .references = 1,
                              .openings = 1,
                              .footprint = sizeof(*answer) + size + BLOCK_EXTRA,
                              .last = &answer->first,
                              .first = {.size = size, .references = 2}}; /* answer, producer */
    return answer;
}

struct answer *answer_new(struct answer_memory *memory, uint64_t result_max)
{
    return answer_alloc(memory, result_max, CHUNK_FIRST);
}

static struct answer_chunk *answer_chunk_ref(struct answer_chunk *chunk)
{
    uint32_t before = __atomic_fetch_add(&chunk->references, 1, __ATOMIC_RELAXED);
    invariant(before > 0);
    return chunk;
}

/* Drops a reference, and that of a freed chunk to its successor. */
static void answer_chunk_unref(struct answer *answer, struct answer_chunk *chunk)
{
    while (chunk != NULL) {
        uint32_t before = __atomic_fetch_sub(&chunk->references, 1, __ATOMIC_ACQ_REL);
        invariant(before > 0);
        if (before > 1)
            return;
        struct answer_chunk *next = chunk->next;
        if (chunk != &answer->first)
            memory_free(answer->memory, chunk, sizeof(*chunk) + chunk->size);
        chunk = next;
    }
}

struct answer *answer_ref(struct answer *answer)
{
    uint32_t before = __atomic_fetch_add(&answer->references, 1, __ATOMIC_RELAXED);
    invariant(before > 0 && before < UINT32_MAX);
    return answer;
}

/* Ends one opening.  The last one drops the answer's own reference to the first chunk; after that
 * no reader can begin. */
static void opening_end(struct answer *answer)
{
    uint32_t before = __atomic_fetch_sub(&answer->openings, 1, __ATOMIC_ACQ_REL);
    invariant(before > 0);
    if (before == 1)
        answer_chunk_unref(answer, &answer->first);
}

void answer_unref(struct answer **answer)
{
    struct answer *old = TAKE(*answer);
    if (old == NULL)
        return;
    uint32_t before = __atomic_fetch_sub(&old->references, 1, __ATOMIC_ACQ_REL);
    invariant(before > 0);
    if (before > 1)
        return;
    invariant(old->readers == 0);
    if (old->last != NULL) /* its producer gave up without an end */
        answer_chunk_unref(old, old->last);
    if (old->openings > 0)
        opening_end(old);
    invariant(old->openings == 0);
    memory_free(old->memory, old, sizeof(*old) + old->first.size);
}

/* --- producer --------------------------------------------------------------------------------- */

/* Returns whether bytes must be kept: a reader may begin, or one has begun. */
static bool answer_wanted(const struct answer *answer)
{
    return __atomic_load_n(&answer->openings, __ATOMIC_ACQUIRE) > 0 ||
           __atomic_load_n(&answer->readers, __ATOMIC_ACQUIRE) > 0;
}

static fault answer_extend(struct answer *answer)
{
    struct answer_chunk *last = answer->last;
    uint64_t size = MIN_OF(MAX_OF(answer->appended, CHUNK_MIN), CHUNK_MAX);
    struct answer_chunk *next = memory_alloc(answer->memory, sizeof(*next) + size);
    if (next == NULL)
        return FAULT_MEMORY;
    *next = (struct answer_chunk){
        .from = last->from + last->size, .size = (uint32_t)size, .references = 2};
    answer->footprint += sizeof(*next) + size + BLOCK_EXTRA;
    invariant(last->next == NULL && next->from == answer->appended);
    last->next = next;
    answer->last = next;
    answer_chunk_unref(answer, last);
    return OK;
}

fault answer_append(struct answer *answer, struct span bytes)
{
    invariant(answer->last != NULL); /* the end is not published */
    if (UNLIKELY(!answer->outgrown && bytes.size > answer->result_max - answer->appended)) {
        answer->outgrown = true;
        opening_end(answer);
    }
    answer->discarding = answer->outgrown && (answer->discarding || !answer_wanted(answer));
    while (bytes.size > 0 && !answer->discarding) {
        struct answer_chunk *last = answer->last;
        uint64_t used = answer->appended - last->from;
        invariant(used <= last->size);
        size_t size = MIN_OF(bytes.size, last->size - used);
        if (size == 0) {
            TRY(answer_extend(answer));
            continue;
        }
        memcpy(last->bytes + used, bytes.at, size);
        answer->appended += size;
        bytes = span_skip(bytes, size);
    }
    return OK;
}

fault answer_describe(struct answer *answer, struct span message)
{
    invariant(answer->appended == 0 && !answer->outgrown && message.size <= UINT32_MAX);
    answer->described = (uint32_t)message.size;
    return answer_append(answer, message);
}

void answer_set_shape(struct answer *answer, struct answer_shape shape)
{
    invariant(answer->appended == 0);
    answer->shape = shape;
}

void answer_publish(struct answer *answer)
{
    invariant(answer->last != NULL && answer->appended >= answer->published);
    __atomic_store_n(&answer->published, answer->appended, __ATOMIC_RELEASE);
}

void answer_end(struct answer *answer, enum answer_end how)
{
    invariant(how != ANSWER_RUNNING && answer->end == ANSWER_RUNNING);
    if (how != ANSWER_BROKEN)
        answer_publish(answer);
    answer_chunk_unref(answer, TAKE(answer->last));
    __atomic_store_n(&answer->end, how, __ATOMIC_RELEASE);
}

/* --- any thread ------------------------------------------------------------------------------- */

enum answer_end answer_ended(const struct answer *answer)
{
    return __atomic_load_n(&answer->end, __ATOMIC_ACQUIRE);
}

uint64_t answer_bytes(const struct answer *answer)
{
    return __atomic_load_n(&answer->published, __ATOMIC_ACQUIRE);
}

uint64_t answer_description(const struct answer *answer)
{
    return answer_bytes(answer) == 0 ? 0 : answer->described;
}

struct answer_shape answer_shape(const struct answer *answer)
{
    return answer->shape;
}

bool answer_suits(const struct answer *answer, struct answer_shape shape)
{
    const struct answer_shape *own = &answer->shape;
    bool unknown = (shape.words[0] | shape.words[1]) == 0 || answer_bytes(answer) == 0 ||
                   (own->words[0] | own->words[1]) == 0;
    return unknown || (own->words[0] == shape.words[0] && own->words[1] == shape.words[1]);
}

bool answer_storable(const struct answer *answer)
{
    return answer_ended(answer) == ANSWER_COMPLETE && !answer->outgrown;
}

uint64_t answer_footprint(const struct answer *answer)
{
    invariant(answer_storable(answer));
    return answer->footprint;
}

struct answer *answer_pack(struct answer *answer)
{
    uint64_t bytes = answer_bytes(answer);
    invariant(answer_storable(answer) && bytes <= UINT32_MAX);
    uint64_t spared = answer->footprint - (sizeof(*answer) + bytes + BLOCK_EXTRA);
    if (spared < answer->footprint / 8)
        return answer_ref(answer);
    struct answer *copy = answer_alloc(answer->memory, answer->result_max, (uint32_t)bytes);
    if (copy == NULL)
        return answer_ref(answer);
    copy->described = answer->described;
    copy->shape = answer->shape;
    for (const struct answer_chunk *chunk = &answer->first; copy->appended < bytes;
         chunk = chunk->next) {
        uint64_t size = MIN_OF(chunk->size, bytes - chunk->from);
        fault appended = answer_append(copy, span_of(chunk->bytes, size));
        invariant(appended == OK); /* nothing is allocated */
    }
    answer_end(copy, ANSWER_COMPLETE);
    return copy;
}

/* --- readers ---------------------------------------------------------------------------------- */

bool answer_open(struct answer *answer, enum answer_part part, struct answer_reader *ret)
{
    uint32_t openings = __atomic_load_n(&answer->openings, __ATOMIC_RELAXED);
    do {
        if (openings == 0)
            return false;
    } while (!__atomic_compare_exchange_n(&answer->openings, &openings, openings + 1, true,
                                          __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
    *ret = (struct answer_reader){.answer = answer_ref(answer),
                                  .chunk = answer_chunk_ref(&answer->first),
                                  .rows = part == ANSWER_ROWS};
    __atomic_fetch_add(&answer->readers, 1, __ATOMIC_RELAXED);
    opening_end(answer); /* releases the count of readers to answer_wanted */
    return true;
}

/* Enters the next chunk.  Its predecessor refers to it, so it is there. */
static void reader_advance(struct answer_reader *reader)
{
    struct answer_chunk *old = reader->chunk;
    invariant(old->next != NULL && old->next->from == reader->at);
    reader->chunk = answer_chunk_ref(old->next);
    answer_chunk_unref(reader->answer, old);
}

/* Leaves out the RowDescription once it is published; it is published whole. */
static void reader_skip(struct answer_reader *reader, uint64_t published)
{
    if (!reader->rows || published == 0)
        return;
    reader->rows = false;
    uint64_t described = reader->answer->described;
    invariant(reader->at == 0 && described <= published);
    while (reader->at < described) {
        uint64_t chunk_end = reader->chunk->from + reader->chunk->size;
        if (reader->at == chunk_end)
            reader_advance(reader);
        else
            reader->at = MIN_OF(described, chunk_end);
    }
}

struct span answer_peek(struct answer_reader *reader)
{
    uint64_t published = answer_bytes(reader->answer);
    reader_skip(reader, published);
    invariant(reader->at <= published);
    if (reader->at == published)
        return SPAN_NONE;
    if (reader->at == reader->chunk->from + reader->chunk->size)
        reader_advance(reader);
    const struct answer_chunk *chunk = reader->chunk;
    uint64_t chunk_end = MIN_OF(chunk->from + chunk->size, published);
    return span_of(chunk->bytes + (reader->at - chunk->from), chunk_end - reader->at);
}

void answer_consume(struct answer_reader *reader, size_t count)
{
    reader->at += count;
    invariant(reader->at <= answer_bytes(reader->answer));
    invariant(reader->at <= reader->chunk->from + reader->chunk->size);
}

enum answer_end answer_read_all(struct answer_reader *reader)
{
    enum answer_end end = answer_ended(reader->answer); /* before `published`: it is then final */
    if (end == ANSWER_RUNNING)
        return ANSWER_RUNNING;
    uint64_t published = answer_bytes(reader->answer);
    reader_skip(reader, published);
    return reader->at == published ? end : ANSWER_RUNNING;
}

uint64_t answer_lag(const struct answer_reader *reader)
{
    return answer_bytes(reader->answer) - reader->at;
}

void answer_close(struct answer_reader *reader)
{
    if (reader->answer == NULL)
        return;
    answer_chunk_unref(reader->answer, TAKE(reader->chunk));
    uint32_t before = __atomic_fetch_sub(&reader->answer->readers, 1, __ATOMIC_RELEASE);
    invariant(before > 0);
    answer_unref(&reader->answer);
}
