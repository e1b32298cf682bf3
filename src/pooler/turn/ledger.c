#include "pooler/turn/ledger.h"

#include "base/check.h"

#include <stdlib.h>

#define LEDGER_LEAST 16u

void ledger_init(struct ledger *ledger,
                 void (*settle)(void *owner, const struct owed *owed, enum owed_end end),
                 void *owner)
{
    *ledger = (struct ledger){.settle = settle, .owner = owner};
}

static struct owed *ledger_at(const struct ledger *ledger, uint32_t place)
{
    return &ledger->ring[(ledger->head + place) & ledger->mask];
}

static void ledger_settle(struct ledger *ledger, const struct owed *owed, enum owed_end end)
{
    if (owed->about != ABOUT_NOTHING)
        ledger->settle(ledger->owner, owed, end);
}

/* Strikes out so many of the oldest. */
static void ledger_skip(struct ledger *ledger, uint32_t count)
{
    invariant(count <= ledger->count);
    ledger->head = (ledger->head + count) & ledger->mask;
    ledger->count -= count;
}

/* Strikes out the head. */
static void ledger_pop(struct ledger *ledger, enum owed_end end)
{
    invariant(ledger->count > 0);
    struct owed owed = *ledger_at(ledger, 0);
    ledger_skip(ledger, 1);
    ledger_settle(ledger, &owed, end);
}

void ledger_fini(struct ledger *ledger)
{
    while (ledger->count > 0)
        ledger_pop(ledger, OWED_DROPPED);
    free(ledger->ring);
    ledger->ring = NULL;
    ledger->mask = 0;
}

static bool ledger_grow(struct ledger *ledger)
{
    uint32_t size = ledger->ring == NULL ? LEDGER_LEAST : (ledger->mask + 1) * 2;
    if (size > LEDGER_MOST)
        return false;
    struct owed *ring = malloc(size * sizeof(*ring));
    if (ring == NULL)
        return false;
    for (uint32_t i = 0; i < ledger->count; i++)
        ring[i] = *ledger_at(ledger, i);
    free(ledger->ring);
    ledger->ring = ring;
    ledger->mask = size - 1;
    ledger->head = 0;
    return true;
}

bool ledger_make_room(struct ledger *ledger, uint32_t more)
{
    while (ledger->ring == NULL || ledger->count + more > ledger->mask + 1)
        if (!ledger_grow(ledger))
            return false;
    return true;
}

bool ledger_is_one_batch(const struct ledger *ledger)
{
    for (uint32_t i = 0; i + 1 < ledger->count; i++)
        if (ledger_at(ledger, i)->kind <= OWED_MARK)
            return false;
    return true;
}

void ledger_owe(struct ledger *ledger, struct owed owed)
{
    bool is_sync = owed.kind >= OWED_SYNC && owed.kind <= OWED_MARK;
    if (ledger->skipping && !is_sync) {
        ledger_settle(ledger, &owed, OWED_DROPPED);
        return;
    }
    if (is_sync) {
        ledger->batch += 1;
        ledger->skipping = false;
        if (ledger->copy_in)
            owed.kind = OWED_COPY_SYNC;
    }
    if (owed.fate != FATE_SYNTHETIC)
        ledger->extended = owed.kind >= OWED_PARSE;
    invariant(ledger->ring != NULL && ledger->count <= ledger->mask);
    *ledger_at(ledger, ledger->count) = owed;
    ledger->count += 1;
}

void ledger_give(struct ledger *ledger)
{
    invariant(ledger->count > 0 && ledger_at(ledger, 0)->fate == FATE_SYNTHETIC);
    ledger_pop(ledger, OWED_ANSWERED);
}

static enum ledger_verdict verdict_of(const struct ledger *ledger)
{
    const struct owed *head = ledger_head(ledger);
    return head != NULL && head->fate == FATE_SWALLOW ? VERDICT_SWALLOW : VERDICT_FORWARD;
}

/* Out of turn: a breach, unless a mark is awaited.  Once that has come, its Sync is owed. */
static enum ledger_verdict ledger_marked(struct ledger *ledger, bool is_mark)
{
    if (ledger->count == 0 || ledger_at(ledger, 0)->kind != OWED_MARK)
        return VERDICT_BREACH;
    if (is_mark)
        ledger_at(ledger, 0)->kind = OWED_SYNC;
    return VERDICT_SWALLOW;
}

/* Strikes out the head if it is of this kind; a breach otherwise. */
static enum ledger_verdict ledger_answer(struct ledger *ledger, enum owed_kind kind)
{
    const struct owed *head = ledger_head(ledger);
    if (head == NULL || head->kind != kind)
        return ledger_marked(ledger, kind == OWED_CLOSE);
    enum ledger_verdict verdict = verdict_of(ledger);
    ledger_pop(ledger, OWED_ANSWERED);
    return verdict;
}

static enum ledger_verdict ledger_ready(struct ledger *ledger)
{
    const struct owed *head = ledger_head(ledger);
    if (head == NULL || head->kind > OWED_COPY_SYNC || head->kind == OWED_NOTHING)
        return ledger_marked(ledger, false);
    enum ledger_verdict verdict = verdict_of(ledger);
    ledger->copy_in = false;
    ledger_pop(ledger, OWED_ANSWERED);
    return verdict;
}

/* The server skips all up to the next Sync; the error itself is the first dropped entry's answer.
 */
static enum ledger_verdict ledger_error(struct ledger *ledger)
{
    const struct owed *head = ledger_head(ledger);
    enum ledger_verdict verdict = verdict_of(ledger);
    ledger->copy_in = false;
    if (head == NULL || head->kind <= OWED_MARK)
        return verdict;
    uint32_t skipped = 0;
    while (skipped < ledger->count && ledger_at(ledger, skipped)->kind != OWED_SYNC &&
           ledger_at(ledger, skipped)->kind != OWED_COPY_SYNC &&
           ledger_at(ledger, skipped)->kind != OWED_MARK)
        skipped += 1;
    /* The last one first: each undoes what it did when it was written. */
    for (uint32_t i = skipped; i-- > 0;)
        ledger_settle(ledger, ledger_at(ledger, i), OWED_DROPPED);
    ledger_skip(ledger, skipped);
    if (ledger->count == 0)
        ledger->skipping = true;
    return verdict;
}

/* Takes out `gone` entries without an answer: Syncs that a COPY has read, which it ignores. */
static void ledger_cut(struct ledger *ledger, uint32_t from, uint32_t gone)
{
    for (uint32_t i = from; i + gone < ledger->count; i++)
        *ledger_at(ledger, i) = *ledger_at(ledger, i + gone);
    ledger->count -= gone;
}

static uint32_t ledger_cut_copy_syncs(struct ledger *ledger, uint32_t from)
{
    uint32_t gone = 0;
    while (from + gone < ledger->count && ledger_at(ledger, from + gone)->kind == OWED_COPY_SYNC)
        gone += 1;
    ledger_cut(ledger, from, gone);
    return gone;
}

/* Whether the end of a COPY was sent right behind this entry, before the server asked for data. */
static bool owed_take_end(struct owed *owed)
{
    if (owed->ends == 0)
        return false;
    owed->ends -= 1;
    return true;
}

static enum ledger_verdict ledger_copy_in(struct ledger *ledger)
{
    const struct owed *head = ledger_head(ledger);
    if (head == NULL || (head->kind != OWED_QUERY && head->kind != OWED_EXECUTE))
        return VERDICT_BREACH;
    /* Syncs that were sent behind it, but before its end, are read by the COPY. */
    uint32_t syncs = 0;
    bool ended = owed_take_end(ledger_at(ledger, 0));
    while (!ended && syncs + 1 < ledger->count && ledger_at(ledger, syncs + 1)->kind == OWED_SYNC) {
        syncs += 1;
        ended = owed_take_end(ledger_at(ledger, syncs));
    }
    ledger->copy_in = !ended;
    ledger_cut(ledger, 1, syncs);
    if (syncs > 0 && ledger->count == 1 && head->kind == OWED_EXECUTE)
        ledger->extended = true; /* the batch has no Sync any more */
    return verdict_of(ledger);
}

static enum ledger_verdict ledger_complete(struct ledger *ledger)
{
    const struct owed *head = ledger_head(ledger);
    if (head == NULL || (head->kind != OWED_EXECUTE && head->kind != OWED_QUERY))
        return ledger_marked(ledger, false);
    enum ledger_verdict verdict = verdict_of(ledger);
    ledger->copy_in = false;
    uint32_t syncs = ledger_cut_copy_syncs(ledger, 1);
    if (head->kind != OWED_EXECUTE)
        return verdict;
    ledger_pop(ledger, OWED_ANSWERED);
    if (syncs > 0 && ledger->count == 0)
        ledger->extended = true;
    return verdict;
}

static enum ledger_verdict ledger_described(struct ledger *ledger)
{
    const struct owed *head = ledger_head(ledger);
    if (head == NULL)
        return VERDICT_BREACH;
    if (head->kind == OWED_DESCRIBE)
        return ledger_answer(ledger, OWED_DESCRIBE);
    return verdict_of(ledger);
}

enum ledger_verdict ledger_take(struct ledger *ledger, uint8_t type)
{
    switch (type) {
    case WIRE_DATA_ROW:
    case WIRE_COPY_DATA:
    case WIRE_COPY_DONE:
    case WIRE_COPY_OUT:
    case WIRE_FUNCTION_RESULT:
    case WIRE_PARAMETER_DESCRIPTION:
        return ledger->count == 0 ? VERDICT_BREACH : verdict_of(ledger);
    case WIRE_READY:
        return ledger_ready(ledger);
    case WIRE_ERROR:
        return ledger_error(ledger);
    case WIRE_COMMAND_COMPLETE:
    case WIRE_EMPTY_QUERY:
    case WIRE_PORTAL_SUSPENDED:
        return ledger_complete(ledger);
    case WIRE_PARSE_COMPLETE:
        return ledger_answer(ledger, OWED_PARSE);
    case WIRE_BIND_COMPLETE:
        return ledger_answer(ledger, OWED_BIND);
    case WIRE_CLOSE_COMPLETE:
        return ledger_answer(ledger, OWED_CLOSE);
    case WIRE_ROW_DESCRIPTION:
    case WIRE_NO_DATA:
        return ledger_described(ledger);
    case WIRE_COPY_IN:
    case WIRE_COPY_BOTH: /* what the server sends meanwhile is COPY data like any other */
        return ledger_copy_in(ledger);
    case WIRE_NOTICE:
    case WIRE_PARAMETER_STATUS:
        return verdict_of(ledger);
    case WIRE_NOTIFICATION:
        return VERDICT_FORWARD;
    default:
        return VERDICT_BREACH;
    }
}

void ledger_copy_ends(struct ledger *ledger)
{
    if (ledger->copy_in)
        ledger->copy_in = false;
    else if (ledger->count > 0 && ledger_at(ledger, ledger->count - 1)->ends < UINT8_MAX)
        ledger_at(ledger, ledger->count - 1)->ends += 1; /* for a COPY that may still begin */
}

bool ledger_needs_sync(const struct ledger *ledger)
{
    return ledger->skipping || (ledger->count > 0 && ledger->extended);
}
