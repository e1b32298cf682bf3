#pragma once
/*
 * analysis_parts.h - shared by the files of the analysis: the parse tree, the lists being filled.
 *
 * libpg_query gives the parse tree as JSON.  A node is an object with one member, whose name is the
 * type: {"SelectStmt": {...}}.  Where PostgreSQL's struct has a pointer to a certain type, the
 * object has no such wrapping.  Members with the value 0, false, "" or NULL are absent; a negative
 * integer is absent too.
 */
#include "query/analysis.h"

/* --- analysis_tree.c: JSON, as an array of values in the order of the text -------------------- */

enum tree_kind { TREE_OBJECT, TREE_LIST, TREE_STRING, TREE_OTHER };

struct tree_value {
    uint32_t name; /* offsets in the JSON text, which is decoded in place */
    uint32_t text;
    uint32_t name_size;
    uint32_t text_size;
    uint32_t end; /* index behind the value and everything in it */
    enum tree_kind kind;
};

struct tree {
    char *json; /* borrowed; decoded in place */
    struct tree_value *values;
    uint32_t count;
    uint32_t room;
};

/* An index in `values`.  0 is none: a value without name, text and parts. */
typedef uint32_t tree_at;
#define TREE_ROOT 1

/** Reads a whole JSON text.  Faults: MEMORY, SYNTAX (not as libpg_query writes it). */
fault analysis_tree_read(struct tree *tree, char *json) MUST_USE;
void analysis_tree_fini(struct tree *tree);
struct span analysis_tree_name(const struct tree *tree, tree_at at);
struct span analysis_tree_text(const struct tree *tree, tree_at at);
/** The member of this name; 0 if there is none. */
tree_at analysis_tree_member(const struct tree *tree, tree_at object, const char *name);
struct span analysis_tree_member_text(const struct tree *tree, tree_at object, const char *name);
/** Returns the first part of an object or list, or 0. */
tree_at analysis_tree_first(const struct tree *tree, tree_at at);
/** Returns the part of `whole` behind `part`, or 0. */
tree_at analysis_tree_next(const struct tree *tree, tree_at whole, tree_at part);
/** Returns the object of a node if the node has this type, else 0. */
tree_at analysis_tree_node(const struct tree *tree, tree_at node, const char *type);
uint32_t analysis_tree_length(const struct tree *tree, tree_at list);

/* --- the analysis being made ------------------------------------------------------------------ */

/* Common table expressions visible at one place. */
#define ANALYSIS_SCOPES_MAX 256
/* Parameters whose places are counted; a later one counts as one that stands in several. */
#define ANALYSIS_COUNTED_MAX 64

struct analysis {
    struct query_analysis done; /* its lists are the arrays below */
    struct span text;
    struct tree tree;
    uint32_t occurrences;                 /* of relations that are read */
    uint32_t depth;                       /* of the walk */
    bool truncated;                       /* a list was full */
    uint8_t places[ANALYSIS_COUNTED_MAX]; /* of each parameter: 2 is several */
    uint16_t scopes;
    struct span scope[ANALYSIS_SCOPES_MAX]; /* names of common table expressions, innermost last */
    struct query_relation reads[QUERY_ANALYSIS_ITEMS_MAX];
    struct query_relation writes[QUERY_ANALYSIS_ITEMS_MAX];
    struct query_function functions[QUERY_ANALYSIS_ITEMS_MAX];
    struct query_object operators[QUERY_ANALYSIS_ITEMS_MAX];
    struct query_type types[QUERY_ANALYSIS_ITEMS_MAX];
    struct query_object collations[QUERY_ANALYSIS_ITEMS_MAX];
    struct query_key keys[QUERY_ANALYSIS_ITEMS_MAX];
    struct query_named named[QUERY_ANALYSIS_ITEMS_MAX];
};

/* --- analysis.c ------------------------------------------------------------------------------- */

/** Prepares libpg_query for this thread.  Call it before any function of the library. */
void analysis_library(void);

/* --- analysis_result.c ------------------------------------------------------------------------ */

/** Adds a reason.  Unknown syntax makes the writes unknown too. */
void analysis_because(struct analysis *analysis, enum query_reason reason);
/** Raises what the text may write to at least this extent. */
void analysis_extends(struct analysis *analysis, enum query_extent extent);
/** Copies what was found into one allocation.  Faults: MEMORY. */
fault analysis_finish(const struct analysis *analysis, struct query_analysis **ret) MUST_USE;

/* --- analysis_limits.c ------------------------------------------------------------------------ */

/** Estimates how deep the parse tree of a text may be: an upper bound, in tokens. */
uint32_t analysis_nesting(struct span text);

/* --- analysis_walk.c -------------------------------------------------------------------------- */

/** Walks a node, a list of nodes, or an empty object. */
void analysis_walk(struct analysis *analysis, tree_at value);
/** Walks an object of a type that the caller knows. */
void analysis_walk_as(struct analysis *analysis, const char *type, tree_at object);

/* --- analysis_reads.c ------------------------------------------------------------------------- */

void analysis_see_relation(struct analysis *analysis, tree_at range_var);
/** Records a write to a relation. */
void analysis_see_written(struct analysis *analysis, tree_at range_var, enum query_access access);
/** The same for the member `relation` of a statement. */
void analysis_see_target(struct analysis *analysis, tree_at statement, enum query_access access);
/** Walks the expressions of a WITH clause and makes their names visible. */
void analysis_see_with(struct analysis *analysis, tree_at with);

/* --- analysis_statement.c --------------------------------------------------------------------- */

/** Walks a statement of the text: a node. */
void analysis_see_statement(struct analysis *analysis, tree_at node);

/* --- analysis_verbs.c ------------------------------------------------------------------------- */

/** Finds the verbs of all statements, and an UPDATE or DELETE without WHERE. */
void analysis_see_verbs(struct analysis *analysis);
/** Lists the relations and functions that a part of the tree names, which is not walked. */
void analysis_see_named(struct analysis *analysis, tree_at whole);

/* --- analysis_calls.c ------------------------------------------------------------------------- */

void analysis_see_function(struct analysis *analysis, tree_at call);
/** Records a function of pg_catalog that the syntax stands for. */
void analysis_add_builtin(struct analysis *analysis, const char *name, uint32_t arguments);
void analysis_add_operator(struct analysis *analysis, const char *name);
/** Records an operator by its list of names; `=` if there is no list. */
void analysis_see_operator(struct analysis *analysis, tree_at names);
void analysis_see_expression(struct analysis *analysis, tree_at expression);
void analysis_see_type(struct analysis *analysis, tree_at type, bool computed);
void analysis_see_collation(struct analysis *analysis, tree_at names);

/* Lists of names of columns. */
enum column_names {
    COLUMN_REFERENCE, /* [[schema.]table.]column: the last of several may be a function */
    COLUMN_FIELDS,    /* of a composite value: each may be a function */
    COLUMN_NAMES,     /* USING (a, b): none is a function */
};
void analysis_see_column(struct analysis *analysis, tree_at names, enum column_names kind);
void analysis_see_constant(struct analysis *analysis, tree_at constant);
void analysis_see_value(struct analysis *analysis, tree_at value);
void analysis_see_parameter(struct analysis *analysis, tree_at parameter);
/** Returns whether a node is a literal or a parameter. */
bool analysis_is_given(const struct analysis *analysis, tree_at node);
/** The last two names of a list such as database.schema.name. */
struct query_object analysis_object(const struct analysis *analysis, tree_at names);

/* --- analysis_keys.c -------------------------------------------------------------------------- */

/** Lists the key equality of the only statement of the text. */
void analysis_see_keys(struct analysis *analysis, tree_at node);
