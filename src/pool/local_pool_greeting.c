/* local_pool_greeting.c - parameters that the servers of a pool report at login.  Clients get the
 * same reports when they log in.
 */
#include "pool/claim.h"
#include "pool/local_pool.h"
#include "wire/messages.h"

bool local_pool_learn(struct local_pool *pool, struct span said)
{
    struct reported_parameters *greeting = &pool->greeting;
    bool session = pool->route->mode == POOL_SESSION;
    if (said.size == 0)
        return false;
    /* In session pools they depend on a client's startup parameters: the first report is kept. */
    if (greeting->known && (session || span_equal(buffer_span(&greeting->parameters), said)))
        return false;
    buffer_clear(&greeting->parameters);
    buffer_clear(&greeting->messages);
    buffer_append_span(&greeting->parameters, said);
    struct span rest = said, name, value;
    while (wire_next_parameter(&rest, &name, &value))
        wire_put_parameter_status(&greeting->messages, name, value);
    greeting->known =
        buffer_fault(&greeting->parameters) == OK && buffer_fault(&greeting->messages) == OK;
    return greeting->known && !session;
}

void local_pool_learn_elsewhere(struct local_pool *pool, struct span said)
{
    if (!local_pool_learn(pool, said))
        return;
    LIST_EACH (&pool->claims, it) {
        struct claim *claim = LIST_ENTRY(it, struct claim, node);
        if (claim->login)
            claim->waker->wake(claim->waker);
    }
}

bool local_pool_is_default(const struct local_pool *pool, const struct param *param)
{
    struct span rest = buffer_span(&pool->greeting.parameters);
    struct span name, value;
    while (wire_next_parameter(&rest, &name, &value))
        if (name.size == param->name.size &&
            strncasecmp((const char *)name.at, (const char *)param->name.at, name.size) == 0)
            return span_equal(value, param->value);
    return false;
}
