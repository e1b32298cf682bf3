#include "stats/learned.h"

#include "base/check.h"
#include "base/map.h"
#include "machine/lock.h"

#include <stdlib.h>

struct entry {
    struct map_link link;
    struct learned_view view;
};

struct learned {
    struct lock lock; /* guards all that follows */
    struct map map;
    struct entry *all[LEARNED_MAX]; /* in order of arrival */
    uint64_t missed;
};

struct learned *learned_new(void)
{
    struct learned *learned = calloc(1, sizeof(*learned));
    if (learned == NULL)
        return NULL;
    lock_init(&learned->lock);
    learned->map = MAP_INIT(LEARNED_MAX);
    return learned;
}

void learned_free(struct learned **learned)
{
    if (*learned == NULL)
        return;
    (void)learned_forget(*learned);
    lock_fini(&(*learned)->lock);
    free(TAKE(*learned));
}

static bool is_same(const struct map_link *link, const void *key)
{
    const struct learned_view *known = &MAP_ENTRY(link, struct entry, link)->view, *view = key;
    return known->fingerprint == view->fingerprint && strcmp(known->user, view->user) == 0 &&
           strcmp(known->database, view->database) == 0;
}

static uint64_t hash_of(const struct learned_view *view)
{
    return view->fingerprint ^ hash_span(span_text(view->database)) ^
           3 * hash_span(span_text(view->user));
}

static struct entry *add(struct learned *learned, const struct learned_view *view, uint64_t hash)
{
    uint32_t place = learned->map.count;
    struct entry *entry = place < LEARNED_MAX ? calloc(1, sizeof(*entry)) : NULL;
    if (entry == NULL || map_insert(&learned->map, &entry->link, hash) != OK) {
        free(entry);
        learned->missed += 1;
        return NULL;
    }
    entry->view = *view;
    entry->view.calls = entry->view.denied = 0;
    learned->all[place] = entry;
    return entry;
}

void learned_note(struct learned *learned, const struct learned_view *view)
{
    uint64_t hash = hash_of(view);
    lock_take(&learned->lock);
    struct map_link *link = map_find(&learned->map, hash, is_same, view);
    struct entry *entry =
        link != NULL ? MAP_ENTRY(link, struct entry, link) : add(learned, view, hash);
    if (entry != NULL) {
        entry->view.calls += view->calls;
        entry->view.denied += view->denied;
        entry->view.last = view->last;
        memcpy(entry->view.rule, view->rule, sizeof(view->rule));
    }
    lock_release(&learned->lock);
}

uint32_t learned_views(struct learned *learned, uint32_t *cursor, struct learned_view *views,
                       uint32_t max)
{
    uint32_t count = 0;
    lock_take(&learned->lock);
    while (count < max && *cursor < learned->map.count)
        views[count++] = learned->all[(*cursor)++]->view;
    lock_release(&learned->lock);
    return count;
}

uint32_t learned_forget(struct learned *learned)
{
    lock_take(&learned->lock);
    uint32_t count = learned->map.count;
    map_fini(&learned->map);
    learned->map = MAP_INIT(LEARNED_MAX);
    for (uint32_t i = 0; i < count; i++)
        free(TAKE(learned->all[i]));
    lock_release(&learned->lock);
    return count;
}

uint64_t learned_missed(struct learned *learned)
{
    lock_take(&learned->lock);
    uint64_t missed = learned->missed;
    lock_release(&learned->lock);
    return missed;
}
