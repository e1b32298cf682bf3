/* reads.c - proves that a text only reads: see reads.h. */
#include "query/reads.h"

#include "query/scan_parts.h"

#include <string.h>

/* A name as a.b.c, which may be that of a function or of a relation. */
struct chain {
    struct query_token schema; /* the last part but one, if there are several */
    struct query_token name;   /* the last part */
    struct query_token front;  /* the token in front of the name */
    unsigned parts;            /* 0: the last token is no part of a name */
    bool cast;                 /* behind :: */
    bool dotted;               /* ends in a dot */
};

struct proof {
    struct query_scan scan;
    struct query_token token;  /* the current one, not consumed */
    struct query_token before; /* the one before; END: none */
    struct chain chain;        /* ends with `before` */
    const uint8_t *end;        /* behind the last token that was consumed */
    const struct query_read_rules *rules;
    uint64_t fingerprint;
    bool calls;     /* calls a function that is not known to read, or names a pg_ relation */
    bool forbidden; /* has what no hint makes a read */
    bool explain;
    bool groups; /* the last BY was that of a GROUP BY */
};

/* --- tokens ----------------------------------------------------------------------------------- */

#define FINGERPRINT_SEED  0xcbf29ce484222325u
#define FINGERPRINT_PRIME 0x100000001b3u

static void mix(struct proof *proof, uint8_t byte)
{
    proof->fingerprint = (proof->fingerprint ^ byte) * FINGERPRINT_PRIME;
}

/* Adds the current token: names folded, literals by their kind only. */
static void mix_token(struct proof *proof)
{
    const struct query_token *token = &proof->token;
    mix(proof, (uint8_t)token->kind);
    if (token->kind != QUERY_TOKEN_WORD && token->kind != QUERY_TOKEN_QUOTED &&
        token->kind != QUERY_TOKEN_PUNCT)
        return;
    for (size_t i = 0; i < token->text.size; i++) {
        uint8_t c = token->text.at[i];
        bool folds = token->kind == QUERY_TOKEN_WORD && c >= 'A' && c <= 'Z';
        mix(proof, folds ? c | 0x20 : c);
    }
}

static bool is_word(const struct query_token *token, const char *word)
{
    return token->kind == QUERY_TOKEN_WORD && span_is_nocase(token->text, word);
}

static bool is_punct(const struct query_token *token, char c)
{
    return token->kind == QUERY_TOKEN_PUNCT && token->text.at[0] == (uint8_t)c;
}

static bool is_name(const struct query_token *token)
{
    return token->kind == QUERY_TOKEN_WORD || token->kind == QUERY_TOKEN_QUOTED;
}

/* Takes the current token to the name that it is a part of. */
static void chain_add(struct proof *proof)
{
    struct chain *chain = &proof->chain;
    if (chain->parts > 0 && !chain->dotted && is_punct(&proof->token, '.')) {
        chain->dotted = true;
        return;
    }
    if (!is_name(&proof->token)) {
        chain->cast = is_punct(&proof->token, ':') && is_punct(&proof->before, ':') &&
                      proof->token.text.at == proof->before.text.at + 1;
        chain->parts = 0;
        return;
    }
    if (chain->parts > 0 && chain->dotted) {
        chain->schema = chain->name;
        chain->parts += 1;
    } else {
        chain->cast = chain->cast && chain->parts == 0;
        chain->front = proof->before;
        chain->parts = 1;
    }
    chain->name = proof->token;
    chain->dotted = false;
}

/* Whether a byte may be the second one of a character: in SJIS, BIG5, GBK, UHC, JOHAB, GB18030. */
static bool may_be_second(uint8_t c)
{
    return memchr("@[\\]^`{|}~", c, 10) != NULL;
}

/* Whether the current token, which begins at `behind`, may begin earlier than the scanner says or
 * later: PostgreSQL may read more digits (1e5into is 1e5 and INTO), or a word goes on. */
static bool is_cut(const struct proof *proof, const uint8_t *behind)
{
    const struct query_token *before = &proof->before, *token = &proof->token;
    if (token->text.at != behind)
        return false;
    if (before->kind == QUERY_TOKEN_NUMBER)
        return is_name(token);
    return before->kind == QUERY_TOKEN_WORD && before->text.at[before->text.size - 1] >= 0x80 &&
           token->kind == QUERY_TOKEN_PUNCT && may_be_second(token->text.at[0]);
}

static void advance(struct proof *proof)
{
    chain_add(proof);
    proof->before = proof->token;
    const uint8_t *behind = proof->scan.at;
    if (!is_punct(&proof->token, ';'))
        proof->end = behind;
    proof->token = query_scan_next(&proof->scan);
    proof->forbidden = proof->forbidden || is_cut(proof, behind);
    mix_token(proof);
}

static bool at_end(const struct proof *proof)
{
    return proof->token.kind == QUERY_TOKEN_END;
}

static bool at_word(const struct proof *proof, const char *word)
{
    return is_word(&proof->token, word);
}

static bool take(struct proof *proof, const char *word)
{
    if (!at_word(proof, word))
        return false;
    advance(proof);
    return true;
}

static bool is_one_of(struct span name, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (span_is_nocase(name, words[i]))
            return true;
    return false;
}
#define ONE_OF(name, words) is_one_of(name, words, sizeof(words) / sizeof((words)[0]))

/* --- functions -------------------------------------------------------------------------------- */

#define NAME_MAX 63u /* PostgreSQL cuts longer identifiers */

static const char *const known[] = {
#define FUNCTION(name) name,
#include "query/read_functions.def"
#undef FUNCTION
};

bool query_function_reads(struct span name)
{
    size_t low = 0, high = sizeof(known) / sizeof(known[0]);
    while (low < high) {
        size_t middle = low + (high - low) / 2, size = strlen(known[middle]);
        int order = memcmp(name.at, known[middle], name.size < size ? name.size : size);
        if (order == 0 && name.size == size)
            return true;
        if (order < 0 || (order == 0 && name.size < size))
            high = middle;
        else
            low = middle + 1;
    }
    return false;
}

/* Writes an identifier as PostgreSQL reads it.  Returns its size; 0: it is too long to be told. */
static size_t fold(const struct query_token *token, uint8_t name[NAME_MAX])
{
    size_t size = 0;
    for (size_t i = 0; i < token->text.size; i++) {
        uint8_t c = token->text.at[i];
        if (size == NAME_MAX)
            return 0;
        bool folds = token->kind == QUERY_TOKEN_WORD && c >= 'A' && c <= 'Z';
        name[size++] = folds ? c | 0x20 : c;
        if (token->kind == QUERY_TOKEN_QUOTED && c == '"')
            i += 1; /* quotes come in pairs here */
    }
    return size;
}

static bool is_declared(const struct proof *proof, struct span name)
{
    for (size_t i = 0; i < proof->rules->count; i++)
        if (span_equal(proof->rules->declared[i], name))
            return true;
    return false;
}

/* Whether the function in front of '(' is known to read.  One with a schema is PostgreSQL's own in
 * pg_catalog only. */
static bool call_reads(const struct proof *proof)
{
    const struct chain *chain = &proof->chain;
    uint8_t whole[2 * NAME_MAX + 1], name[NAME_MAX];
    size_t size = fold(&chain->name, name);
    if (size == 0 || chain->dotted || chain->parts > 2)
        return false;
    if (chain->parts == 1)
        return query_function_reads(span_of(name, size)) || is_declared(proof, span_of(name, size));
    size_t schema = fold(&chain->schema, whole);
    if (schema == 0)
        return false;
    if (span_is(span_of(whole, schema), "pg_catalog") && query_function_reads(span_of(name, size)))
        return true;
    whole[schema] = '.';
    memcpy(whole + schema + 1, name, size);
    return is_declared(proof, span_of(whole, schema + 1 + size));
}

/* --- what may stand in front of a parenthesis ------------------------------------------------- */

/* Keywords that name no function: reserved ones, and those that only PostgreSQL's grammar calls. */
static const char *const before_parenthesis[] = {
    "select",       "from",
    "where",        "and",
    "in",           "as",
    "or",           "not",
    "on",           "values",
    "any",          "all",
    "array",        "case",
    "when",         "then",
    "else",         "coalesce",
    "cast",         "exists",
    "extract",      "union",
    "lateral",      "distinct",
    "between",      "limit",
    "offset",       "having",
    "using",        "nullif",
    "greatest",     "least",
    "numeric",      "varchar",
    "char",         "character",
    "decimal",      "timestamp",
    "time",         "interval",
    "bit",          "float",
    "int",          "integer",
    "bigint",       "boolean",
    "smallint",     "real",
    "dec",          "nchar",
    "precision",    "substring",
    "position",     "trim",
    "overlay",      "normalize",
    "treat",        "row",
    "some",         "only",
    "except",       "intersect",
    "group",        "grouping",
    "to",           "symmetric",
    "current_time", "current_timestamp",
    "localtime",    "localtimestamp",
};

/* Whether a value or a relation begins behind this token, so that a name there is a function's. */
static bool starts_operand(const struct query_token *token)
{
    if (token->kind == QUERY_TOKEN_PUNCT)
        return token->text.at[0] != ')' && token->text.at[0] != ']';
    return token->kind == QUERY_TOKEN_WORD &&
           (is_word(token, "by") || ONE_OF(token->text, before_parenthesis));
}

/* Whether the word in front of '(' names no function because of the token before it. */
static bool is_clause(const struct proof *proof)
{
    const struct query_token *word = &proof->chain.name, *front = &proof->chain.front;
    if (is_word(word, "by"))
        return is_word(front, "group") || is_word(front, "order") || is_word(front, "partition");
    if (is_word(word, "over") || is_word(word, "filter"))
        return is_punct(front, ')');
    if (is_word(word, "rollup") || is_word(word, "cube"))
        return is_word(front, "by") && proof->groups;
    if (is_word(word, "join") || is_word(word, "like") || is_word(word, "ilike"))
        return !starts_operand(front);
    if (is_word(word, "sets"))
        return is_word(front, "grouping");
    if (is_word(word, "varying"))
        return is_word(front, "character") || is_word(front, "char") || is_word(front, "bit");
    return is_word(word, "explain") && front->kind == QUERY_TOKEN_END;
}

/* Whether the name in front of '(' is a new one with a list of its columns, or a type. */
static bool names_no_function(const struct proof *proof)
{
    const struct chain *chain = &proof->chain;
    if (chain->cast || is_word(&chain->front, "as") || is_word(&chain->front, "with") ||
        is_word(&chain->front, "recursive"))
        return true;
    return chain->parts == 1 && chain->name.kind == QUERY_TOKEN_WORD &&
           (ONE_OF(chain->name.text, before_parenthesis) || is_clause(proof));
}

/* --- the statement ---------------------------------------------------------------------------- */

/* Words of statements that write, and of clauses that do.  A column of such a name is not worth a
 * closer look. */
static const char *const writing[] = {"into", "insert", "update", "delete", "merge", "uescape"};
static const char *const locking[] = {"update", "no", "share", "key"};
/* Words that EXPLAIN must not have: it runs the statement, or explains one that is no query. */
static const char *const explained[] = {"analyze", "analyse", "execute",
                                        "create",  "declare", "refresh"};

static bool is_of_catalog(const struct query_token *token)
{
    return is_name(token) && token->text.size >= 3 &&
           strncasecmp((const char *)token->text.at, "pg_", 3) == 0;
}

/* Columns of sequences: a standby knows them up to 32 values ahead of the primary. */
static const char *const of_sequences[] = {"last_value", "log_cnt", "is_called"};

/* Looks at the name that ends in front of the current token, if one does. */
static void end_name(struct proof *proof)
{
    const struct chain *chain = &proof->chain;
    if (chain->parts == 0 || is_punct(&proof->token, '.') ||
        (chain->dotted && is_name(&proof->token)))
        return;
    if (is_punct(&proof->token, '(')) {
        proof->calls = proof->calls || (!names_no_function(proof) && !call_reads(proof));
        return;
    }
    /* What pg_ relations hold may be of this server alone: pg_locks, pg_settings, pg_stat_ views.*/
    bool schema =
        chain->parts > 1 && is_of_catalog(&chain->schema) && !is_word(&chain->schema, "pg_catalog");
    proof->calls = proof->calls || schema || is_of_catalog(&chain->name) ||
                   ONE_OF(chain->name.text, of_sequences);
}

/* Consumes the rest of a statement that must not write. */
static void take_statement(struct proof *proof)
{
    while (!at_end(proof) && !is_punct(&proof->token, ';')) {
        const struct query_token *token = &proof->token;
        end_name(proof);
        if (token->kind == QUERY_TOKEN_WORD) {
            if (is_word(token, "by"))
                proof->groups = is_word(&proof->before, "group");
            bool locks = is_word(&proof->before, "for") && ONE_OF(token->text, locking);
            bool runs = proof->explain && ONE_OF(token->text, explained);
            proof->forbidden = proof->forbidden || locks || runs || ONE_OF(token->text, writing);
        }
        advance(proof);
    }
    end_name(proof);
    while (is_punct(&proof->token, ';'))
        advance(proof);
}

/* Parameters that have one value for a client, whatever its server: servers report them. */
static const char *const shown[] = {
    "client_encoding", "datestyle",        "intervalstyle",     "server_encoding",
    "timezone",        "application_name", "integer_datetimes", "standard_conforming_strings",
};

static enum query_reads judge_show(struct proof *proof)
{
    bool same = proof->token.kind == QUERY_TOKEN_WORD && ONE_OF(proof->token.text, shown);
    if (!same)
        return QUERY_MAY_WRITE;
    advance(proof);
    while (is_punct(&proof->token, ';'))
        advance(proof);
    return at_end(proof) ? QUERY_READS : QUERY_MAY_WRITE;
}

/* Consumes the modes of a transaction.  Returns whether they make it one that only reads, at a
 * level that a standby has. */
static bool take_modes(struct proof *proof)
{
    bool reads = false;
    while (!at_end(proof) && !is_punct(&proof->token, ';')) {
        if (take(proof, "read")) {
            if (!take(proof, "only"))
                return false;
            reads = true;
        } else if (take(proof, "isolation")) {
            if (!take(proof, "level") || (!take(proof, "read") && !take(proof, "repeatable")))
                return false;
            if (!take(proof, "committed") && !take(proof, "uncommitted") && !take(proof, "read"))
                return false;
        } else if (is_punct(&proof->token, ',')) {
            advance(proof);
        } else {
            return false;
        }
    }
    while (is_punct(&proof->token, ';'))
        advance(proof);
    return reads && at_end(proof);
}

static enum query_reads judge(struct proof *proof)
{
    if (take(proof, "show"))
        return judge_show(proof);
    if (take(proof, "begin")) {
        if (!take(proof, "transaction"))
            (void)take(proof, "work");
        return take_modes(proof) ? QUERY_BEGINS_TO_READ : QUERY_MAY_WRITE;
    }
    if (take(proof, "start"))
        return take(proof, "transaction") && take_modes(proof) ? QUERY_BEGINS_TO_READ
                                                               : QUERY_MAY_WRITE;
    proof->explain = at_word(proof, "explain");
    if (!proof->explain && !is_punct(&proof->token, '(') && !at_word(proof, "select") &&
        !at_word(proof, "with") && !at_word(proof, "values") && !at_word(proof, "table"))
        return QUERY_MAY_WRITE;
    take_statement(proof);
    return at_end(proof) ? QUERY_READS : QUERY_MAY_WRITE;
}

/* --- hints ------------------------------------------------------------------------------------ */

/* Finds a hint in bytes that are blanks and comments. */
static enum query_hint find_hint(const uint8_t *from, const uint8_t *to)
{
    static const char mark[] = "trunkline:";
    const uint8_t *at =
        from < to ? memmem(from, (size_t)(to - from), mark, sizeof(mark) - 1) : NULL;
    if (at == NULL)
        return QUERY_NO_HINT;
    struct query_scan scan;
    query_scan_init(&scan, span_of(at + sizeof(mark) - 1, (size_t)(to - at) - (sizeof(mark) - 1)));
    struct query_token word = query_scan_next(&scan);
    if (is_word(&word, "primary"))
        return QUERY_HINT_PRIMARY;
    return is_word(&word, "replica") ? QUERY_HINT_REPLICA : QUERY_NO_HINT;
}

void query_prove_reads(struct span text, const struct query_read_rules *rules,
                       struct query_proof *ret)
{
    struct proof proof = {.rules = rules, .fingerprint = FINGERPRINT_SEED};
    query_scan_init(&proof.scan, text);
    proof.token = query_scan_next(&proof.scan);
    const uint8_t *first = proof.scan.at - (at_end(&proof) ? 0 : 1);
    mix_token(&proof);
    ret->hint = QUERY_NO_HINT;
    ret->reads = judge(&proof);
    ret->fingerprint = proof.fingerprint;
    if (ret->reads == QUERY_MAY_WRITE || proof.scan.unsure || proof.forbidden) {
        ret->reads = QUERY_MAY_WRITE;
        return;
    }
    if (rules->hints) {
        ret->hint = find_hint(text.at, first);
        if (ret->hint == QUERY_NO_HINT)
            ret->hint = find_hint(proof.end, proof.scan.end);
    }
    if (ret->hint == QUERY_HINT_PRIMARY || (proof.calls && ret->hint != QUERY_HINT_REPLICA))
        ret->reads = QUERY_MAY_WRITE;
}
