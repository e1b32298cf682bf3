#include "query/analysis.h"

#include "base/check.h"
#include "query/analysis_parts.h"

#include <pg_query.h>
#include <stdatomic.h>
#include <stdlib.h>

static_assert(PG_VERSION_NUM / 10000 == 15, "the walk knows the nodes of PostgreSQL 15");
static_assert(QUERY_REASONS <= 32, "a set of reasons has 32 bits");

/* --- reasons ---------------------------------------------------------------------------------- */

static const struct {
    const char *word;
    const char *text;
} reasons[] = {
#define REASON(name, word, text) {word, text},
#include "query/analysis_reasons.def"
#undef REASON
};
static_assert(ARRAY_SIZE(reasons) == QUERY_REASONS, "every reason has a text");

const char *query_reason_word(enum query_reason reason)
{
    invariant(reason < QUERY_REASONS);
    return reasons[reason].word;
}

const char *query_reason_text(enum query_reason reason)
{
    invariant(reason < QUERY_REASONS);
    return reasons[reason].text;
}

enum query_reason query_analysis_reason(const struct query_analysis *analysis)
{
    return analysis->reasons == 0 ? QUERY_REASONS
                                  : (enum query_reason)__builtin_ctz(analysis->reasons);
}

/* --- libpg_query ------------------------------------------------------------------------------ */

/* The library keeps its memory per thread, and the key of its destructor in one place without a
 * lock.  After the first call of a thread it shares nothing. */
void analysis_library(void)
{
    static atomic_flag busy = ATOMIC_FLAG_INIT;
    static _Thread_local bool ready;
    if (ready)
        return;
    while (atomic_flag_test_and_set_explicit(&busy, memory_order_acquire))
        ;
    pg_query_init();
    ready = true;
    atomic_flag_clear_explicit(&busy, memory_order_release);
}

static fault fault_of(const PgQueryError *error)
{
    return strstr(error->message, "out of memory") != NULL ? FAULT_MEMORY : FAULT_SYNTAX;
}

static fault take_fingerprint(const char *text, uint64_t *ret)
{
    PgQueryFingerprintResult result = pg_query_fingerprint(text);
    fault failed = result.error == NULL ? OK : fault_of(result.error);
    *ret = result.fingerprint;
    pg_query_free_fingerprint_result(result);
    return failed;
}

/* --- the walk --------------------------------------------------------------------------------- */

static void see_statements(struct analysis *analysis)
{
    const struct tree *tree = &analysis->tree;
    tree_at list = analysis_tree_member(tree, TREE_ROOT, "stmts"), only = 0;
    uint32_t count = analysis_tree_length(tree, list);
    analysis->done.statements = (uint16_t)MIN_OF(count, UINT16_MAX);
    for (tree_at part = analysis_tree_first(tree, list); part != 0;
         part = analysis_tree_next(tree, list, part)) {
        only = analysis_tree_member(tree, part, "stmt");
        analysis_see_statement(analysis, only);
    }
    if (count == 0) {
        analysis_because(analysis, QUERY_REASON_EMPTY);
    } else if (count > 1) {
        analysis_because(analysis, QUERY_REASON_SEVERAL);
        analysis->done.statement = QUERY_STATEMENT_SEVERAL;
    } else {
        analysis_see_keys(analysis, only);
    }
}

static void walk_tree(struct analysis *analysis)
{
    see_statements(analysis);
    invariant(analysis->depth == 0 && analysis->scopes == 0);
    analysis_see_verbs(analysis);
    /* What the walk does not know may name anything. */
    if ((analysis->done.reasons & UINT32_C(1) << QUERY_REASON_SYNTAX) != 0)
        analysis_see_named(analysis, TREE_ROOT);
    if (!analysis->truncated)
        return;
    analysis->done.partial = true;
    analysis_because(analysis, QUERY_REASON_MANY);
    analysis_extends(analysis, QUERY_WRITES_UNKNOWN);
}

static void reject(struct analysis *analysis, enum query_reason reason)
{
    analysis_because(analysis, reason);
    analysis_extends(analysis, QUERY_WRITES_UNKNOWN);
    analysis->done.statement = QUERY_STATEMENT_UNPARSED;
}

/* Makes the result from the JSON of the parse tree, which is decoded in place. */
static fault analyze_tree(struct analysis *analysis, char *json, struct query_analysis **ret)
{
    fault failed = analysis_tree_read(&analysis->tree, json);
    if (failed == OK)
        walk_tree(analysis);
    else
        reject(analysis, QUERY_REASON_SYNTAX);
    if (failed != FAULT_MEMORY)
        failed = analysis_finish(analysis, ret);
    analysis_tree_fini(&analysis->tree);
    return failed;
}

static fault analyze_rejected(struct analysis *analysis, fault failed, struct query_analysis **ret)
{
    if (failed == FAULT_MEMORY)
        return failed;
    reject(analysis, QUERY_REASON_UNPARSED);
    return analysis_finish(analysis, ret);
}

static fault analyze_text(struct analysis *analysis, const char *text, struct query_analysis **ret)
{
    analysis_library();
    fault failed = take_fingerprint(text, &analysis->done.fingerprint);
    if (failed != OK)
        return analyze_rejected(analysis, failed, ret);
    PgQueryParseResult result = pg_query_parse(text);
    if (result.error == NULL)
        failed = analyze_tree(analysis, result.parse_tree, ret);
    else
        failed = analyze_rejected(analysis, fault_of(result.error), ret);
    pg_query_free_parse_result(result);
    return failed;
}

/* --- texts ------------------------------------------------------------------------------------ */

static bool has_high_bytes(struct span text)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.at[i] >= 0x80)
            return true;
    return false;
}

static struct span before_nul(struct span text)
{
    const uint8_t *nul = text.size == 0 ? NULL : memchr(text.at, '\0', text.size);
    return nul == NULL ? text : span_of(text.at, (size_t)(nul - text.at));
}

static fault analyze_copy(struct analysis *analysis, struct query_analysis **ret)
{
    struct span text = analysis->text;
    char *copy = malloc(text.size + 1);
    if (copy == NULL)
        return FAULT_MEMORY;
    memcpy(copy, text.at, text.size);
    copy[text.size] = '\0';
    fault failed = analyze_text(analysis, copy, ret);
    free(copy);
    return failed;
}

static fault analyze(struct analysis *analysis, struct query_analysis **ret)
{
    struct span text = analysis->text;
    analysis->done.high_bytes = has_high_bytes(text);
    analysis->done.backslash = text.size > 0 && memchr(text.at, '\\', text.size) != NULL;
    if (text.size > QUERY_ANALYSIS_TEXT_MAX)
        reject(analysis, QUERY_REASON_LARGE);
    else if (analysis_nesting(text) > QUERY_ANALYSIS_NESTING_MAX)
        reject(analysis, QUERY_REASON_NESTED);
    else if (text.size > 0)
        return analyze_copy(analysis, ret);
    else
        analysis_because(analysis, QUERY_REASON_EMPTY);
    return analysis_finish(analysis, ret);
}

fault query_analyze(struct span text, struct query_analysis **ret)
{
    struct analysis *analysis = calloc(1, sizeof(*analysis));
    if (analysis == NULL)
        return FAULT_MEMORY;
    analysis->text = before_nul(text);
    fault failed = analyze(analysis, ret);
    free(analysis);
    return failed;
}

size_t query_analysis_stack(struct span text)
{
    if (text.size > QUERY_ANALYSIS_TEXT_MAX)
        return 4096;
    uint32_t nesting = analysis_nesting(text);
    size_t counted = nesting > QUERY_ANALYSIS_NESTING_MAX ? 0 : nesting;
    return (32 + counted) * 1024;
}

void query_analysis_free(struct query_analysis **analysis)
{
    free(*analysis);
    *analysis = NULL;
}
