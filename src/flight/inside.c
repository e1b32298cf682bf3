/*
 * inside.c - services whose writers are all inside; their catalog, eras and lost backends.
 *
 * A verdict on a write is good for one state of the catalog.  A change of the catalog that becomes
 * visible behind the verdict may give the write other tables (a trigger, a foreign key).  So when
 * the catalog is raised, writes that are in doubt by tables become outdated: the whole service is
 * held until the last of them has ended, and each of them then raises its whole database.  `era`
 * counts these raises.
 */
#include "flight/inside_parts.h"

#include "machine/clock.h"

#include <stdlib.h>
#include <string.h>

/* Behind a change of the catalog. */
#define REST ms(100)

struct insides {
    struct generations_table *generations;
    struct lock lock; /* guards the list; taken before that of a service */
    struct list all;
};

struct insides *insides_new(struct generations_table *generations)
{
    struct insides *insides = calloc(1, sizeof(*insides));
    if (insides == NULL)
        return NULL;
    insides->generations = generations;
    lock_init(&insides->lock);
    list_init(&insides->all);
    return insides;
}

void insides_free(struct insides **insides)
{
    if (*insides == NULL)
        return;
    struct insides *gone = TAKE(*insides);
    while (!list_empty(&gone->all)) {
        struct inside *inside = LIST_ENTRY(list_pop(&gone->all), struct inside, node);
        inside_forget_lost(inside);
        invariant(inside->current == 0 && inside->outdated == 0);
        lock_fini(&inside->lock);
        free(inside);
    }
    lock_fini(&gone->lock);
    free(gone);
}

/* --- services --------------------------------------------------------------------------------- */

/* Names of their own in generations.h: the service's is followed by bytes that no name has. */
static uint64_t number_of(const struct generations_table *generations, struct span service,
                          struct span database)
{
    uint8_t marked[256 + 2];
    size_t size = MIN_OF(service.size, sizeof(marked) - 2);
    memcpy(marked, service.at, size);
    marked[size] = '\0';
    marked[size + 1] = 'i';
    return generations_database(generations, span_of(marked, size + 2), database);
}

static struct inside *inside_new(struct generations_table *generations, struct span service)
{
    struct inside *inside = calloc(1, sizeof(*inside) + service.size);
    if (inside == NULL)
        return NULL;
    memcpy(inside->text, service.at, service.size);
    inside->name = span_of(inside->text, service.size);
    inside->generations = generations;
    inside->all = number_of(generations, service, SPAN_NONE);
    lock_init(&inside->lock);
    generations_writes_init(&inside->everything, inside->all);
    generations_writes_catalog(generations, &inside->everything);
    return inside;
}

static struct inside *get_locked(struct insides *insides, struct span service)
{
    LIST_EACH (&insides->all, it) {
        struct inside *inside = LIST_ENTRY(it, struct inside, node);
        if (span_equal(inside->name, service))
            return inside;
    }
    struct inside *inside = inside_new(insides->generations, service);
    if (inside != NULL)
        list_push(&insides->all, &inside->node);
    return inside;
}

struct inside *insides_get(struct insides *insides, struct span service)
{
    lock_take(&insides->lock);
    struct inside *inside = get_locked(insides, service);
    lock_release(&insides->lock);
    return inside;
}

static bool is_declared(const struct inside *inside, const struct inside_service *all, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (span_equal(all[i].name, inside->name) && all[i].servers == inside->servers)
            return true;
    return false;
}

void insides_declare(struct insides *insides, const struct inside_service *all, size_t count,
                     bool first)
{
    lock_take(&insides->lock);
    for (size_t i = 0; first && i < count; i++) {
        struct inside *inside = get_locked(insides, all[i].name);
        if (inside == NULL)
            continue;
        inside->servers = all[i].servers;
        __atomic_store_n(&inside->counts, true, __ATOMIC_SEQ_CST);
    }
    LIST_EACH (&insides->all, it) {
        struct inside *inside = LIST_ENTRY(it, struct inside, node);
        if (!is_declared(inside, all, count) && inside_counts(inside))
            __atomic_store_n(&inside->counts, false, __ATOMIC_SEQ_CST);
    }
    lock_release(&insides->lock);
}

void insides_change(struct insides *insides, struct span service)
{
    lock_take(&insides->lock);
    LIST_EACH (&insides->all, it) {
        struct inside *inside = LIST_ENTRY(it, struct inside, node);
        if (!span_equal(inside->name, service))
            continue;
        inside_raise_all(inside);
        inside_forget_lost(inside);
    }
    lock_release(&insides->lock);
}

void insides_each(struct insides *insides,
                  void (*see)(void *argument, const struct inside_view *view), void *argument)
{
    lock_take(&insides->lock);
    LIST_EACH (&insides->all, it) {
        struct inside *inside = LIST_ENTRY(it, struct inside, node);
        lock_take(&inside->lock);
        struct inside_view view = {.service = inside->name,
                                   .counts = inside_counts(inside),
                                   .writes = inside->writes,
                                   .unlisted = __atomic_load_n(&inside->unlisted, __ATOMIC_RELAXED),
                                   .lost = inside->lost_count};
        lock_release(&inside->lock);
        see(argument, &view);
    }
    lock_release(&insides->lock);
}

/* --- one service ------------------------------------------------------------------------------ */

bool inside_counts(const struct inside *inside)
{
    return __atomic_load_n(&inside->counts, __ATOMIC_SEQ_CST);
}

bool inside_rests(const struct inside *inside)
{
    moment raised = {__atomic_load_n(&inside->raised, __ATOMIC_RELAXED)};
    return raised.us != 0 && between(raised, now()).us < REST.us;
}

uint64_t inside_database(const struct inside *inside, struct span database)
{
    return number_of(inside->generations, inside->name, database);
}

uint64_t inside_catalog(const struct inside *inside)
{
    return generations_catalog(inside->generations, inside->all);
}

void inside_reads_init(const struct inside *inside, struct generations_reads *reads,
                       uint64_t database)
{
    generations_reads_init(inside->generations, reads, database);
    generations_reads_database(inside->generations, reads, inside->all);
}

uint64_t inside_settings(const struct inside *inside)
{
    return __atomic_load_n(&inside->settings, __ATOMIC_SEQ_CST);
}

void inside_note_unfit(struct inside *inside)
{
    __atomic_fetch_add(&inside->unfit, 1, __ATOMIC_SEQ_CST);
}

uint64_t inside_unfit(const struct inside *inside)
{
    return __atomic_load_n(&inside->unfit, __ATOMIC_SEQ_CST);
}

void inside_suspect(struct inside *inside)
{
    __atomic_fetch_add(&inside->suspicions, 1, __ATOMIC_SEQ_CST);
}

uint64_t inside_suspicions(const struct inside *inside)
{
    return __atomic_load_n(&inside->suspicions, __ATOMIC_SEQ_CST);
}

/* --- eras ------------------------------------------------------------------------------------- */

void inside_begin_locked(struct inside *inside, struct inside_writes *writes)
{
    writes->era = inside->era;
    inside->current += 1;
}

void inside_end_locked(struct inside *inside, const struct inside_writes *writes)
{
    if (writes->era == inside->era) {
        invariant(inside->current > 0);
        inside->current -= 1;
        return;
    }
    invariant(inside->outdated > 0);
    inside->outdated -= 1;
    if (inside->outdated == 0)
        generations_doubt_end(inside->generations, &inside->everything);
}

void inside_raise_all(struct inside *inside)
{
    lock_take(&inside->lock);
    if (inside->current > 0 && inside->outdated == 0)
        generations_doubt(inside->generations, &inside->everything);
    inside->outdated += inside->current;
    inside->current = 0;
    inside->era += 1;
    __atomic_store_n(&inside->raised, now().us, __ATOMIC_RELAXED);
    generations_raise(inside->generations, &inside->everything);
    lock_release(&inside->lock);
}

/* --- lost backends ---------------------------------------------------------------------------- */

void inside_forget_lost(struct inside *inside)
{
    uint32_t pids[INSIDE_LOST_MAX];
    uint32_t count = inside_lost_pids(inside, pids);
    for (uint32_t i = 0; i < count; i++)
        inside_gone(inside, pids[i]);
    lock_take(&inside->lock);
    if (inside->overflows)
        generations_doubt_end(inside->generations, &inside->overflow);
    inside->overflows = false;
    lock_release(&inside->lock);
}

uint32_t inside_lost_pids(struct inside *inside, uint32_t pids[INSIDE_LOST_MAX])
{
    lock_take(&inside->lock);
    uint32_t count = inside->lost_count;
    for (uint32_t i = 0; i < count; i++)
        pids[i] = inside->lost[i]->pid;
    lock_release(&inside->lock);
    return count;
}

bool inside_has_lost(struct inside *inside)
{
    lock_take(&inside->lock);
    bool has = inside->lost_count > 0;
    lock_release(&inside->lock);
    return has;
}

static void lost_end(struct inside_lost *lost)
{
    inside_writes_raise(&lost->writes);
    inside_writes_settle(&lost->writes);
    free(lost);
}

void inside_gone(struct inside *inside, uint32_t pid)
{
    struct inside_lost *gone = NULL;
    lock_take(&inside->lock);
    for (uint32_t i = 0; i < inside->lost_count && gone == NULL; i++) {
        if (inside->lost[i]->pid != pid)
            continue;
        gone = inside->lost[i];
        inside->lost[i] = inside->lost[--inside->lost_count];
    }
    lock_release(&inside->lock);
    if (gone != NULL)
        lost_end(gone);
}

/* Keeps what is in doubt.  False: no room, so all of the service stays in doubt. */
static bool keep_lost(struct inside *inside, struct inside_lost *lost)
{
    lock_take(&inside->lock);
    bool kept = lost != NULL && inside->lost_count < INSIDE_LOST_MAX;
    if (kept) {
        inside->lost[inside->lost_count++] = lost;
    } else if (!inside->overflows) {
        inside->overflow = inside->everything;
        inside->overflow.hold = GENERATIONS_FREE;
        generations_doubt(inside->generations, &inside->overflow);
        inside->overflows = true;
    }
    lock_release(&inside->lock);
    return kept;
}

void inside_writes_lost(struct inside_writes *writes, uint32_t pid)
{
    struct inside_lost *lost;
    if (!writes->doubts)
        return;
    lost = malloc(sizeof(*lost));
    if (lost != NULL)
        *lost = (struct inside_lost){.pid = pid, .writes = *writes};
    if (keep_lost(writes->inside, lost)) {
        writes->doubts = false; /* the copy's */
        return;
    }
    free(lost);
    inside_writes_raise(writes);
    inside_writes_settle(writes);
}
