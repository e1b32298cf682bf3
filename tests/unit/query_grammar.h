#pragma once
/*
 * query_grammar.h - the scanner of src/query/ against PostgreSQL's own grammar, as libpg_query has
 * it, for one text.
 *
 * Whatever the parse tree of the text shows to leave something in its session, the scanner must see
 * too, or say that it does not know.  Whatever the scanner takes for an end must be one.
 */
#include "json_view.h"
#include "query/effects.h"
#include "query_reads_grammar.h"

#include <pg_query.h>
#include <stdio.h>
#include <stdlib.h>

/* What a statement's tree shows. */
struct shown {
    uint16_t creates; /* each of these must be among creates or unsure */
    uint16_t ends;    /* no other may be believed to end */
    bool unsure;      /* something must be */
};

/* --- what a tree shows ------------------------------------------------------------------------ */

static bool is_temp(struct span name)
{
    return name.size >= 7 && strncasecmp((const char *)name.at, "pg_temp", 7) == 0;
}

static enum query_kind kind_of(struct span name, enum query_kind other)
{
    if (span_is_nocase(name, "role"))
        return QUERY_ROLE;
    if (span_is_nocase(name, "session_authorization"))
        return QUERY_AUTHORIZATION;
    return span_is_nocase(name, "seed") ? QUERY_SEED : other;
}

static bool is_of_transaction(struct span name)
{
    return name.size > 12 && strncasecmp((const char *)name.at, "transaction_", 12) == 0 &&
           memchr(name.at, '.', name.size) == NULL;
}

static bool args_have_temp(struct span args)
{
    struct json_walk walk = json_begin(args);
    while (json_next(&walk))
        if (is_temp(
                json_member_text(json_member(json_member(walk.value, "A_Const"), "sval"), "sval")))
            return true;
    return false;
}

static void see_set(struct span set, struct shown *shown)
{
    struct span kind = json_member_text(set, "kind"), name = json_member_text(set, "name");
    bool local = span_is(json_member(set, "is_local"), "true");
    enum query_kind what = kind_of(name, QUERY_SETTING);
    bool sets = span_is(kind, "VAR_SET_VALUE") || span_is(kind, "VAR_SET_CURRENT");
    bool many = span_is(kind, "VAR_SET_MULTI");
    if (span_is(kind, "VAR_RESET_ALL"))
        shown->ends |= QUERY_KIND(QUERY_SETTING) | QUERY_KIND(QUERY_CONFIG);
    if (many && !local && span_is(name, "SESSION CHARACTERISTICS"))
        shown->creates |= QUERY_KIND(QUERY_SETTING);
    if (sets && what == QUERY_SEED)
        shown->creates |= QUERY_KIND(QUERY_SEED);
    struct span value =
        json_member_text(json_member(json_member(json_begin(json_member(set, "args")).at == NULL
                                                     ? SPAN_NONE
                                                     : span_skip(json_member(set, "args"), 1),
                                                 "A_Const"),
                                     "sval"),
                         "sval");
    bool none = what == QUERY_ROLE && span_is(value, "none");
    if (sets && !local && !none && !is_of_transaction(name))
        shown->creates |= QUERY_KIND(what);
    if (sets && span_is_nocase(name, "search_path") && args_have_temp(json_member(set, "args")))
        shown->creates |= QUERY_KIND(QUERY_TEMPORARY);
    if (local || (sets && !none) || many)
        return;
    shown->ends |= QUERY_KIND(what);
    if (what == QUERY_AUTHORIZATION)
        shown->ends |= QUERY_KIND(QUERY_ROLE);
    if (what == QUERY_SETTING)
        shown->ends |= QUERY_KIND(QUERY_CONFIG);
}

static void see_discard(struct span discard, struct shown *shown)
{
    struct span target = json_member_text(discard, "target");
    if (span_is(target, "DISCARD_ALL"))
        shown->ends |= QUERY_ALL_KINDS & (uint16_t) ~(QUERY_KIND(QUERY_SEED) | QUERY_INCURABLE);
    if (span_is(target, "DISCARD_TEMP"))
        shown->ends |= QUERY_KIND(QUERY_TEMPORARY);
    if (span_is(target, "DISCARD_SEQUENCES"))
        shown->ends |= QUERY_KIND(QUERY_SEQUENCES);
}

/* The last of a list of names; *ret_schema: the one before. */
static struct span last_name(struct span names, struct span *ret_schema)
{
    struct span last = SPAN_NONE;
    struct json_walk walk = json_begin(names);
    while (json_next(&walk)) {
        *ret_schema = last;
        last = json_member_text(json_member(walk.value, "String"), "sval");
    }
    return last;
}

static void see_config(struct span call, struct shown *shown)
{
    struct span args[3] = {SPAN_NONE, SPAN_NONE, SPAN_NONE};
    struct json_walk walk = json_begin(json_member(call, "args"));
    for (unsigned i = 0; i < 3 && json_next(&walk); i++) {
        struct span cast = json_member(walk.value, "TypeCast"); /* N'' is one */
        args[i] = json_member(cast.size > 0 ? json_member(cast, "arg") : walk.value, "A_Const");
    }
    struct span name = json_member_text(json_member(args[0], "sval"), "sval");
    bool local = span_is(json_member(json_member(args[2], "boolval"), "boolval"), "true");
    enum query_kind kind = kind_of(name, QUERY_CONFIG);
    if (name.size == 0 && !local)
        shown->creates |= QUERY_KIND(QUERY_CONFIG) | QUERY_KIND(QUERY_ROLE) |
                          QUERY_KIND(QUERY_AUTHORIZATION) | QUERY_KIND(QUERY_SEED);
    else if (name.size > 0 && (kind == QUERY_SEED || (!local && !is_of_transaction(name))))
        shown->creates |= QUERY_KIND(kind);
}

static void see_call(struct span call, struct shown *shown)
{
    static const struct {
        const char *name;
        enum query_kind kind;
        bool ends;
    } functions[] = {
        {"pg_advisory_lock", QUERY_LOCK, false},
        {"pg_advisory_lock_shared", QUERY_LOCK, false},
        {"pg_try_advisory_lock", QUERY_LOCK, false},
        {"pg_try_advisory_lock_shared", QUERY_LOCK, false},
        {"pg_advisory_unlock", QUERY_LOCK, true},
        {"pg_advisory_unlock_shared", QUERY_LOCK, true},
        {"pg_advisory_unlock_all", QUERY_LOCK, true},
        {"lastval", QUERY_SEQUENCES, false},
        {"currval", QUERY_SEQUENCES, false},
        {"setseed", QUERY_SEED, false},
        {"pg_replication_origin_session_setup", QUERY_SLOT, false},
    };
    struct span schema = SPAN_NONE, name = last_name(json_member(call, "funcname"), &schema);
    if (schema.size > 0 && !span_is(schema, "pg_catalog"))
        return;
    if (span_is(name, "set_config"))
        see_config(call, shown);
    for (size_t i = 0; i < ARRAY_SIZE(functions); i++)
        if (span_is(name, functions[i].name) && functions[i].ends)
            shown->ends |= QUERY_KIND(functions[i].kind);
        else if (span_is(name, functions[i].name))
            shown->creates |= QUERY_KIND(functions[i].kind);
    struct json_walk walk = json_begin(json_member(call, "args"));
    struct span third = SPAN_NONE;
    for (unsigned i = 0; json_next(&walk); i++)
        third = i == 2 ? json_member(json_member(walk.value, "A_Const"), "boolval") : third;
    if ((span_is(name, "pg_create_physical_replication_slot") ||
         span_is(name, "pg_create_logical_replication_slot")) &&
        span_is(json_member(third, "boolval"), "true"))
        shown->creates |= QUERY_KIND(QUERY_SLOT);
}

/* A table that is made: temporary, unless it ends with the transaction. */
static void see_made(struct span relation, struct span on_commit, struct shown *shown)
{
    bool temporary = span_is(json_member_text(relation, "relpersistence"), "t") ||
                     is_temp(json_member_text(relation, "schemaname"));
    if (temporary && !span_is(on_commit, "ONCOMMIT_DROP"))
        shown->creates |= QUERY_KIND(QUERY_TEMPORARY);
}

static void see_names(struct span names, struct shown *shown)
{
    struct span schema = SPAN_NONE;
    (void)last_name(names, &schema);
    if (is_temp(schema))
        shown->creates |= QUERY_KIND(QUERY_TEMPORARY);
}

/* Statements that make an object, and where its name stands in them. */
static void see_create(struct span name, struct span node, struct shown *shown)
{
    static const struct {
        const char *statement, *relation, *names;
    } makers[] = {
        {"CreateStmt", "relation", NULL},
        {"ViewStmt", "view", NULL},
        {"CreateSeqStmt", "sequence", NULL},
        {"CompositeTypeStmt", "typevar", NULL},
        {"CreateFunctionStmt", NULL, "funcname"},
        {"DefineStmt", NULL, "defnames"},
        {"CreateEnumStmt", NULL, "typeName"},
        {"CreateRangeStmt", NULL, "typeName"},
        {"CreateDomainStmt", NULL, "domainname"},
        {"CreateOpClassStmt", NULL, "opclassname"},
        {"CreateConversionStmt", NULL, "conversion_name"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(makers); i++)
        if (span_is(name, makers[i].statement)) {
            if (makers[i].relation != NULL)
                see_made(json_member(node, makers[i].relation), json_member_text(node, "oncommit"),
                         shown);
            else
                see_names(json_member(node, makers[i].names), shown);
        }
    struct span into = json_member(node, "into");
    if (span_is(name, "CreateTableAsStmt"))
        see_made(json_member(into, "rel"), json_member_text(into, "onCommit"), shown);
    if (span_is(name, "ImportForeignSchemaStmt") && is_temp(json_member_text(node, "local_schema")))
        shown->creates |= QUERY_KIND(QUERY_TEMPORARY);
}

/* Utility statements, where they are carried out. */
static void see_statement(struct span name, struct span node, struct shown *shown)
{
    see_create(name, node, shown);
    if (span_is(name, "VariableSetStmt"))
        see_set(node, shown);
    if (span_is(name, "DiscardStmt"))
        see_discard(node, shown);
    if (span_is(name, "PrepareStmt"))
        shown->creates |= QUERY_KIND(QUERY_PREPARE);
    if (span_is(name, "ListenStmt"))
        shown->creates |= QUERY_KIND(QUERY_LISTEN);
    if (span_is(name, "LoadStmt"))
        shown->creates |= QUERY_KIND(QUERY_LOAD);
    if (span_is(name, "DeclareCursorStmt") &&
        (strtoul((const char *)json_member(node, "options").at, NULL, 10) & 0x20) != 0)
        shown->creates |= QUERY_KIND(QUERY_CURSOR);
    shown->unsure = shown->unsure || span_is(name, "ExecuteStmt");
    if (span_is(name, "DeallocateStmt"))
        shown->ends |= QUERY_KIND(QUERY_PREPARE);
    if (span_is(name, "UnlistenStmt"))
        shown->ends |= QUERY_KIND(QUERY_LISTEN);
    if (span_is(name, "ClosePortalStmt"))
        shown->ends |= QUERY_KIND(QUERY_CURSOR);
    if (span_is(name, "DropStmt") && span_is(json_member_text(node, "removeType"), "OBJECT_TABLE"))
        shown->ends |= QUERY_KIND(QUERY_TEMPORARY);
}

static void see_update(struct span relation, struct shown *shown)
{
    struct span schema = json_member_text(relation, "schemaname");
    if (span_is(json_member_text(relation, "relname"), "pg_settings") &&
        (schema.size == 0 || span_is(schema, "pg_catalog")))
        shown->creates |= QUERY_KIND(QUERY_CONFIG);
}

/* Where a node stands. */
enum place {
    PLACE_STATEMENT, /* it is the statement */
    PLACE_WITHIN,    /* where WITH may change data */
    PLACE_QUERY,     /* a query within others, where PostgreSQL refuses that */
};

/* Everywhere in the tree: what is called, what is updated, what is selected INTO. */
static void see_all(struct span value, enum place place, struct shown *shown)
{
    struct json_walk walk = json_begin(value);
    while (json_next(&walk)) {
        if (place == PLACE_STATEMENT)
            see_statement(walk.name, walk.value, shown);
        if (span_is(walk.name, "FuncCall"))
            see_call(walk.value, shown);
        if (span_is(walk.name, "UpdateStmt") && place != PLACE_QUERY)
            see_update(json_member(walk.value, "relation"), shown);
        if (span_is(walk.name, "intoClause"))
            see_made(json_member(walk.value, "rel"), json_member_text(walk.value, "onCommit"),
                     shown);
        bool explained = span_is(value.size > 0 ? walk.name : SPAN_NONE, "ExplainStmt");
        struct json_walk inner =
            json_begin(explained ? json_member(walk.value, "query") : SPAN_NONE);
        while (json_next(&inner))
            see_statement(inner.name, inner.value, shown);
        bool query = place == PLACE_QUERY || span_is(walk.name, "SubLink") ||
                     span_is(walk.name, "RangeSubselect") || span_is(walk.name, "larg") ||
                     span_is(walk.name, "rarg") || span_is(walk.name, "selectStmt");
        see_all(walk.value, query ? PLACE_QUERY : PLACE_WITHIN, shown);
    }
}

/* --- the comparison --------------------------------------------------------------------------- */

enum comparison {
    COMPARE_NO_SQL, /* the grammar refuses the text */
    COMPARE_AGREES,
    COMPARE_DIFFERS,
};

#define COMPARE_WHY_MAX 160

static bool creates_agree(const struct query_effects *effects, const struct shown *shown,
                          unsigned statement, char why[COMPARE_WHY_MAX])
{
    uint16_t found =
        effects->more | effects->unsure | (effects->path ? QUERY_KIND(QUERY_TEMPORARY) : 0);
    for (unsigned i = 0; i < effects->count; i++)
        if (effects->all[i].act == QUERY_CREATES && effects->all[i].statement == statement)
            found |= QUERY_KIND(effects->all[i].kind);
    if ((shown->creates & ~found) != 0)
        snprintf(why, COMPARE_WHY_MAX, "kinds %x of statement %u are missed",
                 (unsigned)(shown->creates & ~found), statement);
    else if (shown->unsure && effects->unsure == 0)
        snprintf(why, COMPARE_WHY_MAX, "statement %u is not unsure", statement);
    else
        return true;
    return false;
}

static bool ends_agree(const struct query_effects *effects, const struct shown *shown,
                       unsigned statement, char why[COMPARE_WHY_MAX])
{
    for (unsigned i = 0; i < effects->count; i++) {
        const struct query_effect *effect = &effects->all[i];
        bool believed = effect->act != QUERY_CREATES && effect->statement == statement &&
                        (effects->unsure & QUERY_KIND(effect->kind)) == 0;
        if (believed && (shown->ends & QUERY_KIND(effect->kind)) == 0) {
            snprintf(why, COMPARE_WHY_MAX, "kind %u is ended by statement %u", effect->kind,
                     statement);
            return false;
        }
    }
    return true;
}

static bool statement_agrees(struct span statement, bool may, const struct query_effects *effects,
                             unsigned place, char why[COMPARE_WHY_MAX])
{
    struct shown shown = {0};
    see_all(statement, PLACE_STATEMENT, &shown);
    if (!may && (shown.creates != 0 || shown.unsure)) {
        snprintf(why, COMPARE_WHY_MAX, "the filter finds nothing, statement %u has kinds %x", place,
                 (unsigned)shown.creates);
        return false;
    }
    return creates_agree(effects, &shown, place, why) && ends_agree(effects, &shown, place, why);
}

/* Writes to `why` where they differ. */
static enum comparison compare_text(const char *text, char why[COMPARE_WHY_MAX])
{
    struct query_effects effects;
    PgQueryParseResult parsed = pg_query_parse(text);
    enum comparison result = parsed.error == NULL ? COMPARE_AGREES : COMPARE_NO_SQL;
    if (result == COMPARE_AGREES) {
        bool may = query_may_have_effects(span_text(text));
        (void)query_read_effects(span_text(text), &effects);
        struct json_walk walk = json_begin(json_member(span_text(parsed.parse_tree), "stmts"));
        for (unsigned i = 0; result == COMPARE_AGREES && json_next(&walk); i++)
            if (!statement_agrees(json_member(walk.value, "stmt"), may, &effects, i, why))
                result = COMPARE_DIFFERS;
        if (result == COMPARE_AGREES && !reads_agree(text, parsed.parse_tree, why, COMPARE_WHY_MAX))
            result = COMPARE_DIFFERS;
    }
    pg_query_free_parse_result(parsed);
    return result;
}
