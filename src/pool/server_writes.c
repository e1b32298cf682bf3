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

/* --- services whose writers are all inside ---------------------------------------------------- */

bool server_writes_begin(struct server *server, const struct local_pool *pool)
{
    struct inside *inside =
        insides_get(pool->pools->env->flight->insides, span_text(pool->route->service->name));
    if (inside != NULL)
        server->writes = inside_writes_new(inside, span_text(local_pool_database(pool)));
    return server->writes != NULL;
}

/* Whether the answers since the last ReadyForQuery show that nothing was committed: the only
 * statement that ended in an open transaction was its rollback; or the first one outside of one has
 * failed.  One that failed must not be able to commit a part of itself. */
static bool is_rolled_back(const struct server *server)
{
    const struct inside_writes *writes = server->writes;
    if (writes->failed && writes->extent == INSIDE_CATALOG)
        return false;
    if (server->session.transaction != WIRE_TX_IDLE)
        return writes->completes == 1 && writes->rolled_back && !writes->others;
    return writes->completes == 0 && writes->failed;
}

/* Statements that servers have prepared may denote other tables behind a change of the catalog:
 * they are prepared again before a verdict of the new catalog is used. */
static void raise_inside(struct server *server)
{
    if (server->writes->doubts && server->writes->held == INSIDE_CATALOG)
        generation_raise(server->session.generation);
    inside_writes_raise(server->writes);
}

static void inside_ready(struct server *server, uint8_t status)
{
    struct inside_writes *writes = server->writes;
    bool quiet = ledger_empty(&server->session.ledger) && server->session.ledger.doubt == 0;
    if (!is_rolled_back(server))
        raise_inside(server);
    writes->completes = 0;
    writes->rolled_back = writes->failed = writes->others = false;
    if (!quiet)
        return;
    inside_writes_settle(writes);
    writes->ends = false;
    if (status == WIRE_TX_IDLE)
        inside_writes_clear(writes);
}

void server_writes_failed(struct server *server)
{
    server->writes->failed = true;
}

void server_writes_other(struct server *server)
{
    server->writes->others = true;
}

void server_writes_rest(struct server *server)
{
    raise_inside(server);
    inside_writes_settle(server->writes);
    inside_writes_clear(server->writes);
}

static void inside_lost(struct server *server, bool lost)
{
    if (lost)
        inside_suspect(server->writes->inside);
    inside_writes_lost(server->writes, server->pid);
}

/* --- all watched services --------------------------------------------------------------------- */

void server_writes_completed(struct server *server, struct span tag)
{
    if (server->writes != NULL) {
        server->writes->completes += 1;
        server->writes->rolled_back = span_is(tag, "ROLLBACK");
    }
    const struct session *session = &server->session;
    bool open = session->transaction != WIRE_TX_IDLE;
    if (may_have_written(session) && (!open || (session->unanswered & QUERY_OPEN_COMMIT) != 0))
        raise_database(server->pool);
}

void server_writes_ready(struct server *server, uint8_t status)
{
    struct session *session = &server->session;
    if (server->writes != NULL)
        inside_ready(server, status);
    session->wrote = may_have_written(session);
    if (!session->wrote || status != WIRE_TX_IDLE)
        return;
    raise_database(server->pool);
    session->wrote = !ledger_empty(&session->ledger);
}

void server_writes_lost(struct server *server, bool lost)
{
    if (server->writes != NULL)
        inside_lost(server, lost);
    if (may_have_written(&server->session))
        raise_database(server->pool);
    server->session.wrote = false;
}
