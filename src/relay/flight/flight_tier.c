#include "relay/flight/flight_tier.h"

#include "flight/flight_env.h"
#include "flight/l2_link.h"
#include "machine/clock.h"
#include "relay/flight/flight_tier_parts.h"
#include "relay/relay.h"
#include "wire/messages.h"

#include <stdlib.h>

/* Databases whose server is known; two that share a place replace each other. */
#define KNOWN_MAX 64u
/* In front of the statement's key. */
#define KEY_HEAD 24u
/* The messages of that question. */

static_assert(IS_POWER_OF_TWO(KNOWN_MAX), "the place of a database is a mask of its number");

struct known_server {
    uint64_t database;
    struct flight_tier_server server;
    moment since;
};

struct flight_tier {
    struct l2_link *link;
    struct known_server known[KNOWN_MAX];
};

/* --- the relay's part ------------------------------------------------------------------------- */

static struct flight_tier *tier_of(struct relay *relay)
{
    struct l2 *l2 = relay->pools.env->flight->l2;
    if (relay->flight_tier != NULL || l2 == NULL)
        return relay->flight_tier;
    struct flight_tier *tier = calloc(1, sizeof(*tier));
    if (tier == NULL)
        return NULL;
    tier->link = l2_link_new(l2);
    if (tier->link == NULL)
        free(TAKE(tier));
    relay->flight_tier = tier;
    return tier;
}

void flight_tier_free(struct flight_tier **tier)
{
    struct flight_tier *old = TAKE(*tier);
    if (old == NULL)
        return;
    l2_link_free(&old->link);
    free(old);
}

struct l2_link *flight_tier_link(struct relay *relay)
{
    struct flight_tier *tier = tier_of(relay);
    return tier == NULL ? NULL : tier->link;
}

bool flight_tier_is_for(const struct relay *relay, const struct cache_rule *rule)
{
    return rule->tier == CACHE_TIER_REDIS && rule->mode == CACHE_TTL &&
           relay->pools.env->flight->l2 != NULL;
}

/* --- which server it is ----------------------------------------------------------------------- */

static struct known_server *known_at(struct flight_tier *tier, uint64_t database)
{
    return &tier->known[database & (KNOWN_MAX - 1)];
}

static bool is_known(const struct known_server *known, uint64_t database)
{
    return known->server.version != 0 && known->database == database &&
           between(known->since, now()).us < FLIGHT_TIER_KNOWN.us;
}

static void learn(struct relay *relay, uint64_t database, const struct flight_check *check)
{
    struct flight_tier *tier = tier_of(relay);
    if (tier != NULL)
        *known_at(tier, database) =
            (struct known_server){database, {check->server, check->version}, now()};
}

/* Asks the session's server what it is.  *ret_said: it says so. */
static fault ask_who(struct relay *relay, struct flight_session *session, uint64_t database,
                     bool *ret_said)
{
    struct flight_check check;
    fault asked = flight_check_alone(session, &FLIGHT_UNNAMED, &check, ret_said);
    if (*ret_said)
        learn(relay, database, &check);
    return asked;
}

void flight_tier_executes(struct relay *relay, struct flight_tier_use *use,
                          const struct flight_check *check)
{
    use->server = (struct flight_tier_server){check->server, check->version};
    use->unfit = check->temporary || check->serializable;
    learn(relay, use->database, check);
}

/* --- look-up and store ------------------------------------------------------------------------ */

static void put_u64(struct buffer *out, uint64_t value)
{
    wire_put_u32(out, (uint32_t)(value >> 32));
    wire_put_u32(out, (uint32_t)value);
}

/* Makes the key of the second tier.  False: no memory. */
static bool make_key(const struct flight_tier_server *of, struct span key, struct buffer *ret)
{
    *ret = BUFFER_INIT(KEY_HEAD + key.size);
    put_u64(ret, of->server.system);
    put_u64(ret, of->server.instance);
    put_u64(ret, of->version);
    buffer_append_span(ret, key);
    return buffer_fault(ret) == OK;
}

fault flight_tier_find(struct relay *relay, struct flight_session *session,
                       const struct cache_rule *rule, struct span key, struct flight_tier_use *use)
{
    struct flight_tier *tier = tier_of(relay);
    struct buffer whole;
    if (tier == NULL)
        return OK;
    const struct known_server *known = known_at(tier, use->database);
    bool said = is_known(known, use->database);
    if (!said)
        TRY(ask_who(relay, session, use->database, &said));
    if (!said)
        return OK;
    bool made = make_key(&known->server, key, &whole);
    if (made)
        l2_find(tier->link, buffer_span(&whole), rule->ttl, &relay->pools.env->flight->memory,
                rule->result_max, &use->found);
    buffer_fini(&whole);
    return OK;
}

void flight_tier_store(struct relay *relay, const struct flight_tier_use *use, struct span key,
                       struct answer *answer, duration life)
{
    struct flight_tier *tier = tier_of(relay);
    struct buffer whole;
    if (tier == NULL || !use->found.answered || use->server.version == 0 || use->unfit)
        return;
    if (make_key(&use->server, key, &whole))
        l2_put(tier->link, buffer_span(&whole), answer, &use->found, life);
    buffer_fini(&whole);
}
