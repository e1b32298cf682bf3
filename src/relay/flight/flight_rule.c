#include "relay/flight/flight_rule.h"

#include "flight/flight_env.h"
#include "pool/local_pool.h"
#include "query/analysis.h"
#include "relay/client.h"
#include "relay/flight/flight_analyze.h"
#include "relay/relay.h"

#include <stdlib.h>

/* --- what is remembered of texts -------------------------------------------------------------- */

struct known_text {
    uint64_t low, high;             /* the digest of the text */
    const struct cache_rule *rules; /* of the configuration that has `version`; NULL: free */
    uint64_t version;
    size_t number; /* of the rule; SIZE_MAX: none matches */
};

struct flight_texts {
    struct known_text all[FLIGHT_RULE_TEXTS];
};

static_assert(IS_POWER_OF_TWO(FLIGHT_RULE_TEXTS), "the place of a text is a mask of its digest");

static struct known_text *text_place(struct relay *relay, struct span text, struct l1_key *digest)
{
    if (relay->flight_texts == NULL)
        relay->flight_texts = calloc(1, sizeof(*relay->flight_texts));
    if (relay->flight_texts == NULL)
        return NULL;
    l1_key_init(relay->pools.env->flight->l1, text, digest);
    return &relay->flight_texts->all[digest->low & (FLIGHT_RULE_TEXTS - 1)];
}

/* Whether the rule of a text is remembered. */
static bool recall(struct relay *relay, const struct config *config,
                   const struct cache_config *cache, struct span text, size_t *ret)
{
    struct l1_key digest;
    const struct known_text *known = text_place(relay, text, &digest);
    if (known == NULL || known->rules != cache->rules || known->version != config->version ||
        known->low != digest.low || known->high != digest.high)
        return false;
    *ret = known->number;
    return true;
}

static void remember(struct relay *relay, const struct config *config,
                     const struct cache_config *cache, struct span text, size_t number)
{
    struct l1_key digest;
    struct known_text *known = text_place(relay, text, &digest);
    if (known != NULL)
        *known =
            (struct known_text){digest.low, digest.high, cache->rules, config->version, number};
}

void flight_rule_forget(struct flight_texts **texts)
{
    free(TAKE(*texts));
}

/* --- the rule --------------------------------------------------------------------------------- */

/* Whether the client has said `SET trunkline.cache = off`. */
static bool opts_out(const struct client *client)
{
    static const char *const words[] = {"off", "false", "no", "0"};
    const struct span *value = params_find(client->params, SPAN("trunkline.cache"));
    for (size_t i = 0; value != NULL && i < ARRAY_SIZE(words); i++)
        if (span_is_nocase(*value, words[i]))
            return true;
    return false;
}

/* Takes a copy of the rule with the hints of the text.  False: it says off. */
static bool take_rule(const struct cache_config *cache, size_t number, struct span text,
                      struct cache_rule *ret)
{
    *ret = cache->rules[number];
    if (cache->hints)
        cache_rules_hint(text, ret);
    if (ret->mode != CACHE_OFF)
        return true;
    cache_rules_count(ret, CACHE_COUNT_OFF);
    return false;
}

enum flight_ruling flight_rule_find(const struct client *client, struct span text,
                                    struct cache_rule *ret)
{
    const struct cache_config *cache = &client->pool->route->cache;
    size_t number = SIZE_MAX;
    enum cache_choice choice = cache_rules_choose(cache, text, NULL, &number);
    if (choice == CACHE_CHOICE_NONE)
        return FLIGHT_RULE_NONE;
    if (choice == CACHE_CHOICE_UNKNOWN &&
        !recall(client->relay, client->pool->config, cache, text, &number)) {
        *ret = (struct cache_rule){.mode = CACHE_DEDUPE};
        return opts_out(client) ? FLIGHT_RULE_NONE : FLIGHT_RULE_LATER;
    }
    if (number == SIZE_MAX || !take_rule(cache, number, text, ret))
        return FLIGHT_RULE_NONE;
    if (!opts_out(client))
        return FLIGHT_RULE_FOUND;
    cache_rules_count(ret, CACHE_COUNT_OPTED_OUT);
    return FLIGHT_RULE_NONE;
}

bool flight_rule_decide(struct relay *relay, const struct config *config,
                        const struct cache_config *cache, struct span text, deadline by,
                        struct cache_rule *ret)
{
    struct query_analysis *analysis = NULL;
    size_t number = SIZE_MAX;
    if (flight_analyze(text, by, &analysis) != OK)
        return false;
    (void)cache_rules_choose(cache, text, analysis, &number);
    query_analysis_free(&analysis);
    remember(relay, config, cache, text, number);
    return number != SIZE_MAX && take_rule(cache, number, text, ret);
}
