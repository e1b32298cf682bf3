/* effects.c - the closer look: statement by statement, what each may create or end. */
#include "query/effects.h"

#include "query/scan.h"

/* Calls within the arguments of set_config() that are followed. */
#define NESTING_MOST 8

struct look {
    struct query_scan scan;
    struct query_token token; /* not consumed yet */
    struct query_effects *effects;
    unsigned statement;
    unsigned first; /* effect of this statement */
    unsigned nesting;
    bool in_body; /* of a DO block: what it ends can't be relied upon */
    bool from;    /* the statement has a FROM: functions may be called for many rows */
    bool select;  /* the statement may have an INTO of its own */
    bool create;  /* it makes an object, maybe one in pg_temp */
};

static void look_statements(struct look *look);

/* --- tokens ----------------------------------------------------------------------------------- */

static void advance(struct look *look)
{
    look->token = query_scan_next(&look->scan);
}

static bool at_word(const struct look *look, const char *word)
{
    return look->token.kind == QUERY_TOKEN_WORD && span_is_nocase(look->token.text, word);
}

static bool at_punct(const struct look *look, char c)
{
    return look->token.kind == QUERY_TOKEN_PUNCT && look->token.text.at[0] == (uint8_t)c;
}

static bool take(struct look *look, const char *word)
{
    if (!at_word(look, word))
        return false;
    advance(look);
    return true;
}

static bool at_name(const struct look *look)
{
    return look->token.kind == QUERY_TOKEN_WORD || look->token.kind == QUERY_TOKEN_QUOTED;
}

static bool at_end(const struct look *look)
{
    return look->token.kind == QUERY_TOKEN_END || at_punct(look, ';');
}

/* --- effects ---------------------------------------------------------------------------------- */

static void fold(char name[QUERY_NAME_SIZE], struct span text, bool as_it_is)
{
    size_t size = 0;
    for (size_t i = 0; i < text.size && size < QUERY_NAME_SIZE - 1; i++) {
        uint8_t c = text.at[i];
        name[size++] = (char)(!as_it_is && c >= 'A' && c <= 'Z' ? c | 0x20 : c);
        if (as_it_is && c == '"')
            i += 1; /* they come in pairs */
    }
    name[size] = '\0';
}

/* NULL: there are too many to tell. */
static struct query_effect *add(struct look *look, enum query_kind kind, enum query_act act)
{
    struct query_effects *effects = look->effects;
    if (look->in_body && act != QUERY_CREATES)
        return NULL;
    if (act == QUERY_CREATES)
        effects->creates |= QUERY_KIND(kind);
    if (effects->count == QUERY_EFFECTS_MOST) {
        if (act == QUERY_CREATES)
            effects->more |= QUERY_KIND(kind);
        return NULL;
    }
    struct query_effect *effect = &effects->all[effects->count++];
    effect->kind = (uint8_t)kind;
    effect->act = (uint8_t)act;
    effect->statement = (uint8_t)(look->statement < UINT8_MAX ? look->statement : UINT8_MAX);
    effect->single = false;
    effect->name[0] = '\0';
    return effect;
}

static void add_named(struct look *look, enum query_kind kind, enum query_act act,
                      const struct query_token *name)
{
    struct query_effect *effect = add(look, kind, act);
    if (effect != NULL)
        fold(effect->name, name->text, name->kind == QUERY_TOKEN_QUOTED && kind != QUERY_SETTING);
}

static void add_text(struct look *look, enum query_kind kind, enum query_act act, const char *name)
{
    struct query_effect *effect = add(look, kind, act);
    if (effect != NULL)
        fold(effect->name, span_text(name), true);
}

/* --- SET, RESET ------------------------------------------------------------------------------- */

/* Parameters that are the role, and those of the transaction alone. */
static bool is_role(struct span name)
{
    return span_is_nocase(name, "role") || span_is_nocase(name, "session_authorization");
}

static bool is_of_transaction(struct span name)
{
    return span_is_nocase(name, "transaction_isolation") ||
           span_is_nocase(name, "transaction_read_only") ||
           span_is_nocase(name, "transaction_deferrable");
}

/* "a.b": one name, from the first byte to the last. */
static struct query_token take_name(struct look *look)
{
    struct query_token name = look->token;
    advance(look);
    while (at_punct(look, '.')) {
        advance(look);
        if (!at_name(look))
            break;
        if (name.kind == QUERY_TOKEN_WORD)
            name.text.size = (size_t)(look->token.text.at + look->token.text.size - name.text.at);
        advance(look);
    }
    return name;
}

static void set_role(struct look *look, const char *back)
{
    bool ends = at_word(look, back) ||
                (look->token.kind == QUERY_TOKEN_STRING && span_is_nocase(look->token.text, back));
    add_text(look, QUERY_ROLE, ends ? QUERY_ENDS_ALL : QUERY_CREATES, ends ? "" : "role");
}

static void set_parameter(struct look *look)
{
    struct query_token name = take_name(look);
    if (is_of_transaction(name.text))
        return;
    if (!take(look, "to") && at_punct(look, '='))
        advance(look);
    if (is_role(name.text)) {
        set_role(look, span_is_nocase(name.text, "role") ? "none" : "default");
        return;
    }
    if (at_word(look, "default"))
        add_named(look, QUERY_SETTING, QUERY_ENDS, &name);
    else
        add_named(look, QUERY_SETTING, QUERY_CREATES, &name);
}

/* Clauses of SET that do not say their parameter's name. */
static bool set_special(struct look *look)
{
    static const struct {
        const char *word, *next, *parameter;
    } specials[] = {
        {"names", NULL, "client_encoding"}, {"schema", NULL, "search_path"}, {"seed", NULL, "seed"},
        {"time", "zone", "timezone"},       {"xml", "option", "xmloption"},
    };
    for (size_t i = 0; i < sizeof(specials) / sizeof(specials[0]); i++) {
        struct look before = *look;
        if (!take(look, specials[i].word))
            continue;
        if (!at_punct(look, '=') && !at_punct(look, '.') && !at_word(look, "to") &&
            (specials[i].next == NULL || take(look, specials[i].next))) {
            bool back = at_word(look, "default");
            add_text(look, QUERY_SETTING, back ? QUERY_ENDS : QUERY_CREATES, specials[i].parameter);
            return true;
        }
        *look = before;
    }
    return false;
}

static void on_set(struct look *look)
{
    if (at_word(look, "local") || at_word(look, "constraints") || at_word(look, "transaction"))
        return;
    if (take(look, "session")) {
        if (take(look, "characteristics")) {
            add_text(look, QUERY_SETTING, QUERY_CREATES, "session characteristics");
            return;
        }
        if (take(look, "authorization")) {
            set_role(look, "default");
            return;
        }
    }
    if (at_name(look) && !set_special(look))
        set_parameter(look);
}

static void on_reset(struct look *look)
{
    if (take(look, "all")) {
        add_text(look, QUERY_SETTING, QUERY_ENDS_ALL, "");
        add_text(look, QUERY_CONFIG, QUERY_ENDS_ALL, "");
        return;
    }
    if (at_word(look, "role") || at_word(look, "session")) {
        add_text(look, QUERY_ROLE, QUERY_ENDS_ALL, "");
        return;
    }
    struct query_token name = look->token;
    if (take(look, "time")) {
        add_text(look, QUERY_SETTING, QUERY_ENDS, "timezone");
    } else if (at_name(look)) {
        name = take_name(look);
        add_named(look, QUERY_SETTING, QUERY_ENDS, &name);
    }
}

/* --- DISCARD, LISTEN, PREPARE, cursors -------------------------------------------------------- */

static void on_discard(struct look *look)
{
    if (at_word(look, "temp") || at_word(look, "temporary"))
        add_text(look, QUERY_TEMPORARY, QUERY_ENDS_ALL, "");
    else if (at_word(look, "all"))
        for (unsigned kind = 0; kind < QUERY_KINDS; kind++)
            add_text(look, (enum query_kind)kind, QUERY_ENDS_ALL, "");
}

static void on_listen(struct look *look)
{
    if (at_name(look))
        add_named(look, QUERY_LISTEN, QUERY_CREATES, &look->token);
}

/* Names one to end, or all of them. */
static void end_of(struct look *look, enum query_kind kind)
{
    if (at_punct(look, '*') || at_word(look, "all"))
        add_text(look, kind, QUERY_ENDS_ALL, "");
    else if (at_name(look))
        add_named(look, kind, QUERY_ENDS, &look->token);
}

static void on_unlisten(struct look *look)
{
    end_of(look, QUERY_LISTEN);
}

static void on_prepare(struct look *look)
{
    struct query_token name = look->token;
    if (!at_name(look))
        return;
    advance(look);
    if (look->token.kind == QUERY_TOKEN_STRING) /* PREPARE TRANSACTION 'x' */
        return;
    add_named(look, QUERY_PREPARE, QUERY_CREATES, &name);
}

static void on_deallocate(struct look *look)
{
    if (take(look, "prepare") && at_end(look))
        add_text(look, QUERY_PREPARE, QUERY_ENDS, "prepare"); /* a name like any other */
    else
        end_of(look, QUERY_PREPARE);
}

static void on_declare(struct look *look)
{
    struct query_token name = look->token;
    bool with = false;
    while (!at_end(look) && !at_word(look, "for")) {
        if (with && at_word(look, "hold"))
            add_named(look, QUERY_CURSOR, QUERY_CREATES, &name);
        with = at_word(look, "with");
        advance(look);
    }
}

static void on_close(struct look *look)
{
    end_of(look, QUERY_CURSOR);
}

/* --- CREATE, DROP, INTO ----------------------------------------------------------------------- */

static bool take_temp(struct look *look)
{
    if (!take(look, "local"))
        take(look, "global");
    return take(look, "temp") || take(look, "temporary");
}

static bool at_temp_schema(const struct look *look)
{
    return at_name(look) && look->token.text.size >= 7 &&
           strncasecmp((const char *)look->token.text.at, "pg_temp", 7) == 0;
}

/* The last part of a.b.c; *temporary: the first one is the schema of temporary objects. */
static struct query_token take_object(struct look *look, bool *temporary)
{
    struct query_token name = look->token;
    bool schema = at_temp_schema(look);
    advance(look);
    while (at_punct(look, '.')) {
        *temporary = *temporary || schema;
        advance(look);
        if (!at_name(look))
            break;
        name = look->token;
        advance(look);
    }
    return name;
}

static void take_if_exists(struct look *look)
{
    if (!take(look, "if"))
        return;
    take(look, "not");
    take(look, "exists");
}

static void on_create(struct look *look)
{
    if (take(look, "or"))
        (void)take(look, "replace");
    bool temporary = take_temp(look);
    take(look, "unlogged");
    bool table = at_word(look, "table");
    if (!table) {
        if (temporary)
            add_text(look, QUERY_TEMPORARY, QUERY_CREATES, "");
        return; /* a name in pg_temp is found on the way to the statement's end */
    }
    advance(look);
    take_if_exists(look);
    if (!at_name(look))
        return;
    struct query_token name = take_object(look, &temporary);
    if (temporary)
        add_named(look, QUERY_TEMPORARY, QUERY_CREATES, &name);
}

/* One table only: what else is dropped with it can't be seen. */
static void on_drop(struct look *look)
{
    bool temporary = false;
    if (!take(look, "table"))
        return;
    take_if_exists(look);
    if (!at_name(look))
        return;
    struct span first = look->token.text;
    struct query_token name = take_object(look, &temporary);
    if (name.text.at != first.at && !temporary)
        return; /* of another schema */
    if ((at_end(look) || at_word(look, "cascade") || at_word(look, "restrict")))
        add_named(look, QUERY_TEMPORARY, QUERY_ENDS, &name);
}

/* SELECT ... INTO TEMP t */
static void look_into(struct look *look)
{
    bool temporary = take_temp(look);
    take(look, "table");
    if (!at_name(look))
        return;
    struct query_token name = take_object(look, &temporary);
    if (temporary)
        add_named(look, QUERY_TEMPORARY, QUERY_CREATES, &name);
}

/* A table that ends with its transaction. */
static void take_commit_drop(struct look *look)
{
    struct query_effects *effects = look->effects;
    if (!take(look, "commit") || !take(look, "drop") || effects->count <= look->first)
        return;
    const struct query_effect *last = &effects->all[effects->count - 1];
    if (last->act == QUERY_CREATES && last->kind == QUERY_TEMPORARY)
        effects->count -= 1;
}

/* --- functions -------------------------------------------------------------------------------- */

static void look_token(struct look *look);

/* Behind its parenthesis.  set_config(name, value, is_local): nothing if is_local is TRUE. */
static void look_set_config(struct look *look)
{
    struct query_token name = look->token;
    unsigned depth = 1, words = 0;
    bool local = false;
    if (name.kind == QUERY_TOKEN_STRING) {
        advance(look);
        if (!at_punct(look, ','))
            name.text = SPAN_NONE;
    } else {
        name.text = SPAN_NONE;
    }
    while (look->token.kind != QUERY_TOKEN_END && depth > 0) {
        depth += at_punct(look, '(') ? 1 : 0;
        depth -= at_punct(look, ')') ? 1 : 0;
        if (at_punct(look, ',') && depth == 1) {
            words = 0;
        } else if (depth > 0) {
            words += 1;
            local = at_word(look, "true") && words == 1;
        }
        if (depth > 0)
            look_token(look);
        else
            advance(look);
    }
    if (local || is_of_transaction(name.text))
        return;
    if (is_role(name.text))
        add_text(look, QUERY_ROLE, QUERY_CREATES, "role");
    else
        add_named(look, QUERY_CONFIG, QUERY_CREATES, &name);
}

static void look_lock(struct look *look, struct span function)
{
    static const char *const locks[] = {"pg_advisory_lock", "pg_advisory_lock_shared",
                                        "pg_try_advisory_lock", "pg_try_advisory_lock_shared"};
    struct query_effect *effect = NULL;
    for (size_t i = 0; i < sizeof(locks) / sizeof(locks[0]); i++)
        if (span_is_nocase(function, locks[i]))
            effect = add(look, QUERY_LOCK, QUERY_CREATES);
    if (span_is_nocase(function, "pg_advisory_unlock") ||
        span_is_nocase(function, "pg_advisory_unlock_shared"))
        effect = add(look, QUERY_LOCK, QUERY_ENDS);
    else if (span_is_nocase(function, "pg_advisory_unlock_all"))
        effect = add(look, QUERY_LOCK, QUERY_ENDS_ALL);
    if (effect != NULL) {
        effect->single = true;
        fold(effect->name, SPAN("advisory lock"), true);
    }
}

static bool is_interesting(struct span word)
{
    return (word.size >= 16 && word.size <= 27 &&
            (strncasecmp((const char *)word.at, "pg_advisory", 11) == 0 ||
             strncasecmp((const char *)word.at, "pg_try_advisory", 15) == 0)) ||
           span_is_nocase(word, "set_config");
}

static void look_call(struct look *look)
{
    struct query_token function = look->token;
    advance(look);
    if (!at_punct(look, '('))
        return;
    advance(look);
    if (!span_is_nocase(function.text, "set_config"))
        look_lock(look, function.text);
    else if (look->nesting == NESTING_MOST)
        add_text(look, QUERY_CONFIG, QUERY_CREATES, "");
    else {
        look->nesting += 1;
        look_set_config(look);
        look->nesting -= 1;
    }
}

/* One token anywhere in a statement; consumes at least that. */
static void look_token(struct look *look)
{
    if (at_name(look) && is_interesting(look->token.text)) {
        look_call(look);
        return;
    }
    if (look->create && at_temp_schema(look))
        add_text(look, QUERY_TEMPORARY, QUERY_CREATES, "");
    if (look->token.kind == QUERY_TOKEN_WORD) {
        look->from = look->from || at_word(look, "from");
        if (take(look, "into")) {
            if (look->select)
                look_into(look);
            return;
        }
        if (take(look, "on")) {
            take_commit_drop(look);
            return;
        }
    }
    advance(look);
}

/* --- statements ------------------------------------------------------------------------------- */

/* The body of a DO block: its statements are looked at as if each stood alone. */
static void on_do(struct look *look)
{
    while (!at_end(look)) {
        bool body =
            look->token.kind == QUERY_TOKEN_DOLLAR || look->token.kind == QUERY_TOKEN_STRING;
        if (body && !look->in_body) {
            struct look inner = {
                .effects = look->effects, .statement = look->statement, .in_body = true};
            query_scan_init(&inner.scan, look->token.text);
            look_statements(&inner);
        }
        advance(look);
    }
}

/* In a body, words behind which a statement begins. */
static bool opens_block(const struct look *look)
{
    return at_word(look, "begin") || at_word(look, "then") || at_word(look, "else") ||
           at_word(look, "loop");
}

static const struct {
    const char *word;
    void (*look)(struct look *look);
} statements[] = {
    {"set", on_set},
    {"reset", on_reset},
    {"discard", on_discard},
    {"listen", on_listen},
    {"unlisten", on_unlisten},
    {"prepare", on_prepare},
    {"deallocate", on_deallocate},
    {"declare", on_declare},
    {"close", on_close},
    {"create", on_create},
    {"drop", on_drop},
    {"do", on_do},
};

static void look_first(struct look *look)
{
    look->first = look->effects->count;
    look->from = false;
    look->create = at_word(look, "create");
    look->select = !at_word(look, "insert") && !at_word(look, "merge") && !look->in_body;
    if (look->token.kind != QUERY_TOKEN_WORD)
        return;
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++)
        if (take(look, statements[i].word)) {
            statements[i].look(look);
            return;
        }
    if (take(look, "update")) {
        bool ignored = false;
        struct query_token name = look->token;
        if (at_name(look))
            name = take_object(look, &ignored);
        if (span_is_nocase(name.text, "pg_settings"))
            add_text(look, QUERY_CONFIG, QUERY_CREATES, "");
    }
}

/* A function that is called for each row, or together with others, may take any number of locks. */
static void settle_locks(struct look *look)
{
    unsigned locks = 0;
    for (unsigned i = look->first; i < look->effects->count; i++)
        locks +=
            look->effects->all[i].kind == QUERY_LOCK && look->effects->all[i].act != QUERY_ENDS_ALL;
    for (unsigned i = look->first; i < look->effects->count; i++)
        if (look->effects->all[i].kind == QUERY_LOCK && (look->from || locks > 1))
            look->effects->all[i].single = false;
}

static void look_statements(struct look *look)
{
    advance(look);
    while (look->token.kind != QUERY_TOKEN_END) {
        unsigned depth = 0;
        if (at_punct(look, ';')) {
            advance(look);
            continue;
        }
        look_first(look);
        while (look->token.kind != QUERY_TOKEN_END && !(depth == 0 && at_punct(look, ';'))) {
            bool opens = look->in_body && opens_block(look);
            depth += at_punct(look, '(') ? 1 : 0;
            depth -= at_punct(look, ')') && depth > 0 ? 1 : 0;
            look_token(look);
            if (opens && look->token.kind != QUERY_TOKEN_END)
                look_first(look);
        }
        settle_locks(look);
        look->statement += look->in_body ? 0 : 1;
    }
}

/* What the effects that are left create: one may have been taken back. */
static uint8_t creates_of(const struct query_effects *effects)
{
    uint8_t creates = effects->more;
    for (unsigned i = 0; i < effects->count; i++)
        if (effects->all[i].act == QUERY_CREATES)
            creates |= QUERY_KIND(effects->all[i].kind);
    return creates;
}

bool query_read_effects(struct span text, struct query_effects *ret)
{
    struct look look = {.effects = ret};
    ret->references = 0;
    ret->count = 0;
    ret->creates = ret->more = 0;
    query_scan_init(&look.scan, text);
    look_statements(&look);
    ret->creates = creates_of(ret);
    return ret->count > 0 || ret->more != 0;
}
