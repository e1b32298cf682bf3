/*
 * turn_pin.c - handles texts that may leave session state, in pools whose clients change servers.
 *
 * A text is looked at once, before it is sent.  Its effects are kept in the ledger's entry until
 * the reply has come.  A text that its route refuses is never sent.  In its place the server gets a
 * message that must fail, so that its transaction and batch fail as they should, and the client
 * gets an error of ours that says why.
 */
#include "relay/turn/turn.h"
#include "session/counted.h"
#include "session/pin.h"
#include "wire/messages.h"

#include <stdio.h>
#include <stdlib.h>

/* The error that the client gets for a refused statement. */
struct refused {
    char sqlstate[6];
    char text[160];
    char hint[200];
};

void turn_pin_drop_refused(struct refused *refused)
{
    counted_free(refused, sizeof(*refused));
}

/* --- refusals --------------------------------------------------------------------------------- */

static fault refused_new(struct refused **ret)
{
    *ret = counted_alloc(sizeof(**ret));
    if (*ret == NULL)
        return FAULT_MEMORY;
    **ret = (struct refused){.sqlstate = ""};
    return OK;
}

static fault refused_by_policy(const struct query_effect *effect, struct refused **ret)
{
    char what[QUERY_NAME_SIZE + 32];
    TRY(refused_new(ret));
    pin_describe(effect, what, sizeof(what));
    memcpy((*ret)->sqlstate, "0A000", 6);
    snprintf((*ret)->text, sizeof((*ret)->text),
             "%s is not allowed here: it would outlive its transaction", what);
    snprintf((*ret)->hint, sizeof((*ret)->hint),
             "session_state.%s of the route is \"reject\"; use a session pool, or what lasts for a "
             "transaction only.",
             pin_kind_text((enum query_kind)effect->kind));
    return OK;
}

static fault refused_by_share(const struct local_pool *pool, struct refused **ret)
{
    TRY(refused_new(ret));
    memcpy((*ret)->sqlstate, "53300", 6);
    snprintf((*ret)->text, sizeof((*ret)->text),
             "no more than %u servers of this pool may be kept by their clients",
             local_pool_pin_max(pool->route));
    snprintf((*ret)->hint, sizeof((*ret)->hint),
             "The limit is session_state.pin_share=%u percent of pool_size=%u; SHOW PINS tells who "
             "keeps them.",
             pool->route->session.pin_share, pool->route->pool_size);
    return OK;
}

static uint8_t *put_message(uint8_t *at, uint8_t type, const void *body, size_t size)
{
    at[0] = type;
    wire_store_u32(at + 1, (uint32_t)size + 4);
    memcpy(at + WIRE_HEADER, body, size);
    return at + WIRE_HEADER + size;
}

/* Sends a message that must fail: a Query that is no SQL, or an Execute of a portal that does not
 * exist.  A Close comes before the Execute, as the client may have made a portal of that name. */
static fault refused_send(struct turn *turn, bool simple, struct refused *take_refused)
{
    static const char text[] = "trunkline: refused";
    static const char closed[] = "Ptl_refused";
    static const char portal[] = "tl_refused\0\0\0\0"; /* and its number of rows */
    size_t size = simple ? sizeof(text) : sizeof(closed) + WIRE_HEADER + sizeof(portal);
    uint8_t *at = outbox_make(&turn->up.out, &turn->relay->chunks, WIRE_HEADER + size);
    if (at == NULL) {
        turn_pin_drop_refused(take_refused);
        return FAULT_MEMORY;
    }
    if (simple) {
        put_message(at, WIRE_QUERY, text, sizeof(text));
        turn_forget_unnamed(turn);
    } else {
        at = put_message(at, WIRE_CLOSE, closed, sizeof(closed));
        put_message(at, WIRE_EXECUTE, portal, sizeof(portal));
        ledger_owe(&turn->server->session.ledger,
                   (struct owed){.kind = OWED_CLOSE, .fate = FATE_SWALLOW});
    }
    ledger_owe(&turn->server->session.ledger,
               (struct owed){.kind = (uint8_t)(simple ? OWED_QUERY : OWED_EXECUTE),
                             .about = ABOUT_REFUSED,
                             .what = take_refused});
    return OK;
}

static fault refused_with(const char *sqlstate, const char *text, struct refused **ret)
{
    TRY(refused_new(ret));
    snprintf((*ret)->sqlstate, sizeof((*ret)->sqlstate), "%s", sqlstate);
    snprintf((*ret)->text, sizeof((*ret)->text), "%s", text);
    return OK;
}

fault turn_pin_refuse(struct turn *turn, const char *sqlstate, const char *text)
{
    struct refused *refused;
    TRY(refused_with(sqlstate, text, &refused));
    return refused_send(turn, false, refused);
}

fault turn_pin_refuse_query(struct turn *turn, const char *sqlstate, const char *text)
{
    struct refused *refused;
    TRY(refused_with(sqlstate, text, &refused));
    return refused_send(turn, true, refused);
}

fault turn_pin_refused(struct turn *turn, const struct owed *owed)
{
    const struct refused *refused = owed->what;
    struct buffer out = BUFFER_INIT(4096);
    char ids[CLIENT_IDS_SIZE];
    struct wire_report report = {.severity = "ERROR",
                                 .sqlstate = refused->sqlstate,
                                 .message = refused->text,
                                 .detail = client_ids(turn->client, turn->server, ids, sizeof(ids)),
                                 .hint = refused->hint[0] != '\0' ? refused->hint : NULL};
    wire_put_report(&out, &report);
    return turn_say(turn, &out);
}

/* --- the route's policy ----------------------------------------------------------------------- */

static void count_kinds(uint64_t counts[QUERY_KINDS], uint16_t kinds)
{
    for (unsigned kind = 0; kind < QUERY_KINDS; kind++)
        if ((kinds & QUERY_KIND(kind)) != 0)
            hint_add(&counts[kind], 1);
}

static fault refused_by_place(struct refused **ret)
{
    TRY(refused_new(ret));
    memcpy((*ret)->sqlstate, "55000", 6);
    snprintf((*ret)->text, sizeof((*ret)->text),
             "lastval() and currval() are not available here: what they read may be another "
             "client's");
    snprintf((*ret)->hint, sizeof((*ret)->hint),
             "The first call in a pool can't be pipelined behind other messages, nor in a "
             "transaction that has failed.  Later ones can.");
    return OK;
}

/* Whether the text calls lastval() or currval(), and the route neither allows nor rejects that. */
static bool reads_sequences(const struct turn *turn, const struct query_effects *effects)
{
    uint16_t policy = turn->client->pool->route->session.policy[QUERY_SEQUENCES];
    bool reads = (effects->creates & QUERY_KIND(QUERY_SEQUENCES)) != 0;
    return UNLIKELY(reads) && policy != PIN_ALLOW && policy != PIN_REJECT;
}

static fault own_sequences(struct turn *turn, const struct query_effects *effects,
                           struct refused **ret_refused)
{
    bool owns;
    if (!reads_sequences(turn, effects))
        return OK;
    TRY(turn_own_sequences(turn, &owns));
    return owns ? OK : refused_by_place(ret_refused);
}

/* Returns the parameters that the servers of the turn's pool report. */
static struct span reported(const struct turn *turn)
{
    return buffer_span(&turn->client->pool->reported.parameters);
}

/* Prepares the server's session for effects that are about to be sent.  FULL: clients may keep no
 * more servers; MEMORY. */
static fault expect(struct server *server, struct query_effects *effects)
{
    struct session *session = &server->session;
    pin_expect_path(session, effects);
    if ((effects->creates | effects->unsure) == 0)
        return OK;
    TRY(pin_begin(session));
    if ((effects->creates & session->rules->pinning) != 0 && !server_pin(server))
        return FAULT_FULL;
    pin_expect(session, effects);
    return OK;
}

/* Applies the route's policy.  *ret_refused: why the text is refused, or NULL.  The effects that
 * are left matter to the pin. */
static fault gate(struct turn *turn, struct query_effects *effects, struct refused **ret_refused)
{
    const struct query_effect *rejected;
    struct pin_counts *counts = &turn->relay->pools.pins;
    *ret_refused = NULL;
    pin_filter(&turn->client->pool->pin_rules, reported(turn), effects, &rejected);
    if (rejected != NULL) {
        count_kinds(counts->rejected, QUERY_KIND(rejected->kind));
        return refused_by_policy(rejected, ret_refused);
    }
    fault expected = expect(turn->server, effects);
    if (expected != FAULT_FULL)
        return expected;
    count_kinds(counts->full, effects->creates);
    return refused_by_share(turn->client->pool, ret_refused);
}

/* Copies the effects for the entry; NULL: none matters, or the server has no state to end. */
static fault keep(const struct turn *turn, const struct query_effects *effects,
                  struct query_effects **ret)
{
    *ret = NULL;
    if (turn->server->session.pin == NULL || (effects->count == 0 && effects->more == 0))
        return OK;
    *ret = effects_copy(effects);
    return *ret == NULL ? FAULT_MEMORY : OK;
}

/* Adds PREPARE to the effects of a Parse that keeps its own name: the statement stays on this
 * server, and what it does it may do again. */
static void add_statement(struct query_effects *effects, struct span name)
{
    if (name.size == 0 || (effects->creates | effects->unsure) == 0)
        return;
    effects->creates |= QUERY_KIND(QUERY_PREPARE);
    if (effects->count == QUERY_EFFECTS_MAX) {
        effects->more |= QUERY_KIND(QUERY_PREPARE);
        return;
    }
    struct query_effect *effect = &effects->all[effects->count++];
    *effect = (struct query_effect){.kind = QUERY_PREPARE, .act = QUERY_CREATES};
    if (name.size < sizeof(effect->name))
        memcpy(effect->name, name.at, name.size);
}

fault turn_pin_text(struct turn *turn, const uint8_t *at, uint32_t size, bool *ret_taken)
{
    struct query_effects found, ends, *effects;
    struct refused *refused = NULL;
    struct deallocation *gone = NULL;
    bool names = turn->client->statements.count > 0 && turn_remaps(turn);
    bool simple = at[0] == WIRE_QUERY;
    invariant(turn->server != NULL && turn_gates(turn));
    struct span text = span_of(at + WIRE_HEADER, size - WIRE_HEADER), name = SPAN_NONE;
    if (!simple) {
        name = span_of(text.at, strnlen((const char *)text.at, text.size));
        text = span_skip(text, name.size + 1);
    }
    *ret_taken = query_read_effects(text, &found);
    if (!*ret_taken)
        return OK;
    add_statement(&found, name);
    if (names)
        ends = found; /* a copy, before the policy removes effects */
    TRY(own_sequences(turn, &found, &refused));
    turn_keep_no_role(turn, &found);
    turn_note_resets(turn, &found, false); /* with tracked parameters, which gate() removes */
    if (refused == NULL)
        TRY(gate(turn, &found, &refused));
    if (refused != NULL)
        return refused_send(turn, simple, refused);
    TRY(keep(turn, &found, &effects));
    fault ready = names ? turn_deallocate(turn, &ends, &gone) : OK;
    if (ready != OK) {
        effects_free(effects);
        return ready;
    }
    if (gone != NULL)
        gone->effects = effects;
    if (simple)
        turn_forget_unnamed(turn);
    ledger_owe(&turn->server->session.ledger,
               (struct owed){.kind = (uint8_t)(simple ? OWED_QUERY : OWED_PARSE),
                             .about = gone != NULL      ? ABOUT_DEALLOCATE
                                      : effects != NULL ? ABOUT_EFFECTS
                                                        : ABOUT_NOTHING,
                             .what = gone != NULL ? (void *)gone : (void *)effects});
    outbox_run(&turn->up.out, at, size);
    return OK;
}

/* Refuses a Bind that reads sequences where the server's may be another client's.  Its Parse has
 * discarded those, unless the Parse was in another local pool. */
static fault bind_sequences(struct turn *turn, const struct query_effects *effects,
                            struct refused **ret_refused)
{
    if (!reads_sequences(turn, effects) || turn->server->session.sequences_own ||
        turn->server->session.ledger.skipping)
        return OK;
    turn->client->pool->reads_sequences = true;
    return refused_by_place(ret_refused);
}

fault turn_pin_bind(struct turn *turn, const struct query_effects *found, bool named,
                    struct query_effects **ret_effects, bool *ret_refused)
{
    struct query_effects effects = {0};
    struct refused *refused = NULL;
    memcpy(&effects, found,
           offsetof(struct query_effects, all) + found->count * sizeof(found->all[0]));
    turn_keep_no_role(turn, &effects);
    TRY(bind_sequences(turn, found, &refused));
    if (refused == NULL)
        TRY(gate(turn, &effects, &refused));
    *ret_refused = refused != NULL;
    if (refused != NULL)
        return refused_send(turn, false, refused);
    effects.named = named;
    return keep(turn, &effects, ret_effects);
}

fault turn_pin_parse(struct turn *turn, const struct query_effects *found, bool *ret_refused)
{
    struct query_effects effects = {0};
    const struct query_effect *rejected;
    memcpy(&effects, found,
           offsetof(struct query_effects, all) + found->count * sizeof(found->all[0]));
    turn_keep_no_role(turn, &effects);
    pin_filter(&turn->client->pool->pin_rules, reported(turn), &effects, &rejected);
    struct refused *refused = NULL;
    if (rejected == NULL) {
        TRY(own_sequences(turn, found, &refused));
    } else {
        count_kinds(turn->relay->pools.pins.rejected, QUERY_KIND(rejected->kind));
        TRY(refused_by_policy(rejected, &refused));
    }
    *ret_refused = refused != NULL;
    return refused == NULL ? OK : refused_send(turn, false, refused);
}

/* --- texts that are too long to be kept ------------------------------------------------------- */

fault turn_pin_long(struct turn *turn, struct span part)
{
    size_t keeps = MIN_OF(part.size, sizeof(turn->message.seam));
    memset(turn->message.seam, 0, sizeof(turn->message.seam));
    if (keeps > 0)
        memcpy(turn->message.seam + sizeof(turn->message.seam) - keeps, part.at + part.size - keeps,
               keeps);
    turn->message.scans = !query_start_may_have_effects(part);
    if (turn->message.scans)
        return OK;
    turn_note_unknown_resets(turn);
    return pin_suspect(&turn->server->session);
}

/* Looks at a part together with the last bytes of the one before: a word may lie across both. */
fault turn_pin_part(struct turn *turn, struct span part)
{
    uint8_t joined[2 * sizeof(turn->message.seam)] = {0};
    size_t keeps = sizeof(turn->message.seam);
    invariant(turn->message.scans);
    memcpy(joined, turn->message.seam, keeps);
    memcpy(joined + keeps, part.at, MIN_OF(part.size, keeps));
    bool hits = query_part_may_have_effects(span_of(joined, sizeof(joined))) ||
                query_part_may_have_effects(part);
    if (part.size >= keeps)
        memcpy(turn->message.seam, part.at + part.size - keeps, keeps);
    else
        memcpy(turn->message.seam, joined + part.size, keeps);
    turn->message.scans = !hits && turn->up.passing > 0;
    if (!hits)
        return OK;
    turn_note_unknown_resets(turn);
    return pin_suspect(&turn->server->session);
}
