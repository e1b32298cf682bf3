#include "session/ledger.h"

#include "base/check.h"
#include "session/counted.h"

#include <stdlib.h>

#define LEDGER_MIN 16u

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

/* Removes the `count` oldest entries without settling them. */
static void ledger_skip(struct ledger *ledger, uint32_t count)
{
    invariant(count <= ledger->count);
    ledger->head = (ledger->head + count) & ledger->mask;
    ledger->count -= count;
}

/* Removes the head and settles it. */
static void ledger_pop(struct ledger *ledger, enum owed_end end)
{
    invariant(ledger->count > 0);
    struct owed owed = *ledger_at(ledger, 0);
    ledger_skip(ledger, 1);
    ledger->taken += end == OWED_ANSWERED;
    ledger_settle(ledger, &owed, end);
}

/* A ring of the first size is not counted: every server has it. */
static uint64_t ring_bytes(uint32_t size)
{
    return size <= LEDGER_MIN ? 0 : (uint64_t)size * LEDGER_ENTRY_BYTES;
}

uint64_t ledger_ring_bytes(const struct ledger *ledger)
{
    return ledger->ring == NULL ? 0 : ring_bytes(ledger->mask + 1);
}

static void ledger_free_ring(struct ledger *ledger)
{
    counted_remove(ledger_ring_bytes(ledger));
    free(ledger->ring);
    ledger->ring = NULL;
}

void ledger_rest(struct ledger *ledger)
{
    invariant(ledger->count == 0);
    if (ledger->ring != NULL)
        ledger_free_ring(ledger);
    ledger->mask = ledger->head = 0;
}

void ledger_fini(struct ledger *ledger)
{
    while (ledger->count > 0)
        ledger_pop(ledger, OWED_DROPPED);
    ledger->syncs = 0;
    ledger_rest(ledger);
}

static bool ledger_grow(struct ledger *ledger)
{
    uint32_t size = ledger->ring == NULL ? LEDGER_MIN : (ledger->mask + 1) * 2;
    if (size > LEDGER_MAX)
        return false;
    if (!counted_add(ring_bytes(size)))
        return false;
    struct owed *ring = malloc(size * sizeof(*ring));
    if (ring == NULL) {
        counted_remove(ring_bytes(size));
        return false;
    }
    for (uint32_t i = 0; i < ledger->count; i++)
        ring[i] = *ledger_at(ledger, i);
    if (ledger->ring != NULL)
        ledger_free_ring(ledger);
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

/* Updates the state for an entry about to be written.  Returns whether it is a Sync, which ends a
 * batch and ends the skipping. */
static bool owe_sync(struct ledger *ledger, enum owed_kind kind)
{
    if (kind != OWED_SYNC) {
        ledger->ready = false;
        ledger->syncs = 0;
        if (UNLIKELY(kind == OWED_MARK))
            ledger->doubt |= DOUBT_MARK;
        return false;
    }
    ledger->batch += 1;
    ledger->skipping = ledger->may_skip = false;
    ledger->syncs += 1;
    ledger->copy_syncs += ledger->copy_in;
    return true;
}

void ledger_swallow_all(struct ledger *ledger)
{
    for (uint32_t i = 0; i < ledger->count; i++) {
        struct owed *owed = &ledger->ring[(ledger->head + i) & ledger->mask];
        invariant(owed->fate != FATE_SYNTHETIC);
        owed->fate = FATE_SWALLOW;
    }
}

bool ledger_is_one_batch(const struct ledger *ledger)
{
    for (uint32_t i = 0; i + 1 < ledger->count; i++)
        if (ledger_at(ledger, i)->kind <= OWED_MARK &&
            ledger_at(ledger, i + 1)->about != ABOUT_POSITION)
            return false;
    return true;
}

/* PostgreSQL ends a session that sends this entry's message as COPY data.  So if the entry is ever
 * answered, the COPY failed before it: what ends a COPY behind it ends another one. */
static bool is_sent_into_copy(const struct ledger *ledger, const struct owed *owed)
{
    return ledger->copy_in && owed->kind != OWED_SYNC && owed->fate != FATE_SYNTHETIC;
}

void ledger_owe(struct ledger *ledger, struct owed owed)
{
    if (UNLIKELY(is_sent_into_copy(ledger, &owed)))
        ledger->copy_in = false;
    if (!owe_sync(ledger, (enum owed_kind)owed.kind) && ledger->skipping) {
        invariant(owed.kind != OWED_MARK); /* a dropped mark would look like an answered one */
        ledger_settle(ledger, &owed, OWED_DROPPED);
        return;
    }
    if (owed.fate != FATE_SYNTHETIC)
        ledger->extended = owed.kind >= OWED_PARSE;
    invariant(ledger->ring != NULL && ledger->count <= ledger->mask);
    *ledger_at(ledger, ledger->count) = owed;
    ledger->count += 1;
    ledger->ever += 1;
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

/* Drops the `count` oldest entries, the newest of them first: each undoes what was noted when it
 * was written. */
static void ledger_drop(struct ledger *ledger, uint32_t count)
{
    for (uint32_t i = count; i-- > 0;)
        ledger_settle(ledger, ledger_at(ledger, i), OWED_DROPPED);
    ledger_skip(ledger, count);
}

/* Returns the number of entries from `from` to the next Sync, mark or the end. */
static uint32_t ledger_batch_size(const struct ledger *ledger, uint32_t from)
{
    uint32_t size = 0;
    while (from + size < ledger->count && ledger_at(ledger, from + size)->kind != OWED_SYNC &&
           ledger_at(ledger, from + size)->kind != OWED_MARK)
        size += 1;
    return size;
}

/* --- missing replies -------------------------------------------------------------------------- */

/* Returns whether a message of this type may belong to the reply to such an entry. */
static bool kind_fits(enum owed_kind kind, uint8_t type)
{
    switch (type) {
    case WIRE_PARSE_COMPLETE:
        return kind == OWED_PARSE;
    case WIRE_BIND_COMPLETE:
        return kind == OWED_BIND;
    case WIRE_CLOSE_COMPLETE:
        return kind == OWED_CLOSE;
    case WIRE_NO_DATA:
    case WIRE_PARAMETER_DESCRIPTION:
        return kind == OWED_DESCRIBE;
    case WIRE_ROW_DESCRIPTION:
        return kind == OWED_DESCRIBE || kind == OWED_QUERY;
    case WIRE_FUNCTION_RESULT:
        return kind == OWED_FUNCTION;
    case WIRE_PORTAL_SUSPENDED:
        return kind == OWED_EXECUTE;
    case WIRE_ERROR:
        return true;
    default:
        return kind == OWED_QUERY || kind == OWED_EXECUTE;
    }
}

/* Drops unsure Syncs at the head (a COPY has read them) if an entry behind them is what this
 * message answers.  A Sync behind a COPY that has failed commits nothing, so an error can't be its
 * reply. */
static void align_syncs(struct ledger *ledger)
{
    uint32_t run = 0;
    while (run < ledger->count && ledger_at(ledger, run)->kind == OWED_SYNC)
        run += 1;
    if (!ledger->unsure || run == 0 || run == ledger->count)
        return;
    ledger->unsure = false;
    ledger_drop(ledger, run);
}

/* Returns whether there is a Query or a FunctionCall among `size` entries from `from`. */
static bool batch_is_mixed(const struct ledger *ledger, uint32_t from, uint32_t size)
{
    for (uint32_t i = from; i < from + size; i++)
        if (ledger_at(ledger, i)->kind <= OWED_FUNCTION)
            return true;
    return false;
}

/* Returns the place in the batch at `from` of the entry that this message answers, or the batch's
 * size.  As many entries of the batch may have been answered already as were removed since the last
 * ReadyForQuery: those replies were taken for replies to a batch that the server skipped. */
static uint32_t batch_place(const struct ledger *ledger, uint32_t from, uint8_t type)
{
    uint32_t size = ledger_batch_size(ledger, from), max = from > 0 ? ledger->taken : 0;
    for (uint32_t i = 0; i < size && i <= max; i++)
        if (kind_fits((enum owed_kind)ledger_at(ledger, from + i)->kind, type))
            return i;
    return size;
}

/* Drops batches that the server skipped whole, because a COPY that failed had read the Sync before
 * them: the ReadyForQuery that was taken for that Sync's reply was theirs.  A Query within a batch
 * has a ReadyForQuery of its own, so that the server's position is unknown.  Then nothing is
 * dropped, and a message that does not answer the head is a breach. */
static void align_batches(struct ledger *ledger, uint8_t type)
{
    uint32_t gone = 0;
    if (!ledger->murky)
        return;
    while (gone < ledger->count && ledger_at(ledger, gone)->kind != OWED_MARK) {
        uint32_t size = ledger_batch_size(ledger, gone), place = batch_place(ledger, gone, type);
        gone += place;
        if (place < size)
            break;
        if (batch_is_mixed(ledger, gone - size, size))
            return;
        while (gone < ledger->count && ledger_at(ledger, gone)->kind == OWED_SYNC)
            gone += 1;
    }
    if (gone == 0 || gone == ledger->count)
        return; /* the head fits, or no entry does */
    ledger->doubt |= DOUBT_BROKEN;
    ledger_drop(ledger, gone);
}

void ledger_align_in_doubt(struct ledger *ledger, uint8_t type)
{
    if (type == WIRE_NOTICE || type == WIRE_PARAMETER_STATUS || type == WIRE_NOTIFICATION ||
        type == WIRE_READY)
        return;
    align_syncs(ledger);
    align_batches(ledger, type);
    const struct owed *head = ledger_head(ledger);
    if (head != NULL && head->kind == OWED_MARK)
        ledger->mark_begun = true;
}

/* --- replies ---------------------------------------------------------------------------------- */

/* Removes the head if it is of this kind; a breach otherwise. */
static enum ledger_verdict ledger_answer(struct ledger *ledger, enum owed_kind kind)
{
    const struct owed *head = ledger_head(ledger);
    if (head == NULL || head->kind != kind)
        return VERDICT_BREACH;
    enum ledger_verdict verdict = verdict_of(ledger);
    ledger_pop(ledger, OWED_ANSWERED);
    return verdict;
}

/* Handles ReadyForQuery while a mark is at the head.  The mark is answered by the ReadyForQuery
 * behind its row.  A ReadyForQuery before the first reply to the mark is the client's. */
static enum ledger_verdict ready_for_mark(struct ledger *ledger)
{
    if (!ledger->mark_begun)
        return VERDICT_FORWARD;
    if (ledger->mark_shown) {
        ledger->mark_begun = ledger->mark_shown = false;
        ledger_pop(ledger, OWED_ANSWERED);
    }
    return VERDICT_SWALLOW;
}

/* Returns whether nothing came before this ReadyForQuery since the last one.  Then it can only
 * answer a Sync. */
static bool ready_is_bare(const struct ledger *ledger)
{
    return !ledger->told && ledger->taken == 0;
}

/* Handles ReadyForQuery where the batch at the head was skipped, as in align_batches. */
static enum ledger_verdict ready_out_of_turn(struct ledger *ledger)
{
    uint32_t skipped = ledger_batch_size(ledger, 0);
    if (!ledger->murky || skipped == ledger->count)
        return VERDICT_BREACH;
    if (!ready_is_bare(ledger) && batch_is_mixed(ledger, 0, skipped))
        return VERDICT_BREACH;
    ledger->doubt |= DOUBT_BROKEN;
    ledger_drop(ledger, skipped);
    return ledger_answer(ledger, OWED_SYNC);
}

static enum ledger_verdict ledger_strike_ready(struct ledger *ledger)
{
    const struct owed *head = ledger_head(ledger);
    if (head == NULL || head->kind > OWED_MARK || head->kind == OWED_NOTHING)
        return ready_out_of_turn(ledger);
    if (head->kind == OWED_MARK)
        return ready_for_mark(ledger);
    if (UNLIKELY(ledger->murky) && head->kind != OWED_SYNC && ready_is_bare(ledger))
        return ready_out_of_turn(ledger);
    enum ledger_verdict verdict = verdict_of(ledger);
    ledger_pop(ledger, OWED_ANSWERED);
    return verdict;
}

/* Handles ReadyForQuery where it may answer a Sync that a COPY may have read. */
static enum ledger_verdict ready_in_doubt(struct ledger *ledger)
{
    const struct owed *head = ledger_head(ledger);
    bool unsure = ledger->unsure && head != NULL && head->kind == OWED_SYNC;
    enum ledger_verdict verdict = ledger_strike_ready(ledger);
    head = ledger_head(ledger);
    if (head == NULL || head->kind != OWED_SYNC)
        ledger->unsure = false;
    ledger->syncs = ledger->syncs < ledger->count ? ledger->syncs : ledger->count;
    ledger->told = false;
    ledger->taken = 0;
    ledger->ready = ledger->syncs == ledger->count;
    ledger->murky = ledger->count > 0 && (ledger->murky || (unsure && !ledger->ready));
    return verdict;
}

static enum ledger_verdict ledger_ready(struct ledger *ledger)
{
    ledger->copy_in = ledger->copying = ledger->may_skip = false;
    if (UNLIKELY(ledger->doubt != 0))
        return ready_in_doubt(ledger);
    enum ledger_verdict verdict = ledger_strike_ready(ledger);
    ledger->syncs = ledger->syncs < ledger->count ? ledger->syncs : ledger->count;
    return verdict;
}

/* Returns whether a COPY may have read all Syncs that are owed.  `read`: how many at the head it
 * may have read. */
static bool no_sync_behind(const struct ledger *ledger, uint32_t read)
{
    return read > 0 &&
           (read >= ledger->count || read + ledger_batch_size(ledger, read) == ledger->count);
}

/* Handles an error: the server skips all messages up to the next Sync, and the error is the reply
 * to the first entry that is dropped.  Which of the Syncs that were sent into a COPY had been read
 * is unknown. */
static enum ledger_verdict ledger_error(struct ledger *ledger)
{
    const struct owed *head = ledger_head(ledger);
    enum ledger_verdict verdict = verdict_of(ledger);
    uint32_t read = ledger->copying ? ledger->copy_syncs : 0;
    if (ledger->copying)
        ledger->unsure = read > 0;
    ledger->copy_in = ledger->copying = false;
    ledger->copy_syncs = 0;
    ledger->told = true;
    if (head == NULL || head->kind <= OWED_MARK)
        return verdict;
    ledger->ready = false;
    ledger_drop(ledger, ledger_batch_size(ledger, 0));
    if (ledger->count == 0)
        ledger->skipping = true;
    else
        ledger->may_skip = no_sync_behind(ledger, read);
    return verdict;
}

/* Removes `gone` Syncs behind the head that get no reply: a COPY has read and ignored them.  A
 * CopyDone or CopyFail that was sent behind one of them may end the next COPY of the same text. */
static void ledger_cut_syncs(struct ledger *ledger, uint32_t gone)
{
    bool newest = ledger->count - ledger->syncs <= 1;
    for (uint32_t i = 1; i <= gone; i++)
        ledger_at(ledger, 0)->ends += ledger_at(ledger, i)->ends;
    for (uint32_t i = 1; i + gone < ledger->count; i++)
        *ledger_at(ledger, i) = *ledger_at(ledger, i + gone);
    ledger->count -= gone;
    if (newest)
        ledger->syncs -= gone;
}

/* Takes one CopyDone or CopyFail that was sent right behind this entry, before the server asked for
 * data.  Returns whether there was one. */
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
    /* The COPY reads the Syncs that were sent between it and its end, unless it fails. */
    uint32_t syncs = 0;
    bool ended = owed_take_end(ledger_at(ledger, 0));
    while (!ended && syncs + 1 < ledger->count && ledger_at(ledger, syncs + 1)->kind == OWED_SYNC) {
        syncs += 1;
        ended = owed_take_end(ledger_at(ledger, syncs));
    }
    /* PostgreSQL ends a session that sends another message in place of data.  This one it has not
     * got, so what it will do with the Syncs behind that message is not known. */
    if (!ended && syncs + 1 < ledger->count && ledger_at(ledger, syncs + 1)->fate == FATE_SYNTHETIC)
        return VERDICT_BREACH;
    ledger->copy_in = !ended;
    ledger->copying = true;
    ledger->copy_syncs = syncs;
    ledger->doubt |= DOUBT_COPY;
    return verdict_of(ledger);
}

/* Handles the completion of the head's COPY: the Syncs up to its end get no reply. */
static void ledger_copied(struct ledger *ledger)
{
    uint32_t syncs = 0;
    while (syncs < ledger->copy_syncs && syncs + 1 < ledger->count &&
           ledger_at(ledger, syncs + 1)->kind == OWED_SYNC)
        syncs += 1;
    ledger_cut_syncs(ledger, syncs);
    if (syncs > 0 && ledger->count == 1 && ledger_at(ledger, 0)->kind == OWED_EXECUTE)
        ledger->extended = true; /* the batch has no Sync any more */
    ledger->copy_in = ledger->copying = false;
    ledger->copy_syncs = 0;
}

static enum ledger_verdict ledger_complete(struct ledger *ledger)
{
    const struct owed *head = ledger_head(ledger);
    if (head == NULL || (head->kind != OWED_EXECUTE && head->kind != OWED_QUERY))
        return VERDICT_BREACH;
    enum ledger_verdict verdict = verdict_of(ledger);
    ledger->told = true;
    if (UNLIKELY(ledger->copying))
        ledger_copied(ledger);
    if (head->kind == OWED_EXECUTE)
        ledger_pop(ledger, OWED_ANSWERED);
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

/* Handles a message that belongs to a reply and does not complete it. */
static enum ledger_verdict ledger_part(struct ledger *ledger, uint8_t type)
{
    ledger->told |= type == WIRE_FUNCTION_RESULT;
    return ledger->count == 0 ? VERDICT_BREACH : verdict_of(ledger);
}

/* Handles a message while only a mark is owed.  Replies to the mark are swallowed.  Messages before
 * them, notifications and ParameterStatus are for the client. */
static enum ledger_verdict take_for_mark(struct ledger *ledger, uint8_t type)
{
    if (type == WIRE_READY)
        return ledger_ready(ledger);
    if (type == WIRE_NOTIFICATION || type == WIRE_PARAMETER_STATUS)
        return VERDICT_FORWARD;
    if (type == WIRE_NOTICE)
        return VERDICT_SWALLOW; /* from the mark's first statement */
    return ledger->mark_begun ? VERDICT_SWALLOW : VERDICT_FORWARD;
}

enum ledger_verdict ledger_take(struct ledger *ledger, uint8_t type)
{
    ledger_align(ledger, type);
    if (UNLIKELY(ledger_marking(ledger)) && ledger->count == 1)
        return take_for_mark(ledger, type);
    switch (type) {
    case WIRE_DATA_ROW:
    case WIRE_COPY_DATA:
    case WIRE_COPY_DONE:
    case WIRE_COPY_OUT:
    case WIRE_FUNCTION_RESULT:
    case WIRE_PARAMETER_DESCRIPTION:
        return ledger_part(ledger, type);
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
    case WIRE_COPY_BOTH: /* CopyData from the server is handled like that of COPY TO */
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
    struct owed *newest = ledger->count == 0 ? NULL : ledger_at(ledger, ledger->count - 1);
    if (ledger->copy_in)
        ledger->copy_in = false;
    else if (newest != NULL && newest->ends < UINT32_MAX)
        newest->ends += 1; /* for a COPY that may still begin */
}

bool ledger_needs_sync(const struct ledger *ledger)
{
    return ledger->skipping || (ledger->count > 0 && ledger->extended);
}

void ledger_mark_shown(struct ledger *ledger)
{
    invariant(ledger->mark_begun && ledger_marking(ledger));
    ledger->mark_shown = true;
}

void ledger_drop_all(struct ledger *ledger)
{
    ledger_drop(ledger, ledger->count);
    ledger->skipping = ledger->extended = ledger->unsure = ledger->murky = false;
    ledger->may_skip = false;
    ledger->copy_in = ledger->copying = ledger->mark_begun = ledger->mark_shown = false;
    ledger->copy_syncs = ledger->syncs = 0;
}
