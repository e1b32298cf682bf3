#include "relay/flight/flight_watch.h"

#include "flight/flight_env.h"
#include "query/reads.h"
#include "relay/flight/flight_key.h"
#include "relay/turn/turn.h"
#include "relay/turn/turn_batch.h"

#include <string.h>

/* Whether these bytes are one statement that is proven to read, and no more. */
static bool is_read(const struct client *client, struct span bytes)
{
    static const struct query_read_rules rules;
    struct turn_batch batch;
    struct query_proof proof;
    if (!turn_batch_read(client, &bytes, &batch) || bytes.size > 0)
        return false;
    query_prove_reads(flight_key_text_of(&batch), &rules, &proof);
    return proof.reads != QUERY_MAY_WRITE;
}

void flight_watch_look(struct turn *turn)
{
    const struct direction *up = &turn->up;
    if (turn->watch.writes || up->begin == up->end)
        return;
    turn->watch.writes =
        up->passing > 0 || up->dropping > 0 || turn->held != NULL ||
        !is_read(turn->client, span_of(up->chunk->bytes + up->begin, up->end - up->begin));
}

void flight_watch_raise(const struct turn *turn)
{
    struct generations_table *table = turn->relay->pools.env->flight->generations;
    struct generations_writes writes;
    generations_writes_init(&writes, flight_key_database(table, turn->client));
    generations_writes_database(table, &writes);
    generations_raise(table, &writes);
}
