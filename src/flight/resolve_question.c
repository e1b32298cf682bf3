/*
 * resolve_question.c - writes the question: the names of the text as a list of values, and behind
 * it the query of resolve_question.def.
 *
 * A name is written as a literal of harmless bytes, or else in hexadecimal: so its meaning depends
 * neither on standard_conforming_strings nor on an encoding.
 */
#include "base/check.h"
#include "flight/resolve_parts.h"

#define TEXT_OF_(number) #number
#define TEXT_OF(number)  TEXT_OF_(number)
#define DEPTH            TEXT_OF(RESOLVE_DEPTH_MAX)
#define REACH            TEXT_OF(RESOLVE_FOLLOWED_MAX)

/* PostgreSQL's estimates for such queries are far too high: it would compile them for seconds. */
static const char head[] =
    "SET LOCAL jit = off;\n"
    "WITH RECURSIVE ask(k, i, schema, name, args, flag) AS (VALUES\n"
    " (NULL::pg_catalog.text, 0, NULL::pg_catalog.name, NULL::pg_catalog.name, 0, false)";

static const char tail[] = "),\n"
#include "flight/resolve_question.def"
    ;

/* --- names ------------------------------------------------------------------------------------ */

static bool is_harmless(struct span name)
{
    for (size_t i = 0; i < name.size; i++)
        if (name.at[i] < ' ' || name.at[i] > '~' || name.at[i] == '\'' || name.at[i] == '\\')
            return false;
    return true;
}

static void put_name(struct buffer *sql, struct span name)
{
    if (name.size == 0) {
        buffer_append_text(sql, "NULL");
    } else if (is_harmless(name)) {
        buffer_append_byte(sql, '\'');
        buffer_append_span(sql, name);
        buffer_append_byte(sql, '\'');
    } else {
        buffer_append_text(sql, "pg_catalog.convert_from(pg_catalog.decode('");
        for (size_t i = 0; i < name.size; i++)
            buffer_printf(sql, "%02x", name.at[i]);
        buffer_append_text(sql, "', 'hex'), 'UTF8')::pg_catalog.name");
    }
}

static void put(struct buffer *sql, char kind, uint32_t index, const struct query_object *object,
                uint32_t arguments, bool flag)
{
    buffer_printf(sql, ",\n ('%c', %u, ", kind, index);
    put_name(sql, object->schema);
    buffer_append_text(sql, ", ");
    put_name(sql, object->name);
    buffer_printf(sql, ", %u, %s)", arguments, flag ? "true" : "false");
}

/* --- lists ------------------------------------------------------------------------------------ */

static char kind_of(enum query_access access)
{
    switch (access) {
    case QUERY_ACCESS_INSERT:
    case QUERY_ACCESS_COPY:
        return 'i';
    case QUERY_ACCESS_UPDATE:
    case QUERY_ACCESS_DELETE:
    case QUERY_ACCESS_MERGE:
        return 'u';
    case QUERY_ACCESS_TRUNCATE:
        return 't';
    case QUERY_ACCESS_REFRESH:
        return 'm';
    case QUERY_ACCESS_READ:
    case QUERY_ACCESS_NAMED:
        return 'r';
    }
    return 'u';
}

static void put_relations(struct buffer *sql, const struct query_analysis *analysis)
{
    for (uint16_t i = 0; i < analysis->reads_count; i++)
        put(sql, 'r', i, &analysis->reads[i].is, 0, false);
    for (uint16_t i = 0; i < analysis->writes_count; i++)
        put(sql, kind_of(analysis->writes[i].access), i, &analysis->writes[i].is, 0, false);
}

/* A function of this name may be a declared one: its tables count as read. */
static bool is_named(const struct query_analysis *analysis, const struct query_object *declared)
{
    for (uint16_t i = 0; i < analysis->functions_count; i++) {
        const struct query_object *called = &analysis->functions[i].is;
        if (span_equal(called->name, declared->name) &&
            (called->schema.size == 0 || span_equal(called->schema, declared->schema)))
            return true;
    }
    return false;
}

static void put_declared(struct buffer *sql, const struct query_analysis *analysis,
                         const struct resolve_rules *rules)
{
    uint32_t index = analysis->reads_count;
    for (size_t i = 0; i < rules->count; i++) {
        const struct resolve_declared *declared = &rules->declared[i];
        if (!is_named(analysis, &declared->is))
            continue;
        put(sql, 'd', (uint32_t)i, &declared->is, 0, false);
        for (uint16_t j = 0; j < declared->tables_count; j++)
            put(sql, 'r', index++, &declared->tables[j], 0, true);
    }
}

static void put_expressions(struct buffer *sql, const struct query_analysis *analysis)
{
    for (uint16_t i = 0; i < analysis->functions_count; i++) {
        const struct query_function *called = &analysis->functions[i];
        /* In a.f the value is a row, unless a function in FROM has the name a. */
        bool of_row = called->attribute && !called->field && !analysis->calls_in_from;
        put(sql, of_row ? 'a' : 'f', i, &called->is, called->arguments, called->attribute);
    }
    for (uint16_t i = 0; i < analysis->operators_count; i++)
        put(sql, 'o', i, &analysis->operators[i], 0, false);
    for (uint16_t i = 0; i < analysis->types_count; i++)
        put(sql, 't', i, &analysis->types[i].is, 0, analysis->types[i].computed);
}

void resolve_question(const struct query_analysis *analysis, const struct resolve_rules *rules,
                      struct buffer *sql)
{
    buffer_append(sql, head, sizeof(head) - 1);
    put_relations(sql, analysis);
    put_declared(sql, analysis, rules);
    put_expressions(sql, analysis);
    buffer_append(sql, tail, sizeof(tail) - 1);
}
