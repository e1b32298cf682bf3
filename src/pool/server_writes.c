/*
 * server_writes.c - tells all threads that a server may have written to its database.
 *
 * Where a route has cache rules, the generation of the whole database is raised (generations.h) as
 * soon as the daemon has read that a transaction is over which may have written, before its client
 * gets any of that.  So a client that has seen its commit, or another one that it told, never gets
 * the answer of an execution that was sent before.  Nothing is held in doubt: a commit that the
 * daemon has not read yet may be missing in an answer.
 *
 * What was sent before the route had cache rules was not looked at, and counts as a write.
 */
#include "flight/flight_env.h"
#include "pool/local_pool.h"

#include "query/outcome.h"

static bool may_have_written(const struct session *session)
{
    return session->wrote || (!session->looked &&
                              (session->unanswered != 0 || session->transaction == WIRE_TX_ACTIVE));
}

static void raise_database(const struct local_pool *pool)
{
    struct generations_table *table = pool->pools->env->flight->generations;
    struct generations_writes writes;
    generations_writes_init(&writes, local_pool_generations(pool, table));
    generations_writes_database(table, &writes);
    generations_raise(table, &writes);
}

uint64_t local_pool_generations(const struct local_pool *pool,
                                const struct generations_table *table)
{
    return generations_database(table, span_text(pool->route->service->name),
                                span_text(local_pool_database(pool)));
}

void server_writes_completed(struct server *server)
{
    const struct session *session = &server->session;
    bool open = session->transaction != WIRE_TX_IDLE;
    if (may_have_written(session) && (!open || (session->unanswered & QUERY_OPEN_COMMIT) != 0))
        raise_database(server->pool);
}

void server_writes_ready(struct server *server, uint8_t status)
{
    struct session *session = &server->session;
    session->wrote = may_have_written(session);
    if (!session->wrote || status != WIRE_TX_IDLE)
        return;
    raise_database(server->pool);
    session->wrote = !ledger_empty(&session->ledger);
}

void server_writes_lost(struct server *server)
{
    if (may_have_written(&server->session))
        raise_database(server->pool);
    server->session.wrote = false;
}
