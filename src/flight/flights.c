#include "flight/flights.h"

#include "base/map.h"
#include "machine/clock.h"
#include "machine/lock.h"

#include <stdlib.h>
#include <string.h>

#define SHARDS 16u
/* Threads with waiters of one flight. */
#define AUDIENCES_MAX 128u

/* The waiters of one thread. */
struct flight_audience {
    struct flight *flight;
    struct machine *machine;
    struct mail mail;    /* there is news; a reference to the flight while under way */
    struct list waiters; /* the thread's own */
    struct node *next;   /* the thread's own: whom the news under way reaches next; NULL: none */
    struct flight_audience *others;
};

struct shard {
    struct lock lock;
    struct map flights;
};

struct flights {
    const struct generations_table *generations;
    struct shard shards[SHARDS];
};

/* Under the shard's lock, but for `references`, and for what is set once. */
struct flight {
    struct map_link link; /* in shard->flights if `listed` */
    struct flights *flights;
    struct shard *shard;
    uint32_t references; /* atomic */
    enum flight_phase phase;
    bool listed;
    bool refreshes;                /* wanted without a waiter */
    enum flight_progress progress; /* set before the end */
    bool abandoned;
    bool told_abandoned;
    uint32_t waiters;
    uint32_t joined;
    uint32_t before; /* of them: before the latest execution was sent */
    moment since;
    struct answer *answer;
    bool seals; /* `reads` is set */
    struct generations_reads reads;
    uint64_t captured;
    struct flight_audience *audiences;
    struct machine *runner; /* NULL: not named yet */
    void (*on_abandoned)(struct flight *flight, void *context);
    void *context;
    struct mail abandon; /* to the runner */
    struct l1_key key;
    struct flight_about about; /* in `bytes` */
    uint8_t bytes[];
};

/* --- the table -------------------------------------------------------------------------------- */

struct flights *flights_new(const struct generations_table *generations)
{
    struct flights *flights = calloc(1, sizeof(*flights));
    if (flights == NULL)
        return NULL;
    flights->generations = generations;
    for (uint32_t i = 0; i < SHARDS; i++) {
        lock_init(&flights->shards[i].lock);
        flights->shards[i].flights = MAP_INIT(UINT32_MAX);
    }
    return flights;
}

void flights_free(struct flights **flights)
{
    if (*flights == NULL)
        return;
    for (uint32_t i = 0; i < SHARDS; i++) {
        invariant((*flights)->shards[i].flights.count == 0);
        map_fini(&(*flights)->shards[i].flights);
        lock_fini(&(*flights)->shards[i].lock);
    }
    free(*flights);
    *flights = NULL;
}

static struct shard *shard_of(struct flights *flights, const struct l1_key *key)
{
    return &flights->shards[key->high % SHARDS];
}

static bool key_equal(const struct map_link *link, const void *wanted)
{
    const struct flight *flight = MAP_ENTRY(link, struct flight, link);
    const struct l1_key *key = wanted;
    return flight->key.high == key->high && span_equal(flight->key.bytes, key->bytes);
}

static struct flight *find(const struct shard *shard, const struct l1_key *key)
{
    struct map_link *link = map_find(&shard->flights, key->low, key_equal, key);
    return link == NULL ? NULL : MAP_ENTRY(link, struct flight, link);
}

/* The table's reference is the caller's from then on. */
static void unlist(struct flight *flight)
{
    invariant(flight->listed);
    map_remove(&flight->shard->flights, &flight->link);
    flight->listed = false;
}

/* --- flights ---------------------------------------------------------------------------------- */

static struct span keep(uint8_t **at, struct span bytes)
{
    struct span kept = span_of(*at, bytes.size);
    if (bytes.size > 0)
        memcpy(*at, bytes.at, bytes.size);
    *at += bytes.size;
    return kept;
}

/* Returns a flight that is in no table, with one reference. */
static struct flight *make(struct flights *flights, const struct l1_key *key,
                           const struct flight_about *about)
{
    size_t size = key->bytes.size + about->text.size + about->database.size + about->user.size;
    struct flight *flight = calloc(1, sizeof(*flight) + size);
    if (flight == NULL)
        return NULL;
    uint8_t *at = flight->bytes;
    flight->references = 1;
    flight->flights = flights;
    flight->shard = shard_of(flights, key);
    flight->since = now();
    flight->key = (struct l1_key){key->low, key->high, keep(&at, key->bytes)};
    flight->about = (struct flight_about){keep(&at, about->text), keep(&at, about->database),
                                          keep(&at, about->user)};
    return flight;
}

struct flight *flight_ref(struct flight *flight)
{
    __atomic_add_fetch(&flight->references, 1, __ATOMIC_RELAXED);
    return flight;
}

static void flight_free(struct flight *flight)
{
    invariant(flight->waiters == 0 && !flight->listed);
    struct flight_audience *audience = flight->audiences;
    while (audience != NULL) {
        struct flight_audience *others = audience->others;
        invariant(list_empty(&audience->waiters));
        free(audience);
        audience = others;
    }
    answer_unref(&flight->answer);
    free(flight);
}

void flight_unref(struct flight **flight)
{
    struct flight *last = *flight;
    *flight = NULL;
    if (last != NULL && __atomic_sub_fetch(&last->references, 1, __ATOMIC_ACQ_REL) == 0)
        flight_free(last);
}

enum flight_phase flight_phase(const struct flight *flight)
{
    return __atomic_load_n(&flight->phase, __ATOMIC_ACQUIRE);
}

/* Under the lock.  A thread that sees the phase sees the answer. */
static void become(struct flight *flight, enum flight_phase phase)
{
    __atomic_store_n(&flight->phase, phase, __ATOMIC_RELEASE);
}

struct answer *flight_answer(const struct flight *flight)
{
    enum flight_phase phase = flight_phase(flight);
    return phase == FLIGHT_ASKING || phase == FLIGHT_DECLINED ? NULL : flight->answer;
}

enum flight_progress flight_progress(const struct flight *flight)
{
    invariant(flight_phase(flight) == FLIGHT_ENDED);
    return flight->progress;
}

void flight_set_progress(struct flight *flight, enum flight_progress progress)
{
    flight->progress = progress;
}

const struct l1_key *flight_key(const struct flight *flight)
{
    return &flight->key;
}

/* --- joining and leaving ---------------------------------------------------------------------- */

static bool is_sealed(const struct flight *flight)
{
    return flight->seals &&
           generations_check(flight->flights->generations, flight->reads.slots, flight->reads.count,
                             flight->captured) != GENERATIONS_CURRENT;
}

/* Whether the whole answer can still be had, and it is not older than a write. */
static bool is_joinable(const struct flight *flight)
{
    struct answer_reader reader;
    if (flight->phase == FLIGHT_ASKING)
        return true;
    if (flight->phase != FLIGHT_RUNNING || !flight->seals || is_sealed(flight) ||
        !answer_open(flight->answer, ANSWER_WHOLE, &reader))
        return false;
    answer_close(&reader);
    return true;
}

static void audience_deliver(struct mail *mail)
{
    struct flight_audience *audience = CONTAINER_OF(mail, struct flight_audience, mail);
    struct flight *flight = audience->flight;
    struct list *waiters = &audience->waiters;
    invariant(audience->next == NULL);
    for (struct node *node = list_first(waiters); node != NULL; node = audience->next) {
        audience->next = node->next == &waiters->head ? NULL : node->next;
        struct flight_waiter *waiter = LIST_ENTRY(node, struct flight_waiter, node);
        waiter->news(waiter);
    }
    flight_unref(&flight);
}

/* The audience of the running thread; made if there is none.  NULL: no memory. */
static struct flight_audience *audience_of(struct flight *flight)
{
    struct flight_audience *audience = flight->audiences;
    while (audience != NULL && audience->machine != machine_self())
        audience = audience->others;
    if (audience != NULL)
        return audience;
    audience = calloc(1, sizeof(*audience));
    if (audience == NULL)
        return NULL;
    audience->flight = flight;
    audience->machine = machine_self();
    audience->mail.deliver = audience_deliver;
    audience->others = flight->audiences;
    list_init(&audience->waiters);
    flight->audiences = audience;
    return audience;
}

/* Under the lock. */
static bool await(struct flight *flight, struct flight_waiter *waiter)
{
    struct flight_audience *audience = audience_of(flight);
    if (audience == NULL)
        return false;
    waiter->audience = audience;
    waiter->flight = flight_ref(flight);
    list_push(&audience->waiters, &waiter->node);
    flight->waiters += 1;
    flight->joined += 1;
    return true;
}

/* Puts a new flight into the table, in place of one that can't be joined any more.  Under the lock.
 * *ret_old: the table's reference to that one.  False: no memory; nobody can join the flight. */
static bool enlist(struct flight *flight, struct flight **ret_old)
{
    struct flight *old = find(flight->shard, &flight->key);
    if (old != NULL) {
        unlist(old);
        *ret_old = old;
    }
    flight->listed = map_insert(&flight->shard->flights, &flight->link, flight->key.low) == OK;
    return flight->listed;
}

enum flight_role flights_join(struct flights *flights, const struct l1_key *key,
                              const struct flight_about *about, struct flight_waiter *waiter)
{
    struct shard *shard = shard_of(flights, key);
    struct flight *old = NULL, *made = NULL;
    enum flight_role role = FLIGHT_NONE;
    invariant(waiter->flight == NULL && waiter->news != NULL && machine_self() != NULL);
    lock_take(&shard->lock);
    struct flight *flight = find(shard, key);
    if (flight != NULL && is_joinable(flight)) {
        role = await(flight, waiter) ? FLIGHT_JOINED : FLIGHT_NONE;
    } else {
        made = make(flights, key, about);
        role = made != NULL && await(made, waiter) ? FLIGHT_LED : FLIGHT_NONE;
        if (role == FLIGHT_LED && enlist(made, &old))
            made = NULL; /* the table's */
    }
    lock_release(&shard->lock);
    flight_unref(&made);
    flight_unref(&old);
    return role;
}

bool flights_runs(struct flights *flights, const struct l1_key *key)
{
    struct shard *shard = shard_of(flights, key);
    lock_take(&shard->lock);
    const struct flight *flight = find(shard, key);
    bool runs = flight != NULL && flight->phase != FLIGHT_ASKING && is_joinable(flight);
    lock_release(&shard->lock);
    return runs;
}

struct flight *flights_refresh(struct flights *flights, const struct l1_key *key,
                               const struct flight_about *about)
{
    struct shard *shard = shard_of(flights, key);
    struct flight *old = NULL, *made = NULL;
    lock_take(&shard->lock);
    struct flight *flight = find(shard, key);
    if (flight == NULL || !is_joinable(flight))
        made = make(flights, key, about);
    if (made != NULL) {
        made->refreshes = true;
        if (enlist(made, &old))
            flight_ref(made);
    }
    lock_release(&shard->lock);
    flight_unref(&old);
    return made;
}

static void deliver_abandon(struct mail *mail)
{
    struct flight *flight = CONTAINER_OF(mail, struct flight, abandon);
    enum flight_phase phase = flight_phase(flight);
    if (phase == FLIGHT_ASKING || phase == FLIGHT_RUNNING) /* else the runner is gone */
        flight->on_abandoned(flight, flight->context);
    flight_unref(&flight);
}

/* Whether the runner is to be told that no client waits any more; only once.  Under the lock. */
static bool must_tell_runner(struct flight *flight)
{
    bool must = flight->abandoned && !flight->told_abandoned && flight->runner != NULL;
    flight->told_abandoned = flight->told_abandoned || must;
    return must;
}

static void tell_runner(struct flight *flight)
{
    flight_ref(flight);
    bool sent = mail_send(flight->runner, &flight->abandon);
    invariant(sent);
}

/* The last waiter has left.  Under the lock.  Returns the table's reference, or NULL. */
static struct flight *abandon(struct flight *flight)
{
    if (flight->refreshes || flight->phase >= FLIGHT_ENDED)
        return NULL;
    flight->abandoned = true;
    if (!flight->listed)
        return NULL;
    unlist(flight);
    return flight;
}

void flight_leave(struct flight_waiter *waiter)
{
    struct flight *flight = waiter->flight, *listed = NULL;
    struct flight_audience *audience = waiter->audience;
    if (flight == NULL)
        return;
    struct lock *lock = &flight->shard->lock;
    invariant(audience->machine == machine_self());
    if (audience->next == &waiter->node)
        audience->next = waiter->node.next == &audience->waiters.head ? NULL : waiter->node.next;
    list_remove(&audience->waiters, &waiter->node);
    waiter->audience = NULL;
    lock_take(lock);
    invariant(flight->waiters > 0);
    flight->waiters -= 1;
    if (flight->waiters == 0)
        listed = abandon(flight);
    bool tells = must_tell_runner(flight);
    lock_release(lock);
    if (tells)
        tell_runner(flight);
    flight_unref(&listed);
    flight_unref(&waiter->flight);
}

/* --- the runner ------------------------------------------------------------------------------- */

void flight_set_runner(struct flight *flight, struct machine *machine,
                       void (*abandoned)(struct flight *flight, void *context), void *context)
{
    lock_take(&flight->shard->lock);
    invariant(flight->runner == NULL);
    flight->runner = machine;
    flight->on_abandoned = abandoned;
    flight->context = context;
    flight->abandon.deliver = deliver_abandon;
    bool tells = must_tell_runner(flight);
    lock_release(&flight->shard->lock);
    if (tells)
        tell_runner(flight);
}

bool flight_wanted(const struct flight *flight)
{
    lock_take(&flight->shard->lock);
    bool wanted = flight->refreshes || flight->waiters > 0;
    lock_release(&flight->shard->lock);
    return wanted;
}

void flight_run(struct flight *flight, struct answer *answer, const struct generations_reads *reads,
                uint64_t captured)
{
    lock_take(&flight->shard->lock);
    invariant(flight->phase == FLIGHT_ASKING || flight->phase == FLIGHT_RUNNING);
    invariant(flight->answer == NULL || flight->answer == answer);
    if (flight->answer == NULL)
        flight->answer = answer_ref(answer);
    flight->seals = reads != NULL;
    if (reads != NULL)
        flight->reads = *reads;
    flight->captured = captured;
    flight->before = flight->joined;
    become(flight, FLIGHT_RUNNING);
    lock_release(&flight->shard->lock);
}

bool flight_close(struct flight *flight)
{
    lock_take(&flight->shard->lock);
    invariant(flight->phase == FLIGHT_RUNNING);
    flight->seals = false;
    bool alone = flight->joined == flight->before;
    lock_release(&flight->shard->lock);
    return alone;
}

/* Sends news to these threads; each mail under way has a reference. */
static void send_news(struct flight *flight, struct flight_audience *const *audiences,
                      uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct flight *reference = flight_ref(flight);
        if (!mail_send(audiences[i]->machine, &audiences[i]->mail))
            flight_unref(&reference);
    }
}

/* Under the lock, so that a client that joins later sees what was published before. */
static uint32_t list_audiences(const struct flight *flight, struct flight_audience **ret)
{
    uint32_t count = 0;
    for (struct flight_audience *one = flight->audiences; one != NULL; one = one->others) {
        invariant(count < AUDIENCES_MAX);
        ret[count++] = one;
    }
    return count;
}

void flight_tell(struct flight *flight)
{
    struct flight_audience *audiences[AUDIENCES_MAX];
    lock_take(&flight->shard->lock);
    uint32_t count = list_audiences(flight, audiences);
    lock_release(&flight->shard->lock);
    send_news(flight, audiences, count);
}

void flight_end(struct flight *flight, enum flight_phase how)
{
    struct flight_audience *audiences[AUDIENCES_MAX];
    struct flight *listed = NULL;
    invariant(how >= FLIGHT_ENDED);
    lock_take(&flight->shard->lock);
    invariant(flight->phase == FLIGHT_ASKING || flight->phase == FLIGHT_RUNNING);
    invariant(how == FLIGHT_DECLINED || flight->answer != NULL);
    become(flight, how);
    if (flight->listed) {
        unlist(flight);
        listed = flight;
    }
    uint32_t count = list_audiences(flight, audiences);
    lock_release(&flight->shard->lock);
    send_news(flight, audiences, count);
    flight_unref(&listed);
}

/* --- console ---------------------------------------------------------------------------------- */

static void copy_text(char *to, size_t room, struct span text)
{
    size_t size = text.size < room - 1 ? text.size : room - 1;
    if (size > 0)
        memcpy(to, text.at, size);
    to[size] = '\0';
}

static void describe(const struct flight *flight, struct flight_view *view)
{
    *view = (struct flight_view){
        .phase = flight->phase,
        .sealed = flight->phase == FLIGHT_RUNNING && is_sealed(flight),
        .waiters = flight->waiters,
        .joined = flight->joined,
        .bytes = flight->answer != NULL ? answer_bytes(flight->answer) : 0,
        .since = flight->since,
    };
    copy_text(view->text, sizeof(view->text), flight->about.text);
    copy_text(view->database, sizeof(view->database), flight->about.database);
    copy_text(view->user, sizeof(view->user), flight->about.user);
}

uint32_t flights_views(struct flights *flights, uint32_t *cursor, struct flight_view *views,
                       uint32_t count)
{
    uint32_t seen = 0, written = 0;
    for (uint32_t i = 0; i < SHARDS && written < count; i++) {
        struct shard *shard = &flights->shards[i];
        struct map_link *link = NULL;
        lock_take(&shard->lock);
        while (written < count && (link = map_next(&shard->flights, link)) != NULL)
            if (seen++ >= *cursor)
                describe(MAP_ENTRY(link, struct flight, link), &views[written++]);
        lock_release(&shard->lock);
    }
    *cursor += written;
    return written;
}
