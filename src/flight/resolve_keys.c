/*
 * resolve_keys.c - finds whether a statement reads, or writes, one value of the whole primary key.
 */
#include "base/check.h"
#include "flight/resolve_parts.h"

/* --- types ------------------------------------------------------------------------------------ */

static bool key_type_of(struct span name, enum verdict_key_type *ret)
{
    static const struct {
        const char *name;
        enum verdict_key_type type;
    } types[] = {
        {"int2", VERDICT_KEY_INTEGER}, {"int4", VERDICT_KEY_INTEGER}, {"int8", VERDICT_KEY_INTEGER},
        {"text", VERDICT_KEY_TEXT},    {"varchar", VERDICT_KEY_TEXT}, {"uuid", VERDICT_KEY_UUID},
    };
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        if (!span_is(name, types[i].name))
            continue;
        *ret = types[i].type;
        return true;
    }
    return false;
}

static bool is_builtin(const struct query_object *type)
{
    return type->schema.size == 0 || span_is(type->schema, "pg_catalog");
}

/* `how` is the column's place, `schema` its type if that is one of pg_catalog; `more` is n for a
 * collation under which different texts are equal. */
void resolve_see_column(struct resolve *resolve, const struct resolve_cells *row)
{
    enum verdict_key_type type;
    if (resolve->columns_count == VERDICT_KEYS_MAX || !key_type_of(row->schema, &type) ||
        !span_is(row->more, "d")) {
        resolve->keyless = true;
        return;
    }
    struct resolve_column *column = &resolve->columns[resolve->columns_count];
    *column = (struct resolve_column){.type = type};
    if (!resolve_keep(resolve, row->name, &column->name)) {
        resolve->keyless = true;
        return;
    }
    resolve->columns_count += 1;
    resolve->key_relation = row->oid;
}

/* --- conditions ------------------------------------------------------------------------------- */

/* A parameter that the text casts elsewhere may have a type whose comparison ignores a part of the
 * text. */
static bool has_padded_type(const struct query_analysis *analysis)
{
    static const char *const padded[] = {"bpchar", "char", "name", "character"};
    for (uint16_t i = 0; i < analysis->types_count; i++) {
        if (!is_builtin(&analysis->types[i].is))
            return true;
        for (size_t j = 0; j < ARRAY_SIZE(padded); j++)
            if (span_is(analysis->types[i].is.name, padded[j]))
                return true;
    }
    return false;
}

static bool literal_is_safe(const struct resolve_column *column, const struct query_key *key)
{
    enum verdict_key_type cast;
    if (key->type.name.size > 0 &&
        (!is_builtin(&key->type) || !key_type_of(key->type.name, &cast) || cast != column->type))
        return false;
    return key->quoted || column->type == VERDICT_KEY_INTEGER;
}

static bool take_literal(struct resolve *resolve, const struct resolve_column *column,
                         const struct query_key *key, struct span *ret)
{
    struct buffer text = BUFFER_INIT(RESOLVE_KEPT_MAX);
    struct verdict_value value = {.bytes = key->literal};
    bool taken = literal_is_safe(column, key) && verdict_key_text(column->type, &value, &text) &&
                 buffer_fault(&text) == OK && resolve_keep(resolve, buffer_span(&text), ret);
    buffer_fini(&text);
    return taken;
}

static bool find_key(struct resolve *resolve, const struct resolve_column *column,
                     struct verdict_key *ret)
{
    const struct query_analysis *analysis = resolve->analysis;
    for (uint16_t i = 0; i < analysis->keys_count; i++) {
        const struct query_key *key = &analysis->keys[i];
        if (!span_equal(key->column, column->name))
            continue;
        *ret = (struct verdict_key){.type = column->type,
                                    .parameter = key->parameter,
                                    .repeated = key->repeated,
                                    .name = column->name};
        if (key->parameter == 0 && take_literal(resolve, column, key, &ret->literal))
            return true;
        if (key->parameter > 0 && (column->type != VERDICT_KEY_TEXT || !has_padded_type(analysis)))
            return true;
    }
    return false;
}

uint16_t resolve_find_keys(struct resolve *resolve, struct verdict_key keys[VERDICT_KEYS_MAX])
{
    if (resolve->keyless)
        return 0;
    for (uint16_t i = 0; i < resolve->columns_count; i++)
        if (!find_key(resolve, &resolve->columns[i], &keys[i]))
            return 0;
    return resolve->columns_count;
}
