#include "session/pin.h"

#include "base/check.h"
#include "machine/clock.h"
#include "machine/ids.h"
#include "machine/machine.h"
#include "session/session.h"
#include "wire/messages.h"

#include <stdio.h>
#include <stdlib.h>

/* How many names of settings, tables, channels and so on are kept for one session.  Objects beyond
 * that are not told apart: they end only when all of their kind end. */
#define NAMES_MAX 32

struct pin_name {
    uint8_t kind;
    uint16_t times; /* locks: how often it is held */
    char text[QUERY_NAME_SIZE];
};

/* Sets of kinds have one bit for each kind. */
struct pin {
    uint16_t held;      /* kinds that are there whether or not the open transaction commits */
    uint16_t tried;     /* made by the open transaction, there if it commits */
    uint16_t ever;      /* made by it, including what it has ended since */
    uint16_t ending;    /* held, ended if it commits */
    uint16_t rolled;    /* made by it before a ROLLBACK of which the extent is not known yet */
    uint16_t portals;   /* made by its portals each time that they are executed */
    uint16_t named;     /* the same, by portals that have a name */
    uint16_t uncertain; /* may be there: the text does not tell */
    uint16_t any;       /* made or tried at any time since the server was clean */
    uint16_t many;      /* kinds of which not all names are known */
    bool failed;        /* an error came since the last ReadyForQuery */
    bool pinned;        /* `view` says why */
    uint8_t statement;  /* index of the simple query's statement that is answered next */
    struct query_effects *bound; /* of the unnamed portal */
    struct pin_view view;
    unsigned name_count;
    struct pin_name names[NAMES_MAX];
};

/* Kinds that a rollback undoes; the others take effect at once and stay. */
#define TRANSACTIONAL                                                                              \
    ((uint16_t)(QUERY_KIND(QUERY_SETTING) | QUERY_KIND(QUERY_ROLE) |                               \
                QUERY_KIND(QUERY_AUTHORIZATION) | QUERY_KIND(QUERY_CONFIG) |                       \
                QUERY_KIND(QUERY_TEMPORARY) | QUERY_KIND(QUERY_LISTEN) |                           \
                QUERY_KIND(QUERY_CURSOR)))
/* Kinds that a statement ends at once, whether or not its transaction commits. */
#define IMMEDIATE                                                                                  \
    ((uint16_t)(QUERY_KIND(QUERY_PREPARE) | QUERY_KIND(QUERY_LOCK) | QUERY_KIND(QUERY_CURSOR) |    \
                QUERY_KIND(QUERY_SEQUENCES)))
/* Kinds that neither a rollback nor DISCARD ALL ends. */
#define LASTING ((uint16_t)(QUERY_KIND(QUERY_SEED) | QUERY_INCURABLE))

static const struct {
    const char *setting;
    const char *statement;
    bool named;
} kind_texts[QUERY_KINDS] = {
    [QUERY_SETTING] = {"set", "SET", true},
    [QUERY_ROLE] = {"role", "SET ROLE", false},
    [QUERY_AUTHORIZATION] = {"authorization", "SET SESSION AUTHORIZATION", false},
    [QUERY_CONFIG] = {"set_config", "set_config()", true},
    [QUERY_TEMPORARY] = {"temporary", "a temporary object", true},
    [QUERY_PREPARE] = {"prepare", "PREPARE", true},
    [QUERY_LISTEN] = {"listen", "LISTEN", true},
    [QUERY_CURSOR] = {"cursor", "a cursor WITH HOLD", true},
    [QUERY_LOCK] = {"lock", "a session's advisory lock", false},
    [QUERY_SEQUENCES] = {"sequences", "reading a session's sequences by", true},
    [QUERY_SEED] = {"seed", "setseed()", false},
    [QUERY_LOAD] = {"load", "LOAD", false},
    [QUERY_SLOT] = {"slot", "a temporary replication slot", false},
};

const char *pin_kind_text(enum query_kind kind)
{
    return kind_texts[kind].setting;
}

void pin_describe(const struct query_effect *effect, char *text, size_t size)
{
    bool named = kind_texts[effect->kind].named && effect->name[0] != '\0';
    snprintf(text, size, "%s%s%s", kind_texts[effect->kind].statement, named ? " " : "",
             named ? effect->name : "");
}

/* --- what is sent ----------------------------------------------------------------------------- */

/* Whether the effect sets a parameter that servers report: it follows its client without a pin. */
static bool is_tracked(struct span reported, const struct query_effect *effect)
{
    if (effect->kind != QUERY_SETTING && effect->kind != QUERY_CONFIG)
        return false;
    return effect->name[0] != '\0' && params_follow(reported, span_text(effect->name));
}

void pin_filter(const struct pin_rules *rules, struct span reported, struct query_effects *effects,
                const struct query_effect **ret_rejected)
{
    unsigned count = 0;
    uint16_t creates = 0;
    *ret_rejected = NULL;
    for (unsigned i = 0; i < effects->count; i++) {
        const struct query_effect *effect = &effects->all[i];
        uint16_t kind = QUERY_KIND(effect->kind);
        if (is_tracked(reported, effect) || (rules->allowed & kind) != 0)
            continue;
        if (effect->kind == QUERY_SEQUENCES && ((rules->rejected | rules->pinning) & kind) == 0)
            continue; /* DISCARD SEQUENCES is sent in front of the next client's messages */
        effects->all[count++] = *effect;
        if (effect->act != QUERY_CREATES)
            continue;
        creates |= kind;
        if ((rules->rejected & kind) != 0 && *ret_rejected == NULL)
            *ret_rejected = &effects->all[count - 1];
    }
    effects->more &= (uint16_t)~rules->allowed;
    effects->unsure &= (uint16_t)~rules->allowed;
    effects->count = (uint8_t)count;
    effects->creates = creates | effects->more;
}

fault pin_begin(struct session *session)
{
    if (session->pin != NULL)
        return OK;
    session->pin = calloc(1, sizeof(*session->pin));
    return session->pin == NULL ? FAULT_MEMORY : OK;
}

void pin_expect_path(struct session *session, struct query_effects *effects)
{
    session->path_unsure = session->path_unsure || effects->path;
    if (session->path_unsure && effects->makes &&
        (session->rules->allowed & QUERY_KIND(QUERY_TEMPORARY)) == 0)
        effects->unsure |= QUERY_KIND(QUERY_TEMPORARY);
}

void pin_expect(struct session *session, const struct query_effects *effects)
{
    invariant(session->pin != NULL);
    session->pin->any |= effects->creates | effects->unsure;
    session->pin->uncertain |= effects->unsure;
}

fault pin_suspect(struct session *session)
{
    TRY(pin_begin(session));
    session->pin->any |= (uint16_t)(QUERY_ALL_KINDS & ~QUERY_INCURABLE);
    session->pin->uncertain |= (uint16_t)(QUERY_ALL_KINDS & ~QUERY_INCURABLE);
    return OK;
}

fault pin_add_uncertain(struct session *session, enum query_kind kind)
{
    TRY(pin_begin(session));
    session->pin->any |= QUERY_KIND(kind);
    session->pin->uncertain |= QUERY_KIND(kind);
    return OK;
}

/* --- names ------------------------------------------------------------------------------------ */

static struct pin_name *name_find(struct pin *pin, unsigned kind, const char *text)
{
    for (unsigned i = 0; i < pin->name_count; i++)
        if (pin->names[i].kind == kind && strcmp(pin->names[i].text, text) == 0)
            return &pin->names[i];
    return NULL;
}

static void name_add(struct pin *pin, const struct query_effect *effect)
{
    struct pin_name *same = name_find(pin, effect->kind, effect->name);
    if (same != NULL) {
        same->times += same->times < UINT16_MAX;
        return;
    }
    invariant(pin->name_count <= NAMES_MAX);
    if (effect->name[0] == '\0' || pin->name_count == NAMES_MAX) {
        pin->many |= QUERY_KIND(effect->kind);
        return;
    }
    struct pin_name *name = &pin->names[pin->name_count++];
    name->kind = effect->kind;
    name->times = 1;
    memcpy(name->text, effect->name, sizeof(name->text));
}

/* Drops all names of a kind, or (with a text) this one.  Returns true if the kind has none left. */
static bool name_drop(struct pin *pin, unsigned kind, const char *text)
{
    unsigned kept = 0, left = 0;
    for (unsigned i = 0; i < pin->name_count; i++) {
        bool same = pin->names[i].kind == kind;
        if (same && (text == NULL || strcmp(pin->names[i].text, text) == 0))
            continue;
        left += same;
        if (kept != i)
            pin->names[kept] = pin->names[i];
        kept += 1;
    }
    pin->name_count = kept;
    return left == 0 && (pin->many & QUERY_KIND(kind)) == 0;
}

/* --- effects ---------------------------------------------------------------------------------- */

static void pin_count_why(struct session *session, const struct query_effect *effect)
{
    struct pin *pin = session->pin;
    uint16_t kind = QUERY_KIND(effect->kind);
    if (((pin->held | pin->tried) & kind) != 0)
        return;
    if ((session->rules->pinning & kind) == 0)
        return;
    hint_add(&session->rules->counts->pinned[effect->kind], 1);
    if (pin->pinned)
        return;
    pin->pinned = true;
    pin->view.since = now();
    pin_describe(effect, pin->view.reason, sizeof(pin->view.reason));
}

static void apply_create(struct session *session, const struct query_effect *effect)
{
    struct pin *pin = session->pin;
    uint16_t kind = QUERY_KIND(effect->kind);
    pin_count_why(session, effect);
    if (effect->kind == QUERY_LOCK && !effect->single)
        pin->many |= kind;
    else
        name_add(pin, effect);
    if ((kind & TRANSACTIONAL) != 0) {
        pin->tried |= kind;
        pin->ever |= kind;
    } else {
        pin->held |= kind;
    }
}

static void end_kind(struct pin *pin, unsigned kind)
{
    uint16_t bit = QUERY_KIND(kind);
    pin->uncertain |= pin->portals & bit; /* those portals may be executed after this */
    pin->tried &= (uint16_t)~bit;
    if ((bit & IMMEDIATE) != 0) {
        pin->held &= (uint16_t)~bit;
        pin->many &= (uint16_t)~bit;
    } else {
        pin->ending |= bit;
    }
}

/* Ends the object of this name, and its kind if that was the last one. */
static void end_name(struct pin *pin, unsigned kind, const char *name)
{
    if (((pin->held | pin->tried) & QUERY_KIND(kind)) != 0 && name_drop(pin, kind, name))
        end_kind(pin, kind);
}

/* Whether a named portal, a prepared statement or a cursor may take locks again later. */
static bool locks_again(const struct pin *pin)
{
    uint16_t later = QUERY_KIND(QUERY_PREPARE) | QUERY_KIND(QUERY_CURSOR);
    return (pin->named & QUERY_KIND(QUERY_LOCK)) != 0 ||
           ((pin->many & QUERY_KIND(QUERY_LOCK)) != 0 && ((pin->held | pin->tried) & later) != 0);
}

/* Ends one hold on the lock of this key; a lock is held as often as it was taken.  The kind becomes
 * uncertain, because a key may be a parameter, whose value is not known. */
static void end_lock(struct pin *pin, const char *key)
{
    struct pin_name *name = name_find(pin, QUERY_LOCK, key);
    if (name == NULL || name->times == UINT16_MAX)
        return;
    invariant(name->times > 0); /* a name without a hold is dropped */
    pin->uncertain |= QUERY_KIND(QUERY_LOCK);
    name->times -= 1;
    if (name->times > 0 || !name_drop(pin, QUERY_LOCK, key))
        return;
    if (locks_again(pin))
        pin->many |= QUERY_KIND(QUERY_LOCK);
    else
        end_kind(pin, QUERY_LOCK);
}

static void end_locks(struct pin *pin)
{
    uint16_t kind = QUERY_KIND(QUERY_LOCK);
    pin->uncertain |= pin->held & kind;
    if (locks_again(pin)) {
        pin->many |= kind;
        return;
    }
    (void)name_drop(pin, QUERY_LOCK, NULL);
    end_kind(pin, QUERY_LOCK);
}

static void apply_end(struct pin *pin, const struct query_effect *effect)
{
    uint16_t kind = QUERY_KIND(effect->kind);
    switch (effect->kind) {
    case QUERY_LOCK:
        if (effect->single)
            end_lock(pin, effect->name);
        return;
    case QUERY_SETTING:
        end_name(pin, QUERY_CONFIG, effect->name); /* the same parameter, set by set_config() */
        break;
    case QUERY_TEMPORARY:
        /* The object that ended may have been another one of that name. */
        pin->uncertain |= (pin->held | pin->tried) & kind;
        break;
    default:
        break;
    }
    end_name(pin, effect->kind, effect->name);
}

static void apply_end_all(struct pin *pin, const struct query_effect *effect)
{
    if (effect->kind == QUERY_LOCK) {
        if (effect->single)
            end_locks(pin);
        return;
    }
    (void)name_drop(pin, effect->kind, NULL);
    end_kind(pin, effect->kind);
}

static void apply(struct session *session, const struct query_effect *effect)
{
    if (effect->act == QUERY_CREATES)
        apply_create(session, effect);
    else if (effect->act == QUERY_ENDS)
        apply_end(session->pin, effect);
    else
        apply_end_all(session->pin, effect);
}

static void apply_more(struct pin *pin, uint16_t kinds)
{
    pin->many |= kinds;
    pin->held |= kinds & (uint16_t)~TRANSACTIONAL;
    pin->tried |= kinds & TRANSACTIONAL;
    pin->ever |= kinds & TRANSACTIONAL;
}

/* Applies what the text creates, from this statement on. */
static void apply_creates(struct session *session, const struct query_effects *effects,
                          unsigned from)
{
    for (unsigned i = 0; i < effects->count; i++)
        if (effects->all[i].act == QUERY_CREATES && effects->all[i].statement >= from)
            apply_create(session, &effects->all[i]);
    apply_more(session->pin, effects->more);
}

/* --- transactions ----------------------------------------------------------------------------- */

static void pin_commit(struct pin *pin)
{
    uint16_t made = pin->tried | pin->rolled;
    pin->held = (uint16_t)(pin->held & ~pin->ending) | made;
    pin->many &= (uint16_t) ~(pin->ending & ~made);
    pin->tried = pin->ever = pin->ending = pin->rolled = 0;
}

/* Handles a transaction that was rolled back: what was to end stays, under names that are not known
 * any more. */
static void pin_undo(struct pin *pin)
{
    pin->many |= pin->ending;
    pin->tried = pin->ever = pin->ending = pin->rolled = 0;
}

/* Handles ROLLBACK or ROLLBACK TO SAVEPOINT; they have the same tag. */
static void pin_rollback(struct pin *pin)
{
    pin->many |= pin->ending | pin->ever;
    pin->rolled |= pin->tried | pin->ever;
    pin->tried = pin->ever = pin->ending = 0;
}

void pin_ready(struct session *session, uint8_t status)
{
    struct pin *pin = session->pin;
    invariant(pin != NULL);
    if (status == WIRE_TX_IDLE && (pin->failed || pin->rolled != 0)) {
        uint16_t tried = pin->failed ? 0 : pin->tried;
        pin_undo(pin);
        pin->held |= tried;
    } else if (status == WIRE_TX_IDLE) {
        pin_commit(pin);
    } else {
        pin->tried |= pin->rolled;
        pin->ever |= pin->rolled;
        pin->rolled = 0;
    }
    if (status == WIRE_TX_IDLE)
        pin->portals = pin->named = 0;
    /* Between transactions nothing is made or ended that is not known to be committed. */
    invariant(status != WIRE_TX_IDLE || (pin->tried | pin->ending | pin->rolled) == 0);
    pin->failed = false;
    pin->statement = 0;
    effects_free(pin->bound);
    pin->bound = NULL;
}

/* Returns the effects that the entry has; NULL: none. */
static const struct query_effects *effects_of(const struct owed *owed)
{
    if (owed->about == ABOUT_EFFECTS)
        return owed->what;
    if (owed->about == ABOUT_DEALLOCATE)
        return ((const struct deallocation *)owed->what)->effects;
    return NULL;
}

/* Returns the kinds that a failed text may have created in statements that are not told apart: they
 * may have been committed before the error. */
static uint16_t unplaced(const struct query_effects *effects)
{
    uint16_t kinds = effects->more;
    for (unsigned i = 0; i < effects->count; i++)
        if (effects->all[i].act == QUERY_CREATES && effects->all[i].statement == UINT8_MAX)
            kinds |= QUERY_KIND(effects->all[i].kind);
    return kinds;
}

/* Returns the kinds that a simple query may have left although it failed.  A PREPARE that fails
 * leaves nothing; one in the body of a DO that fails later leaves its statement. */
static uint16_t left_by_failed(const struct session *session, const struct query_effects *effects)
{
    uint16_t kinds = LASTING, left = unplaced(effects);
    if (effects->calls)
        kinds |= QUERY_KIND(QUERY_PREPARE);
    if (effects->calls && session->transaction == WIRE_TX_IDLE)
        kinds = QUERY_ALL_KINDS;
    for (unsigned i = 0; i < effects->count; i++)
        if (effects->all[i].act == QUERY_CREATES &&
            effects->all[i].statement >= session->pin->statement)
            left |= kinds & QUERY_KIND(effects->all[i].kind);
    return left;
}

void pin_failed(struct session *session, const struct owed *head)
{
    struct pin *pin = session->pin;
    invariant(pin != NULL);
    pin->failed = true;
    const struct query_effects *effects = head == NULL ? NULL : effects_of(head);
    if (effects != NULL)
        pin->uncertain |=
            head->kind == OWED_QUERY ? left_by_failed(session, effects) : unplaced(effects);
    /* A CALL or DO may have committed in the middle of a batch that is its own transaction. */
    if (head != NULL && head->kind != OWED_QUERY && session->transaction == WIRE_TX_IDLE)
        pin->uncertain |= pin->tried;
    /* A session lock that was taken before the error stays. */
    if (effects != NULL && (effects->creates & QUERY_KIND(QUERY_LOCK)) != 0)
        apply_more(pin, QUERY_KIND(QUERY_LOCK));
}

/* --- what is answered ------------------------------------------------------------------------- */

void pin_settle(struct session *session, const struct owed *owed, bool answered)
{
    struct query_effects *effects = owed->what;
    struct pin *pin = session->pin;
    if (pin != NULL && !answered) /* skipped, or dropped without a look at the reply */
        pin->uncertain |= effects->creates;
    if (pin != NULL && answered) {
        if (owed->kind != OWED_QUERY || !pin->failed)
            apply_creates(session, effects, owed->kind == OWED_QUERY ? pin->statement : 0);
        if (owed->kind == OWED_BIND) {
            pin->portals |= effects->creates;
            pin->named |= effects->named ? effects->creates : 0;
            effects_free(pin->bound);
            pin->bound = TAKE(effects);
        }
    }
    effects_free(effects);
}

/* Applies the ends of the unnamed portal's text.  After the tag SELECT 0 unlocks do not count: a
 * portal that was executed to its end before selects no row and calls no function again. */
static void apply_bound_ends(struct session *session, struct span tag)
{
    const struct query_effects *effects = session->pin->bound;
    for (unsigned i = 0; !effects->named && i < effects->count; i++)
        if (effects->all[i].act != QUERY_CREATES &&
            (effects->all[i].kind != QUERY_LOCK || !span_is(tag, "SELECT 0"))) {
            /* The Execute may have been of another portal. */
            session->pin->uncertain |= session->pin->held & QUERY_KIND(effects->all[i].kind);
            apply(session, &effects->all[i]);
        }
}

/* Takes an Execute for one of the portal that was bound last, which is not certain. */
bool pin_makes_temporary(const struct session *session, const struct owed *head)
{
    const struct pin *pin = session->pin;
    if (pin == NULL || head->fate != FATE_FORWARD)
        return false;
    bool simple = head->kind == OWED_QUERY;
    const struct query_effects *effects = simple ? effects_of(head) : pin->bound;
    for (unsigned i = 0; effects != NULL && i < effects->count; i++)
        if (effects->all[i].kind == QUERY_TEMPORARY && effects->all[i].act == QUERY_CREATES &&
            (!simple || effects->all[i].statement == pin->statement))
            return true;
    return false;
}

/* Handles DISCARD ALL.  `uncertain` stays: it covers messages that were sent behind this one. */
static void pin_discarded(struct pin *pin)
{
    pin->name_count = 0;
    pin->held &= LASTING;
    pin->many &= LASTING;
    pin->tried = pin->ever = 0;
}

void pin_completed(struct session *session, const struct owed *head, struct span tag)
{
    struct pin *pin = session->pin;
    if (head == NULL || head->fate != FATE_FORWARD)
        return;
    const struct query_effects *effects = effects_of(head);
    if (head->kind == OWED_QUERY && effects != NULL) {
        for (unsigned i = 0; i < effects->count; i++)
            if (effects->all[i].statement == pin->statement && pin->statement != UINT8_MAX)
                apply(session, &effects->all[i]);
        pin->statement += pin->statement < UINT8_MAX;
    } else if (head->kind == OWED_EXECUTE && !head->named && pin->bound != NULL) {
        apply_bound_ends(session, tag);
    }
    if (span_is(tag, "COMMIT"))
        pin_commit(pin);
    else if (span_is(tag, "ROLLBACK"))
        pin_rollback(pin);
    else if (span_is(tag, "DISCARD ALL"))
        pin_discarded(pin);
}

/* --- what follows ----------------------------------------------------------------------------- */

bool pin_holds(const struct session *session)
{
    return session->pin != NULL && (session->pin->held & session->rules->pinning) != 0;
}

bool pin_is_dirty(const struct session *session)
{
    return session->pin != NULL && (session->pin->held | session->pin->uncertain) != 0;
}

/* Draws a seed that nobody can guess for the next client's random numbers: nine digits behind the
 * point. */
static unsigned fresh_seed(void)
{
    uint32_t seed;
    random_bytes(&seed, sizeof(seed));
    return seed % 1000000000u;
}

/* Adds the kinds that reset role and session_authorization where the client's parameters have set
 * them: RESET ALL leaves them as they are, and RESET ROLE changes what the parameters say. */
static uint16_t with_identities(const struct session *session, uint16_t kinds)
{
    uint16_t changes = QUERY_KIND(QUERY_SETTING) | QUERY_KIND(QUERY_CONFIG) |
                       QUERY_KIND(QUERY_ROLE) | QUERY_KIND(QUERY_AUTHORIZATION);
    if ((kinds & changes) == 0 ||
        (params_find(session->params, SPAN("role")) == NULL &&
         params_find(session->params, SPAN("session_authorization")) == NULL))
        return kinds;
    return kinds | changes;
}

/* Returns the kinds that a cleaning must cover. */
static uint16_t kinds_to_clean(const struct session *session)
{
    uint16_t kinds = with_identities(session, session->pin == NULL ? 0 : session->pin->any);
    if (!session->suspect)
        return kinds;
    /* Not PREPARE: what a function has prepared can't be taken for ours or for a driver's. */
    return kinds | (uint16_t)(QUERY_ALL_KINDS & ~QUERY_INCURABLE & ~QUERY_KIND(QUERY_PREPARE));
}

const char *pin_cleaning(const struct session *session, char text[PIN_CLEANING_SIZE])
{
    static const struct {
        uint16_t kinds;
        const char *sql;
    } cures[] = {
        {QUERY_KIND(QUERY_AUTHORIZATION), "RESET SESSION AUTHORIZATION;"},
        {QUERY_KIND(QUERY_ROLE), "RESET ROLE;"},
        {QUERY_KIND(QUERY_SETTING) | QUERY_KIND(QUERY_CONFIG), "RESET ALL;"},
        {QUERY_KIND(QUERY_CURSOR), "CLOSE ALL;"},
        {QUERY_KIND(QUERY_LISTEN), "UNLISTEN *;"},
        {QUERY_KIND(QUERY_LOCK), "SELECT pg_catalog.pg_advisory_unlock_all();"},
        {QUERY_KIND(QUERY_TEMPORARY), "DISCARD TEMP;"},
        {QUERY_KIND(QUERY_SEQUENCES), "DISCARD SEQUENCES;"},
        {QUERY_KIND(QUERY_PREPARE), "DEALLOCATE ALL;"},
    };
    uint16_t kinds = kinds_to_clean(session);
    size_t size = 0;
    text[0] = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(cures); i++)
        if ((kinds & cures[i].kinds) != 0)
            size += (size_t)snprintf(text + size, PIN_CLEANING_SIZE - size, "%s", cures[i].sql);
    if ((kinds & QUERY_KIND(QUERY_SEED)) != 0)
        size += (size_t)snprintf(text + size, PIN_CLEANING_SIZE - size,
                                 "SELECT pg_catalog.setseed(0.%09u);", fresh_seed());
    invariant(size < PIN_CLEANING_SIZE);
    return text;
}

bool pin_incurable(const struct session *session)
{
    return session->pin != NULL && (session->pin->any & QUERY_INCURABLE) != 0;
}

void pin_cleaned(struct session *session, struct params *none)
{
    uint16_t any = session->pin == NULL ? 0 : session->pin->any;
    uint16_t cleaned = kinds_to_clean(session);
    for (unsigned kind = 0; kind < QUERY_KINDS; kind++)
        if ((any & QUERY_KIND(kind)) != 0)
            hint_add(&session->rules->counts->cleaned[kind], 1);
    if ((cleaned & (QUERY_KIND(QUERY_SETTING) | QUERY_KIND(QUERY_CONFIG))) != 0) {
        params_assign(&session->params, params_ref(none));
        session->doubtful = false;
    }
    if ((cleaned & QUERY_KIND(QUERY_SEQUENCES)) != 0)
        session->sequences_used = false;
    session->path_unsure = session->suspect = false;
    pin_free(session);
}

void pin_free(struct session *session)
{
    struct pin *pin = TAKE(session->pin);
    if (pin == NULL)
        return;
    effects_free(pin->bound);
    free(pin);
}

void pin_look(const struct session *session, struct pin_view *ret)
{
    invariant(session->pin != NULL);
    *ret = session->pin->view;
    ret->kinds = session->pin->held | session->pin->tried;
}
