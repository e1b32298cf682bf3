/* l1_admit.c - which entries of a shard stay: a window, and a segmented LRU behind TinyLFU. */
#include "flight/l1_parts.h"

#include <stdlib.h>

/* Percent of a shard's bytes for the window, and of the rest for entries with a second hit. */
#define WINDOW_PERCENT    1u
#define PROTECTED_PERCENT 80u

static uint64_t window_max(const struct l1_shard *shard)
{
    return shard->max / 100 * WINDOW_PERCENT;
}

uint64_t l1_main_max(const struct l1_shard *shard)
{
    return shard->max - window_max(shard);
}

static uint64_t main_bytes(const struct l1_shard *shard)
{
    return shard->bytes[L1_PROBATION] + shard->bytes[L1_PROTECTED];
}

void l1_place(struct l1_shard *shard, struct l1_entry *entry, enum l1_segment segment)
{
    entry->segment = (uint8_t)segment;
    list_push(&shard->segments[segment], &entry->node);
    shard->bytes[segment] += entry->bytes;
}

static void segment_leave(struct l1_shard *shard, struct l1_entry *entry)
{
    invariant(entry->segment < L1_SEGMENTS && shard->bytes[entry->segment] >= entry->bytes);
    list_remove(&shard->segments[entry->segment], &entry->node);
    shard->bytes[entry->segment] -= entry->bytes;
}

void l1_take_out(struct l1_shard *shard, struct l1_entry *entry, struct l1_entry **removed)
{
    struct l1_entry **at = &shard->buckets[entry->low & shard->mask];
    while (*at != entry) {
        invariant(*at != NULL);
        at = &(*at)->next;
    }
    *at = entry->next;
    segment_leave(shard, entry);
    invariant(shard->entries > 0);
    shard->entries -= 1;
    entry->next = *removed;
    *removed = entry;
}

void l1_free_removed(struct l1_entry *removed)
{
    for (struct l1_entry *next; removed != NULL; removed = next) {
        next = removed->next;
        answer_unref(&removed->answer);
        free(removed);
    }
}

/* An entry that is larger than the window goes first, in place of all others in it. */
void l1_admit(struct l1_shard *shard, struct l1_entry *entry)
{
    l1_place(shard, entry, L1_WINDOW);
    if (entry->bytes > window_max(shard)) {
        list_remove(&shard->segments[L1_WINDOW], &entry->node);
        list_push_front(&shard->segments[L1_WINDOW], &entry->node);
    }
}

void l1_touch(struct l1_shard *shard, struct l1_entry *entry)
{
    enum l1_segment segment = entry->segment == L1_WINDOW ? L1_WINDOW : L1_PROTECTED;
    segment_leave(shard, entry);
    l1_place(shard, entry, segment);
    uint64_t protected_max = l1_main_max(shard) / 100 * PROTECTED_PERCENT;
    struct list *list = &shard->segments[L1_PROTECTED];
    for (uint32_t i = 0; i < L1_VICTIMS_MAX && shard->bytes[L1_PROTECTED] > protected_max; i++) {
        struct l1_entry *oldest = LIST_ENTRY(list_first(list), struct l1_entry, node);
        segment_leave(shard, oldest);
        l1_place(shard, oldest, L1_PROBATION);
    }
}

/* --- eviction --------------------------------------------------------------------------------- */

/* Returns whether no look-up will return this entry any more. */
static bool entry_dead(const struct l1 *l1, const struct l1_entry *entry, moment now)
{
    return now.us >= entry->stale_until.us ||
           generations_check(l1->generations, entry->slots, entry->slot_count, entry->captured) ==
               GENERATIONS_CHANGED;
}

/* How often the key was asked for lately beyond the first time, which no cache could have answered.
 */
static uint32_t entry_worth(const struct l1_shard *shard, const struct l1_entry *entry)
{
    uint32_t count = sketch_estimate(&shard->sketch, entry->low, entry->high);
    return count == 0 ? 0 : count - 1;
}

/* The least recently used entry of the main segments; NULL: none.  Those on probation come first.
 */
static struct l1_entry *main_oldest(const struct l1_shard *shard)
{
    struct node *node = list_first(&shard->segments[L1_PROBATION]);
    if (node == NULL)
        node = list_first(&shard->segments[L1_PROTECTED]);
    return node == NULL ? NULL : LIST_ENTRY(node, struct l1_entry, node);
}

/* The entry behind this one in the order of eviction. */
static struct l1_entry *main_next(const struct l1_shard *shard, const struct l1_entry *entry)
{
    struct node *node = entry->node.next;
    if (node == &shard->segments[L1_PROBATION].head)
        node = list_first(&shard->segments[L1_PROTECTED]);
    if (node == NULL || node == &shard->segments[L1_PROTECTED].head)
        return NULL;
    return LIST_ENTRY(node, struct l1_entry, node);
}

/* Evicts the oldest entries of the main segments until there is room for `more` bytes.  Returns the
 * number of evicted ones. */
static uint32_t main_evict(struct l1_shard *shard, uint64_t more, uint32_t victims_max,
                           struct l1_entry **removed)
{
    uint32_t victims = 0;
    while (victims < victims_max && main_bytes(shard) + more > l1_main_max(shard)) {
        struct l1_entry *oldest = main_oldest(shard);
        invariant(oldest != NULL); /* an entry has room in an empty shard */
        l1_take_out(shard, oldest, removed);
        shard->counters.evicted += 1;
        victims += 1;
    }
    return victims;
}

/* Evicts dead entries at the old end of both segments until there is room for `more` bytes. */
static uint32_t main_evict_dead(const struct l1 *l1, struct l1_shard *shard, uint64_t more,
                                uint32_t victims_max, moment now, struct l1_entry **removed)
{
    uint32_t victims = 0;
    for (enum l1_segment i = L1_PROTECTED; i >= L1_PROBATION; i--)
        while (victims < victims_max && main_bytes(shard) + more > l1_main_max(shard)) {
            struct node *node = list_first(&shard->segments[i]);
            if (node == NULL || !entry_dead(l1, LIST_ENTRY(node, struct l1_entry, node), now))
                break;
            l1_take_out(shard, LIST_ENTRY(node, struct l1_entry, node), removed);
            shard->counters.evicted += 1;
            victims += 1;
        }
    return victims;
}

/* Returns whether there is room for the candidate, or it is worth more than all those together that
 * it would evict now; dead ones do not count.  At most L1_VICTIMS_MAX are looked at; the next ones
 * have their comparison when these are gone. */
static bool candidate_wins(const struct l1 *l1, const struct l1_shard *shard,
                           const struct l1_entry *candidate, moment now)
{
    uint32_t worth = entry_worth(shard, candidate), others = 0;
    uint64_t bytes = main_bytes(shard) + candidate->bytes, max = l1_main_max(shard);
    const struct l1_entry *victim = main_oldest(shard);
    for (uint32_t i = 0; i < L1_VICTIMS_MAX && bytes > max; i++) {
        invariant(victim != NULL && bytes >= victim->bytes);
        if (!entry_dead(l1, victim, now)) {
            others += entry_worth(shard, victim);
            if (others >= worth)
                return false;
        }
        bytes -= victim->bytes;
        victim = main_next(shard, victim);
    }
    return true;
}

bool l1_shrink(const struct l1 *l1, struct l1_shard *shard, moment now, struct l1_entry **removed)
{
    uint32_t victims = main_evict(shard, 0, L1_VICTIMS_MAX, removed);
    while (shard->bytes[L1_WINDOW] > window_max(shard)) {
        if (victims >= L1_VICTIMS_MAX)
            return false;
        struct node *node = list_first(&shard->segments[L1_WINDOW]);
        invariant(node != NULL);
        struct l1_entry *candidate = LIST_ENTRY(node, struct l1_entry, node);
        victims +=
            main_evict_dead(l1, shard, candidate->bytes, L1_VICTIMS_MAX - victims, now, removed);
        if (candidate->bytes > l1_main_max(shard) || entry_dead(l1, candidate, now) ||
            !candidate_wins(l1, shard, candidate, now)) {
            l1_take_out(shard, candidate, removed);
            shard->counters.rejected += 1;
            victims += 1;
            continue;
        }
        victims += main_evict(shard, candidate->bytes, L1_VICTIMS_MAX - victims, removed);
        invariant(victims <= L1_VICTIMS_MAX);
        if (main_bytes(shard) + candidate->bytes > l1_main_max(shard))
            return false;
        segment_leave(shard, candidate);
        l1_place(shard, candidate, L1_PROBATION);
        victims += 1;
    }
    return main_bytes(shard) <= l1_main_max(shard);
}

void l1_shrink_at_once(struct l1_shard *shard, struct l1_entry **removed)
{
    (void)main_evict(shard, 0, UINT32_MAX, removed);
    while (shard->bytes[L1_WINDOW] > window_max(shard)) {
        struct node *node = list_first(&shard->segments[L1_WINDOW]);
        l1_take_out(shard, LIST_ENTRY(node, struct l1_entry, node), removed);
        shard->counters.evicted += 1;
    }
}
