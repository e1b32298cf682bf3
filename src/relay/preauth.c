#include "relay/preauth.h"

#include "base/map.h"
#include "machine/clock.h"
#include "machine/co.h"
#include "machine/ids.h"
#include "machine/lock.h"
#include "machine/log.h"
#include "relay/client.h"
#include "relay/relay.h"

#include <stdlib.h>

/* Ages below which an unauthenticated connection is not disconnected: without a startup packet (the
 * relay may not have had time to read it), and with one. */
#define SILENT_MIN sec(1)
#define SPOKEN_MIN sec(5)
/* How long a new connection waits for room, counted from when the limit was reached. */
#define ADMISSION_WAIT_MAX sec(3)
#define CROWD_PERIOD       sec(1) /* between log events clients.crowd */

struct source {
    struct map_link link;
    struct list preauths; /* oldest first */
    uint32_t leaving;     /* unauthenticated connections that were told to disconnect */
    uint64_t hash;
};

struct preauth {
    struct node node;        /* in preauths->all */
    struct node source_node; /* in source->preauths */
    struct preauths *preauths;
    struct source *source; /* NULL: a proxy's connection */
    struct relay *relay;
    struct client *client; /* the relay's field; NULL: not yet there, or ended */
    bool missed;           /* the relay's field: the dismissal came before the client */
    struct mail dismissal; /* to the relay: disconnect the unauthenticated connection */
    moment since;
    uint32_t spoke; /* atomic: the startup packet has come */
    bool leaving;   /* told to disconnect */
    bool away;      /* the dismissal is under way */
    bool settled;
};

/* All fields but `connections` are read and written under the lock.  The lock is held for a few
 * steps of one list or map; no mail is sent and nothing is logged meanwhile. */
struct preauths {
    struct lock lock;
    struct list all;     /* oldest first */
    struct list awaited; /* settled unauthenticated connections whose dismissals are under way */
    struct map sources;
    uint64_t seed;
    uint32_t leaving; /* unauthenticated connections of all sources that were told to disconnect */
    uint32_t connections; /* atomic: open connections, clients too */
    uint32_t max;         /* of connections */
    struct {
        moment since; /* when the first connection found no room; NEVER: the last found room */
        moment found; /* when the last connection found no room */
    } full;
    struct { /* counts since the last log event */
        moment told;
        uint32_t shed;
        uint32_t refused;
    } crowd;
};

/* What a log event clients.crowd tells. */
struct crowd_news {
    bool any;
    uint32_t unauthenticated;
    uint32_t connections;
    uint32_t max;
    uint32_t shed;
    uint32_t refused;
};

struct preauths *preauths_new(void)
{
    struct preauths *preauths = calloc(1, sizeof(*preauths));
    if (preauths == NULL)
        return NULL;
    lock_init(&preauths->lock);
    list_init(&preauths->all);
    list_init(&preauths->awaited);
    preauths->sources = MAP_INIT(UINT32_MAX);
    preauths->max = UINT32_MAX;
    preauths->full.since = NEVER;
    random_bytes(&preauths->seed, sizeof(preauths->seed));
    return preauths;
}

/* --- sources ---------------------------------------------------------------------------------- */

static bool source_is(const struct map_link *link, const void *key)
{
    return MAP_ENTRY(link, struct source, link)->hash == *(const uint64_t *)key;
}

/* An IPv6 network of 64 bits is one source; all clients of Unix sockets are one source. */
static uint64_t source_hash(const struct preauths *preauths, const struct address *peer)
{
    size_t size = peer->family == ADDRESS_UNIX ? 0 : peer->family == ADDRESS_IPV4 ? 4 : 8;
    return hash_data(peer->bytes, size, preauths->seed + peer->family);
}

static struct source *source_find(struct preauths *preauths, uint64_t hash)
{
    struct map_link *link = map_find(&preauths->sources, hash, source_is, &hash);
    return link == NULL ? NULL : MAP_ENTRY(link, struct source, link);
}

static struct source *source_of(struct preauths *preauths, const struct address *peer)
{
    uint64_t hash = source_hash(preauths, peer);
    struct source *source = source_find(preauths, hash);
    if (source != NULL)
        return source;
    source = calloc(1, sizeof(*source));
    if (source == NULL)
        return NULL;
    list_init(&source->preauths);
    source->hash = hash;
    if (map_insert(&preauths->sources, &source->link, hash) == OK)
        return source;
    free(source);
    return NULL;
}

static void source_leave(struct preauths *preauths, struct source *source)
{
    if (source == NULL || !list_empty(&source->preauths))
        return;
    map_remove(&preauths->sources, &source->link);
    free(source);
}

/* --- life of an unauthenticated connection ---------------------------------------------------- */

static fault preauth_new(struct preauths *preauths, const struct address *peer, bool is_proxy,
                         struct relay *relay, struct preauth **ret)
{
    struct preauth *preauth = calloc(1, sizeof(*preauth));
    if (preauth == NULL)
        return FAULT_MEMORY;
    if (!is_proxy) {
        preauth->source = source_of(preauths, peer);
        if (preauth->source == NULL) {
            free(preauth);
            return FAULT_MEMORY;
        }
        list_push(&preauth->source->preauths, &preauth->source_node);
    }
    preauth->preauths = preauths;
    preauth->relay = relay;
    preauth->since = now();
    list_push(&preauths->all, &preauth->node);
    __atomic_fetch_add(&preauths->connections, 1, __ATOMIC_RELAXED);
    *ret = preauth;
    return OK;
}

/* Removes an unauthenticated connection from the lists; frees it once its dismissal is back, too.
 */
static void preauth_leave(struct preauth *preauth)
{
    struct preauths *preauths = preauth->preauths;
    list_remove(&preauths->all, &preauth->node);
    if (preauth->source != NULL) {
        preauth->source->leaving -= preauth->leaving;
        list_remove(&preauth->source->preauths, &preauth->source_node);
        source_leave(preauths, preauth->source);
    }
    preauths->leaving -= preauth->leaving;
    preauth->settled = true;
    if (preauth->away)
        list_push(&preauths->awaited, &preauth->node);
    else
        free(preauth);
}

void preauths_free(struct preauths **preauths)
{
    struct preauths *gone = TAKE(*preauths);
    if (gone == NULL)
        return;
    while (!list_empty(&gone->all)) {
        struct preauth *preauth = LIST_ENTRY(list_first(&gone->all), struct preauth, node);
        preauth->away = false;
        preauth_leave(preauth);
    }
    for (struct node *node; (node = list_pop(&gone->awaited)) != NULL;)
        free(LIST_ENTRY(node, struct preauth, node));
    map_fini(&gone->sources);
    lock_fini(&gone->lock);
    free(gone);
}

void preauths_set_max(struct preauths *preauths, uint32_t max)
{
    lock_take(&preauths->lock);
    preauths->max = max;
    lock_release(&preauths->lock);
}

void preauths_closed(struct preauths *preauths)
{
    __atomic_fetch_sub(&preauths->connections, 1, __ATOMIC_RELAXED);
}

/* --- on its relay ----------------------------------------------------------------------------- */

bool preauth_set_client(struct preauth *preauth, struct client *client)
{
    preauth->client = client;
    return !preauth->missed;
}

void preauth_startup_received(struct preauth *preauth)
{
    if (preauth != NULL)
        __atomic_store_n(&preauth->spoke, 1, __ATOMIC_RELAXED);
}

void preauth_end(struct preauth **preauth)
{
    struct preauth *gone = TAKE(*preauth);
    if (gone == NULL)
        return;
    struct preauths *preauths = gone->preauths;
    gone->client = NULL;
    lock_take(&preauths->lock);
    preauth_leave(gone);
    lock_release(&preauths->lock);
}

/* Ends a dismissal; frees the unauthenticated connection if it is settled. */
static void preauth_disconnected(struct preauth *preauth)
{
    struct preauths *preauths = preauth->preauths;
    lock_take(&preauths->lock);
    preauth->away = false;
    if (preauth->settled) {
        list_remove(&preauths->awaited, &preauth->node);
        free(preauth);
    }
    lock_release(&preauths->lock);
}

static void preauth_disconnect(struct mail *mail)
{
    struct preauth *preauth = CONTAINER_OF(mail, struct preauth, dismissal);
    if (preauth->client != NULL) {
        hint_add(&preauth->relay->hints.crowded, 1);
        client_crowd_out(preauth->client);
    }
    preauth->missed = true;
    preauth_disconnected(preauth);
}

/* --- too many connections --------------------------------------------------------------------- */

/* Counts the unauthenticated connection as leaving; the caller then mails its dismissal. */
static void preauth_mark_leaving(struct preauth *preauth)
{
    preauth->leaving = preauth->away = true;
    preauth->preauths->leaving += 1;
    if (preauth->source != NULL)
        preauth->source->leaving += 1;
    preauth->preauths->crowd.shed += 1;
    preauth->dismissal.deliver = preauth_disconnect;
}

static bool preauth_may_disconnect(const struct preauth *preauth, bool spoken, duration min)
{
    return !preauth->leaving &&
           (spoken || __atomic_load_n(&preauth->spoke, __ATOMIC_RELAXED) == 0) &&
           later(preauth->since, min).us <= now().us;
}

/* Chooses the unauthenticated connection to disconnect: the oldest without a startup packet that is
 * at least SILENT_MIN old, else the oldest of all that is at least SPOKEN_MIN old.  `source` NULL:
 * among all sources. */
static struct preauth *crowd_choose(const struct preauths *preauths, const struct source *source)
{
    for (int spoken = 0; spoken < 2; spoken++) {
        duration min = spoken ? SPOKEN_MIN : SILENT_MIN;
        const struct list *list = source != NULL ? &source->preauths : &preauths->all;
        LIST_EACH (list, it) {
            struct preauth *preauth = source != NULL ? LIST_ENTRY(it, struct preauth, source_node)
                                                     : LIST_ENTRY(it, struct preauth, node);
            if (later(preauth->since, min).us > now().us)
                break; /* the others are younger */
            if (preauth_may_disconnect(preauth, spoken == 1, min))
                return preauth;
        }
    }
    return NULL;
}

/* Takes what the next log event tells, if one is due. */
static struct crowd_news crowd_news_take(struct preauths *preauths)
{
    if (later(preauths->crowd.told, CROWD_PERIOD).us > now().us)
        return (struct crowd_news){.any = false};
    struct crowd_news news = {.any = true,
                              .unauthenticated = preauths->all.count,
                              .connections =
                                  __atomic_load_n(&preauths->connections, __ATOMIC_RELAXED),
                              .max = preauths->max,
                              .shed = preauths->crowd.shed,
                              .refused = preauths->crowd.refused};
    preauths->crowd.told = now();
    preauths->crowd.shed = preauths->crowd.refused = 0;
    return news;
}

static void crowd_log(const struct crowd_news *news, const struct config *config,
                      const struct address *peer)
{
    char host[ADDRESS_TEXT_SIZE];
    if (!news->any)
        return;
    log_event(
        LOG_WARNING, "clients.crowd", log_text("from", address_host_text(peer, host, sizeof(host))),
        log_number("unauthenticated", news->unauthenticated),
        log_number("unauthenticated_limit", config->unauthenticated_max),
        log_number("source_limit", config->unauthenticated_source_max),
        log_number("connections", news->connections), log_number("connections_allowed", news->max),
        log_number("shed", news->shed), log_number("refused", news->refused));
}

enum crowded { CROWDED_NOT, CROWDED_SOURCE, CROWDED_ALL, CROWDED_DESCRIPTORS };

static enum crowded crowd_of(const struct preauths *preauths, const struct config *config,
                             const struct source *source)
{
    uint32_t open = __atomic_load_n(&preauths->connections, __ATOMIC_RELAXED);
    if (source != NULL &&
        source->preauths.count - source->leaving >= config->unauthenticated_source_max)
        return CROWDED_SOURCE;
    if (preauths->all.count - preauths->leaving >= config->unauthenticated_max)
        return CROWDED_ALL;
    return open >= preauths->max ? CROWDED_DESCRIPTORS : CROWDED_NOT;
}

static fault crowd_refuse(const struct preauths *preauths, const struct config *config,
                          const struct address *peer, enum crowded crowded)
{
    char host[ADDRESS_TEXT_SIZE];
    if (crowded == CROWDED_SOURCE)
        return fault_raise(FAULT_CLIENTS,
                           "too many connections from %s that have not logged in, the limit is "
                           "unauthenticated_source_limit=%u",
                           address_host_text(peer, host, sizeof(host)),
                           config->unauthenticated_source_max);
    if (crowded == CROWDED_ALL)
        return fault_raise(FAULT_CLIENTS,
                           "too many connections that have not logged in, the limit is "
                           "unauthenticated_limit=%u",
                           config->unauthenticated_max);
    return fault_raise(FAULT_CLIENTS, "too many connections, descriptors suffice for %u",
                       preauths->max);
}

/* Returns whether a connection without room shall wait: not longer than ADMISSION_WAIT_MAX after
 * the first that found none.  The time starts anew if none has looked for ADMISSION_WAIT_MAX. */
static bool crowd_may_wait(struct preauths *preauths)
{
    if (is_never(preauths->full.since) ||
        later(preauths->full.found, ADMISSION_WAIT_MAX).us <= now().us)
        preauths->full.since = now();
    preauths->full.found = now();
    return later(preauths->full.since, ADMISSION_WAIT_MAX).us > now().us;
}

/* Looks once for room for one more connection, and takes it.  OK: it is admitted.  AGAIN with
 * *ret_victim: that unauthenticated connection is to be disconnected, then look again.  AGAIN
 * without: unauthenticated connections are about to log in or to disconnect, look again soon; all
 * connections that come meanwhile share this wait, so that a later one does not wait longer. */
static fault crowd_step(struct preauths *preauths, const struct config *config,
                        const struct address *peer, bool is_proxy, struct preauth **ret_victim)
{
    uint64_t hash = source_hash(preauths, peer);
    const struct source *source = is_proxy ? NULL : source_find(preauths, hash);
    enum crowded crowded = crowd_of(preauths, config, source);
    *ret_victim = NULL;
    if (crowded == CROWDED_NOT) {
        preauths->full.since = NEVER;
        return OK;
    }
    /* A descriptor is free only once its connection is closed: disconnect one at a time. */
    bool coming = crowded == CROWDED_DESCRIPTORS && preauths->leaving > 0;
    struct preauth *victim =
        coming ? NULL : crowd_choose(preauths, crowded == CROWDED_SOURCE ? source : NULL);
    if (victim != NULL) {
        preauth_mark_leaving(victim);
        *ret_victim = victim;
        return FAULT_AGAIN;
    }
    /* Refuse at once at a source's limit, so that other sources need not wait. */
    if (crowded != CROWDED_SOURCE && crowd_may_wait(preauths))
        return FAULT_AGAIN;
    preauths->crowd.refused += 1;
    return crowd_refuse(preauths, config, peer, crowded);
}

fault preauths_admit(struct preauths *preauths, const struct config *config,
                     const struct address *peer, bool is_proxy, struct relay *relay,
                     struct preauth **ret)
{
    for (;;) {
        struct preauth *victim;
        struct crowd_news news = {.any = false};
        lock_take(&preauths->lock);
        fault let = crowd_step(preauths, config, peer, is_proxy, &victim);
        if (let == OK)
            let = preauth_new(preauths, peer, is_proxy, relay, ret);
        else
            news = crowd_news_take(preauths);
        lock_release(&preauths->lock);
        crowd_log(&news, config, peer);
        if (victim == NULL)
            return let;
        mail_send(victim->relay->pools.machine, &victim->dismissal);
    }
}
