#pragma once
/*
 * sql.h - the small SQL of the model: its words, its types, its statements.  Private to the model.
 *
 * A text is cut into tokens, parsed into statements, and each statement is analysed (names and
 * types) right before it runs or when it is prepared, as the server does it, because the order of
 * these steps is the order of its errors.  All of a text's nodes live in one arena.
 */
#include "base/buffer.h"
#include "wire/message.h"

struct model_session;

#define SQL_PARAMS_MAX 64

/* --- memory that goes all at once ------------------------------------------------------------- */

struct sql_arena {
    struct sql_chunk *first;
};
void *sql_take(struct sql_arena *arena, size_t size); /* zeroed */
struct span sql_copy(struct sql_arena *arena, struct span text);
struct span sql_printf(struct sql_arena *arena, const char *format, ...) PRINTF_LIKE(2, 3);
/** Everything goes but one chunk, for the next round. */
void sql_arena_reset(struct sql_arena *arena);
void sql_arena_fini(struct sql_arena *arena);

/* --- types and values ------------------------------------------------------------------------- */

enum sql_type {
    SQL_UNKNOWN, /* a string that has met no type yet */
    SQL_BOOL,
    SQL_INT4,
    SQL_INT8,
    SQL_TEXT,
    SQL_NAME,
    SQL_VOID,
    SQL_NUMERIC,
    SQL_FLOAT8,
    SQL_TYPES,
};
struct sql_type_row {
    const char *name; /* as in messages: "integer" */
    const char *word; /* as in the catalog: "int4" */
    uint32_t oid;
    int16_t size;
};
extern const struct sql_type_row sql_types[SQL_TYPES];
/** SQL_TYPES: none that the model knows. */
enum sql_type sql_type_by_oid(uint32_t oid);
enum sql_type sql_type_by_name(struct span name);

/* Its type is known from where it stands. */
struct sql_value {
    bool null;
    int64_t number; /* integers, booleans */
    double real;
    struct span text;
};
/** A value in the text form; texts go as they are. */
struct span sql_value_text(struct sql_arena *arena, enum sql_type type,
                           const struct sql_value *value);
/** Reads the text form; raises 22P02 or 22003. */
fault sql_value_read(struct model_session *session, enum sql_type type, struct span text,
                     struct sql_value *ret) MUST_USE;
/** Reads the binary form: false when it is none. */
bool sql_value_receive(enum sql_type type, struct span bytes, struct sql_value *ret);
/** Changes a value from one type to another, as a cast does. */
fault sql_value_cast(struct model_session *session, struct sql_arena *arena,
                     const enum sql_type types[2], struct sql_value *value) MUST_USE;

/* --- tokens ----------------------------------------------------------------------------------- */

enum sql_token_kind {
    SQL_END,
    SQL_WORD,
    SQL_QUOTED,
    SQL_STRING,
    SQL_INTEGER,
    SQL_DECIMAL,
    SQL_DOLLAR,
    SQL_SIGN,
    SQL_BAD
};
struct sql_token {
    enum sql_token_kind kind;
    struct span raw;   /* as it stands there */
    struct span value; /* folded, unquoted; SQL_BAD: what is wrong with it */
    uint64_t number;   /* SQL_DOLLAR, SQL_INTEGER up to UINT64_MAX */
};
struct sql_token *sql_lex(struct sql_arena *arena, struct span text);

/* --- expressions ------------------------------------------------------------------------------ */

enum sql_expr_kind {
    SQL_CONST,
    SQL_PARAM,
    SQL_COLUMN,
    SQL_CALL,
    SQL_OPERATOR,
    SQL_CAST,
    SQL_AND,
    SQL_OR,
    SQL_NOT,
    SQL_IS_NULL, /* or is not: `negated` */
    SQL_STAR,    /* the argument of count(*), or a target */
    SQL_DEFAULT, /* in VALUES */
};

struct sql_function;
struct sql_expr {
    enum sql_expr_kind kind;
    enum sql_type type; /* SQL_CAST: to it */
    bool negated;
    bool is_word;     /* a call without parentheses: current_user */
    char sign[3];     /* SQL_OPERATOR */
    uint32_t number;  /* SQL_PARAM: from 1; SQL_COLUMN: from 0 */
    struct span name; /* SQL_COLUMN, SQL_CALL, SQL_CAST: what is written */
    struct span of;   /* the name's qualifier */
    const struct sql_function *function;
    struct sql_value value;
    struct sql_expr *args; /* the first; they hang together by `next` */
    uint32_t arg_count;
    struct sql_expr *next;
};

struct sql_target {
    struct sql_expr *expr;
    struct span label; /* its column's name */
    struct sql_target *next;
};

/* --- statements ------------------------------------------------------------------------------- */

enum sql_kind {
    SQL_SELECT,
    SQL_INSERT,
    SQL_UPDATE,
    SQL_DELETE,
    SQL_TRUNCATE,
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_SAVEPOINT,
    SQL_RELEASE,
    SQL_ROLLBACK_TO,
    SQL_SET,
    SQL_RESET,
    SQL_SHOW,
    SQL_SET_TRANSACTION,
    SQL_PREPARE,
    SQL_EXECUTE,
    SQL_DEALLOCATE,
    SQL_DISCARD,
    SQL_COPY,
    SQL_LISTEN,
    SQL_NOTIFY,
    SQL_UNLISTEN,
    SQL_DECLARE,
    SQL_FETCH,
    SQL_CLOSE,
    SQL_CREATE,
    SQL_DROP,
};

enum sql_source { SQL_FROM_NOTHING, SQL_FROM_TABLE, SQL_FROM_SERIES };
enum sql_conflict { SQL_CONFLICT_FAILS, SQL_CONFLICT_SKIPS, SQL_CONFLICT_UPDATES };
enum sql_discard { SQL_DISCARD_ALL, SQL_DISCARD_PLANS, SQL_DISCARD_SEQUENCES, SQL_DISCARD_TEMP };

struct sql_row {
    struct sql_expr *values;
    uint32_t count;
    struct sql_row *next;
};
struct sql_assignment {
    struct span column;
    uint32_t number;
    struct sql_expr *value;
    struct sql_assignment *next;
};
/* What BEGIN and SET TRANSACTION say: -1 where nothing is said. */
struct sql_modes {
    int8_t read_only;
    const char *isolation; /* NULL: not said */
};

struct sql_stmt {
    enum sql_kind kind;
    struct sql_stmt *next;
    struct span text;

    /* queries, RETURNING */
    struct sql_target *targets;
    enum sql_source source;
    struct span table; /* of any statement that has one */
    struct span alias;
    struct sql_expr *series; /* from, to, step */
    struct sql_expr *where;
    struct sql_expr *order;
    bool descending;
    struct sql_expr *limit;
    struct sql_expr *offset;
    bool for_update;
    bool aggregates; /* known after its analysis */
    bool has_key;    /* the table's */

    /* changes */
    struct sql_assignment *columns; /* of INSERT and COPY: names only */
    struct sql_row *rows;
    enum sql_conflict conflict;
    struct sql_assignment *set; /* of UPDATE, and of ON CONFLICT DO UPDATE */

    /* the others */
    struct span name;
    struct span value; /* SET, NOTIFY */
    bool is_default;
    bool is_list; /* SET x = a, b */
    bool local;
    bool all;
    bool chain;
    bool hold;
    bool missing_ok;
    bool to_client; /* COPY */
    bool quietly;   /* MOVE */
    enum sql_discard discard;
    int64_t count; /* FETCH; INT64_MAX: all */
    struct sql_modes modes;
    struct sql_expr *args;
    uint32_t type_count;
    enum sql_type types[SQL_PARAMS_MAX];
    struct sql_stmt *inner;
};

/** All statements of a text; NULL: none.  Raises 42601. */
fault sql_parse(struct model_session *session, struct sql_arena *arena, struct span text,
                struct sql_stmt **ret) MUST_USE;

/* A parser at work; its rooms share it. */
struct sql_parser {
    struct model_session *session;
    struct sql_arena *arena;
    struct sql_token *at;
    uint32_t depth;
};
fault sql_syntax_error(struct sql_parser *parser) COLD;
bool sql_is_word(const struct sql_parser *parser, const char *word);
bool sql_is_sign(const struct sql_parser *parser, const char *sign);
bool sql_accept_word(struct sql_parser *parser, const char *word);
bool sql_accept_sign(struct sql_parser *parser, const char *sign);
fault sql_expect_word(struct sql_parser *parser, const char *word) MUST_USE;
fault sql_expect_sign(struct sql_parser *parser, const char *sign) MUST_USE;
/** A name that may stand for a table, a column, a statement. */
fault sql_read_name(struct sql_parser *parser, struct span *ret) MUST_USE;
/** The same with a schema in front, which the model forgets if it is the right one. */
fault sql_read_relation(struct sql_parser *parser, struct span *ret) MUST_USE;
fault sql_read_type(struct sql_parser *parser, enum sql_type *ret) MUST_USE;
fault sql_read_expr(struct sql_parser *parser, struct sql_expr **ret) MUST_USE;
fault sql_read_list(struct sql_parser *parser, struct sql_expr **ret, uint32_t *count) MUST_USE;
/** SELECT, INSERT, UPDATE, DELETE; the first word is still there. */
fault sql_read_query(struct sql_parser *parser, struct sql_stmt *stmt) MUST_USE;
bool sql_is_query(const struct sql_parser *parser);
/** SET, RESET, SHOW, BEGIN and their like: false when the first word is none of theirs. */
bool sql_is_setting(const struct sql_parser *parser);
fault sql_read_setting(struct sql_parser *parser, struct sql_stmt *stmt) MUST_USE;
/** The pooler's question which parameters have been reset (model_parse_asking.c). */
bool sql_is_asking(const struct sql_parser *parser);
fault sql_read_asking(struct sql_parser *parser, struct sql_stmt *stmt) MUST_USE;
fault sql_read_stmt(struct sql_parser *parser, struct sql_stmt **ret) MUST_USE;

/* --- meaning ---------------------------------------------------------------------------------- */

/* The types of a statement's parameters, as far as they are known. */
struct sql_params {
    bool open; /* more may be found: a prepared statement's */
    uint32_t count;
    enum sql_type types[SQL_PARAMS_MAX];
};
/** Finds names and types; raises what is wrong with them. */
fault sql_analyse(struct model_session *session, struct sql_arena *arena, struct sql_stmt *stmt,
                  struct sql_params *params) MUST_USE;
/** COPY, which is analysed each time that it runs. */
fault sql_analyse_copy(struct model_session *session, struct sql_arena *arena,
                       struct sql_stmt *stmt) MUST_USE;
/** One expression outside of any table: the arguments of EXECUTE. */
fault sql_analyse_lone(struct model_session *session, struct sql_arena *arena,
                       struct sql_expr *expr, struct sql_params *params) MUST_USE;
/** Makes `*expr` a value of this type where that happens by itself (`assigned`: in INSERT and
 *  UPDATE). False: it does not. */
fault sql_coerce(struct model_session *session, struct sql_arena *arena, struct sql_expr **expr,
                 enum sql_type type, bool assigned, bool *ret_done) MUST_USE;
/** The statement gives rows to whoever runs it. */
bool sql_has_rows(const struct sql_stmt *stmt);

/* What an expression may look at while it is evaluated. */
struct sql_scope {
    struct model_session *session;
    struct sql_arena *arena; /* for what it makes */
    const struct sql_value *params;
    const struct sql_value *columns;    /* of the row; NULL: none */
    const struct sql_value *aggregates; /* of count and its like, in the order of their calls */
};
fault sql_evaluate(const struct sql_scope *scope, const struct sql_expr *expr,
                   struct sql_value *ret) MUST_USE;
/** Evaluates what does not depend on rows (nor, without `params`, on parameters), as the planner
 *  does, and raises what goes wrong there. */
fault sql_fold(const struct sql_scope *scope, const struct sql_expr *expr, bool params) MUST_USE;

enum sql_volatility { SQL_IMMUTABLE, SQL_STABLE, SQL_VOLATILE };
enum sql_aggregate { SQL_PLAIN, SQL_COUNT, SQL_SUM, SQL_MIN, SQL_GREATEST };
struct sql_function {
    const char *name;
    enum sql_type result;
    enum sql_type args[3]; /* SQL_VOID ends them */
    uint8_t arg_count;
    enum sql_volatility volatility;
    enum sql_aggregate aggregate;
    bool takes_null;
    fault (*call)(const struct sql_scope *scope, const struct sql_value *args,
                  struct sql_value *ret);
};
/** Finds the function by name and the types of its arguments, which may be coerced to it.  NULL:
 *  none. */
const struct sql_function *sql_function_find(struct span name, const enum sql_type *types,
                                             uint32_t count);
