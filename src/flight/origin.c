#include "flight/origin.h"

#include "machine/clock.h"
#include "machine/lock.h"

#include <stdlib.h>
#include <string.h>

/* Between two executions that look for the server which the feed has to follow. */
#define SEEK ms(200)
/* A feed that was not asked for so long, while a rule rests, gives up its slot. */
#define UNUSED_MAX sec(2)

struct origin {
    struct node node; /* in origins->all */
    struct span service, database;
    uint64_t number;       /* in generations.h */
    struct inside *inside; /* NULL: a feed tells of writes */
    const struct generations_table *generations;
    struct feed_keys *keys;
    struct feed *feed;
    uint64_t epoch; /* atomic; changed under the lock */
    moment used;    /* atomic: when the feed was asked, or began to follow */

    struct lock lock;            /* guards the rest, and the order of sources */
    uint64_t followed;           /* the epoch in which the feed got its source; 0: it has none */
    struct origin_server server; /* of that source */
    uint64_t version;            /* of its settings */
    uint64_t suspicions;         /* inside: those that an execution has cleared */
    moment sought;               /* when origin_is_due() was last true */
    char names[];                /* what `service` and `database` point to */
};

struct origins {
    struct generations_table *generations;
    struct lock lock; /* guards the rest */
    struct feeds *feeds;
    struct list all;
};

/* A source with all that it points to. */
struct source {
    struct feed_source feed;
    void (*release)(void *held);
    void *held;
    size_t size; /* bytes of `text` */
    char text[]; /* user, password and host, each with its NUL */
};

/* --- the table -------------------------------------------------------------------------------- */

struct origins *origins_new(struct generations_table *generations)
{
    struct origins *origins = calloc(1, sizeof(*origins));
    if (origins == NULL)
        return NULL;
    origins->generations = generations;
    lock_init(&origins->lock);
    list_init(&origins->all);
    return origins;
}

fault origins_begin(struct origins *origins)
{
    lock_take(&origins->lock);
    fault begun = origins->feeds == NULL ? feeds_new(&origins->feeds) : OK;
    lock_release(&origins->lock);
    return begun;
}

static void origin_free(struct origin *origin)
{
    feed_keys_free(&origin->keys);
    lock_fini(&origin->lock);
    free(origin);
}

void origins_free(struct origins **origins)
{
    if (*origins == NULL)
        return;
    struct origins *gone = TAKE(*origins);
    LIST_EACH (&gone->all, it)
        feed_free(&LIST_ENTRY(it, struct origin, node)->feed); /* NULL-safe */
    feeds_free(&gone->feeds);
    while (!list_empty(&gone->all)) {
        struct origin *origin = LIST_ENTRY(list_pop(&gone->all), struct origin, node);
        origin_free(origin);
    }
    lock_fini(&gone->lock);
    free(gone);
}

/* Strict answers have a number of their own: that of the pair's number, in a service whose name no
 * service has. */
static uint64_t number_of(const struct generations_table *generations, struct span service,
                          struct span database)
{
    uint64_t pair = generations_database(generations, service, database);
    return generations_database(generations, span_of("", 1), span_of(&pair, sizeof(pair)));
}

static struct origin *origin_new(struct origins *origins, struct inside *inside,
                                 struct span service, struct span database)
{
    struct origin *origin = calloc(1, sizeof(*origin) + service.size + database.size);
    if (origin == NULL)
        return NULL;
    memcpy(origin->names, service.at, service.size);
    memcpy(origin->names + service.size, database.at, database.size);
    origin->service = span_of(origin->names, service.size);
    origin->database = span_of(origin->names + service.size, database.size);
    origin->inside = inside;
    origin->generations = origins->generations;
    origin->number = inside == NULL ? number_of(origins->generations, service, database)
                                    : inside_database(inside, database);
    origin->epoch = 1;
    lock_init(&origin->lock);
    if (inside != NULL)
        return origin;
    origin->keys = feed_keys_new(origins->generations, origin->number);
    struct feed_options options = {
        .generations = origins->generations,
        .database = origin->number,
        .keys = origin->keys,
        .service_name = origin->service,
        .database_name = origin->database,
    };
    if (origin->keys != NULL && feed_new(origins->feeds, &options, &origin->feed) == OK)
        return origin;
    origin_free(origin);
    return NULL;
}

static struct origin *find(const struct origins *origins, const struct inside *inside,
                           struct span service, struct span database)
{
    LIST_EACH (&origins->all, it) {
        struct origin *origin = LIST_ENTRY(it, struct origin, node);
        if (origin->inside == inside && span_equal(origin->service, service) &&
            span_equal(origin->database, database))
            return origin;
    }
    return NULL;
}

struct origin *origins_get_inside(struct origins *origins, struct inside *inside,
                                  struct span service, struct span database)
{
    lock_take(&origins->lock);
    struct origin *origin = find(origins, inside, service, database);
    if (origin == NULL && (inside != NULL || origins->feeds != NULL)) {
        origin = origin_new(origins, inside, service, database);
        if (origin != NULL)
            list_push(&origins->all, &origin->node);
    }
    lock_release(&origins->lock);
    return origin;
}

struct origin *origins_get(struct origins *origins, struct span service, struct span database)
{
    return origins_get_inside(origins, NULL, service, database);
}

/* --- epochs ----------------------------------------------------------------------------------- */

static void next_epoch_locked(struct origin *origin)
{
    __atomic_fetch_add(&origin->epoch, 1, __ATOMIC_SEQ_CST);
}

void origins_change(struct origins *origins, struct span service)
{
    lock_take(&origins->lock);
    LIST_EACH (&origins->all, it) {
        struct origin *origin = LIST_ENTRY(it, struct origin, node);
        if (!span_equal(origin->service, service))
            continue;
        lock_take(&origin->lock);
        next_epoch_locked(origin);
        lock_release(&origin->lock);
    }
    lock_release(&origins->lock);
}

void origins_prune(struct origins *origins, bool (*has_feed)(void *argument, struct span service),
                   void *argument)
{
    lock_take(&origins->lock);
    LIST_EACH (&origins->all, it) {
        struct origin *origin = LIST_ENTRY(it, struct origin, node);
        if (origin->inside != NULL || has_feed(argument, origin->service))
            continue;
        lock_take(&origin->lock);
        next_epoch_locked(origin);
        feed_pause(origin->feed);
        lock_release(&origin->lock);
    }
    lock_release(&origins->lock);
}

uint64_t origin_epoch(const struct origin *origin)
{
    return __atomic_load_n(&origin->epoch, __ATOMIC_SEQ_CST);
}

struct feed_keys *origin_keys(const struct origin *origin)
{
    return origin->keys;
}

uint64_t origin_database(const struct origin *origin)
{
    return origin->number;
}

static bool is_followed_locked(const struct origin *origin, const struct origin_server *server)
{
    return origin->followed == origin->epoch && origin->server.system == server->system &&
           origin->server.timeline == server->timeline &&
           origin->server.instance == server->instance;
}

bool origin_is(struct origin *origin, uint64_t epoch, const struct origin_server *server)
{
    lock_take(&origin->lock);
    bool is = origin->epoch == epoch && is_followed_locked(origin, server);
    lock_release(&origin->lock);
    return is;
}

/* --- writers inside --------------------------------------------------------------------------- */

struct inside *origin_inside(const struct origin *origin)
{
    return origin->inside;
}

uint64_t origin_catalog(const struct origin *origin)
{
    return origin->inside != NULL ? inside_catalog(origin->inside)
                                  : generations_catalog(origin->generations, origin->number);
}

void origin_reads_init(const struct origin *origin, struct generations_reads *reads)
{
    if (origin->inside != NULL)
        inside_reads_init(origin->inside, reads, origin->number);
    else
        generations_reads_init(origin->generations, reads, origin->number);
}

static bool is_suspected_locked(const struct origin *origin)
{
    return origin->followed != origin->epoch ||
           origin->suspicions != inside_suspicions(origin->inside);
}

bool origin_is_suspected(struct origin *origin)
{
    lock_take(&origin->lock);
    bool suspected = is_suspected_locked(origin);
    lock_release(&origin->lock);
    return suspected;
}

bool origin_confirm(struct origin *origin, uint64_t epoch, const struct origin_server *server,
                    uint64_t suspicions)
{
    lock_take(&origin->lock);
    bool latest = origin->epoch == epoch;
    bool another = latest && origin->followed == epoch && !is_followed_locked(origin, server);
    if (another) {
        inside_raise_all(origin->inside);
        next_epoch_locked(origin);
        inside_forget_lost(origin->inside);
    } else if (latest) {
        origin->followed = epoch;
        origin->server = *server;
        origin->suspicions = MAX_OF(origin->suspicions, suspicions);
    }
    lock_release(&origin->lock);
    return latest && !another;
}

static bool lacks_locked(const struct origin *origin)
{
    struct feed_view view;
    if (origin->inside != NULL)
        return is_suspected_locked(origin) || inside_has_lost(origin->inside);
    if (origin->followed != origin->epoch)
        return true;
    feed_look(origin->feed, &view);
    return view.state == FEED_FAILED;
}

bool origin_lacks(struct origin *origin)
{
    lock_take(&origin->lock);
    bool lacks = lacks_locked(origin);
    lock_release(&origin->lock);
    return lacks;
}

bool origin_is_due(struct origin *origin)
{
    lock_take(&origin->lock);
    bool due = lacks_locked(origin) &&
               (origin->sought.us == 0 || between(origin->sought, now()).us > SEEK.us);
    if (due)
        origin->sought = now();
    lock_release(&origin->lock);
    return due;
}

static bool is_unused(const struct origin *origin, moment at)
{
    moment used = {__atomic_load_n(&origin->used.us, __ATOMIC_RELAXED)};
    return origin->inside == NULL && between(used, at).us > UNUSED_MAX.us;
}

void origin_rest(struct origin *origin, moment at)
{
    if (!is_unused(origin, at))
        return;
    lock_take(&origin->lock);
    if (origin->followed == origin->epoch && is_unused(origin, at)) {
        next_epoch_locked(origin);
        feed_pause(origin->feed);
    }
    lock_release(&origin->lock);
}

/* --- sources ---------------------------------------------------------------------------------- */

static void source_free(struct feed_source *gone)
{
    struct source *source = CONTAINER_OF(gone, struct source, feed);
    source->release(source->held);
    explicit_bzero(source->text, source->size);
    free(source);
}

/* Copies a text with its NUL to *at, which moves behind it.  NULL: there is none. */
static const char *keep(char **at, const char *text)
{
    const char *kept = *at;
    if (text == NULL)
        return NULL;
    size_t size = strlen(text) + 1;
    memcpy(*at, text, size);
    *at += size;
    return kept;
}

static size_t room_for(const char *text)
{
    return text == NULL ? 0 : strlen(text) + 1;
}

static struct source *source_new(const struct origin *origin, const struct origin_server *server,
                                 const struct origin_route *route)
{
    size_t size = room_for(route->user) + room_for(route->password) + room_for(route->target->host);
    struct source *source = calloc(1, sizeof(*source) + size);
    if (source == NULL)
        return NULL;
    char *at = source->text;
    source->size = size;
    source->feed = (struct feed_source){
        .target = *route->target,
        .user = span_text(keep(&at, route->user)),
        .database = origin->database,
        .system = server->system,
        .timeline = server->timeline,
        .instance = server->instance,
        .free = source_free,
    };
    if (route->password != NULL)
        source->feed.secret.password = span_text(keep(&at, route->password));
    source->feed.target.host = keep(&at, route->target->host);
    source->release = route->release;
    source->held = route->held;
    return source;
}

static bool follow_locked(struct origin *origin, const struct origin_server *server,
                          uint64_t version, struct source *take_source)
{
    bool renewed = version != origin->version && lacks_locked(origin);
    if (is_followed_locked(origin, server) && !renewed)
        return false;
    if (origin->followed == origin->epoch)
        next_epoch_locked(origin);
    origin->followed = origin->epoch;
    origin->server = *server;
    origin->version = version;
    __atomic_store_n(&origin->used.us, now().us, __ATOMIC_RELAXED);
    take_source->feed.epoch = origin->epoch;
    struct feed_source *given = &take_source->feed;
    feed_follow(origin->feed, &given);
    feed_resume(origin->feed);
    return true;
}

fault origin_follow(struct origin *origin, uint64_t epoch, const struct origin_server *server,
                    const struct origin_route *route)
{
    struct source *source = source_new(origin, server, route);
    if (source == NULL) {
        route->release(route->held);
        return FAULT_MEMORY;
    }
    lock_take(&origin->lock);
    bool latest = origin->epoch == epoch;
    bool given = latest && follow_locked(origin, server, route->version, source);
    lock_release(&origin->lock);
    if (!given)
        source_free(&source->feed);
    return latest ? OK : FAULT_AGAIN;
}

void origin_ask(struct origin *origin, struct feed_ticket *ticket)
{
    __atomic_store_n(&origin->used.us, now().us, __ATOMIC_RELAXED);
    feed_ask(origin->feed, ticket);
}

void origin_look(const struct origin *origin, struct feed_view *ret)
{
    *ret = (struct feed_view){0};
    if (origin->feed != NULL)
        feed_look(origin->feed, ret);
}

/* --- console ---------------------------------------------------------------------------------- */

uint64_t origins_epochs(struct origins *origins)
{
    uint64_t sum = 0;
    lock_take(&origins->lock);
    LIST_EACH (&origins->all, it)
        sum += origin_epoch(LIST_ENTRY(it, struct origin, node));
    lock_release(&origins->lock);
    return sum;
}

void origins_each(struct origins *origins,
                  void (*see)(void *argument, const struct origin_view *view), void *argument)
{
    lock_take(&origins->lock);
    LIST_EACH (&origins->all, it) {
        const struct origin *origin = LIST_ENTRY(it, struct origin, node);
        struct origin_view view = {.service = origin->service,
                                   .database = origin->database,
                                   .epoch = origin_epoch(origin)};
        if (origin->inside != NULL)
            continue;
        feed_look(origin->feed, &view.feed);
        see(argument, &view);
    }
    lock_release(&origins->lock);
}
