/* look_calls.c - functions of PostgreSQL that leave something in the session. */
#include "query/look.h"

/* Calls within the arguments of others that are followed. */
#define NESTING_MOST 8

enum call {
    CALL_CONFIG,
    CALL_LOCK,
    CALL_UNLOCK,
    CALL_UNLOCK_ALL,
    CALL_SEQUENCE,
    CALL_SEED,
    CALL_SLOT,
    CALL_ORIGIN,
    CALL_SQL, /* it runs a text that may be made while it runs */
};

static const struct {
    const char *name;
    enum call call;
} calls[] = {
    {"set_config", CALL_CONFIG},
    {"pg_advisory_lock", CALL_LOCK},
    {"pg_advisory_lock_shared", CALL_LOCK},
    {"pg_try_advisory_lock", CALL_LOCK},
    {"pg_try_advisory_lock_shared", CALL_LOCK},
    {"pg_advisory_unlock", CALL_UNLOCK},
    {"pg_advisory_unlock_shared", CALL_UNLOCK},
    {"pg_advisory_unlock_all", CALL_UNLOCK_ALL},
    {"lastval", CALL_SEQUENCE},
    {"currval", CALL_SEQUENCE},
    {"setseed", CALL_SEED},
    {"pg_create_physical_replication_slot", CALL_SLOT},
    {"pg_create_logical_replication_slot", CALL_SLOT},
    {"pg_copy_physical_replication_slot", CALL_SLOT},
    {"pg_copy_logical_replication_slot", CALL_SLOT},
    {"pg_replication_origin_session_setup", CALL_ORIGIN},
    {"query_to_xml", CALL_SQL},
    {"query_to_xmlschema", CALL_SQL},
    {"query_to_xml_and_xmlschema", CALL_SQL},
    {"cursor_to_xml", CALL_SQL},
    {"cursor_to_xmlschema", CALL_SQL},
    {"ts_stat", CALL_SQL},
    {"ts_rewrite", CALL_SQL},
};
#define CALLS (sizeof(calls) / sizeof(calls[0]))

/* CALLS: another. */
static size_t call_find(struct span name)
{
    size_t i = 0;
    /* Most words of most texts end here. */
    if (name.size < 7 || name.size > 35)
        return CALLS;
    while (i < CALLS && !span_is_nocase(name, calls[i].name))
        i += 1;
    return i;
}

/* --- arguments -------------------------------------------------------------------------------- */

/* What the arguments of a call look like, from the outside. */
struct arguments {
    unsigned count;
    unsigned words;      /* tokens of the last one */
    bool last_is_true;   /* it is the word, and nothing else */
    bool third_is_false; /* so is the third */
    bool temporary;      /* the word stands somewhere: a name of an argument */
};

/* From behind the opening parenthesis to behind the closing one.  `path`: which of them is a
 * search_path; 0: none. */
static struct arguments take_arguments(struct look *look, unsigned path)
{
    struct arguments found = {0};
    unsigned depth = 1;
    while (look->token.kind != QUERY_TOKEN_END && depth > 0) {
        depth += look_at_punct(look, '(') ? 1 : 0;
        depth -= look_at_punct(look, ')') ? 1 : 0;
        if (look_at_punct(look, ',') && depth == 1) {
            found.words = 0;
            found.last_is_true = false;
        } else if (depth > 0) {
            found.words += 1;
            found.count += found.words == 1;
            found.last_is_true = look_at_word(look, "true") && found.words == 1;
            if (found.count == 3)
                found.third_is_false = look_at_word(look, "false") && found.words == 1;
            found.temporary = found.temporary || look_at_word(look, "temporary");
            if (path != 0 && found.count == path)
                look_path(look);
        }
        if (depth > 0)
            look_token(look);
        else
            look_advance(look);
    }
    return found;
}

/* --- set_config ------------------------------------------------------------------------------- */

/* Of a name that the text does not tell: it may be any of these. */
static void config_unknown(struct look *look, bool local)
{
    look->effects->path = true;
    look_unsure(look, QUERY_KIND(QUERY_SEED));
    if (local)
        return;
    look_unsure(look, QUERY_KIND(QUERY_ROLE) | QUERY_KIND(QUERY_AUTHORIZATION));
    look_add_text(look, QUERY_CONFIG, QUERY_CREATES, "");
}

/* set_config(name, value, is_local): nothing is left if is_local is TRUE. */
static void look_set_config(struct look *look)
{
    look_advance(look);
    struct query_token name = look->token;
    bool known = look_is_plain(&name);
    if (known) {
        look_advance(look);
        known = look_at_punct(look, ',');
    }
    enum query_kind kind = look_kind_of(name.text);
    bool path = known && span_is_nocase(name.text, "search_path");
    bool local = take_arguments(look, path ? 1 : 0).last_is_true; /* the name is behind */
    if (!known)
        config_unknown(look, local);
    else if (kind == QUERY_SEED)
        look_add_text(look, kind, QUERY_CREATES, "");
    else if (!local && kind != QUERY_SETTING)
        look_add_text(look, kind, QUERY_CREATES, "");
    else if (!local && !look_is_of_transaction(name.text))
        look_add_named(look, QUERY_CONFIG, QUERY_CREATES, &name);
}

/* --- locks ------------------------------------------------------------------------------------ */

static void look_lock(struct look *look, enum query_act act)
{
    struct query_effect *effect = look_add(look, QUERY_LOCK, act);
    if (effect != NULL) {
        effect->single = true;
        memcpy(effect->name, "advisory lock", sizeof("advisory lock"));
    }
}

/* A function that is called for each row, or together with others, may take any number of locks. */
void look_settle_locks(struct look *look)
{
    const struct query_effects *effects = look->effects;
    unsigned locks = 0;
    for (unsigned i = look->first; i < effects->count; i++)
        locks += effects->all[i].kind == QUERY_LOCK && effects->all[i].act != QUERY_ENDS_ALL;
    for (unsigned i = look->first; i < effects->count; i++)
        if (effects->all[i].kind == QUERY_LOCK && (look->from || locks > 1))
            look->effects->all[i].single = false;
}

/* --- calls ------------------------------------------------------------------------------------ */

/* Slots are temporary if the third argument says so; copies, if the first one is. */
static void look_slot(struct look *look, bool copy)
{
    look_advance(look);
    struct arguments found = take_arguments(look, 0);
    if (copy || found.temporary || (found.count >= 3 && !found.third_is_false))
        look_add_text(look, QUERY_SLOT, QUERY_CREATES, "");
}

/* At the opening parenthesis, which is left to who counts them if the arguments do not matter. */
static void look_known_call(struct look *look, size_t which)
{
    switch (calls[which].call) {
    case CALL_CONFIG:
        look_set_config(look);
        return;
    case CALL_LOCK:
        look_lock(look, QUERY_CREATES);
        return;
    case CALL_UNLOCK:
        look_lock(look, QUERY_ENDS);
        return;
    case CALL_UNLOCK_ALL:
        look_lock(look, QUERY_ENDS_ALL);
        return;
    case CALL_SEQUENCE:
        look_add_text(look, QUERY_SEQUENCES, QUERY_CREATES, calls[which].name);
        return;
    case CALL_SEED:
        look_add_text(look, QUERY_SEED, QUERY_CREATES, "");
        return;
    case CALL_SLOT:
        look_slot(look, calls[which].name[4] == 'o'); /* pg_copy_ */
        return;
    case CALL_ORIGIN:
        look_add_text(look, QUERY_SLOT, QUERY_CREATES, "");
        return;
    case CALL_SQL:
        look_unsure(look, QUERY_ALL_KINDS & (uint16_t)~QUERY_INCURABLE);
        return;
    }
}

bool look_call(struct look *look)
{
    if (!look_at_name(look))
        return false;
    size_t which = call_find(look->token.text);
    if (which == CALLS)
        return false;
    look_advance(look);
    if (!look_at_punct(look, '('))
        return true;
    if (look->nesting == NESTING_MOST) {
        look_unsure(look, QUERY_ALL_KINDS);
        return true;
    }
    uint16_t before = look->effects->creates;
    look->effects->creates = 0;
    look->nesting += 1;
    look_known_call(look, which);
    look->nesting -= 1;
    if (look->later) /* it may be carried out behind what ends it here */
        look_unsure(look, look->effects->creates);
    look->effects->creates |= before;
    return true;
}
