/*
 * turn_restore.c - makes RESET return a client's parameters to its startup values.
 *
 * Servers of transaction and statement pools were not started for this client, so RESET returns
 * them to their own defaults.  The turn notes which parameters a text may reset when it sends the
 * text.  It holds the ReadyForQuery behind it back, and first sets the client's values in the same
 * transaction, so that a rollback undoes both.  The ReadyForQuery of that goes to the client in
 * place of the other one.  Messages that the client has sent meanwhile wait too.
 *
 * Where the replies do not tell what was carried out (an error, a ROLLBACK, a function), the turn
 * asks PostgreSQL: a parameter whose source is the session has not been reset.
 */
#include "query/effects.h"
#include "relay/turn/turn.h"
#include "wire/messages.h"

#define SQL_MAX (6 * PARAMS_SIZE_MAX)

/* Returns the client's startup parameters; NULL: none, or the client has disconnected. */
static const struct params *given_of(const struct turn *turn)
{
    const struct params *given = turn->client == NULL ? NULL : turn->client->given;
    return given != NULL && given->count > 0 ? given : NULL;
}

/* --- what may have been reset ----------------------------------------------------------------- */

static void reset_one(struct resets *resets, uint32_t place, bool is_reset)
{
    uint64_t bit = (uint64_t)1 << (place & 63);
    if (is_reset)
        resets->which[place / 64] |= bit;
    else
        resets->which[place / 64] &= ~bit;
    resets->any = resets->any || is_reset;
}

static bool is_identity(struct span name)
{
    return span_is_nocase(name, "role") || span_is_nocase(name, "session_authorization");
}

/* Notes RESET ALL, which leaves role and session_authorization as they are. */
static void reset_all(struct resets *resets, const struct params *given)
{
    for (uint32_t i = 0; i < given->count; i++)
        if (!is_identity(given->all[i].name))
            reset_one(resets, i, true);
}

static bool has_bit(const uint64_t *bits, uint32_t place)
{
    return (bits[place / 64] >> (place & 63) & 1) != 0;
}

static bool is_reset(const struct resets *resets, uint32_t place)
{
    return has_bit(resets->which, place);
}

static bool is_name(struct span a, struct span b)
{
    return a.size == b.size && strncasecmp((const char *)a.at, (const char *)b.at, a.size) == 0;
}

static void note_name(struct resets *resets, const struct params *given, const char *name,
                      bool is_reset)
{
    for (uint32_t i = 0; i < given->count; i++)
        if (is_name(given->all[i].name, span_text(name)))
            reset_one(resets, i, is_reset);
}

/* Notes a reset of unknown parameters.  role and session_authorization are left out: that the
 * session has no role does not tell that the role was reset. */
static void note_unknown(struct resets *resets, const struct params *given)
{
    reset_all(resets, given);
    resets->unsure = true;
}

static void note_setting(struct resets *resets, const struct params *given,
                         const struct query_effect *effect)
{
    bool creates = effect->act == QUERY_CREATES;
    if (effect->act == QUERY_ENDS_ALL)
        reset_all(resets, given);
    else if (effect->name[0] == '\0' && (!creates || effect->kind == QUERY_CONFIG))
        note_unknown(resets, given);
    else if (!creates || !effect->may_reset)
        note_name(resets, given, effect->name, !creates);
    else
        note_name(resets, given, effect->name, resets->unsure = true);
}

static bool leads_to_no_role(const struct query_effect *effect)
{
    return effect->kind == QUERY_ROLE && effect->act != QUERY_CREATES &&
           strcmp(effect->name, QUERY_NO_ROLE) == 0;
}

static void note_identity(struct resets *resets, const struct params *given, const char *name,
                          const struct query_effect *effect)
{
    bool may_reset = effect->act == QUERY_CREATES && effect->may_reset;
    resets->unsure = resets->unsure || may_reset;
    note_name(resets, given, name,
              may_reset || (effect->act != QUERY_CREATES && !leads_to_no_role(effect)));
}

/* Whether the text has a RESET or a SET to the default, whose tag shows that it was carried out. */
static bool resets_by_name(const struct query_effects *effects)
{
    for (unsigned i = 0; i < effects->count; i++)
        if (effects->all[i].act != QUERY_CREATES &&
            (effects->all[i].kind == QUERY_SETTING || effects->all[i].kind == QUERY_ROLE ||
             effects->all[i].kind == QUERY_AUTHORIZATION))
            return true;
    return false;
}

void turn_keep_no_role(const struct turn *turn, struct query_effects *effects)
{
    const struct params *given = given_of(turn);
    if (LIKELY(given == NULL) || params_find(given, SPAN("role")) == NULL)
        return;
    for (unsigned i = 0; i < effects->count; i++) {
        if (!leads_to_no_role(&effects->all[i]))
            continue;
        effects->all[i].act = QUERY_CREATES;
        effects->creates |= QUERY_KIND(QUERY_ROLE);
    }
}

void turn_note_resets(struct turn *turn, const struct query_effects *effects, bool bound)
{
    struct resets *resets = &turn->resets;
    const struct params *given = given_of(turn);
    if (LIKELY(given == NULL))
        return;
    for (unsigned i = 0; i < effects->count; i++) {
        const struct query_effect *effect = &effects->all[i];
        if (effect->kind == QUERY_SETTING || effect->kind == QUERY_CONFIG)
            note_setting(resets, given, effect);
        else if (effect->kind == QUERY_ROLE)
            note_identity(resets, given, "role", effect);
        else if (effect->kind == QUERY_AUTHORIZATION)
            note_identity(resets, given, "session_authorization", effect);
    }
    if (effects->resets || (effects->unsure & QUERY_KIND(QUERY_SETTING)) != 0)
        note_unknown(resets, given);
    resets->any = resets->any || (bound && resets_by_name(effects));
    resets->bound += bound && resets->any;
}

static void note_identities(struct resets *resets, const struct params *given)
{
    for (uint32_t i = 0; i < given->count; i++)
        if (is_identity(given->all[i].name))
            reset_one(resets, i, true);
}

void turn_note_unknown_resets(struct turn *turn)
{
    if (given_of(turn) != NULL)
        note_unknown(&turn->resets, given_of(turn));
}

void turn_note_report(struct turn *turn, struct span name)
{
    const struct params *given = given_of(turn);
    for (uint32_t i = 0; given != NULL && i < given->count; i++)
        if (is_name(given->all[i].name, name))
            turn->resets.told[i / 64] |= (uint64_t)1 << (i & 63);
}

void turn_reset_tag(struct turn *turn, struct span tag)
{
    struct resets *resets = &turn->resets;
    const struct owed *head = ledger_head(&turn->server->session.ledger);
    if (head == NULL || head->fate != FATE_FORWARD)
        return;
    bool resetting = span_is(tag, "RESET") || span_is(tag, "DISCARD ALL");
    bool done = resetting || span_is(tag, "SET");
    if (resetting && head->kind == OWED_EXECUTE && resets->bound == 0)
        turn_note_unknown_resets(turn); /* the portal was bound before the last ReadyForQuery */
    bool who = span_is(tag, "DISCARD ALL") || (resetting && head->kind == OWED_QUERY);
    if (resets->unsure && who && given_of(turn) != NULL) /* a long text may hold RESET ROLE */
        note_identities(resets, given_of(turn));
    resets->done = resets->done || done;
    if (span_is(tag, "ROLLBACK"))
        resets->undone = true;
    else if (done && head->kind == OWED_EXECUTE && resets->bound > 0)
        resets->bound -= 1;
}

bool turn_awaits_restore(const struct turn *turn, uint8_t type)
{
    const struct ledger *ledger;
    if (turn->server == NULL || !turn_needs_server(type))
        return false;
    ledger = &turn->server->session.ledger;
    return !ledger_quiet(ledger) && !ledger->extended && !ledger->skipping && !ledger->copy_in;
}

/* --- restoring the client's values ------------------------------------------------------------ */

/* Writes the SQL that restores the parameters known to be reset.  The others are taken to have the
 * client's values.  role and session_authorization are left out unless they were reset. */
static fault write_known(struct turn *turn, struct buffer *sql)
{
    struct param before[PARAMS_MAX], after[PARAMS_MAX];
    const struct params *given = turn->client->given;
    struct params *from, *to;
    size_t kept = 0, count = 0;
    for (uint32_t i = 0; i < given->count; i++) {
        bool reset = is_reset(&turn->resets, i);
        if (!reset && is_identity(given->all[i].name))
            continue;
        after[count++] = given->all[i];
        if (!reset)
            before[kept++] = given->all[i];
    }
    TRY(params_intern(given->store, before, kept, &from));
    fault made = params_intern(given->store, after, count, &to);
    if (made == OK) {
        params_write_difference(sql, from, to, turn->server->session.transaction == WIRE_TX_IDLE);
        params_unref(&to);
    }
    params_unref(&from);
    return made;
}

/* Whether PostgreSQL must be asked, because the replies do not tell what was carried out. */
static bool must_ask(const struct turn *turn)
{
    return turn->resets.unsure || turn->resets.undone || turn->resets.bound > 0;
}

/* Whether a parameter may have been reset.  For a reported one the server reports the new value,
 * unless it had its default before: then it is taken to have been set to its default. */
static bool may_be_reset(const struct turn *turn, uint32_t place)
{
    const struct span name = turn->client->given->all[place].name;
    if (!is_reset(&turn->resets, place))
        return false;
    if (!must_ask(turn) || !server_tracks(turn->server->pool, name))
        return true;
    return has_bit(turn->resets.told, place) && params_find(turn->client->params, name) == NULL;
}

static void write_asking(const struct turn *turn, struct buffer *sql)
{
    const struct params *given = turn->client->given;
    bool first = true;
    if (turn->server->session.transaction == WIRE_TX_IDLE)
        buffer_append_text(sql, PARAMS_PLAIN_TRANSACTION);
    buffer_append_text(sql, "SELECT pg_catalog.set_config(g.name,g.value,false) FROM (VALUES ");
    for (uint32_t i = 0; i < given->count; i++) {
        if (!may_be_reset(turn, i))
            continue;
        buffer_append_text(sql, first ? "(" : ",(");
        params_write_literal(sql, given->all[i].name);
        buffer_append_byte(sql, ',');
        params_write_literal(sql, given->all[i].value);
        buffer_append_byte(sql, ')');
        first = false;
    }
    /* pg_settings does not show custom parameters, role and session_authorization. */
    buffer_append_text(sql,
                       ") g(name,value) LEFT JOIN pg_catalog.pg_settings s ON pg_catalog.lower("
                       "s.name) OPERATOR(pg_catalog.=) pg_catalog.lower(g.name) WHERE CASE WHEN "
                       "s.name IS NULL THEN COALESCE(pg_catalog.current_setting(g.name,true),'') "
                       "OPERATOR(pg_catalog.=) ANY(ARRAY['','none']) ELSE s.source "
                       "OPERATOR(pg_catalog.<>) 'session' END;");
}

static bool anything_given_is_reset(const struct turn *turn)
{
    for (uint32_t i = 0; i < turn->client->given->count; i++)
        if (may_be_reset(turn, i))
            return true;
    return false;
}

static fault send_restoring(struct turn *turn)
{
    struct buffer sql = BUFFER_INIT(SQL_MAX);
    fault made = OK;
    bool moved = false;
    invariant(turn->resets.any && ledger_empty(&turn->server->session.ledger));
    if (must_ask(turn))
        write_asking(turn, &sql);
    else
        made = write_known(turn, &sql);
    if (made == OK)
        made = buffer_fault(&sql);
    if (made == OK)
        made = turn_put_state(turn, buffer_span(&sql));
    buffer_fini(&sql);
    TRY(made);
    turn->resets = (struct resets){.any = true, .restoring = true};
    return turn_send_up(turn, &moved);
}

/* Puts restoring off where no query of ours can be sent now.  If no further ReadyForQuery is sure
 * to come, another client that gets the server sets all parameters again that are not reported. */
static void restore_later(struct turn *turn, uint8_t status)
{
    const struct ledger *ledger = &turn->server->session.ledger;
    bool follows = !ledger_empty(ledger) || ledger->extended || ledger->skipping;
    turn->resets.unsure = true;
    if (status != WIRE_TX_IDLE || (follows && !ledger->murky && turn->server_end == SERVER_OPEN))
        return;
    turn->server->session.doubtful = true;
    turn->resets = (struct resets){.any = false};
}

fault turn_restore(struct turn *turn, uint8_t status, enum ledger_verdict *verdict)
{
    struct resets *resets = &turn->resets;
    const struct server *server = turn->server;
    if (resets->restoring) {
        *verdict = VERDICT_FORWARD; /* in place of the one that was held back */
        *resets = (struct resets){.any = false};
        return OK;
    }
    if (*verdict != VERDICT_FORWARD || turn->client == NULL)
        return OK;
    if (!anything_given_is_reset(turn) || (!resets->done && !resets->unsure)) {
        if (ledger_empty(
                &server->session.ledger)) /* else a reset may be sent and not yet carried out */
            *resets = (struct resets){.any = false};
        return OK;
    }
    if (status == WIRE_TX_FAILED) {
        resets->undone = true;
        return OK;
    }
    if (!ledger_empty(&server->session.ledger) || server->session.ledger.extended ||
        server->session.ledger.skipping || server->session.ledger.murky ||
        !direction_sent(&turn->up) || turn->up.passing > 0 || turn->server_end != SERVER_OPEN) {
        restore_later(turn, status);
        return OK;
    }
    TRY(send_restoring(turn));
    *verdict = VERDICT_SWALLOW;
    return OK;
}
