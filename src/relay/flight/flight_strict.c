#include "relay/flight/flight_strict_parts.h"

#include "flight/flight_env.h"
#include "flight/relation.h"
#include "pool/local_pool.h"
#include "pool/server.h"
#include "relay/client.h"
#include "relay/flight/flight_check_parts.h"
#include "relay/relay.h"

#include <stdlib.h>

/* --- the origin ------------------------------------------------------------------------------- */

struct origin *flight_strict_origin(const struct client *client)
{
    struct local_pool *pool = client->pool;
    const struct route_config *route = pool->route;
    const struct flight_env *env = pool->pools->env->flight;
    struct span service = span_text(route->service->name);
    bool is_inside = route->service->writers == WRITERS_INSIDE;
    if (pool->origin != NULL && (origin_inside(pool->origin) != NULL) == is_inside)
        return pool->origin;
    struct inside *inside = is_inside ? insides_get(env->insides, service) : NULL;
    pool->origin = inside == NULL && is_inside
                       ? NULL
                       : origins_get_inside(env->origins, inside, service,
                                            span_text(local_pool_database(pool)));
    return pool->origin;
}

static bool is_held(const struct generations_table *table, const struct origin *origin)
{
    struct generations_reads reads;
    uint64_t captured;
    origin_reads_init(origin, &reads);
    return !generations_capture(table, &reads, &captured);
}

bool flight_strict_is_current(const struct client *client)
{
    const struct origin *origin = flight_strict_origin(client);
    return origin != NULL && !is_held(client->relay->pools.env->flight->generations, origin);
}

bool flight_strict_may_lead(const struct client *client, struct origin *origin)
{
    const struct flight_env *env = client->relay->pools.env->flight;
    const struct inside *inside = origin_inside(origin);
    if (inside != NULL && (!inside_counts(inside) || inside_rests(inside)))
        return false;
    return !is_held(env->generations, origin) || origin_is_due(origin);
}

/* --- asking the feed -------------------------------------------------------------------------- */

struct flight_ask {
    struct feed_ticket ticket;
    struct mail back; /* to the relay */
    struct relay *relay;
    struct origin *origin;
    struct client *client; /* NULL: it has left */
    void (*answered)(struct client *client, bool current);
};

static void ask_deliver(struct mail *mail)
{
    struct flight_ask *ask = CONTAINER_OF(mail, struct flight_ask, back);
    struct relay *relay = ask->relay;
    bool current =
        ask->ticket.verdict == FEED_READY && ask->ticket.epoch == origin_epoch(ask->origin);
    struct client *client = ask->client;
    void (*answered)(struct client * client, bool current) = ask->answered;
    free(ask);
    if (client != NULL)
        answered(client, current);
    relay->runs -= 1;
    relay_check_end(relay);
}

/* On the feeds' thread. */
static void ask_answered(struct feed_ticket *ticket)
{
    struct flight_ask *ask = CONTAINER_OF(ticket, struct flight_ask, ticket);
    bool sent = mail_send(ask->relay->pools.machine, &ask->back);
    invariant(sent);
}

struct flight_ask *flight_ask_begin(struct client *client, struct origin *origin,
                                    void (*answered)(struct client *client, bool current))
{
    struct flight_ask *ask = calloc(1, sizeof(*ask));
    if (ask == NULL)
        return NULL;
    ask->ticket.answered = ask_answered;
    ask->ticket.timeout = client->pool->route->service->feed.probe_timeout;
    ask->back.deliver = ask_deliver;
    ask->relay = client->relay;
    ask->origin = origin;
    ask->client = client;
    ask->answered = answered;
    client->relay->runs += 1; /* the relay's machine does not end before the answer */
    origin_ask(origin, &ask->ticket);
    return ask;
}

void flight_ask_leave(struct flight_ask **ask)
{
    if (*ask != NULL)
        (*ask)->client = NULL;
    *ask = NULL;
}

/* --- executions ------------------------------------------------------------------------------- */

static bool is_present(const struct flight_strict_of *of)
{
    return origin_catalog(of->origin) == of->catalog;
}

bool flight_strict_settled(const struct flight_strict_of *of)
{
    return !is_held(of->table, of->origin) && is_present(of);
}

/* Makes the digest of the primary key that a statement reads by.  False: it doesn't. */
static bool find_key(const struct verdict *verdict, const struct flight_values *values,
                     uint64_t *ret)
{
    struct verdict_value bound[FLIGHT_VALUES_MAX];
    uint32_t count = verdict->keys_count == 0 ? 0 : flight_values_read(values, bound);
    return flight_values_key(verdict, bound, count, ret);
}

/* Whether writes of the table tell the values of this key.  A verdict of a client's statement does:
 * it is made in the same generation of the catalog, or the whole database is written. */
static bool is_told(const struct flight_strict_of *of, const struct verdict *verdict,
                    uint32_t number)
{
    return origin_inside(of->origin) != NULL ||
           feed_keys_declare(origin_keys(of->origin), number, of->catalog, verdict);
}

/* Adds the rows of one key.  False: the statement reads the whole table. */
static bool add_key(const struct flight_strict_of *of, const struct verdict *verdict,
                    const struct flight_values *values, struct generations_reads *reads)
{
    uint64_t key;
    if (verdict->reads_count != 1 || !find_key(verdict, values, &key))
        return false;
    const struct verdict_relation *relation = &verdict->reads[0];
    uint32_t number = flight_relation_number(relation->schema, relation->name);
    return is_told(of, verdict, number) && generations_reads_key(of->table, reads, number, key);
}

static bool add_tables(const struct flight_strict_of *of, const struct verdict *verdict,
                       struct generations_reads *reads)
{
    for (uint32_t i = 0; i < verdict->reads_count; i++) {
        const struct verdict_relation *relation = &verdict->reads[i];
        uint32_t number = flight_relation_number(relation->schema, relation->name);
        if (!generations_reads_table(of->table, reads, number))
            return false;
    }
    return true;
}

/* The generation of the catalog is looked at behind the capture: so it is the one captured. */
bool flight_strict_capture(const struct flight_strict_of *of, const struct verdict *verdict,
                           const struct flight_values *values, struct generations_reads *reads,
                           uint64_t *ret)
{
    origin_reads_init(of->origin, reads);
    return (add_key(of, verdict, values, reads) || add_tables(of, verdict, reads)) &&
           generations_capture(of->table, reads, ret) && is_present(of);
}

static void release_config(void *held)
{
    struct config *config = held;
    config_unref(&config);
}

void flight_strict_follow(const struct relay *relay, const struct route_config *route,
                          struct origin *origin, uint64_t epoch, const struct flight_check *check)
{
    struct link_target target;
    struct config *config;
    if (!server_find_target(&relay->pools, route->service->name, check->pid, &target, &config))
        return;
    struct origin_route to = {.target = &target,
                              .user = route->service->feed.user,
                              .password = route->service->feed.password,
                              .version = config->version,
                              .release = release_config,
                              .held = config};
    (void)!origin_follow(origin, epoch, &check->server, &to); /* the next execution tries again */
}
