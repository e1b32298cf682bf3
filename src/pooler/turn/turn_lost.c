/*
 * turn_lost.c - statements of ours that a server has lost without a word.
 *
 * DEALLOCATE ALL inside of DO or of a function is not seen.  The first message that names a
 * statement then fails with 26000.  Where that is a Bind, the first of its batch and outside of a
 * transaction, nothing has happened but that: the batch is sent again from the client's bytes,
 * which stay in their chunk until something is answered.
 */
#include "pooler/turn/turn.h"

void turn_lost_keep(struct turn *turn, const uint8_t *at)
{
    const struct server *server = turn->server;
    const struct owed *head = ledger_head(&server->ledger);
    /* A change of parameters may be on its way ahead of it. */
    bool again = turn->up.sent_again; /* the error may be the client's own: not for ever */
    turn->up.sent_again = false;
    bool first = head == NULL || (server->ledger.count == 1 && head->about == ABOUT_STATE);
    if (again || !first || server->transaction != WIRE_TX_IDLE || server->ledger.skipping ||
        server->ledger.extended)
        return;
    turn->up.keeps = true;
    turn->up.kept = (uint32_t)(at - turn->up.chunk->bytes);
}

void turn_lost_end(struct turn *turn)
{
    if (outbox_empty(&turn->down.out))
        return;
    turn->up.keeps = false;
    lane_settle(&turn->up, &turn->relay->chunks);
}

/* The text is in any language, the name is not. */
static bool is_about_ours(const struct server_statements *on, struct span message)
{
    const uint8_t *at = message.at, *end = message.at + message.size;
    while ((at = memmem(at, (size_t)(end - at), "tl_", 3)) != NULL &&
           end - at >= STATEMENT_NAME_SIZE - 1) {
        if (server_statements_has_name(on, span_of(at, STATEMENT_NAME_SIZE - 1)))
            return true;
        at += 3;
    }
    return false;
}

/* Its Sync was sent, or is sent now; who asked for it has not got that far. */
static bool end_batch(struct turn *turn)
{
    struct ledger *ledger = &turn->server->ledger;
    (void)!ledger_take(ledger, WIRE_ERROR);
    if (ledger->count > 0) {
        ledger_swallow(ledger);
        return true;
    }
    uint8_t *at = turn_make(turn, WIRE_HEADER);
    if (at == NULL)
        return false;
    at[0] = WIRE_SYNC;
    wire_store_u32(at + 1, 4);
    ledger_owe(ledger, (struct owed){.kind = OWED_SYNC, .fate = FATE_SWALLOW});
    return true;
}

bool turn_lost(struct turn *turn, struct span message)
{
    struct server *server = turn->server;
    const struct owed *head = ledger_head(&server->ledger);
    if (!is_about_ours(&server->statements, message))
        return false;
    server_statements_doubt(&server->statements);
    if (!turn->up.keeps || turn->client == NULL || turn->closing || head == NULL ||
        head->kind != OWED_BIND || !outbox_empty(&turn->down.out) || turn->up.passing > 0 ||
        !ledger_is_one_batch(&server->ledger))
        return false;
    turn->up.keeps = false;
    if (!end_batch(turn))
        return false;
    turn->up.sent_again = true;
    turn->up.begin = turn->up.kept;
    turn->starved = false;
    return true;
}
