#include "flight/warms.h"

#include "machine/lock.h"

#include <stdlib.h>
#include <string.h>

/* All counts are halved after so many hits, so that those of long ago weigh less. */
#define HITS_MAX 65536u

struct place {
    uint64_t low, high;
    uint64_t hits;
    struct warm *warm; /* counted; NULL: not told yet */
};

struct warms {
    struct lock lock;
    struct place places[WARMS_MAX];
    uint32_t count;
    uint64_t hits;                 /* since they were halved */
    uint64_t counts[WARMS_COUNTS]; /* atomics */
    int64_t left;                  /* atomic */
};

struct warms *warms_new(void)
{
    struct warms *warms = calloc(1, sizeof(*warms));
    if (warms != NULL)
        lock_init(&warms->lock);
    return warms;
}

void warms_free(struct warms **warms)
{
    struct warms *gone = *warms;
    *warms = NULL;
    if (gone == NULL)
        return;
    for (uint32_t i = 0; i < gone->count; i++)
        warm_unref(&gone->places[i].warm);
    lock_fini(&gone->lock);
    free(gone);
}

void warm_unref(struct warm **warm)
{
    struct warm *last = *warm;
    *warm = NULL;
    if (last != NULL && __atomic_sub_fetch(&last->references, 1, __ATOMIC_ACQ_REL) == 0)
        free(last);
}

/* --- counting hits ---------------------------------------------------------------------------- */

/* Under the lock, here and below. */
static struct place *find(struct warms *warms, const struct l1_key *key)
{
    for (uint32_t i = 0; i < warms->count; i++)
        if (warms->places[i].low == key->low && warms->places[i].high == key->high)
            return &warms->places[i];
    return NULL;
}

static void halve(struct warms *warms)
{
    for (uint32_t i = 0; i < warms->count; i++)
        warms->places[i].hits /= 2;
    warms->hits = 0;
}

/* Takes the place of the statement with the fewest hits; *ret_old is that one. */
static struct place *take_place(struct warms *warms, const struct l1_key *key,
                                struct warm **ret_old)
{
    struct place *least = &warms->places[0];
    if (warms->count < WARMS_MAX) {
        least = &warms->places[warms->count++];
    } else {
        for (uint32_t i = 1; i < WARMS_MAX; i++)
            if (warms->places[i].hits < least->hits)
                least = &warms->places[i];
    }
    *ret_old = least->warm;
    *least = (struct place){.low = key->low, .high = key->high, .hits = least->hits};
    return least;
}

bool warms_hit(struct warms *warms, const struct l1_key *key)
{
    struct warm *old = NULL;
    lock_take(&warms->lock);
    struct place *place = find(warms, key);
    if (place == NULL)
        place = take_place(warms, key, &old);
    place->hits += 1;
    bool unknown = place->warm == NULL;
    if (++warms->hits >= HITS_MAX)
        halve(warms);
    lock_release(&warms->lock);
    warm_unref(&old);
    return unknown;
}

/* --- statements ------------------------------------------------------------------------------- */

static struct span keep(uint8_t **at, struct span bytes)
{
    struct span kept = span_of(*at, bytes.size);
    if (bytes.size > 0)
        memcpy(*at, bytes.at, bytes.size);
    *at += bytes.size;
    return kept;
}

/* Returns a copy; NULL: it is too long, or there is no memory. */
static struct warm *copy_of(const struct warm *about)
{
    size_t size =
        about->database.size + about->user.size + about->params.size + about->messages.size;
    struct warm *warm = size > WARMS_BYTES_MAX ? NULL : malloc(sizeof(*warm) + size);
    if (warm == NULL)
        return NULL;
    uint8_t *at = warm->bytes;
    warm->references = 1;
    warm->hits = 0;
    warm->database = keep(&at, about->database);
    warm->user = keep(&at, about->user);
    warm->params = keep(&at, about->params);
    warm->messages = keep(&at, about->messages);
    return warm;
}

void warms_add(struct warms *warms, const struct l1_key *key, const struct warm *about)
{
    struct warm *warm = copy_of(about);
    lock_take(&warms->lock);
    struct place *place = find(warms, key);
    if (place != NULL && place->warm == NULL) {
        place->warm = warm;
        warm = NULL;
    }
    lock_release(&warms->lock);
    warm_unref(&warm);
}

static int by_hits(const void *a, const void *b)
{
    const struct warm *one = *(struct warm *const *)a, *other = *(struct warm *const *)b;
    return (one->hits < other->hits) - (one->hits > other->hits);
}

uint32_t warms_list(struct warms *warms, struct warm *ret[WARMS_MAX])
{
    uint32_t count = 0;
    lock_take(&warms->lock);
    for (uint32_t i = 0; i < warms->count; i++) {
        struct warm *warm = warms->places[i].warm;
        if (warm == NULL)
            continue;
        __atomic_add_fetch(&warm->references, 1, __ATOMIC_RELAXED);
        warm->hits = warms->places[i].hits;
        ret[count++] = warm;
    }
    qsort(ret, count, sizeof(struct warm *), by_hits);
    lock_release(&warms->lock);
    return count;
}

/* --- counts ----------------------------------------------------------------------------------- */

void warms_count(struct warms *warms, enum warms_count what)
{
    __atomic_add_fetch(&warms->counts[what], 1, __ATOMIC_RELAXED);
}

void warms_left(struct warms *warms, int64_t more)
{
    __atomic_add_fetch(&warms->left, more, __ATOMIC_RELAXED);
}

void warms_stats(const struct warms *warms, uint64_t ret[WARMS_COUNTS], uint64_t *ret_left)
{
    for (unsigned i = 0; i < WARMS_COUNTS; i++)
        ret[i] = __atomic_load_n(&warms->counts[i], __ATOMIC_RELAXED);
    *ret_left = (uint64_t)__atomic_load_n(&warms->left, __ATOMIC_RELAXED);
}
