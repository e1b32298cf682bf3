/* look_set.c - SET and RESET, and the kinds of their parameters. */
#include "query/look_parts.h"

/* Finds the parameters that are not ordinary settings. */
enum query_kind look_kind_of(struct span name)
{
    if (span_is_nocase(name, "role"))
        return QUERY_ROLE;
    if (span_is_nocase(name, "session_authorization"))
        return QUERY_AUTHORIZATION;
    return span_is_nocase(name, "seed") ? QUERY_SEED : QUERY_SETTING;
}

bool look_is_of_transaction(struct span name)
{
    return span_is_nocase(name, "transaction_isolation") ||
           span_is_nocase(name, "transaction_read_only") ||
           span_is_nocase(name, "transaction_deferrable");
}

/* Consumes a name such as a.b as one name, from its first byte to its last.  A dotted name with
 * quoted parts becomes empty. */
static struct query_token take_name(struct look *look)
{
    struct query_token name = look->token;
    look_advance(look);
    while (look_at_punct(look, '.')) {
        look_advance(look);
        if (!look_at_name(look))
            break;
        bool words = name.kind == QUERY_TOKEN_WORD && look->token.kind == QUERY_TOKEN_WORD;
        if (words && name.text.size > 0)
            name.text.size = (size_t)(look->token.text.at + look->token.text.size - name.text.at);
        else
            name.text = SPAN_NONE;
        look_advance(look);
    }
    return name;
}

/* Returns whether pg_temp occurs in the text. */
static bool has_temp_schema(struct span text)
{
    for (size_t i = 0; i + 7 <= text.size; i++)
        if (strncasecmp((const char *)text.at + i, "pg_temp", 7) == 0)
            return true;
    return false;
}

void look_path(struct look *look)
{
    const struct query_token *token = &look->token;
    if (has_temp_schema(token->text))
        look_unsure(look, QUERY_KIND(QUERY_TEMPORARY));
    if (!look_at_name(look) && !look_is_plain(token) && !look_at_punct(look, ','))
        look->effects->path = true;
}

static void look_path_value(struct look *look)
{
    for (; !look_at_end(look); look_advance(look))
        look_path(look);
}

/* --- SET -------------------------------------------------------------------------------------- */

/* Consumes LOCAL or SESSION after SET, unless the word is the beginning of a parameter's name. */
static bool take_scope(struct look *look, const char *word)
{
    struct look before = *look;
    if (!look_take(look, word))
        return false;
    if (!look_at_punct(look, '.') && !look_at_punct(look, '=') && !look_at_word(look, "to"))
        return true;
    *look = before;
    return false;
}

static void set_role(struct look *look, enum query_kind kind)
{
    invariant(kind != QUERY_SETTING && kind != QUERY_SEED); /* set_parameter() has these */
    const struct query_token *value = &look->token;
    bool none = look_at_word(look, "none") ||
                (value->kind != QUERY_TOKEN_WORD && span_is(value->text, "none"));
    bool ends = look_at_word(look, "default") || (kind == QUERY_ROLE && none);
    if (!ends)
        look_add_text(look, kind, QUERY_CREATES, "");
    else
        look_add_text(look, kind, QUERY_ENDS_ALL, none ? QUERY_NO_ROLE : "");
    if (ends && kind == QUERY_AUTHORIZATION)
        look_add_text(look, QUERY_ROLE, QUERY_ENDS_ALL, "");
}

static void set_setting(struct look *look, const struct query_token *name)
{
    bool back = look_at_word(look, "default");
    look_add_named(look, QUERY_SETTING, back ? QUERY_ENDS : QUERY_CREATES, name);
    if (span_is_nocase(name->text, "search_path"))
        look_path_value(look);
}

/* Handles SET name.  `local`: until the end of the transaction. */
static void set_parameter(struct look *look, bool local)
{
    struct query_token name = take_name(look);
    enum query_kind kind = look_kind_of(name.text);
    if (look_is_of_transaction(name.text))
        return;
    if (!look_take(look, "to") && look_at_punct(look, '='))
        look_advance(look);
    if (kind == QUERY_SEED)
        look_add_text(look, kind, QUERY_CREATES, ""); /* no end of the setting takes this back */
    else if (local && span_is_nocase(name.text, "search_path"))
        look_path_value(look);
    else if (!local && kind == QUERY_SETTING)
        set_setting(look, &name);
    else if (!local)
        set_role(look, kind);
}

/* Handles the forms of SET that don't name their parameter. */
static bool set_special(struct look *look, bool local)
{
    static const struct {
        const char *word, *next, *parameter;
    } specials[] = {
        {"names", NULL, "client_encoding"},
        {"schema", NULL, "search_path"},
        {"time", "zone", "timezone"},
        {"xml", "option", "xmloption"},
    };
    for (size_t i = 0; i < sizeof(specials) / sizeof(specials[0]); i++) {
        struct look before = *look;
        if (!look_take(look, specials[i].word))
            continue;
        if (!look_at_punct(look, '=') && !look_at_punct(look, '.') && !look_at_word(look, "to") &&
            (specials[i].next == NULL || look_take(look, specials[i].next))) {
            struct query_token name = {QUERY_TOKEN_WORD, span_text(specials[i].parameter)};
            if (!local)
                set_setting(look, &name);
            else if (span_is(name.text, "search_path"))
                look_path_value(look);
            return true;
        }
        *look = before;
    }
    return false;
}

/* Handles SESSION CHARACTERISTICS and AUTHORIZATION, also after SET LOCAL and SET SESSION. */
static bool set_session(struct look *look, bool local)
{
    struct look before = *look;
    if (!look_take(look, "session"))
        return false;
    if (look_take(look, "characteristics")) {
        if (!local)
            look_add_text(look, QUERY_SETTING, QUERY_CREATES, "session characteristics");
        return true;
    }
    if (look_take(look, "authorization")) {
        if (!local)
            set_role(look, QUERY_AUTHORIZATION);
        return true;
    }
    *look = before;
    return false;
}

/* Consumes SET TRANSACTION and SET CONSTRAINTS, which end with the transaction. */
static bool set_transaction(struct look *look)
{
    return take_scope(look, "transaction") || take_scope(look, "constraints");
}

void look_on_set(struct look *look)
{
    bool local = take_scope(look, "local");
    if (set_session(look, local))
        return;
    if (!local && take_scope(look, "session") && set_session(look, local))
        return;
    if (set_transaction(look) || set_special(look, local))
        return;
    if (look_at_name(look))
        set_parameter(look, local);
}

/* --- RESET ------------------------------------------------------------------------------------ */

static void reset_parameter(struct look *look)
{
    struct query_token name = take_name(look);
    enum query_kind kind = look_kind_of(name.text);
    if (kind == QUERY_SETTING)
        look_add_named(look, QUERY_SETTING, QUERY_ENDS, &name);
    if (kind == QUERY_AUTHORIZATION)
        look_add_text(look, QUERY_AUTHORIZATION, QUERY_ENDS_ALL, "");
    if (kind == QUERY_ROLE || kind == QUERY_AUTHORIZATION)
        look_add_text(look, QUERY_ROLE, QUERY_ENDS_ALL, "");
}

void look_on_reset(struct look *look)
{
    struct look before = *look;
    if (look_take(look, "all")) {
        look_add_text(look, QUERY_SETTING, QUERY_ENDS_ALL, "");
        look_add_text(look, QUERY_CONFIG, QUERY_ENDS_ALL, "");
        return;
    }
    if (look_take(look, "session") && look_take(look, "authorization")) {
        look_add_text(look, QUERY_AUTHORIZATION, QUERY_ENDS_ALL, "");
        look_add_text(look, QUERY_ROLE, QUERY_ENDS_ALL, "");
        return;
    }
    *look = before;
    if (look_take(look, "time") && look_take(look, "zone")) {
        look_add_text(look, QUERY_SETTING, QUERY_ENDS, "timezone");
        return;
    }
    *look = before;
    if (look_at_name(look))
        reset_parameter(look);
}
