/* turn_params.c - gives the server the client's session parameters before its first message. */
#include "machine/clock.h"
#include "relay/turn/turn.h"
#include "session/accepted.h"
#include "session/pin.h"
#include "wire/messages.h"

#include <stdlib.h>

#define SQL_MAX (5 * PARAMS_SIZE_MAX)

fault turn_put_state(struct turn *turn, struct span sql)
{
    struct server *server = turn->server;
    struct buffer message = BUFFER_INIT(sql.size + 64);
    wire_put_query(&message, sql);
    if (buffer_fault(&message) != OK || !ledger_has_room(&server->session.ledger, 1)) {
        buffer_fini(&message);
        return FAULT_MEMORY;
    }
    server->session.unmade = false;
    server->session.unnamed.of = 0; /* a simple query destroys it */
    ledger_owe(&server->session.ledger,
               (struct owed){.kind = OWED_QUERY, .fate = FATE_SWALLOW, .about = ABOUT_STATE});
    outbox_take_heap(&turn->up.out, message.at, message.size);
    return OK;
}

fault turn_ask(struct turn *turn, struct span sql, deadline by)
{
    struct server *server = turn->server;
    invariant(direction_sent(&turn->up));
    TRY(turn_put_state(turn, sql));
    TRY(turn_drain(turn, by));
    fault failed = turn->state_fault;
    turn->state_fault = OK;
    server->session.unmade =
        false; /* callers note the new parameters only after this has succeeded */
    return failed;
}

fault turn_step(struct turn *turn, deadline by)
{
    bool moved = false;
    TRY(turn_send_up(turn, &moved));
    fault went = turn_down(turn, &moved);
    if (went != OK && (went != turn->state_fault || turn_server_is_gone(turn)))
        return went;
    return moved ? OK : turn_wait(turn, by);
}

fault turn_drain(struct turn *turn, deadline by)
{
    turn_bulk_end(turn);
    while (!ledger_empty(&turn->server->session.ledger) || !direction_sent(&turn->up))
        TRY(turn_step(turn, by));
    return OK;
}

/* Returns the value of a parameter that this server has reported; NULL if it does not report it. */
static const struct span *reported_value(const struct server *server, struct span name,
                                         struct span *ret)
{
    char text[128];
    if (!server->pool->reported.known || name.size >= sizeof(text) ||
        !server_tracks(server->pool, name)) /* role and the like: reported at the login only */
        return NULL;
    memcpy(text, name.at, name.size);
    text[name.size] = '\0';
    *ret = wire_find_parameter(buffer_span(&server->pool->reported.parameters), text);
    if (ret->at == NULL)
        return NULL;
    const struct span *changed = params_find(server->session.params, name);
    if (changed != NULL)
        *ret = *changed;
    return ret;
}

bool turn_params_confirmed(const struct local_pool *pool, const struct params *have,
                           const struct params *want)
{
    for (uint32_t i = 0; i < want->count; i++) {
        struct span canonical;
        const struct span *old = params_find(have, want->all[i].name);
        if (old != NULL && span_equal(*old, want->all[i].value))
            continue;
        if (!span_is_nocase(want->all[i].name, "application_name") &&
            !accepted_find(&pool->accepted, &want->all[i], &canonical))
            return false;
    }
    return true;
}

/* Whether the servers that have accepted what is in one of the sets, and not in the other, surely
 * do so again. */
static bool lasts_beside(const struct params *one, const struct params *other)
{
    for (uint32_t i = 0; i < one->count; i++)
        if (!params_has(other, &one->all[i]) && !accepted_lasts(one->all[i].name))
            return false;
    return true;
}

/* Whether the difference may be sent in front of the client's message: if it failed, the message
 * would be carried out with what the server's last client has left, its role for one. */
static bool is_sure(const struct client *client, const struct params *have)
{
    const struct params *want = client->params;
    return turn_params_confirmed(client->pool, have, want) && lasts_beside(have, want) &&
           lasts_beside(want, have);
}

/* Notes that the server has accepted all of `want`, and how it spells each value.  The server's and
 * the client's sets get that spelling. */
static fault params_settle(struct turn *turn, struct params *want)
{
    struct server *server = turn->server;
    struct local_pool *pool = server->pool;
    struct param all[PARAMS_MAX];
    size_t count = 0;
    for (uint32_t i = 0; i < want->count; i++) {
        struct span value;
        const struct span *now_is = reported_value(server, want->all[i].name, &value);
        struct span canonical = now_is != NULL ? *now_is : want->all[i].value;
        local_pool_accept(pool, &want->all[i], canonical);
        struct param canon = {want->all[i].name, canonical};
        local_pool_accept(pool, &canon, canonical);
        if (!params_has(server->session.defaults, &canon))
            all[count++] = canon;
    }
    struct params *settled;
    TRY(params_intern(want->store, all, count, &settled));
    params_assign(&server->session.params, settled);
    if (server->client != NULL)
        params_assign(&server->client->params, params_ref(settled));
    server->session.doubtful = false;
    return OK;
}

/* Sends values that the server may reject: alone, and confirmed before anything else is sent. */
static fault confirm_parameters(struct turn *turn, struct span sql)
{
    struct params *want = params_ref(turn->client->params);
    duration max = turn->relay->pools.config->reset_timeout;
    fault asked = turn_ask(turn, sql, after(max));
    fault settled = asked == OK ? params_settle(turn, want) : OK;
    params_unref(&want);
    /* A server that has closed the connection has not rejected the values. */
    if (asked != FAULT_UPSTREAM || turn_server_is_gone(turn))
        return asked != OK ? asked : settled;
    char text[FAULT_STORY_MAX], sqlstate[6];
    memcpy(sqlstate, fault_detail_sqlstate(asked), sizeof(sqlstate));
    memcpy(text, fault_detail(asked), sizeof(text));
    TRY(turn_refuse(turn, sqlstate, text));
    turn->server->session.doubtful = true;
    /* What can't be undone there would fail for the next client, too. */
    turn->server->broken =
        turn->server->broken || !lasts_beside(turn->server->session.params, turn->client->params);
    turn_detach_server(turn);
    return OK;
}

/* Sends a query of ours in front of the client's message, in the same send. */
static fault inject_query(struct turn *turn, struct span sql)
{
    struct server *server = turn->server;
    size_t size = WIRE_HEADER + sql.size + 1;
    if (!ledger_has_room(&server->session.ledger, 2))
        return FAULT_MEMORY;
    uint8_t *at = outbox_make(&turn->up.out, &turn->relay->chunks, size);
    if (at == NULL)
        return FAULT_MEMORY;
    at[0] = WIRE_QUERY;
    wire_store_u32(at + 1, (uint32_t)size - 1);
    memcpy(at + WIRE_HEADER, sql.at, sql.size);
    at[size - 1] = '\0';
    server->session.unmade = false;
    server->session.unnamed.of = 0; /* a simple query destroys it */
    ledger_owe(&server->session.ledger,
               (struct owed){.kind = OWED_QUERY, .fate = FATE_SWALLOW, .about = ABOUT_STATE});
    return OK;
}

static fault inject_parameters(struct turn *turn, struct span sql)
{
    TRY(inject_query(turn, sql));
    params_assign(&turn->server->session.params, params_ref(turn->client->params));
    return OK;
}

/* Gives all parameters that are not reported an unknown value, so that each is set or reset again:
 * a SET or RESET may have changed them. */
static fault server_doubt(struct server *server)
{
    static const struct span unknown = {(const uint8_t *)"\001", 1};
    for (uint32_t i = 0; i < server->session.params->count; i++) {
        struct span ignored;
        struct params *params;
        struct span name = server->session.params->all[i].name;
        if (reported_value(server, name, &ignored) != NULL)
            continue;
        TRY(params_with(server->session.params, name, &unknown, &params));
        params_assign(&server->session.params, params);
    }
    server->session.doubtful = false;
    return OK;
}

/* Deallocates what another client has prepared, in the same send as this client's first message. */
static fault adopt_alone(struct turn *turn)
{
    static const char sql[] = PARAMS_PLAIN_TRANSACTION "DEALLOCATE ALL";
    struct server *server = turn->server;
    if (server->last_claim == &turn->client->claim ||
        server_statements_empty(&server->session.statements))
        return OK;
    uint8_t *at = outbox_make(&turn->up.out, &turn->relay->chunks, WIRE_HEADER + sizeof(sql));
    if (at == NULL || !ledger_has_room(&server->session.ledger, 2))
        return FAULT_MEMORY;
    at[0] = WIRE_QUERY;
    wire_store_u32(at + 1, sizeof(sql) + 4);
    memcpy(at + WIRE_HEADER, sql, sizeof(sql));
    server->session.unnamed.of = 0; /* a simple query destroys it */
    server_statements_deallocated(&server->session.statements);
    ledger_owe(&server->session.ledger,
               (struct owed){.kind = OWED_QUERY, .fate = FATE_SWALLOW, .about = ABOUT_STATE});
    return OK;
}

/* Updates what is known of the server's state, beside parameters, when a client gets it. */
static fault adopt_state(struct turn *turn)
{
    struct server *server = turn->server;
    struct client *client = turn->client;
    const struct session_config *session = &client->pool->route->session;
    server->session.path_unsure = false;
    if (server->last_claim != &client->claim)
        server->session.sequences_own = !server->session.sequences_used;
    server->session.sequences_used = true;
    if (UNLIKELY(session->isolation != ISOLATION_READ))
        server->session.suspect = true;
    if (UNLIKELY(client->params->temp_path) && session->policy[QUERY_TEMPORARY] != PIN_ALLOW)
        return pin_add_uncertain(&server->session, QUERY_TEMPORARY);
    return OK;
}

/* Discards values of lastval() and currval() that another client may have left.  In pools whose
 * clients call these it is sent in front of a client's first message. */
#define DISCARD           "DISCARD SEQUENCES;"
#define DISCARD_SEQUENCES PARAMS_PLAIN_TRANSACTION DISCARD

static bool must_discard(const struct turn *turn)
{
    return turn->client->pool->reads_sequences && !turn->server->session.sequences_own;
}

/* Does not pipeline DISCARD SEQUENCES behind other messages, where it might fail or end their
 * batch: only the next claim gets it.  An open transaction keeps its isolation level. */
fault turn_own_sequences(struct turn *turn, bool *ret_owns)
{
    struct server *server = turn->server;
    const struct ledger *ledger = &server->session.ledger;
    turn->client->pool->reads_sequences = true;
    *ret_owns = server->session.sequences_own || ledger->skipping;
    if (*ret_owns || server->session.transaction == WIRE_TX_FAILED || !ledger_empty(ledger) ||
        ledger->extended)
        return OK;
    server->session.sequences_own = *ret_owns = true;
    return inject_query(turn, server->session.transaction == WIRE_TX_IDLE ? SPAN(DISCARD_SEQUENCES)
                                                                          : SPAN(DISCARD));
}

/* --- defaults --------------------------------------------------------------------------------- */

static fault rebase(struct params **slot, const struct params *from, const struct params *to)
{
    struct params *made;
    if (*slot == NULL)
        return OK;
    TRY(params_rebase(*slot, from, to, &made));
    params_assign(slot, made);
    return OK;
}

/* Makes the client's sets mean on this server what they meant on the servers that it had before,
 * which reported other defaults.  The values that the client was told at its login are then set. */
static fault rebase_client(struct client *client, struct params *to)
{
    const struct params *from = client->defaults;
    const struct map *statements = &client->statements;
    TRY(rebase(&client->params, from, to));
    TRY(rebase(&client->given, from, to));
    TRY(rebase(&client->unnamed_params, from, to));
    for (struct map_link *link = map_next(statements, NULL); link != NULL;
         link = map_next(statements, link)) {
        struct client_statement *named = MAP_ENTRY(link, struct client_statement, link);
        TRY(rebase(&named->params, from, to));
        if (named->params != NULL)
            named->meaning.session = named->params->session;
    }
    params_assign(&client->defaults, params_ref(to));
    return OK;
}

/* Sends what makes the server's parameters the client's. */
static NEVER_INLINE fault adopt_difference(struct turn *turn, bool discard)
{
    struct server *server = turn->server;
    struct client *client = turn->client;
    struct buffer sql = BUFFER_INIT(SQL_MAX);
    bool sure = is_sure(client, server->session.params);
    if (discard)
        buffer_append_text(&sql, DISCARD_SEQUENCES);
    params_write_difference(&sql, server->session.params, client->params, true);
    fault result = buffer_fault(&sql);
    server->session.sequences_own = server->session.sequences_own || discard;
    if (result == OK && sql.size > 0)
        result = sure && sql.size < turn->relay->chunks.size / 2
                     ? inject_parameters(turn, buffer_span(&sql))
                     : confirm_parameters(turn, buffer_span(&sql));
    buffer_fini(&sql);
    return result;
}

static fault adopt_parameters(struct turn *turn)
{
    struct server *server = turn->server;
    struct client *client = turn->client;
    if (client->pool->route->mode == POOL_SESSION)
        return OK;
    if (UNLIKELY(client->defaults != server->session.defaults))
        TRY(rebase_client(client, server->session.defaults));
    TRY(adopt_state(turn));
    if (UNLIKELY(server->session.doubtful) && server->last_claim != &client->claim)
        TRY(server_doubt(server));
    bool discard = UNLIKELY(must_discard(turn));
    if (LIKELY(server->session.params == client->params) && !discard)
        return OK;
    return adopt_difference(turn, discard);
}

fault turn_adopt_parameters(struct turn *turn)
{
    fault adopted = adopt_parameters(turn);
    if (LIKELY(turn->client->pool->route->prepared_max != PREPARED_PRIVATE) || adopted != OK ||
        turn->server == NULL || turn->client->pool->route->mode == POOL_SESSION)
        return adopted;
    return adopt_alone(turn);
}
