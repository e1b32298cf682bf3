#include "flight/verdict.h"

#include "base/check.h"
#include "flight/generations.h"

#include <stdlib.h>

static_assert(VERDICT_RELATIONS_MAX + 2 <= GENERATIONS_SET_MAX,
              "a set has room for the relations, the database and the catalog");

/* What malloc adds to a block. */
#define BLOCK_EXTRA 16u

static const struct {
    const char *word;
    const char *text;
} reasons[] = {
#define REASON(name, word, text) {word, text},
#include "flight/resolve_reasons.def"
#undef REASON
};
static_assert(ARRAY_SIZE(reasons) == VERDICT_REASONS - QUERY_REASONS, "every reason has a text");

const char *verdict_reason_word(uint32_t reason)
{
    invariant(reason < VERDICT_REASONS);
    return reason < QUERY_REASONS ? query_reason_word((enum query_reason)reason)
                                  : reasons[reason - QUERY_REASONS].word;
}

const char *verdict_reason_text(uint32_t reason)
{
    invariant(reason < VERDICT_REASONS);
    return reason < QUERY_REASONS ? query_reason_text((enum query_reason)reason)
                                  : reasons[reason - QUERY_REASONS].text;
}

/* --- one allocation --------------------------------------------------------------------------- */

static size_t relations_bytes(const struct verdict_relation *list, uint16_t count)
{
    size_t bytes = count * sizeof(*list);
    for (uint16_t i = 0; i < count; i++)
        bytes += list[i].schema.size + list[i].name.size;
    return bytes;
}

size_t verdict_bytes(const struct verdict *verdict)
{
    size_t bytes = sizeof(*verdict) + BLOCK_EXTRA + verdict->because.size +
                   verdict->written_because.size +
                   relations_bytes(verdict->reads, verdict->reads_count) +
                   relations_bytes(verdict->written, verdict->written_count) +
                   verdict->keys_count * sizeof(*verdict->keys);
    for (uint16_t i = 0; i < verdict->keys_count; i++)
        bytes += verdict->keys[i].name.size + verdict->keys[i].literal.size;
    return bytes;
}

/* The free part of the allocation: lists from the front, strings from the end. */
struct room {
    uint8_t *front;
    uint8_t *end;
};

static struct span copy_span(struct room *room, struct span span)
{
    if (span.size == 0)
        return SPAN_NONE;
    room->end -= span.size;
    memcpy(room->end, span.at, span.size);
    return span_of(room->end, span.size);
}

static void *copy_list(struct room *room, const void *list, size_t bytes)
{
    void *copy = room->front;
    if (bytes == 0)
        return NULL;
    memcpy(copy, list, bytes);
    room->front += bytes;
    return copy;
}

static struct verdict_relation *copy_relations(struct room *room,
                                               const struct verdict_relation *list, uint16_t count)
{
    struct verdict_relation *copy = copy_list(room, list, count * sizeof(*list));
    for (uint16_t i = 0; i < count; i++) {
        copy[i].schema = copy_span(room, copy[i].schema);
        copy[i].name = copy_span(room, copy[i].name);
    }
    return copy;
}

fault verdict_new(const struct verdict *draft, struct verdict **ret)
{
    size_t bytes = verdict_bytes(draft) - BLOCK_EXTRA;
    struct verdict *verdict = malloc(bytes);
    if (verdict == NULL)
        return FAULT_MEMORY;
    struct room room = {(uint8_t *)(verdict + 1), (uint8_t *)verdict + bytes};
    *verdict = *draft;
    verdict->references = 1;
    verdict->reads = copy_relations(&room, draft->reads, draft->reads_count);
    verdict->written = copy_relations(&room, draft->written, draft->written_count);
    struct verdict_key *keys =
        copy_list(&room, draft->keys, draft->keys_count * sizeof(*draft->keys));
    for (uint16_t i = 0; i < draft->keys_count; i++) {
        keys[i].name = copy_span(&room, keys[i].name);
        keys[i].literal = copy_span(&room, keys[i].literal);
    }
    verdict->keys = keys;
    verdict->because = copy_span(&room, draft->because);
    verdict->written_because = copy_span(&room, draft->written_because);
    invariant(room.front == room.end);
    *ret = verdict;
    return OK;
}

struct verdict *verdict_ref(struct verdict *verdict)
{
    __atomic_fetch_add(&verdict->references, 1, __ATOMIC_RELAXED);
    return verdict;
}

void verdict_unref(struct verdict **verdict)
{
    struct verdict *mine = *verdict;
    *verdict = NULL;
    if (mine != NULL && __atomic_fetch_sub(&mine->references, 1, __ATOMIC_ACQ_REL) == 1)
        free(mine);
}
