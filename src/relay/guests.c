#include "relay/guests.h"

#include "base/map.h"
#include "machine/clock.h"
#include "machine/co.h"
#include "machine/ids.h"
#include "machine/log.h"
#include "relay/client.h"
#include "relay/relay.h"

#include <stdlib.h>

/* Ages below which a guest is not disconnected: without a startup packet (the relay may not have
 * had time to read it), and with one. */
#define SILENT_MIN sec(1)
#define SPOKEN_MIN sec(5)
/* How long a new connection waits for room, counted from when the limit was reached, and how often
 * it checks. */
#define ADMISSION_WAIT_MAX sec(3)
#define ADMISSION_PAUSE    ms(2)
#define CROWD_PERIOD       sec(1) /* between log events clients.crowd */

struct source {
    struct map_link link;
    struct list guests; /* oldest first */
    uint32_t leaving;   /* guests that were told to disconnect */
    uint64_t hash;
};

struct guest {
    struct node node;        /* in guests->all */
    struct node source_node; /* in source->guests */
    struct guests *guests;
    struct source *source; /* NULL: a proxy's connection */
    struct relay *relay;
    struct client *client; /* the relay's field; NULL: not yet there, or settled */
    struct mail settle;    /* from the relay: the guest is authenticated or disconnected */
    struct mail dismissal; /* to the relay and back: disconnect the guest */
    deadline since;
    uint32_t spoke; /* atomic: the startup packet has come */
    bool leaving;   /* told to disconnect */
    bool away;      /* the dismissal is under way */
    bool settled;
};

struct guests {
    struct list all;     /* oldest first */
    struct list awaited; /* settled guests whose dismissals are under way */
    struct map sources;
    uint64_t seed;
    uint32_t leaving;     /* guests of all sources that were told to disconnect */
    uint32_t connections; /* atomic: open connections, clients too */
    uint32_t max;         /* of connections */
    struct {
        deadline since; /* when the first connection found no room; NEVER: the last found room */
        deadline found; /* when the last connection found no room */
    } full;
    struct { /* counts since the last log event */
        deadline told;
        uint32_t shed;
        uint32_t refused;
    } crowd;
};

struct guests *guests_new(void)
{
    struct guests *guests = calloc(1, sizeof(*guests));
    if (guests == NULL)
        return NULL;
    list_init(&guests->all);
    list_init(&guests->awaited);
    guests->sources = MAP_INIT(UINT32_MAX);
    guests->max = UINT32_MAX;
    guests->full.since = NEVER;
    random_bytes(&guests->seed, sizeof(guests->seed));
    return guests;
}

/* --- sources ---------------------------------------------------------------------------------- */

static bool source_is(const struct map_link *link, const void *key)
{
    return MAP_ENTRY(link, struct source, link)->hash == *(const uint64_t *)key;
}

/* An IPv6 network of 64 bits is one source; all clients of Unix sockets are one source. */
static uint64_t source_hash(const struct guests *guests, const struct address *peer)
{
    size_t size = peer->family == ADDRESS_UNIX ? 0 : peer->family == ADDRESS_IPV4 ? 4 : 8;
    return hash_bytes(peer->bytes, size, guests->seed + peer->family);
}

static struct source *source_find(struct guests *guests, uint64_t hash)
{
    struct map_link *link = map_find(&guests->sources, hash, source_is, &hash);
    return link == NULL ? NULL : MAP_ENTRY(link, struct source, link);
}

static struct source *source_of(struct guests *guests, const struct address *peer)
{
    uint64_t hash = source_hash(guests, peer);
    struct source *source = source_find(guests, hash);
    if (source != NULL)
        return source;
    source = calloc(1, sizeof(*source));
    if (source == NULL)
        return NULL;
    list_init(&source->guests);
    source->hash = hash;
    if (map_insert(&guests->sources, &source->link, hash) == OK)
        return source;
    free(source);
    return NULL;
}

static void source_leave(struct guests *guests, struct source *source)
{
    if (source == NULL || !list_empty(&source->guests))
        return;
    map_remove(&guests->sources, &source->link);
    free(source);
}

/* --- life of a guest -------------------------------------------------------------------------- */

static void guest_settled(struct mail *mail);
static void guest_dismissal_back(struct mail *mail);

static fault guest_new(struct guests *guests, const struct address *peer, bool is_proxy,
                       struct guest **ret)
{
    struct guest *guest = calloc(1, sizeof(*guest));
    if (guest == NULL)
        return FAULT_MEMORY;
    if (!is_proxy) {
        guest->source = source_of(guests, peer);
        if (guest->source == NULL) {
            free(guest);
            return FAULT_MEMORY;
        }
        list_push(&guest->source->guests, &guest->source_node);
    }
    guest->guests = guests;
    guest->settle.deliver = guest_settled;
    guest->since = now();
    list_push(&guests->all, &guest->node);
    __atomic_fetch_add(&guests->connections, 1, __ATOMIC_RELAXED);
    *ret = guest;
    return OK;
}

/* Removes a guest from the lists; frees it once its dismissal is back, too. */
static void guest_leave(struct guest *guest)
{
    struct guests *guests = guest->guests;
    list_remove(&guests->all, &guest->node);
    if (guest->source != NULL) {
        guest->source->leaving -= guest->leaving;
        list_remove(&guest->source->guests, &guest->source_node);
        source_leave(guests, guest->source);
    }
    guests->leaving -= guest->leaving;
    guest->settled = true;
    if (guest->away)
        list_push(&guests->awaited, &guest->node);
    else
        free(guest);
}

static void guest_settled(struct mail *mail)
{
    guest_leave(CONTAINER_OF(mail, struct guest, settle));
}

static void guest_dismissal_back(struct mail *mail)
{
    struct guest *guest = CONTAINER_OF(mail, struct guest, dismissal);
    guest->away = false;
    if (!guest->settled)
        return;
    list_remove(&guest->guests->awaited, &guest->node);
    free(guest);
}

void guests_free(struct guests **guests)
{
    struct guests *gone = TAKE(*guests);
    if (gone == NULL)
        return;
    while (!list_empty(&gone->all)) {
        struct guest *guest = LIST_ENTRY(list_first(&gone->all), struct guest, node);
        guest->away = false;
        guest_leave(guest);
    }
    for (struct node *node; (node = list_pop(&gone->awaited)) != NULL;)
        free(LIST_ENTRY(node, struct guest, node));
    map_fini(&gone->sources);
    free(gone);
}

void guests_set_max(struct guests *guests, uint32_t max)
{
    guests->max = max;
}

void guests_closed(struct guests *guests)
{
    __atomic_fetch_sub(&guests->connections, 1, __ATOMIC_RELAXED);
}

void guest_assign(struct guest *guest, struct relay *relay)
{
    guest->relay = relay;
}

void guest_refuse(struct guest **guest)
{
    struct guest *gone = TAKE(*guest);
    guests_closed(gone->guests);
    guest_leave(gone);
}

/* --- on its relay ----------------------------------------------------------------------------- */

void guest_arrive(struct guest *guest, struct client *client)
{
    guest->client = client;
}

void guest_speak(struct guest *guest)
{
    if (guest != NULL)
        __atomic_store_n(&guest->spoke, 1, __ATOMIC_RELAXED);
}

void guest_settle(struct guest **guest)
{
    struct guest *gone = TAKE(*guest);
    if (gone == NULL)
        return;
    gone->client = NULL;
    mail_send(gone->relay->pools.env->machine, &gone->settle);
}

static void guest_dismiss(struct mail *mail)
{
    struct guest *guest = CONTAINER_OF(mail, struct guest, dismissal);
    struct relay *relay = guest->relay;
    if (guest->client != NULL) {
        hint_add(&relay->told.crowded, 1);
        client_crowd_out(guest->client);
    }
    mail->deliver = guest_dismissal_back;
    mail_send(relay->pools.env->machine, mail);
}

/* --- too many connections --------------------------------------------------------------------- */

static void guest_send_away(struct guest *guest)
{
    guest->leaving = guest->away = true;
    guest->guests->leaving += 1;
    if (guest->source != NULL)
        guest->source->leaving += 1;
    guest->guests->crowd.shed += 1;
    guest->dismissal.deliver = guest_dismiss;
    mail_send(guest->relay->pools.machine, &guest->dismissal);
}

static bool guest_may_go(const struct guest *guest, bool spoken, duration min)
{
    return !guest->leaving && guest->relay != NULL &&
           (spoken || __atomic_load_n(&guest->spoke, __ATOMIC_RELAXED) == 0) &&
           later(guest->since, min).us <= now().us;
}

/* Chooses the guest to disconnect: the oldest without a startup packet that is at least SILENT_MIN
 * old, else the oldest of all that is at least SPOKEN_MIN old.  `source` NULL: among all
 * sources. */
static struct guest *crowd_choose(const struct guests *guests, const struct source *source)
{
    for (int spoken = 0; spoken < 2; spoken++) {
        duration min = spoken ? SPOKEN_MIN : SILENT_MIN;
        const struct list *list = source != NULL ? &source->guests : &guests->all;
        LIST_EACH (list, it) {
            struct guest *guest = source != NULL ? LIST_ENTRY(it, struct guest, source_node)
                                                 : LIST_ENTRY(it, struct guest, node);
            if (later(guest->since, min).us > now().us)
                break; /* the others are younger */
            if (guest_may_go(guest, spoken == 1, min))
                return guest;
        }
    }
    return NULL;
}

static void crowd_log(struct guests *guests, const struct config *config,
                      const struct address *peer)
{
    char host[ADDRESS_TEXT_SIZE];
    if (later(guests->crowd.told, CROWD_PERIOD).us > now().us)
        return;
    log_event(LOG_WARNING, "clients.crowd",
              "from=%s unauthenticated=%u unauthenticated_limit=%u source_limit=%u connections=%u "
              "connections_allowed=%u shed=%u refused=%u",
              address_host_text(peer, host, sizeof(host)), guests->all.count,
              config->unauthenticated_max, config->unauthenticated_source_max,
              __atomic_load_n(&guests->connections, __ATOMIC_RELAXED), guests->max,
              guests->crowd.shed, guests->crowd.refused);
    guests->crowd.told = now();
    guests->crowd.shed = guests->crowd.refused = 0;
}

enum crowded { CROWDED_NOT, CROWDED_SOURCE, CROWDED_ALL, CROWDED_DESCRIPTORS };

static enum crowded crowd_of(const struct guests *guests, const struct config *config,
                             const struct source *source)
{
    uint32_t open = __atomic_load_n(&guests->connections, __ATOMIC_RELAXED);
    if (source != NULL &&
        source->guests.count - source->leaving >= config->unauthenticated_source_max)
        return CROWDED_SOURCE;
    if (guests->all.count - guests->leaving >= config->unauthenticated_max)
        return CROWDED_ALL;
    return open >= guests->max ? CROWDED_DESCRIPTORS : CROWDED_NOT;
}

static fault crowd_refuse(const struct guests *guests, const struct config *config,
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
                       guests->max);
}

/* Returns whether a connection without room shall wait: not longer than ADMISSION_WAIT_MAX after
 * the first that found none.  The time starts anew if none has looked for ADMISSION_WAIT_MAX. */
static bool crowd_may_wait(struct guests *guests)
{
    if (is_never(guests->full.since) ||
        later(guests->full.found, ADMISSION_WAIT_MAX).us <= now().us)
        guests->full.since = now();
    guests->full.found = now();
    return later(guests->full.since, ADMISSION_WAIT_MAX).us > now().us;
}

/* Makes room for one more connection: disconnects a guest if one may go, else waits for guests that
 * are about to log in or to disconnect.  All connections that come meanwhile share this wait, so
 * that a later one does not wait longer. */
static fault crowd_make_room(struct guests *guests, const struct config *config,
                             const struct address *peer, bool is_proxy)
{
    uint64_t hash = source_hash(guests, peer);
    for (;;) {
        const struct source *source = is_proxy ? NULL : source_find(guests, hash);
        enum crowded crowded = crowd_of(guests, config, source);
        if (crowded == CROWDED_NOT) {
            guests->full.since = NEVER;
            return OK;
        }
        /* A descriptor is free only once its connection is closed: disconnect one at a time. */
        bool coming = crowded == CROWDED_DESCRIPTORS && guests->leaving > 0;
        struct guest *victim =
            coming ? NULL : crowd_choose(guests, crowded == CROWDED_SOURCE ? source : NULL);
        if (victim != NULL)
            guest_send_away(victim);
        crowd_log(guests, config, peer);
        if (victim != NULL)
            continue;
        /* Refuse at once at a source's limit, so that other sources need not wait. */
        if (crowded == CROWDED_SOURCE || !crowd_may_wait(guests)) {
            guests->crowd.refused += 1;
            return crowd_refuse(guests, config, peer, crowded);
        }
        TRY(co_sleep(ADMISSION_PAUSE));
    }
}

fault guests_admit(struct guests *guests, const struct config *config, const struct address *peer,
                   bool is_proxy, struct guest **ret)
{
    TRY(crowd_make_room(guests, config, peer, is_proxy));
    return guest_new(guests, peer, is_proxy, ret);
}
