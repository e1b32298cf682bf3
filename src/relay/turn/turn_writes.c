/*
 * turn_writes.c - notes what a client sends that may write, where answers are shared: see
 * server_writes.c.
 */
#include "query/outcome.h"
#include "relay/flight/flight_writes.h"
#include "relay/turn/turn.h"

#include <strings.h>

/* First words of statements that change only the session, or which part of the open transaction
 * will be committed. */
static const char *const harmless[] = {"set",   "reset",      "savepoint", "release",
                                       "close", "deallocate", "discard"};

static bool is_harmless(struct span text)
{
    for (size_t i = 0; i < ARRAY_SIZE(harmless); i++) {
        size_t size = strlen(harmless[i]);
        if (text.size > size && text.at[size] <= ' ' &&
            strncasecmp((const char *)text.at, harmless[i], size) == 0)
            return true;
    }
    return false;
}

/* Whether a text may write.  A COMMIT does not by itself: the writes of its transaction have been
 * noted before. */
static bool may_write(const struct turn *turn, struct span text)
{
    struct query_proof proof;
    text.size = strnlen((const char *)text.at, text.size);
    uint8_t outcome = query_outcome_of(text);
    if ((outcome == 0 && !query_is_select(text)) || query_is_last(text, true) ||
        (outcome == QUERY_OPEN_WRITE && is_harmless(text)))
        return false;
    query_prove_reads(text, &turn->client->pool->route->reads.rules, &proof);
    return proof.reads == QUERY_MAY_WRITE;
}

void turn_writes_note(struct turn *turn, struct span text, struct span bind)
{
    struct session *session = &turn->server->session;
    if (turn->server->writes != NULL)
        flight_writes_note(turn, text, bind);
    if (session->transaction == WIRE_TX_IDLE && session->unanswered == 0)
        session->looked = true;
    /* What runs for a flight was found to read only before it was sent. */
    if (!turn->client->internal && !session->wrote)
        session->wrote = text.at == NULL || may_write(turn, text);
}
