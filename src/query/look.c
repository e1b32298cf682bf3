/* look.c - tokens of a text that is analyzed, and the list of its effects. */
#include "query/look_parts.h"

/* --- tokens ----------------------------------------------------------------------------------- */

void look_advance(struct look *look)
{
    look->token = query_scan_next(&look->scan);
}

bool look_at_word(const struct look *look, const char *word)
{
    return look->token.kind == QUERY_TOKEN_WORD && span_is_nocase(look->token.text, word);
}

bool look_at_punct(const struct look *look, char c)
{
    costly_invariant(look->token.kind != QUERY_TOKEN_PUNCT || look->token.text.size == 1);
    return look->token.kind == QUERY_TOKEN_PUNCT && look->token.text.at[0] == (uint8_t)c;
}

bool look_take(struct look *look, const char *word)
{
    if (!look_at_word(look, word))
        return false;
    look_advance(look);
    return true;
}

bool look_at_name(const struct look *look)
{
    return look->token.kind == QUERY_TOKEN_WORD || look->token.kind == QUERY_TOKEN_QUOTED;
}

bool look_at_end(const struct look *look)
{
    return look->token.kind == QUERY_TOKEN_END || look_at_punct(look, ';');
}

bool look_at_temp_schema(const struct look *look)
{
    return look_at_name(look) && look->token.text.size >= 7 &&
           strncasecmp((const char *)look->token.text.at, "pg_temp", 7) == 0;
}

struct query_token look_take_object(struct look *look, bool *temporary)
{
    struct query_token name = look->token;
    bool schema = look_at_temp_schema(look);
    look_advance(look);
    while (look_at_punct(look, '.')) {
        *temporary = *temporary || schema;
        look_advance(look);
        if (!look_at_name(look))
            break;
        name = look->token;
        look_advance(look);
    }
    return name;
}

bool look_is_plain(const struct query_token *token)
{
    if (token->kind != QUERY_TOKEN_STRING)
        return false;
    for (size_t i = 0; i < token->text.size; i++)
        if (token->text.at[i] == '\\' || token->text.at[i] == '\'')
            return false;
    return true;
}

/* --- what was found --------------------------------------------------------------------------- */

static void fold(char name[QUERY_NAME_SIZE], struct span text, bool as_it_is)
{
    size_t size = 0;
    for (size_t i = 0; i < text.size && size < QUERY_NAME_SIZE - 1; i++) {
        uint8_t c = text.at[i];
        name[size++] = (char)(!as_it_is && c >= 'A' && c <= 'Z' ? c | 0x20 : c);
        if (as_it_is && c == '"')
            i += 1; /* quotes come in pairs here */
    }
    invariant(size < QUERY_NAME_SIZE);
    name[size] = '\0';
}

void look_unsure(struct look *look, uint16_t kinds)
{
    invariant((kinds & ~QUERY_ALL_KINDS) == 0);
    look->effects->unsure |= kinds;
}

/* Kinds whose end restores what the session began with. */
#define RESETTABLE                                                                                 \
    ((uint16_t)(QUERY_KIND(QUERY_SETTING) | QUERY_KIND(QUERY_CONFIG) | QUERY_KIND(QUERY_ROLE) |    \
                QUERY_KIND(QUERY_AUTHORIZATION)))

struct query_effect *look_add(struct look *look, enum query_kind kind, enum query_act act)
{
    struct query_effects *effects = look->effects;
    invariant(kind < QUERY_KINDS && act <= QUERY_ENDS_ALL);
    invariant(effects->count <= QUERY_EFFECTS_MAX);
    bool resets = act != QUERY_CREATES && (QUERY_KIND(kind) & RESETTABLE) != 0;
    if (look->in_body && act != QUERY_CREATES) {
        effects->resets = effects->resets || resets;
        return NULL;
    }
    if (act == QUERY_CREATES)
        effects->creates |= QUERY_KIND(kind);
    if (effects->count == QUERY_EFFECTS_MAX) {
        if (act == QUERY_CREATES)
            effects->more |= QUERY_KIND(kind);
        effects->resets = effects->resets || resets;
        return NULL;
    }
    struct query_effect *effect = &effects->all[effects->count++];
    effect->kind = (uint8_t)kind;
    effect->act = (uint8_t)act;
    effect->statement = (uint8_t)(look->statement < UINT8_MAX ? look->statement : UINT8_MAX);
    effect->single = effect->may_reset = false;
    effect->name[0] = '\0';
    return effect;
}

/* Returns whether the name may be kept.  A parameter's name must be kept whole: two long names that
 * begin alike must not be taken for one. */
static bool name_is_kept(enum query_kind kind, struct span name)
{
    return (kind != QUERY_SETTING && kind != QUERY_CONFIG) || name.size < QUERY_NAME_SIZE;
}

void look_add_named(struct look *look, enum query_kind kind, enum query_act act,
                    const struct query_token *name)
{
    struct query_effect *effect = look_add(look, kind, act);
    if (effect != NULL && name_is_kept(kind, name->text))
        fold(effect->name, name->text, name->kind == QUERY_TOKEN_QUOTED && kind != QUERY_SETTING);
}

void look_add_text(struct look *look, enum query_kind kind, enum query_act act, const char *name)
{
    struct query_effect *effect = look_add(look, kind, act);
    if (effect != NULL)
        fold(effect->name, span_text(name), true);
}
