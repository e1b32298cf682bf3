#include "pool/env.h"

uint32_t env_clients(const struct pooler_env *env)
{
    return __atomic_load_n(&env->clients, __ATOMIC_RELAXED);
}

fault env_client_comes(struct pooler_env *env, uint32_t max)
{
    uint32_t before = __atomic_fetch_add(&env->clients, 1, __ATOMIC_RELAXED);
    max = MIN_OF(max, __atomic_load_n(&env->clients_max, __ATOMIC_RELAXED));
    if (before < max)
        return OK;
    env_client_gone(env);
    return fault_raise(FAULT_CLIENTS, "too many clients, the limit is clients=%u", max);
}

void env_client_gone(struct pooler_env *env)
{
    __atomic_fetch_sub(&env->clients, 1, __ATOMIC_RELAXED);
}
