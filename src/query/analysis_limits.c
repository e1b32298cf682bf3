/*
 * analysis_limits.c - estimates the nesting of a text before libpg_query, which recurses, parses
 * it.
 *
 * The depth of a parse tree at a token is at most a small multiple of the tokens that enclose it or
 * stand in front of it: `1 + 1 + 1` is as deep as it has operators.  A comma begins anew, as
 * the expressions of a list are nested in the list and not in each other.  The words that chain
 * queries and joins (`select 1, 2 union select 1, 2 union ...`) count beyond commas.
 */
#include "query/analysis_parts.h"
#include "query/scan_parts.h"

struct level {
    uint32_t chain; /* tokens since the last comma */
    uint32_t kept;  /* words that chain queries and joins, since the bracket */
};

struct nesting {
    uint32_t levels; /* open brackets, and one */
    uint32_t sum;    /* of chain and kept, over all levels */
    uint32_t max;
    struct level level[QUERY_ANALYSIS_NESTING_MAX + 1];
};

static bool is_kept(struct span word)
{
    static const char *const words[] = {
        "union", "intersect", "except", "join", "select", "values", "table", "with",
    };
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (span_is_nocase(word, words[i]))
            return true;
    return false;
}

static void drop_chain(struct nesting *nesting)
{
    struct level *level = &nesting->level[nesting->levels - 1];
    nesting->sum -= level->chain;
    level->chain = 0;
}

static void close_level(struct nesting *nesting)
{
    if (nesting->levels == 1)
        return;
    drop_chain(nesting);
    nesting->sum -= nesting->level[nesting->levels - 1].kept;
    nesting->levels -= 1;
}

static void count_token(struct nesting *nesting, const struct query_token *token)
{
    struct level *level = &nesting->level[nesting->levels - 1];
    bool kept = token->kind == QUERY_TOKEN_WORD && is_kept(token->text);
    level->kept += kept ? 1 : 0;
    level->chain += kept ? 0 : 1;
    nesting->sum += 1;
    if (nesting->sum > nesting->max)
        nesting->max = nesting->sum;
}

static void see_token(struct nesting *nesting, const struct query_token *token)
{
    char c = token->kind == QUERY_TOKEN_PUNCT ? (char)token->text.at[0] : '\0';
    if (c == ')' || c == ']') {
        close_level(nesting);
        return;
    }
    if (c == ',' || c == ';') {
        drop_chain(nesting);
        if (c == ';' && nesting->levels == 1)
            *nesting = (struct nesting){.levels = 1, .max = nesting->max};
        return;
    }
    count_token(nesting, token);
    if (c == '(' || c == '[')
        nesting->level[nesting->levels++] = (struct level){0};
}

uint32_t analysis_nesting(struct span text)
{
    struct nesting nesting = {.levels = 1};
    struct query_scan scan;
    query_scan_init(&scan, text);
    struct query_token token = query_scan_next(&scan);
    /* Each level has at least one token, its bracket: `max` grows no slower than `levels`. */
    while (token.kind != QUERY_TOKEN_END && nesting.max <= QUERY_ANALYSIS_NESTING_MAX) {
        if (nesting.levels > QUERY_ANALYSIS_NESTING_MAX)
            return QUERY_ANALYSIS_NESTING_MAX + 1;
        see_token(&nesting, &token);
        token = query_scan_next(&scan);
    }
    return nesting.max;
}
