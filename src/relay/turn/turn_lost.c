/*
 * turn_lost.c - sends a batch again whose statement the server has lost.
 *
 * Trunkline does not see a DEALLOCATE ALL inside of DO or of a function.  The first message that
 * names a statement then fails with 26000.  If that is a Bind, the first message of its batch and
 * outside of a transaction, nothing else has happened: the batch is sent again from the client's
 * bytes, which stay in their chunk until a reply has come.
 */
#include "relay/turn/turn.h"

/* Longest error in which a statement is renamed: errors that name a statement are not longer. */
#define RENAMED_MAX 512u

void turn_lost_keep(struct turn *turn, const uint8_t *at)
{
    const struct server *server = turn->server;
    const struct owed *head = ledger_head(&server->session.ledger);
    bool again = turn->up.sent_again; /* sent again once only: the error may be the client's */
    turn->up.sent_again = false;
    /* A change of parameters may be on its way in front of the Bind. */
    bool first = head == NULL || (server->session.ledger.count == 1 && head->about == ABOUT_STATE);
    if (again || !first || server->session.transaction != WIRE_TX_IDLE ||
        server->session.ledger.skipping || server->session.ledger.extended)
        return;
    invariant(at >= turn->up.chunk->bytes && at < turn->up.chunk->bytes + turn->up.end);
    turn->up.keeps = true;
    turn->up.kept = (uint32_t)(at - turn->up.chunk->bytes);
}

void turn_lost_end(struct turn *turn)
{
    if (outbox_empty(&turn->down.out))
        return;
    turn->up.keeps = false;
    direction_settle(&turn->up, &turn->relay->chunks);
}

/* Finds a statement's name on the server in an error, whose text may be in any language.  *ret_at:
 * where the name is. */
static const struct server_statement *find_ours(const struct server_statements *on,
                                                struct span message, const uint8_t **ret_at)
{
    const uint8_t *at = message.at, *end = message.at + message.size;
    while ((at = memmem(at, (size_t)(end - at), "tl_", 3)) != NULL &&
           end - at >= STATEMENT_NAME_SIZE - 1) {
        const struct server_statement *known =
            server_statement_named(on, span_of(at, STATEMENT_NAME_SIZE - 1));
        *ret_at = at;
        if (known != NULL)
            return known;
        at += 3;
    }
    return NULL;
}

void turn_error_rename(const struct turn *turn, struct span body, struct buffer *out)
{
    const uint8_t *at;
    if (body.size > RENAMED_MAX || turn->client == NULL)
        return;
    const struct server_statement *known = find_ours(&turn->server->session.statements, body, &at);
    const struct client_statement *named =
        known == NULL ? NULL : client_statement_meaning(&turn->client->statements, &known->key);
    if (named == NULL)
        return;
    const uint8_t *behind = at + STATEMENT_NAME_SIZE - 1;
    size_t start = wire_begin(out, WIRE_ERROR);
    wire_put_bytes(out, span_of(body.at, (size_t)(at - body.at)));
    wire_put_bytes(out, span_of(named->name, named->size));
    wire_put_bytes(out, span_of(behind, (size_t)(body.at + body.size - behind)));
    wire_end(out, start);
}

/* Ends the failed batch on the server: swallows the ReadyForQuery of its Sync if that was sent,
 * else sends a Sync.  The client's own Sync is still to be walked again. */
static bool end_batch(struct turn *turn)
{
    struct ledger *ledger = &turn->server->session.ledger;
    (void)!ledger_take(ledger, WIRE_ERROR);
    if (ledger->count > 0) {
        ledger_swallow(ledger);
        return true;
    }
    return turn_make_sync(turn);
}

bool turn_make_sync(struct turn *turn)
{
    uint8_t *at = turn_make(turn, WIRE_HEADER);
    if (at == NULL)
        return false;
    at[0] = WIRE_SYNC;
    wire_store_u32(at + 1, 4);
    ledger_owe(&turn->server->session.ledger,
               (struct owed){.kind = OWED_SYNC, .fate = FATE_SWALLOW});
    return true;
}

bool turn_lost(struct turn *turn, struct span message)
{
    struct server *server = turn->server;
    const struct owed *head = ledger_head(&server->session.ledger);
    const uint8_t *at;
    if (find_ours(&server->session.statements, message, &at) == NULL)
        return false;
    server_statements_doubt(&server->session.statements);
    if (!turn->up.keeps || turn->client == NULL || turn->state == TURN_CLOSING || head == NULL ||
        head->kind != OWED_BIND || !outbox_empty(&turn->down.out) || turn->up.passing > 0 ||
        !ledger_is_one_batch(&server->session.ledger))
        return false;
    invariant(turn->up.kept < turn->up.begin && turn->up.begin <= turn->up.end);
    turn->up.keeps = false;
    if (!end_batch(turn))
        return false;
    /* The position was asked for in front of what is sent again. */
    turn->reads.asked = turn->reads.stopped = false;
    turn->up.sent_again = true;
    turn->up.begin = turn->up.kept;
    turn->message.starved = false;
    return true;
}
