#include "session/session.h"

#include "base/check.h"
#include "session/signature.h"
#include "wire/message.h"

void session_init(struct session *session, struct params *none, uint64_t *generation,
                  uint32_t prepared_max)
{
    session->params = params_ref(none);
    session->transaction = WIRE_TX_IDLE;
    server_statements_init(&session->statements, prepared_max);
    session->described = BUFFER_INIT(SIGNATURE_MAX);
    session->generation = generation;
}

void session_fini(struct session *session)
{
    ledger_fini(&session->ledger);
    server_statements_fini(&session->statements);
    invariant(session->pin == NULL && session->giving == NULL);
    params_unref(&session->params);
    params_unref(&session->defaults);
    params_unref(&session->startup);
    buffer_fini(&session->described);
}

fault session_learn(struct session *session, struct span name, const struct span *value)
{
    struct params *params;
    invariant(session->params != NULL);
    TRY(params_with(session->params, name, value, &params));
    params_assign(&session->params, params);
    return OK;
}
