#include "query/shape.h"

#include "query/scan_parts.h"

#include <string.h>
#include <strings.h>

/* --- first words ------------------------------------------------------------------------------ */

/* Words with which statements begin; all others are QUERY_SHAPE_CATALOG. */
static const struct {
    const char *word;
    enum query_shape_extent extent;
    bool ends, settles;
} words[] = {
    {"select", QUERY_SHAPE_ROWS, false, false},
    {"insert", QUERY_SHAPE_ROWS, false, false},
    {"update", QUERY_SHAPE_ROWS, false, false},
    {"delete", QUERY_SHAPE_ROWS, false, false},
    {"merge", QUERY_SHAPE_ROWS, false, false},
    {"with", QUERY_SHAPE_ROWS, false, false},
    {"values", QUERY_SHAPE_ROWS, false, false},
    {"table", QUERY_SHAPE_ROWS, false, false},
    {"copy", QUERY_SHAPE_ROWS, false, false},
    {"truncate", QUERY_SHAPE_ROWS, false, false},
    {"execute", QUERY_SHAPE_UNKNOWN, false, false},
    {"explain", QUERY_SHAPE_UNKNOWN, false, false},
    {"declare", QUERY_SHAPE_UNKNOWN, false, false},
    {"fetch", QUERY_SHAPE_UNKNOWN, false, false},
    {"move", QUERY_SHAPE_UNKNOWN, false, false},
    {"begin", QUERY_SHAPE_NOTHING, false, false},
    {"start", QUERY_SHAPE_NOTHING, false, false},
    {"commit", QUERY_SHAPE_NOTHING, true, false},
    {"end", QUERY_SHAPE_NOTHING, true, false},
    {"rollback", QUERY_SHAPE_NOTHING, true, true}, /* settings are those from before */
    {"abort", QUERY_SHAPE_NOTHING, true, true},
    {"prepare", QUERY_SHAPE_NOTHING, true, false}, /* PREPARE TRANSACTION */
    {"savepoint", QUERY_SHAPE_NOTHING, false, false},
    {"release", QUERY_SHAPE_NOTHING, false, false},
    {"set", QUERY_SHAPE_NOTHING, false, true},
    {"reset", QUERY_SHAPE_NOTHING, false, true},
    {"discard", QUERY_SHAPE_NOTHING, false, true},
    {"show", QUERY_SHAPE_NOTHING, false, false},
    {"lock", QUERY_SHAPE_NOTHING, false, false},
    {"listen", QUERY_SHAPE_NOTHING, false, false},
    {"unlisten", QUERY_SHAPE_NOTHING, false, false},
    {"notify", QUERY_SHAPE_NOTHING, false, false},
    {"close", QUERY_SHAPE_NOTHING, false, false},
    {"deallocate", QUERY_SHAPE_NOTHING, false, false},
};

static bool is_word(const struct query_token *token, const char *word)
{
    return token->kind == QUERY_TOKEN_WORD && token->text.size == strlen(word) &&
           strncasecmp((const char *)token->text.at, word, token->text.size) == 0;
}

static bool is_punct(const struct query_token *token, uint8_t byte)
{
    return token->kind == QUERY_TOKEN_PUNCT && token->text.at[0] == byte;
}

/* Commands that change no settings of roles and databases; ALTER is looked at further. */
static const char *const plain_ddl[] = {"create",  "drop",   "grant",   "revoke",
                                        "comment", "alter",  "refresh", "reindex",
                                        "cluster", "vacuum", "analyze"};
/* What ALTER may be followed by. */
static const char *const settled[] = {"role", "user", "database", "system", "group"};

static bool is_among(const struct query_token *token, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (is_word(token, list[i]))
            return true;
    return false;
}

/* Takes a statement's first word into the shape. */
static void see_first(struct query_shape *shape, const struct query_token *token)
{
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        if (!is_word(token, words[i].word))
            continue;
        shape->extent = MAX_OF(shape->extent, words[i].extent);
        shape->ends |= words[i].ends;
        shape->settles |= words[i].settles;
        return;
    }
    shape->extent = QUERY_SHAPE_CATALOG;
    shape->settles = true;
    shape->presets |= !is_among(token, plain_ddl, ARRAY_SIZE(plain_ddl));
}

/* --- the text without literals ---------------------------------------------------------------- */

/* Integers of up to this many digits are int4, whatever their value is. */
#define SHORT_DIGITS 9u

static bool is_short_integer(struct span text)
{
    return text.size <= SHORT_DIGITS && text.at[0] != '$' &&
           memchr(text.at, '.', text.size) == NULL;
}

/* Whether a string is one of bits, which have a type of their own. */
static bool is_bits(const struct query_token *token, const uint8_t *begin)
{
    return token->text.at - begin >= 2 && strchr("bBxX", token->text.at[-2]) != NULL;
}

/* Tokens that touch each other stay so: operators may be of several bytes. */
static void put(const struct query_token *token, const uint8_t *before, const uint8_t *begin,
                struct buffer *bare)
{
    bool plain = token->kind == QUERY_TOKEN_PUNCT || token->kind == QUERY_TOKEN_WORD ||
                 token->kind == QUERY_TOKEN_NUMBER;
    if (!plain || token->text.at != before)
        buffer_append(bare, " ", 1);
    switch (token->kind) {
    case QUERY_TOKEN_STRING:
        buffer_append(bare, is_bits(token, begin) ? "'b" : "'", is_bits(token, begin) ? 2 : 1);
        return;
    case QUERY_TOKEN_DOLLAR:
        buffer_append(bare, "'", 1);
        return;
    case QUERY_TOKEN_QUOTED:
        buffer_append(bare, "\"", 1);
        buffer_append_span(bare, token->text);
        buffer_append(bare, "\"", 1);
        return;
    case QUERY_TOKEN_NUMBER:
        if (is_short_integer(token->text))
            buffer_append(bare, "0", 1);
        else
            buffer_append_span(bare, token->text);
        return;
    default:
        buffer_append_span(bare, token->text);
        return;
    }
}

/* --- the pass --------------------------------------------------------------------------------- */

/* Where the pass is in a statement. */
struct pass {
    struct query_token first, last; /* words */
    uint32_t statements;
    bool inside; /* of a statement */
};

/* SELECT INTO, and CREATE behind EXPLAIN. */
static bool makes_table(const struct query_token *last, const struct query_token *token)
{
    return (is_word(token, "into") && !is_word(last, "insert") && !is_word(last, "merge")) ||
           is_word(token, "create");
}

/* Takes the next token of a statement.  COMMIT PREPARED commits what another session has done. */
static void see_next(struct pass *pass, struct query_shape *shape, const struct query_token *token)
{
    bool commits = is_word(&pass->last, "commit") || is_word(&pass->last, "end");
    if (!pass->inside) {
        if (is_punct(token, '('))
            return;
        pass->inside = true;
        pass->statements += 1;
        see_first(shape, token);
    } else if ((commits && is_word(token, "prepared")) || makes_table(&pass->last, token)) {
        shape->extent = QUERY_SHAPE_CATALOG;
        shape->presets |= commits;
    } else if (is_word(&pass->last, "alter")) {
        shape->presets |= is_among(token, settled, ARRAY_SIZE(settled));
    }
    pass->last = *token;
}

struct query_shape query_shape_of(struct span text, struct buffer *bare)
{
    struct query_shape shape = {.extent = QUERY_SHAPE_NOTHING};
    struct query_scan scan;
    struct pass pass = {.statements = 0};
    size_t size = bare->size;
    query_scan_init(&scan, text);
    for (;;) {
        const uint8_t *before = scan.at;
        struct query_token token = query_scan_next(&scan);
        if (token.kind == QUERY_TOKEN_END)
            break;
        if (is_punct(&token, ';')) {
            pass.inside = false;
            continue;
        }
        see_next(&pass, &shape, &token);
        if (is_word(&token, "uescape")) /* the literal behind it is a part of a name */
            scan.unsure = true;
        put(&token, before, text.at, bare);
    }
    if (scan.unsure)
        shape = (struct query_shape){QUERY_SHAPE_CATALOG, true, true, true, false};
    else if (pass.statements > 1 && shape.extent == QUERY_SHAPE_ROWS)
        shape.extent = QUERY_SHAPE_UNKNOWN;
    shape.sure = !scan.unsure && pass.statements == 1;
    if (!shape.sure)
        bare->size = size;
    return shape;
}
