#include "flight/flight_env.h"

#include <stdlib.h>

/* Memory of verdicts. */
#define VERDICTS_BYTES (16u << 20)

/* Answers under way may take as much as the cache may hold, beside it. */
static uint64_t memory_max(uint64_t bytes)
{
    return 2 * bytes;
}

struct flight_env *flight_env_new(uint64_t bytes)
{
    struct flight_env *env = calloc(1, sizeof(*env));
    if (env == NULL)
        return NULL;
    answer_memory_init(&env->memory, memory_max(bytes));
    env->generations = generations_table_new(GENERATIONS_SLOTS_DEFAULT);
    if (env->generations != NULL) {
        env->l1 = l1_new(bytes, env->generations);
        env->flights = flights_new(env->generations);
        env->verdicts = verdicts_new(VERDICTS_BYTES);
        env->insides = insides_new(env->generations);
        env->origins = origins_new(env->generations);
        env->warms = warms_new();
    }
    if (env->l1 == NULL || env->flights == NULL || env->verdicts == NULL || env->insides == NULL ||
        env->origins == NULL || env->warms == NULL)
        flight_env_free(&env);
    return env;
}

void flight_env_free(struct flight_env **env)
{
    if (*env == NULL)
        return;
    origins_free(&(*env)->origins);
    insides_free(&(*env)->insides);
    warms_free(&(*env)->warms);
    verdicts_free(&(*env)->verdicts);
    flights_free(&(*env)->flights);
    l2_free(&(*env)->l2);
    l1_free(&(*env)->l1);
    generations_table_free(&(*env)->generations);
    free(*env);
    *env = NULL;
}

void flight_env_bound(struct flight_env *env, uint64_t bytes, moment now)
{
    answer_memory_bound(&env->memory, memory_max(bytes));
    l1_bound(env->l1, bytes, now);
}
