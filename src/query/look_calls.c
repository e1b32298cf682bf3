/* look_calls.c - calls of PostgreSQL functions that leave state in the session. */
#include "query/look_parts.h"

#include <stdio.h>

/* Depth to which calls within arguments are analyzed. */
#define NESTING_MAX 8

enum call {
    CALL_CONFIG,
    CALL_LOCK,
    CALL_UNLOCK,
    CALL_UNLOCK_ALL,
    CALL_SEQUENCE,
    CALL_SEED,
    CALL_SLOT,
    CALL_ORIGIN,
    CALL_SQL, /* runs a text that may be built at run time */
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

/* Returns the index of a function in `calls`; CALLS if it is not there. */
static size_t call_find(struct span name)
{
    size_t i = 0;
    /* Rules out most words of most texts. */
    if (name.size < 7 || name.size > 35)
        return CALLS;
    while (i < CALLS && !span_is_nocase(name, calls[i].name))
        i += 1;
    return i;
}

/* --- arguments -------------------------------------------------------------------------------- */

/* Facts about the arguments of a call. */
struct arguments {
    unsigned count;
    unsigned words;      /* tokens of the last argument */
    bool last_is_true;   /* the last argument is only the word true */
    bool third_is_false; /* the third argument is only the word false */
    bool temporary;      /* the word temporary occurs: an argument's name */
};

/* Consumes the arguments and the closing parenthesis.  Called after the opening one.  `path`:
 * number of the argument that is a value of search_path; 0: none. */
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

/* Adds the effects of a parameter whose name the text does not show: any kind is possible. */
static void config_unknown(struct look *look, bool local)
{
    look->effects->path = true;
    look_unsure(look, QUERY_KIND(QUERY_SEED));
    if (local)
        return;
    look_unsure(look, QUERY_KIND(QUERY_ROLE) | QUERY_KIND(QUERY_AUTHORIZATION));
    look_add_text(look, QUERY_CONFIG, QUERY_CREATES, "");
}

static void look_add_config(struct look *look, const struct query_token *name, bool may_reset)
{
    unsigned before = look->effects->count;
    look_add_named(look, QUERY_CONFIG, QUERY_CREATES, name);
    if (look->effects->count > before)
        look->effects->all[before].may_reset = may_reset;
    else
        look->effects->resets = look->effects->resets || may_reset;
}

static void look_add_identity(struct look *look, enum query_kind kind, bool may_reset)
{
    struct query_effect *effect = look_add(look, kind, QUERY_CREATES);
    if (effect != NULL)
        effect->may_reset = may_reset;
}

/* Returns whether the value is a literal, so that it is not NULL.  Called at the comma before
 * it. */
static bool value_is_literal(struct look look)
{
    look_advance(&look);
    bool plain = look_is_plain(&look.token);
    look_advance(&look);
    return plain && look_at_punct(&look, ',');
}

/* Handles set_config(name, value, is_local).  It leaves nothing if is_local is TRUE. */
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
    bool literal = known && value_is_literal(*look);
    bool local = take_arguments(look, path ? 1 : 0).last_is_true; /* the name is consumed */
    if (!known)
        config_unknown(look, local);
    else if (kind == QUERY_SEED)
        look_add_text(look, kind, QUERY_CREATES, "");
    else if (!local && kind != QUERY_SETTING)
        look_add_identity(look, kind, !literal);
    else if (!local && !look_is_of_transaction(name.text))
        look_add_config(look, &name, !literal);
}

/* --- locks ------------------------------------------------------------------------------------ */

static void look_lock(struct look *look, enum query_act act)
{
    struct query_effect *effect = look_add(look, QUERY_LOCK, act);
    if (effect == NULL)
        return;
    effect->single = look->single;
    snprintf(effect->name, sizeof(effect->name), "%s", look->single ? look->key : "advisory lock");
}

static bool is_of_locks(struct span name)
{
    size_t which = call_find(name);
    return which != CALLS && (calls[which].call == CALL_LOCK || calls[which].call == CALL_UNLOCK ||
                              calls[which].call == CALL_UNLOCK_ALL);
}

static bool key_add(struct look *look, struct span part)
{
    size_t size = strlen(look->key);
    if (part.size >= sizeof(look->key) - size)
        return false;
    memcpy(look->key + size, part.at, part.size);
    look->key[size + part.size] = '\0';
    return true;
}

/* Returns whether an argument may call a function that returns many rows. */
static bool may_return_rows(const struct look *look)
{
    struct look ahead = *look;
    if (look_at_word(look, "select"))
        return true;
    if (!look_at_name(look) || look_at_word(look, "hashtext") ||
        look_at_word(look, "hashtextextended"))
        return false;
    look_advance(&ahead);
    return look_at_punct(&ahead, '(');
}

/* Consumes the arguments, including the closing parenthesis, and appends them to `key`. */
static bool take_key(struct look *look)
{
    unsigned depth = 0;
    do {
        bool string = look->token.kind == QUERY_TOKEN_STRING;
        depth += look_at_punct(look, '(') ? 1 : 0;
        depth -= look_at_punct(look, ')') ? 1 : 0;
        if (look->token.kind == QUERY_TOKEN_END || (string && !look_is_plain(&look->token)) ||
            may_return_rows(look) || (string && !key_add(look, SPAN("'"))) ||
            !key_add(look, look->token.text))
            return false;
        look_advance(look);
    } while (depth > 0);
    return true;
}

/* Consumes "x", AS x and ::text after a call: they don't change how often it is executed. */
static void take_alias(struct look *look)
{
    while (look_at_punct(look, ':')) {
        look_advance(look);
        if (look->token.kind == QUERY_TOKEN_WORD)
            look_advance(look);
    }
    look_take(look, "as");
    if (look_at_name(look))
        look_advance(look);
}

/* Returns whether the statement is SELECT pg_advisory_lock(...) and nothing else.  Other statements
 * may call it for many rows, or for none. */
static bool is_single(struct look *look)
{
    if (look->in_body || !look_take(look, "select"))
        return false;
    struct query_token name = look->token;
    if (look_take(look, "pg_catalog") && look_at_punct(look, '.')) {
        look_advance(look);
        name = look->token;
    }
    if (!look_at_name(look) || !is_of_locks(name.text))
        return false;
    bool shared =
        name.text.size > 7 && span_is_nocase(span_skip(name.text, name.text.size - 7), "_shared");
    look_advance(look);
    if (!look_at_punct(look, '(') || (shared && !key_add(look, SPAN("shared"))) || !take_key(look))
        return false;
    take_alias(look);
    return look_at_end(look) && !look->scan.unsure;
}

void look_at_locks(struct look *look)
{
    struct look ahead = *look;
    ahead.key[0] = '\0';
    look->single = is_single(&ahead);
    if (look->single)
        memcpy(look->key, ahead.key, sizeof(look->key));
}

/* --- calls ------------------------------------------------------------------------------------ */

/* Handles the creation of a replication slot.  The third argument says whether it is temporary; a
 * copy is assumed to be. */
static void look_slot(struct look *look, bool copy)
{
    look_advance(look);
    struct arguments found = take_arguments(look, 0);
    if (copy || found.temporary || (found.count >= 3 && !found.third_is_false))
        look_add_text(look, QUERY_SLOT, QUERY_CREATES, "");
}

/* Handles a call with effects.  Called at the opening parenthesis, which is left to the caller's
 * count of parentheses unless the arguments matter. */
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
    if (look->nesting == NESTING_MAX) {
        look_unsure(look, QUERY_ALL_KINDS);
        return true;
    }
    uint16_t before = look->effects->creates;
    look->effects->creates = 0;
    look->nesting += 1;
    look_known_call(look, which);
    look->nesting -= 1;
    if (look->later) /* the call may run after what ends its effect here */
        look_unsure(look, look->effects->creates);
    look->effects->creates |= before;
    return true;
}
