/*
 * turn_check.c - checks with an empty query whether a server that was idle for long still answers.
 *
 * When a check is due: server_check.c
 */
#include "base/probes.h"
#include "machine/clock.h"
#include "relay/turn/turn.h"

static void check_end(struct turn *turn, fault answered)
{
    struct server *server = TAKE(turn->server);
    struct local_pool *pool = server->pool;
    struct chunk_store *chunks = &turn->relay->chunks;
    bool lost = turn->server_end != SERVER_OPEN;
    if (answered == OK)
        PROBE3(health__check__done, pool->database, server, server->pid);
    else
        PROBE3(health__check__failed, pool->database, server, fault_text(answered));
    outbox_drop(&turn->up.out, chunks);
    outbox_drop(&turn->down.out, chunks);
    chunk_return(chunks, &turn->up.chunk);
    chunk_return(chunks, &turn->down.chunk);
    local_pool_checked(pool, server, answered == OK, lost);
}

static void check_main(void *argument)
{
    struct server *server = argument;
    struct local_pool *pool = server->pool;
    struct turn turn;
    turn_init(&turn, local_pool_relay(pool), NULL, server);
    server_keep(server);
    check_end(&turn, turn_ask(&turn, SPAN(""), after(pool->route->check_timeout)));
}

fault turn_check(struct server *server)
{
    TRY(co_start(check_main, server, CO_SMALL));
    PROBE3(health__check__start, server->pool->database, server, server->pid);
    server_become(server, SERVER_CLEANING);
    return OK;
}
