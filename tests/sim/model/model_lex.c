/* model_lex.c - a text of SQL, cut into tokens. */
#include "model_inside.h"

#include <ctype.h>

struct lexer {
    struct sql_arena *arena;
    const uint8_t *at;
    const uint8_t *end;
};

static bool starts_word(uint8_t byte)
{
    return isalpha(byte) || byte == '_' || byte >= 0x80;
}

static bool goes_on_word(uint8_t byte)
{
    return starts_word(byte) || isdigit(byte) || byte == '$';
}

static uint8_t peek(const struct lexer *lexer, size_t offset)
{
    return (size_t)(lexer->end - lexer->at) > offset ? lexer->at[offset] : 0;
}

static struct sql_token bad(struct lexer *lexer, const uint8_t *from, const char *what)
{
    struct sql_token token = {.kind = SQL_BAD,
                              .raw = span_of(from, (size_t)(lexer->end - from)),
                              .value = span_text(what)};
    lexer->at = lexer->end;
    return token;
}

/* Blanks and comments.  False: a comment has no end; lexer->at is its beginning. */
static bool skip_blanks(struct lexer *lexer)
{
    while (lexer->at < lexer->end) {
        if (isspace(*lexer->at)) {
            lexer->at += 1;
        } else if (peek(lexer, 0) == '-' && peek(lexer, 1) == '-') {
            while (lexer->at < lexer->end && *lexer->at != '\n')
                lexer->at += 1;
        } else if (peek(lexer, 0) == '/' && peek(lexer, 1) == '*') {
            const uint8_t *at = lexer->at + 2;
            uint32_t depth = 1;
            for (; depth > 0 && at + 1 < lexer->end; at++) {
                bool opens = at[0] == '/' && at[1] == '*', closes = at[0] == '*' && at[1] == '/';
                depth = depth + opens - closes;
                at += opens || closes;
            }
            if (depth > 0)
                return false;
            lexer->at = at;
        } else {
            break;
        }
    }
    return true;
}

static struct sql_token lex_word(struct lexer *lexer)
{
    const uint8_t *from = lexer->at;
    while (lexer->at < lexer->end && goes_on_word(*lexer->at))
        lexer->at += 1;
    struct span raw = span_of(from, (size_t)(lexer->at - from));
    uint8_t *folded = sql_take(lexer->arena, raw.size + 1);
    for (size_t i = 0; i < raw.size; i++)
        folded[i] = raw.at[i] < 0x80 ? (uint8_t)tolower(raw.at[i]) : raw.at[i];
    return (struct sql_token){.kind = SQL_WORD, .raw = raw, .value = span_of(folded, raw.size)};
}

static struct sql_token lex_quoted(struct lexer *lexer)
{
    const uint8_t *from = lexer->at;
    uint8_t *value = sql_take(lexer->arena, (size_t)(lexer->end - from) + 1);
    size_t size = 0;
    for (lexer->at += 1; lexer->at < lexer->end; lexer->at++) {
        if (*lexer->at == '"' && peek(lexer, 1) == '"')
            lexer->at += 1;
        else if (*lexer->at == '"')
            break;
        value[size++] = *lexer->at;
    }
    if (lexer->at >= lexer->end)
        return bad(lexer, from, "unterminated quoted identifier");
    lexer->at += 1;
    struct span raw = span_of(from, (size_t)(lexer->at - from));
    if (size == 0)
        return (struct sql_token){
            .kind = SQL_BAD, .raw = raw, .value = SPAN("zero-length delimited identifier")};
    return (struct sql_token){.kind = SQL_QUOTED, .raw = raw, .value = span_of(value, size)};
}

static uint8_t unescaped(uint8_t letter)
{
    static const char pairs[] = "b\bf\fn\nr\rt\t";
    for (size_t i = 0; i + 1 < sizeof(pairs); i += 2)
        if (pairs[i] == (char)letter)
            return (uint8_t)pairs[i + 1];
    return letter;
}

/* 'text', or E'text' with backslashes; `from` is where the token begins. */
static struct sql_token lex_string(struct lexer *lexer, const uint8_t *from, bool escapes)
{
    uint8_t *value = sql_take(lexer->arena, (size_t)(lexer->end - lexer->at) + 1);
    size_t size = 0;
    for (lexer->at += 1; lexer->at < lexer->end; lexer->at++) {
        if (escapes && *lexer->at == '\\' && lexer->at + 1 < lexer->end) {
            lexer->at += 1;
            value[size++] = unescaped(*lexer->at);
            continue;
        }
        if (*lexer->at == '\'' && peek(lexer, 1) == '\'')
            lexer->at += 1;
        else if (*lexer->at == '\'')
            break;
        value[size++] = *lexer->at;
    }
    if (lexer->at >= lexer->end)
        return bad(lexer, from, "unterminated quoted string");
    lexer->at += 1;
    return (struct sql_token){.kind = SQL_STRING,
                              .raw = span_of(from, (size_t)(lexer->at - from)),
                              .value = span_of(value, size)};
}

/* $1, or $tag$text$tag$. */
static struct sql_token lex_dollar(struct lexer *lexer)
{
    const uint8_t *from = lexer->at;
    uint64_t number = 0;
    if (isdigit(peek(lexer, 1))) {
        for (lexer->at += 1; lexer->at < lexer->end && isdigit(*lexer->at); lexer->at++)
            number = number * 10 + (uint64_t)(*lexer->at - '0');
        return (struct sql_token){
            .kind = SQL_DOLLAR, .number = number, .raw = span_of(from, (size_t)(lexer->at - from))};
    }
    const uint8_t *at = from + 1;
    while (at < lexer->end && *at != '$' && goes_on_word(*at))
        at++;
    if (at >= lexer->end || *at != '$') {
        lexer->at += 1;
        return (struct sql_token){
            .kind = SQL_SIGN, .raw = span_of(from, 1), .value = span_of(from, 1)};
    }
    size_t tag = (size_t)(at + 1 - from);
    const uint8_t *text = from + tag;
    const uint8_t *close = memmem(text, (size_t)(lexer->end - text), from, tag);
    if (close == NULL)
        return bad(lexer, from, "unterminated dollar-quoted string");
    lexer->at = close + tag;
    return (struct sql_token){.kind = SQL_STRING,
                              .raw = span_of(from, (size_t)(lexer->at - from)),
                              .value = span_of(text, (size_t)(close - text))};
}

static struct sql_token lex_number(struct lexer *lexer)
{
    const uint8_t *from = lexer->at;
    uint64_t number = 0;
    bool overflow = false;
    enum sql_token_kind kind = SQL_INTEGER;
    for (; lexer->at < lexer->end && (isdigit(*lexer->at) || *lexer->at == '.'); lexer->at++) {
        if (*lexer->at == '.' && kind == SQL_DECIMAL)
            break;
        if (*lexer->at == '.')
            kind = SQL_DECIMAL;
        else if (number > (UINT64_MAX - 9) / 10)
            overflow = true;
        else
            number = number * 10 + (uint64_t)(*lexer->at - '0');
    }
    struct span raw = span_of(from, (size_t)(lexer->at - from));
    if (lexer->at < lexer->end && starts_word(*lexer->at)) {
        lexer->at += 1;
        return (struct sql_token){.kind = SQL_BAD,
                                  .value = SPAN("trailing junk after numeric literal"),
                                  .raw = span_of(from, raw.size + 1)};
    }
    return (struct sql_token){
        .kind = overflow ? SQL_DECIMAL : kind, .raw = raw, .value = raw, .number = number};
}

static struct sql_token lex_sign(struct lexer *lexer)
{
    static const char *const longer[] = {"::", "||", "<>", "!=", "<=", ">=", ":=", "=>"};
    size_t size = 1;
    for (size_t i = 0; i < ARRAY_SIZE(longer); i++)
        if (peek(lexer, 0) == (uint8_t)longer[i][0] && peek(lexer, 1) == (uint8_t)longer[i][1])
            size = 2;
    struct span raw = span_of(lexer->at, size);
    lexer->at += size;
    return (struct sql_token){
        .kind = SQL_SIGN, .raw = raw, .value = span_is(raw, "!=") ? SPAN("<>") : raw};
}

static struct sql_token lex_token(struct lexer *lexer)
{
    if (!skip_blanks(lexer))
        return bad(lexer, lexer->at, "unterminated /* comment");
    uint8_t first = peek(lexer, 0);
    if (lexer->at >= lexer->end)
        return (struct sql_token){.kind = SQL_END};
    if ((first == 'e' || first == 'E') && peek(lexer, 1) == '\'') {
        lexer->at += 1;
        return lex_string(lexer, lexer->at - 1, true);
    }
    if (starts_word(first))
        return lex_word(lexer);
    if (first == '"')
        return lex_quoted(lexer);
    if (first == '\'')
        return lex_string(lexer, lexer->at, false);
    if (first == '$')
        return lex_dollar(lexer);
    if (isdigit(first) || (first == '.' && isdigit(peek(lexer, 1))))
        return lex_number(lexer);
    return lex_sign(lexer);
}

struct sql_token *sql_lex(struct sql_arena *arena, struct span text)
{
    struct lexer lexer = {.arena = arena, .at = text.at, .end = text.at + text.size};
    size_t room = 32, count = 0;
    struct sql_token *tokens = sql_take(arena, room * sizeof(*tokens));
    for (;;) {
        if (count == room) {
            struct sql_token *more = sql_take(arena, 2 * room * sizeof(*more));
            memcpy(more, tokens, count * sizeof(*more));
            tokens = more;
            room *= 2;
        }
        tokens[count] = lex_token(&lexer);
        if (tokens[count].kind == SQL_END)
            return tokens;
        count++;
    }
}
