/* effects.c - analyzes a text statement by statement: what each may create or end. */
#include "query/effects.h"

#include "query/look_parts.h"

/* Kinds that a function of PostgreSQL can leave and that would affect the next client. */
#define BY_CALLS                                                                                   \
    ((uint16_t)(QUERY_KIND(QUERY_ROLE) | QUERY_KIND(QUERY_AUTHORIZATION) |                         \
                QUERY_KIND(QUERY_CONFIG) | QUERY_KIND(QUERY_LOCK) | QUERY_KIND(QUERY_SEED)))
/* Kinds that a statement which is not analyzed may leave.  Kinds that can't be cleaned are not
 * assumed. */
#define BY_STATEMENTS ((uint16_t)(QUERY_ALL_KINDS & ~QUERY_INCURABLE))

static void look_first(struct look *look);
static void look_statements(struct look *look);

/* --- DISCARD, LISTEN, PREPARE, cursors -------------------------------------------------------- */

static void discard_all_of(struct look *look, enum query_kind kind)
{
    invariant((QUERY_KIND(kind) & QUERY_INCURABLE) == 0);
    struct query_effect *effect = look_add(look, kind, QUERY_ENDS_ALL);
    if (effect != NULL)
        effect->single = true;
}

static void on_discard(struct look *look)
{
    if (look_at_word(look, "temp") || look_at_word(look, "temporary"))
        look_add_text(look, QUERY_TEMPORARY, QUERY_ENDS_ALL, "");
    else if (look_at_word(look, "sequences"))
        look_add_text(look, QUERY_SEQUENCES, QUERY_ENDS_ALL, "");
    else if (look_at_word(look, "all"))
        for (unsigned kind = 0; kind < QUERY_KINDS; kind++)
            if (kind != QUERY_SEED && (QUERY_KIND(kind) & QUERY_INCURABLE) == 0)
                discard_all_of(look, (enum query_kind)kind);
}

static void on_load(struct look *look)
{
    look_add_text(look, QUERY_LOAD, QUERY_CREATES, "");
}

/* EXECUTE's effects were found at its PREPARE, but those may have been ended since.  In a DO block
 * EXECUTE runs a text that is built there. */
static void on_execute(struct look *look)
{
    look_unsure(look, look->in_body ? BY_STATEMENTS : BY_CALLS);
}

static void on_listen(struct look *look)
{
    if (look_at_name(look))
        look_add_named(look, QUERY_LISTEN, QUERY_CREATES, &look->token);
}

/* Reads what to end: a name, or all. */
static void end_of(struct look *look, enum query_kind kind)
{
    if (look_at_punct(look, '*') || look_at_word(look, "all"))
        look_add_text(look, kind, QUERY_ENDS_ALL, "");
    else if (look_at_name(look))
        look_add_named(look, kind, QUERY_ENDS, &look->token);
}

static void on_unlisten(struct look *look)
{
    end_of(look, QUERY_LISTEN);
}

static void on_prepare(struct look *look)
{
    struct query_token name = look->token;
    if (!look_at_name(look))
        return;
    look_advance(look);
    if (look->token.kind == QUERY_TOKEN_STRING) /* PREPARE TRANSACTION 'x' */
        return;
    look_add_named(look, QUERY_PREPARE, QUERY_CREATES, &name);
    look->later = true;
}

static void on_deallocate(struct look *look)
{
    if (look_take(look, "prepare") && look_at_end(look))
        look_add_text(look, QUERY_PREPARE, QUERY_ENDS, "prepare"); /* named "prepare" */
    else
        end_of(look, QUERY_PREPARE);
}

static void on_declare(struct look *look)
{
    struct query_token name = look->token;
    bool with = false;
    if (look->in_body) /* the variables of a DO block */
        return;
    look->later = true;
    while (!look_at_end(look) && !look_at_word(look, "for")) {
        if (with && look_at_word(look, "hold"))
            look_add_named(look, QUERY_CURSOR, QUERY_CREATES, &name);
        with = look_at_word(look, "with");
        look_advance(look);
    }
}

static void on_close(struct look *look)
{
    end_of(look, QUERY_CURSOR);
}

/* --- CREATE, DROP, INTO ----------------------------------------------------------------------- */

static bool take_temp(struct look *look)
{
    if (!look_take(look, "local"))
        look_take(look, "global");
    return look_take(look, "temp") || look_take(look, "temporary");
}

static void take_if_exists(struct look *look)
{
    if (!look_take(look, "if"))
        return;
    look_take(look, "not");
    look_take(look, "exists");
}

static void on_create(struct look *look)
{
    if (look_take(look, "or"))
        (void)look_take(look, "replace");
    bool temporary = take_temp(look);
    look_take(look, "unlogged");
    bool table = look_at_word(look, "table");
    if (!table) {
        if (temporary)
            look_add_text(look, QUERY_TEMPORARY, QUERY_CREATES, "");
        look->effects->makes = look->effects->makes || !temporary;
        return; /* look_token() finds a name in pg_temp */
    }
    look_advance(look);
    take_if_exists(look);
    if (!look_at_name(look))
        return;
    struct query_token name = look_take_object(look, &temporary);
    if (temporary)
        look_add_named(look, QUERY_TEMPORARY, QUERY_CREATES, &name);
    look->effects->makes = look->effects->makes || !temporary;
}

/* Handles a single table only: what else a DROP removes can't be seen. */
static void on_drop(struct look *look)
{
    bool temporary = false;
    if (!look_take(look, "table"))
        return;
    take_if_exists(look);
    if (!look_at_name(look))
        return;
    struct span first = look->token.text;
    struct query_token name = look_take_object(look, &temporary);
    if (name.text.at != first.at && !temporary)
        return; /* in another schema */
    if ((look_at_end(look) || look_at_word(look, "cascade") || look_at_word(look, "restrict")))
        look_add_named(look, QUERY_TEMPORARY, QUERY_ENDS, &name);
}

/* SELECT ... INTO TEMP t, IMPORT FOREIGN SCHEMA ... INTO pg_temp */
static void look_into(struct look *look)
{
    bool temporary = take_temp(look);
    look_take(look, "unlogged");
    look_take(look, "table");
    if (!look_at_name(look))
        return;
    temporary = temporary || look_at_temp_schema(look);
    struct query_token name = look_take_object(look, &temporary);
    look->effects->makes = look->effects->makes || !temporary;
    if (temporary)
        look_add_named(look, QUERY_TEMPORARY, QUERY_CREATES, &name);
}

/* Removes the effect of a temporary table with ON COMMIT DROP. */
static void take_commit_drop(struct look *look)
{
    struct query_effects *effects = look->effects;
    if (!look_take(look, "commit") || !look_take(look, "drop") || effects->count <= look->first)
        return;
    const struct query_effect *last = &effects->all[effects->count - 1];
    if (last->act == QUERY_CREATES && last->kind == QUERY_TEMPORARY)
        effects->count -= 1;
}

/* Returns whether a CREATE names an object in pg_temp, or an extension with SCHEMA pg_temp. */
static bool creates_in_temp(const struct look *look, bool behind_schema)
{
    if (!look->create || !look_at_temp_schema(look))
        return false;
    struct look ahead = *look;
    look_advance(&ahead);
    return behind_schema || look_at_punct(&ahead, '.');
}

/* --- tokens anywhere in a statement ----------------------------------------------------------- */

/* Finds an UPDATE of pg_settings, the view through which parameters can be set. */
static void look_update(struct look *look)
{
    bool ignored = false;
    struct look ahead = *look;
    (void)look_take(&ahead, "only");
    if (look_at_punct(&ahead, '('))
        look_advance(&ahead);
    if (look_at_name(&ahead) &&
        span_is_nocase(look_take_object(&ahead, &ignored).text, "pg_settings"))
        look_add_text(look, QUERY_CONFIG, QUERY_CREATES, "");
    if (look->later)
        look_unsure(look, look->effects->creates & QUERY_KIND(QUERY_CONFIG));
}

/* Handles a keyword in a statement.  Returns whether it consumed the keyword, and maybe more. */
static bool look_word(struct look *look)
{
    if (look_take(look, "into")) {
        if (look->select)
            look_into(look);
    } else if (look_take(look, "on")) {
        take_commit_drop(look);
    } else if (look_take(look, "update")) {
        look_update(look);
    } else if (look_take(look, "schema")) {
        if (creates_in_temp(look, true))
            look_add_text(look, QUERY_TEMPORARY, QUERY_CREATES, "");
    } else if (look->create && look_take(look, "as")) { /* CREATE TABLE ... AS EXECUTE */
        if (look_at_word(look, "execute"))
            on_execute(look);
    } else if (look->create && look_take(look, "begin")) { /* semicolons in it end no statement */
        if (look_at_word(look, "atomic"))
            look_unsure(look, BY_STATEMENTS);
    } else if (look_take(look, "uescape")) {
        look->scan.unsure = true;
    } else if (look->in_body && look_take(look, "execute")) {
        on_execute(look);
    } else {
        return false;
    }
    return true;
}

void look_token(struct look *look)
{
    if (look_call(look))
        return;
    if (creates_in_temp(look, false))
        look_add_text(look, QUERY_TEMPORARY, QUERY_CREATES, "");
    if (look->token.kind != QUERY_TOKEN_WORD || !look_word(look))
        look_advance(look);
}

/* --- statements ------------------------------------------------------------------------------- */

/* Analyzes the body of a DO block: each statement as if it stood alone. */
static void look_body(struct look *look)
{
    struct look inner = {.effects = look->effects, .statement = look->statement, .in_body = true};
    query_scan_init(&inner.scan, look->token.text);
    look_statements(&inner);
    /* The body still has its escapes, doubled quotes and continuations, so it may mean something
     * else. */
    if (inner.scan.unsure ||
        (look->token.kind == QUERY_TOKEN_STRING && !look_is_plain(&look->token)))
        look->scan.unsure = true;
}

static void on_call(struct look *look)
{
    look->effects->calls = true;
}

static void on_do(struct look *look)
{
    look->effects->calls = true;
    if (look->in_body) { /* a DO inside a DO block is not analyzed */
        look_unsure(look, BY_STATEMENTS);
        return;
    }
    while (!look_at_end(look)) {
        if (look_take(look, "language")) {
            if (!look_at_word(look, "plpgsql"))
                look_unsure(look, BY_STATEMENTS);
        } else if (look->token.kind == QUERY_TOKEN_DOLLAR ||
                   look->token.kind == QUERY_TOKEN_STRING) {
            look_body(look);
        }
        if (!look_at_end(look))
            look_advance(look);
    }
}

/* Returns whether a statement begins after this word in a DO block. */
static bool opens_block(const struct look *look)
{
    return look_at_word(look, "begin") || look_at_word(look, "then") ||
           look_at_word(look, "else") || look_at_word(look, "loop");
}

static void skip_parentheses(struct look *look)
{
    unsigned depth = 0;
    invariant(look_at_punct(look, '('));
    do {
        depth += look_at_punct(look, '(') ? 1 : 0;
        invariant(depth > 0);
        depth -= look_at_punct(look, ')') ? 1 : 0;
        look_advance(look);
    } while (depth > 0 && look->token.kind != QUERY_TOKEN_END);
}

/* Analyzes the explained statement.  EXPLAIN executes it only with ANALYZE; without, statements
 * with effects are rare. */
static void on_explain(struct look *look)
{
    if (look_at_punct(look, '('))
        skip_parentheses(look);
    while (look_take(look, "analyze") || look_take(look, "analyse") || look_take(look, "verbose"))
        continue;
    if (!look_at_word(look, "explain"))
        look_first(look);
}

static const struct {
    const char *word;
    void (*look)(struct look *look);
} statements[] = {
    {"set", look_on_set},
    {"reset", look_on_reset},
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
    {"call", on_call},
    {"load", on_load},
    {"execute", on_execute},
    {"explain", on_explain},
};

static void look_first(struct look *look)
{
    invariant(look->effects->count <= QUERY_EFFECTS_MAX);
    look->first = look->effects->count;
    look->later = false;
    look->create = look_at_word(look, "create");
    look->select = !look_at_word(look, "insert") && !look_at_word(look, "merge") && !look->in_body;
    if (look->token.kind != QUERY_TOKEN_WORD)
        return;
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++)
        if (look_take(look, statements[i].word)) {
            statements[i].look(look);
            return;
        }
}

static void look_statements(struct look *look)
{
    look_advance(look);
    while (look->token.kind != QUERY_TOKEN_END) {
        unsigned depth = 0;
        if (look_at_punct(look, ';')) {
            look_advance(look);
            continue;
        }
        look_at_locks(look);
        look_first(look);
        while (look->token.kind != QUERY_TOKEN_END && !(depth == 0 && look_at_punct(look, ';'))) {
            bool opens = look->in_body && opens_block(look);
            depth += look_at_punct(look, '(') ? 1 : 0;
            depth -= look_at_punct(look, ')') && depth > 0 ? 1 : 0;
            look_token(look);
            if (opens && look->token.kind != QUERY_TOKEN_END)
                look_first(look);
        }
        look->statement += look->in_body ? 0 : 1;
    }
}

/* Returns the kinds that the listed effects create.  The list may have lost some since. */
static uint16_t creates_of(const struct query_effects *effects)
{
    uint16_t creates = effects->more;
    invariant((creates & ~QUERY_ALL_KINDS) == 0);
    for (unsigned i = 0; i < effects->count; i++)
        if (effects->all[i].act == QUERY_CREATES)
            creates |= QUERY_KIND(effects->all[i].kind);
    return creates;
}

static bool has_word(struct span text, const char *word)
{
    size_t size = strlen(word);
    for (size_t i = 0; i + size <= text.size; i++)
        if (strncasecmp((const char *)text.at + i, word, size) == 0)
            return true;
    return false;
}

/* Returns the unsure kinds of a text with several readings.  Kinds that can't be cleaned cost the
 * server, so they are included only if the text has a word that suggests them. */
static uint16_t unsure_of(struct span text)
{
    bool escapes = has_word(text, "u&");
    uint16_t kinds = BY_STATEMENTS;
    if (has_word(text, "load"))
        kinds |= QUERY_KIND(QUERY_LOAD);
    if (escapes || has_word(text, "replication"))
        kinds |= QUERY_KIND(QUERY_SLOT);
    return kinds;
}

bool query_read_effects(struct span text, struct query_effects *ret)
{
    struct look look = {.effects = ret};
    memset(ret, 0, offsetof(struct query_effects, all));
    query_scan_init(&look.scan, text);
    look_statements(&look);
    invariant(look.token.kind == QUERY_TOKEN_END && look.scan.at == look.scan.end);
    ret->creates = creates_of(ret);
    if (look.scan.unsure) {
        ret->unsure |= unsure_of(text);
        ret->path = true;
    }
    return ret->count > 0 || ret->more != 0 || ret->unsure != 0 || ret->path || ret->makes ||
           ret->resets;
}
