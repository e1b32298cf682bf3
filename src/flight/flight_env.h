#pragma once
/*
 * flight_env.h - what all threads share for answers from memory: one for the process.
 *
 * Made before the relays start and freed after they have ended.
 */
#include "flight/flights.h"
#include "flight/inside.h"
#include "flight/l2.h"
#include "flight/origin.h"
#include "flight/verdicts.h"
#include "flight/warms.h"

struct flight_env {
    struct answer_memory memory; /* answers under way; those in l1 count here too */
    struct generations_table *generations;
    struct l1 *l1;
    struct flights *flights;
    struct verdicts *verdicts; /* on texts */
    struct insides *insides;   /* services whose writers are all inside */
    struct origins *origins;   /* of strict answers */
    struct warms *warms;
    struct l2 *l2; /* the second tier; NULL: none */
};

/** Makes the tables; `bytes` is cache_memory.  The caller owns them.  NULL without memory. */
struct flight_env *flight_env_new(uint64_t bytes);
void flight_env_free(struct flight_env **env); /* NULL-safe */
/** Sets a new cache_memory. */
void flight_env_bound(struct flight_env *env, uint64_t bytes, moment now);
