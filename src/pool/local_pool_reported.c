/* local_pool_reported.c - parameters that the servers of a pool report at login, and values that
 * they have accepted.  Clients get the same reports when they log in, and need no server for
 * parameters whose values are all known.
 */
#include "machine/machine.h"
#include "pool/claim.h"
#include "pool/local_pool.h"
#include "pool/router_parts.h"
#include "session/accepted.h"
#include "wire/messages.h"

#include <stdlib.h>

/* Wakes the logins that wait for a server: they may not need it any more. */
static void local_pool_wake_logins(struct local_pool *pool)
{
    LIST_EACH (&pool->claims, it) {
        struct claim *claim = LIST_ENTRY(it, struct claim, node);
        if (claim->login)
            claim->waker->wake(claim->waker);
    }
}

bool local_pool_learn(struct local_pool *pool, struct span said)
{
    struct reported_parameters *reported = &pool->reported;
    bool session = pool->route->mode == POOL_SESSION;
    if (said.size == 0)
        return false;
    /* In session pools they depend on a client's startup parameters: the first report is kept. */
    if (reported->known && (session || span_equal(buffer_span(&reported->parameters), said)))
        return false;
    struct params *defaults = NULL;
    if (!session && params_read_defaults(&pool->pools->params, said, &defaults) != OK)
        return false;
    params_assign(&reported->defaults, defaults);
    buffer_clear(&reported->parameters);
    buffer_clear(&reported->messages);
    buffer_append_span(&reported->parameters, said);
    struct span rest = said, name, value;
    while (wire_next_parameter(&rest, &name, &value))
        wire_put_parameter_status(&reported->messages, name, value);
    reported->known =
        buffer_fault(&reported->parameters) == OK && buffer_fault(&reported->messages) == OK;
    return reported->known && !session;
}

void local_pool_learn_elsewhere(struct local_pool *pool, struct span said)
{
    if (local_pool_learn(pool, said))
        local_pool_wake_logins(pool);
}

/* Mails the value to the router, which mails it to the pool's other relays.  Without memory they
 * learn it from servers of their own. */
static void local_pool_spread(struct local_pool *pool, const struct param *param,
                              struct span canonical)
{
    const struct span parts[] = {param->name, param->value, canonical};
    size_t size = param->name.size + param->value.size + canonical.size + ARRAY_SIZE(parts);
    struct reported *reported = malloc(sizeof(*reported) + size);
    if (reported == NULL)
        return;
    *reported = (struct reported){
        .mail = {.deliver = router_accepted}, .local = pool, .size = (uint32_t)size};
    uint8_t *at = reported->bytes;
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        if (parts[i].size > 0)
            memcpy(at, parts[i].at, parts[i].size);
        at += parts[i].size;
        *at++ = '\0';
    }
    invariant(at == reported->bytes + size);
    pool->membership.asked = true; /* the local pool stays until the router has taken the mail */
    mail_send(pool->pools->env->machine, &reported->mail);
}

void local_pool_accept(struct local_pool *pool, const struct param *param, struct span canonical)
{
    struct span known;
    if (accepted_find(&pool->accepted, param, &known))
        return;
    accepted_add(&pool->accepted, param, canonical);
    if (span_is_nocase(param->name, "application_name")) /* any value of it is accepted */
        return;
    local_pool_wake_logins(pool);
    if (pool->pools->env->relay_count > 1)
        local_pool_spread(pool, param, canonical);
}

void local_pool_accept_elsewhere(struct local_pool *pool, struct span values)
{
    struct accepted_value value;
    while (accepted_next(&values, &value))
        accepted_add(&pool->accepted, &value.param, value.canonical);
    local_pool_wake_logins(pool);
}
