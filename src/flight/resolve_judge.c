/*
 * resolve_judge.c - judges what the catalog has shown: functions and operators, types, and nodes of
 * expressions.
 */
#include "base/check.h"
#include "flight/resolve_parts.h"
#include "query/reads.h"

/* The first oid of objects that initdb has not made. */
#define FIRST_NORMAL_OID 16384u

bool resolve_is_builtin(uint32_t oid)
{
    return oid < FIRST_NORMAL_OID;
}

/* --- functions -------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    const char *arguments;
} stable[] = {
#define STABLE(name, arguments) {name, arguments},
#include "flight/resolve_functions.def"
};

static const char *const harmless[] = {
#define HARMLESS(name) name,
#include "flight/resolve_functions.def"
};

static bool is_allowed(const struct resolve_cells *row)
{
    for (size_t i = 0; i < ARRAY_SIZE(stable); i++)
        if (span_is(row->name, stable[i].name) && span_is(row->more, stable[i].arguments))
            return true;
    return false;
}

static bool is_declared(const struct resolve *resolve, const struct resolve_cells *row)
{
    for (size_t i = 0; i < resolve->rules->count; i++) {
        const struct query_object *is = &resolve->rules->declared[i].is;
        if (span_equal(is->schema, row->schema) && span_equal(is->name, row->name))
            return true;
    }
    return false;
}

/* Returns whether a function of pg_catalog writes no table and runs no text that might. */
static bool is_harmless(const struct resolve_cells *row, uint8_t volatility)
{
    if (volatility == 'i' || is_allowed(row) || query_function_reads(row->name))
        return true;
    for (size_t i = 0; i < ARRAY_SIZE(harmless); i++)
        if (span_is(row->name, harmless[i]))
            return true;
    return false;
}

static void judge_builtin(struct resolve *resolve, const struct resolve_cells *row,
                          uint8_t volatility)
{
    if (span_is(row->name, "timezone"))
        resolve->zones = true;
    if (volatility == 'v')
        resolve_against(resolve, VERDICT_REASON_VOLATILE, row->schema, row->name);
    else if (volatility != 'i' && !is_allowed(row))
        resolve_against(resolve, VERDICT_REASON_STABLE, row->schema, row->name);
    if (!is_harmless(row, volatility))
        resolve_unlisted(resolve, VERDICT_REASON_VOLATILE, row->schema, row->name);
}

/* `how` is f, a, o (of the text: a function, one of a row, an operator) or n (of the catalog), and
 * the volatility;
 * `more` are the types of the arguments. */
void resolve_judge_call(struct resolve *resolve, const struct resolve_cells *row)
{
    uint8_t where = row->how.size == 2 ? row->how.at[0] : 'f';
    uint8_t volatility = row->how.size == 2 ? row->how.at[1] : 'v';
    if ((where == 'f' || where == 'a') && is_declared(resolve, row))
        return;
    if (resolve_is_builtin(row->oid) && span_is(row->schema, "pg_catalog")) {
        judge_builtin(resolve, row, volatility);
        return;
    }
    uint32_t reason = where == 'o' ? VERDICT_REASON_OPERATOR : VERDICT_REASON_FUNCTION;
    resolve_against(resolve, reason, row->schema, row->name);
    resolve_unlisted(resolve, reason, row->schema, row->name);
}

/* --- types ------------------------------------------------------------------------------------ */

enum type { PLAIN, TIMES, CLOCK, ZONED, OBJECT, UNKNOWN };

static enum type type_of(const struct resolve_cells *row)
{
    static const struct {
        const char *name;
        enum type type;
    } types[] = {
#define TYPE(name, how) {name, how},
#include "flight/resolve_types.def"
#undef TYPE
    };
    if (!resolve_is_builtin(row->oid) || !span_is(row->schema, "pg_catalog"))
        return UNKNOWN;
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        if (span_is(row->name, types[i].name))
            return types[i].type;
    return UNKNOWN;
}

/* `how` is v (of a column or an expression), c (of a cast) or k (of a cast of a computed value);
 * `more` is pg_type's typtype, with a mark for a range that has functions of a user. */
void resolve_judge_type(struct resolve *resolve, const struct resolve_cells *row)
{
    bool computed = span_is(row->how, "k");
    if (span_is(row->more, "r"))
        return;
    enum type type = type_of(row);
    if (type == UNKNOWN)
        resolve_against(resolve, VERDICT_REASON_TYPE, row->schema, row->name);
    if (type == ZONED)
        resolve_against(resolve, VERDICT_REASON_TIME_TYPE, row->schema, row->name);
    if (type == OBJECT)
        resolve_against(resolve, QUERY_REASON_REG_TYPE, row->schema, row->name);
    if ((type == TIMES || type == CLOCK) && computed)
        resolve_against(resolve, VERDICT_REASON_TIME_CAST, row->schema, row->name);
    if (type == CLOCK)
        resolve->clocks = true;
}

/* --- nodes ------------------------------------------------------------------------------------ */

enum where { EVERYWHERE, WRITTEN, NOWHERE };

static enum where where_of(struct span name)
{
    static const struct {
        const char *name;
        enum where where;
    } nodes[] = {
#define NODE(name, where) {name, where},
#include "flight/resolve_nodes.def"
#undef NODE
    };
    for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
        if (span_is(name, nodes[i].name))
            return nodes[i].where;
    return NOWHERE;
}

/* Whether a keyword such as CURRENT_USER depends on the role, the database or search_path only,
 * which the key of an answer has: in PostgreSQL's list they stand behind those of the time. */
static bool is_of_session(struct span op)
{
    return op.size >= 2 || (op.size == 1 && op.at[0] == '9');
}

static void judge_read_node(struct resolve *resolve, struct span name, bool of_check)
{
    static const char value[] = "SQLVALUEFUNCTION :op ";
    if (span_is(name, "TABLESAMPLECLAUSE"))
        resolve_against(resolve, QUERY_REASON_SAMPLE, SPAN_NONE, SPAN_NONE);
    else if (!span_starts(name, SPAN("SQLVALUEFUNCTION")))
        resolve_against(resolve, VERDICT_REASON_EXPRESSION, SPAN_NONE, name);
    else if (of_check || !is_of_session(span_skip(name, sizeof(value) - 1)))
        resolve_against(resolve, QUERY_REASON_TIME_VALUE, SPAN_NONE, SPAN_NONE);
}

/* `how` is r (an expression that is evaluated to read), w (to write) or d (a check of a domain). */
void resolve_judge_node(struct resolve *resolve, const struct resolve_cells *row)
{
    bool written = span_is(row->how, "w"), of_check = span_is(row->how, "d");
    struct span name = row->name;
    if (name.size > 0 && name.at[0] == ':') {
        bool locks = span_starts(name, SPAN(":hasForUpdate"));
        if (!written)
            resolve_against(resolve, locks ? QUERY_REASON_LOCKING : QUERY_REASON_SYSTEM_COLUMN,
                            SPAN_NONE, SPAN_NONE);
        return;
    }
    if (name.size > 0)
        name = span_skip(name, 1);
    bool value = span_starts(name, SPAN("SQLVALUEFUNCTION"));
    enum where where = value ? WRITTEN : where_of(name);
    bool nested = of_check && span_is(name, "COERCETODOMAIN");
    if (where == NOWHERE || nested)
        resolve_unlisted(resolve, VERDICT_REASON_EXPRESSION, SPAN_NONE, name);
    if (nested)
        resolve_against(resolve, VERDICT_REASON_EXPRESSION, SPAN_NONE, name);
    else if (!written && where != EVERYWHERE)
        judge_read_node(resolve, name, of_check);
}
