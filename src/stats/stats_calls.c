#include "stats/stats_calls.h"

#include "base/check.h"
#include "base/list.h"
#include "base/map.h"
#include "machine/lock.h"

#include <stdlib.h>

#define SHARDS 16u

struct entry {
    struct map_link link; /* in shard->entries */
    struct node node;     /* in shard->order */
    struct stats_call_view view;
    struct histogram wait;
    struct histogram took;
    char texts[];
};

struct shard {
    struct lock lock; /* guards all of the shard */
    struct map entries;
    struct list order; /* the one counted longest ago is first */
};

struct stats_calls {
    uint32_t max;     /* atomic */
    uint32_t count;   /* atomic */
    uint64_t evicted; /* atomic */
    struct shard shards[SHARDS];
};

/* --- the table -------------------------------------------------------------------------------- */

struct stats_calls *stats_calls_new(void)
{
    struct stats_calls *calls = calloc(1, sizeof(*calls));
    for (uint32_t i = 0; calls != NULL && i < SHARDS; i++) {
        lock_init(&calls->shards[i].lock);
        list_init(&calls->shards[i].order);
        calls->shards[i].entries = MAP_INIT(UINT32_MAX);
    }
    return calls;
}

/* Takes an entry out of its shard, which is locked, and frees it. */
static void drop(struct stats_calls *calls, struct shard *shard, struct entry *entry)
{
    map_remove(&shard->entries, &entry->link);
    list_remove(&shard->order, &entry->node);
    __atomic_fetch_sub(&calls->count, 1, __ATOMIC_RELAXED);
    free(entry);
}

static struct entry *oldest_of(const struct shard *shard)
{
    struct node *node = list_first(&shard->order);
    return node == NULL ? NULL : LIST_ENTRY(node, struct entry, node);
}

void stats_calls_reset(struct stats_calls *calls)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &calls->shards[i];
        lock_take(&shard->lock);
        for (struct entry *entry; (entry = oldest_of(shard)) != NULL;)
            drop(calls, shard, entry);
        lock_release(&shard->lock);
    }
}

void stats_calls_free(struct stats_calls **calls)
{
    struct stats_calls *mine = TAKE(*calls);
    if (mine == NULL)
        return;
    stats_calls_reset(mine);
    for (uint32_t i = 0; i < SHARDS; i++) {
        map_fini(&mine->shards[i].entries);
        lock_fini(&mine->shards[i].lock);
    }
    free(mine);
}

/* --- eviction --------------------------------------------------------------------------------- */

/* Removes the entry that was counted longest ago.  False: there is none. */
static bool evict(struct stats_calls *calls)
{
    struct shard *from = NULL;
    moment oldest = {INT64_MAX};
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &calls->shards[i];
        lock_take(&shard->lock);
        const struct entry *entry = oldest_of(shard);
        if (entry != NULL && entry->view.seen.us < oldest.us) {
            oldest = entry->view.seen;
            from = shard;
        }
        lock_release(&shard->lock);
    }
    if (from == NULL)
        return false;
    lock_take(&from->lock);
    struct entry *entry = oldest_of(from);
    if (entry != NULL)
        drop(calls, from, entry);
    lock_release(&from->lock);
    return entry != NULL;
}

static void shrink(struct stats_calls *calls)
{
    uint32_t max = __atomic_load_n(&calls->max, __ATOMIC_RELAXED);
    while (__atomic_load_n(&calls->count, __ATOMIC_RELAXED) > max && evict(calls))
        __atomic_fetch_add(&calls->evicted, 1, __ATOMIC_RELAXED);
}

void stats_calls_bound(struct stats_calls *calls, uint32_t max)
{
    __atomic_store_n(&calls->max, max, __ATOMIC_RELAXED);
    if (max == 0)
        stats_calls_reset(calls);
    else
        shrink(calls);
}

/* --- entries ---------------------------------------------------------------------------------- */

static bool entry_is(const struct map_link *link, const void *argument)
{
    const struct stats_call_key *known = &MAP_ENTRY(link, const struct entry, link)->view.key;
    const struct stats_call_key *key = argument;
    return known->fingerprint == key->fingerprint && strcmp(known->database, key->database) == 0 &&
           strcmp(known->user, key->user) == 0 && strcmp(known->service, key->service) == 0;
}

/* Fingerprints are hashes. */
static uint64_t hash_of(const struct stats_call_key *key)
{
    return key->fingerprint ^ hash_span(span_text(key->database)) ^
           (hash_span(span_text(key->user)) << 1) ^ (hash_span(span_text(key->service)) << 2);
}

/* Copies a text with a NUL into the room behind the struct, and advances *room. */
static const char *keep(char **room, struct span text)
{
    char *kept = *room;
    if (text.size > 0)
        memcpy(kept, text.at, text.size);
    kept[text.size] = '\0';
    *room += text.size + 1;
    return kept;
}

static struct entry *entry_new(const struct stats_call_key *key, struct span text)
{
    struct span database = span_text(key->database), user = span_text(key->user);
    struct span service = span_text(key->service);
    struct entry *entry =
        calloc(1, sizeof(*entry) + database.size + user.size + service.size + text.size + 4);
    if (entry == NULL)
        return NULL;
    char *room = entry->texts;
    entry->view.key.fingerprint = key->fingerprint;
    entry->view.key.database = keep(&room, database);
    entry->view.key.user = keep(&room, user);
    entry->view.key.service = keep(&room, service);
    entry->view.text = span_of(keep(&room, text), text.size);
    entry->view.wait = &entry->wait;
    entry->view.took = &entry->took;
    return entry;
}

/* Finds or makes the entry in its shard, which is locked.  NULL: no memory. */
static struct entry *find(struct stats_calls *calls, struct shard *shard, uint64_t hash,
                          const struct stats_call_key *key, struct span text)
{
    struct map_link *link = map_find(&shard->entries, hash, entry_is, key);
    if (link != NULL) {
        struct entry *known = MAP_ENTRY(link, struct entry, link);
        list_remove(&shard->order, &known->node);
        list_push(&shard->order, &known->node);
        return known;
    }
    struct entry *entry = entry_new(key, text);
    if (entry == NULL)
        return NULL;
    if (map_insert(&shard->entries, &entry->link, hash) != OK) {
        free(entry);
        return NULL;
    }
    list_push(&shard->order, &entry->node);
    __atomic_fetch_add(&calls->count, 1, __ATOMIC_RELAXED);
    return entry;
}

/* Ends a change of a shard, which is locked. */
static void end_change(struct stats_calls *calls, struct shard *shard)
{
    lock_release(&shard->lock);
    if (UNLIKELY(__atomic_load_n(&calls->count, __ATOMIC_RELAXED) >
                 __atomic_load_n(&calls->max, __ATOMIC_RELAXED)))
        shrink(calls);
}

/* --- counting --------------------------------------------------------------------------------- */

void stats_calls_add(struct stats_calls *calls, const struct stats_call_key *key, struct span text,
                     const struct stats_call *call, moment at)
{
    uint64_t hash = hash_of(key);
    struct shard *shard = &calls->shards[hash >> 60];
    static_assert(SHARDS == 16, "a shard for each value of four bits");
    lock_take(&shard->lock);
    struct entry *entry = find(calls, shard, hash, key, text);
    if (entry != NULL) {
        struct stats_call_view *view = &entry->view;
        view->calls += 1;
        view->rows += call->rows;
        view->bytes += call->bytes;
        view->errors += call->errors;
        view->took_us += (uint64_t)call->took_us;
        view->waited_us += (uint64_t)call->waited_us;
        view->seen = at;
        histogram_add(&entry->took, call->took_us);
        histogram_add(&entry->wait, call->waited_us);
    }
    end_change(calls, shard);
}

static void add_reason(struct stats_call_view *view, const char *why)
{
    uint32_t i = 0;
    while (i < STATS_CALL_REASONS - 1 && view->reasons[i].word != NULL &&
           strcmp(view->reasons[i].word, why) != 0)
        i++;
    if (i == STATS_CALL_REASONS - 1)
        why = "other";
    view->reasons[i].word = why;
    view->reasons[i].count += 1;
}

void stats_calls_share(struct stats_calls *calls, const struct stats_call_key *key,
                       struct span text, enum stats_share share, const char *why, moment at)
{
    uint64_t hash = hash_of(key);
    struct shard *shard = &calls->shards[hash >> 60];
    lock_take(&shard->lock);
    struct entry *entry = find(calls, shard, hash, key, text);
    if (entry != NULL) {
        entry->view.hits += share == STATS_HIT;
        entry->view.joins += share == STATS_JOIN;
        entry->view.bypassed += share == STATS_BYPASS;
        if (share == STATS_BYPASS && why != NULL)
            add_reason(&entry->view, why);
        entry->view.seen = at;
    }
    end_change(calls, shard);
}

/* --- looks ------------------------------------------------------------------------------------ */

void stats_calls_look(struct stats_calls *calls,
                      void (*look)(void *argument, const struct stats_call_view *view),
                      void *argument)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &calls->shards[i];
        lock_take(&shard->lock);
        for (struct map_link *at = map_next(&shard->entries, NULL); at != NULL;
             at = map_next(&shard->entries, at))
            look(argument, &MAP_ENTRY(at, struct entry, link)->view);
        lock_release(&shard->lock);
    }
}

void stats_calls_total(struct stats_calls *calls, struct stats_calls_totals *ret)
{
    ret->entries = __atomic_load_n(&calls->count, __ATOMIC_RELAXED);
    ret->entries_max = __atomic_load_n(&calls->max, __ATOMIC_RELAXED);
    ret->evicted = __atomic_load_n(&calls->evicted, __ATOMIC_RELAXED);
}
