#include "query/outcome.h"

#include <string.h>
#include <strings.h>

/* First words of up to eight letters, padded with NULs. */
static const struct {
    char word[8];
    uint8_t outcome;
} words[] = {
    {"select", 0},
    {"begin", 0},
    {"start", 0},
    {"show", 0},
    {"fetch", 0},
    {"rollback", 0},
    {"abort", 0},
    {"commit", QUERY_OPEN_WRITE | QUERY_OPEN_COMMIT},
    {"end", QUERY_OPEN_WRITE | QUERY_OPEN_COMMIT},
    {"prepare", QUERY_OPEN_WRITE | QUERY_OPEN_COMMIT}, /* PREPARE TRANSACTION */
    {"execute", QUERY_OPEN_WRITE | QUERY_OPEN_COMMIT}, /* a statement that is not known */
};

/* Where SELECT is among them. */
#define SELECT 0u

/* Reads the first word into `word`, folded.  Returns its whole length. */
static size_t first_word(struct span text, char word[8])
{
    size_t at = 0, length = 0;
    while (at < text.size && (text.at[at] == ' ' || (text.at[at] >= '\t' && text.at[at] <= '\r') ||
                              text.at[at] == '('))
        at++;
    memset(word, 0, 8);
    for (; at < text.size; at++, length++) {
        uint8_t letter = text.at[at] | 0x20;
        if (letter < 'a' || letter > 'z')
            break;
        if (length < 8)
            word[length] = (char)letter;
    }
    return length;
}

/* Whether the text may have a second statement.  A semicolon inside of a literal counts, too. */
static bool may_go_on(struct span text)
{
    const uint8_t *end = text.at + strnlen((const char *)text.at, text.size);
    const uint8_t *at = memchr(text.at, ';', (size_t)(end - text.at));
    while (at != NULL && at < end && (*at == ';' || *at == ' ' || (*at >= '\t' && *at <= '\r')))
        at++;
    return at != NULL && at < end;
}

/* Whether SELECT INTO may be meant.  A name that has these letters counts, too. */
static bool may_have_into(struct span text)
{
    for (size_t i = 0; i + 4 <= text.size && text.at[i] != '\0'; i++)
        if ((text.at[i] | 0x20) == 'i' && strncasecmp((const char *)text.at + i, "into", 4) == 0)
            return true;
    return false;
}

uint8_t query_outcome_of(struct span text)
{
    char word[8];
    size_t length = first_word(text, word);
    if (length == 0 || may_go_on(text)) /* a comment, or nothing, or several statements */
        return QUERY_OPEN_WRITE | QUERY_OPEN_COMMIT;
    for (size_t i = 0; length <= 8 && i < sizeof(words) / sizeof(words[0]); i++)
        if (memcmp(words[i].word, word, 8) == 0)
            return i == SELECT && may_have_into(text) ? QUERY_OPEN_WRITE : words[i].outcome;
    return QUERY_OPEN_WRITE;
}

bool query_is_select(struct span text)
{
    char word[8];
    return first_word(text, word) <= sizeof(word) && memcmp(words[SELECT].word, word, 8) == 0;
}

/* Statements that are transactions of their own. */
static const char alone[][8] = {"select", "insert", "update", "delete", "merge",
                                "with",   "values", "table",  "call"};
/* Statements that end the open transaction unless more words follow, as in COMMIT AND CHAIN. */
static const char ends[][8] = {"commit", "end", "rollback", "abort"};

static bool is_among(const char word[8], const char list[][8], size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (memcmp(list[i], word, 8) == 0)
            return true;
    return false;
}

/* Whether nothing but a semicolon follows the first word, which has this length. */
static bool is_one_word(struct span text, size_t length)
{
    size_t letters = 0;
    for (size_t i = 0; i < text.size && text.at[i] != '\0'; i++) {
        uint8_t c = text.at[i];
        if (c == ' ' || (c >= '\t' && c <= '\r') || c == ';')
            continue;
        letters++;
    }
    return letters == length;
}

bool query_is_last(struct span text, bool open)
{
    char word[8];
    size_t length = first_word(text, word);
    if (length == 0 || length > 8 || may_go_on(text))
        return false;
    if (open)
        return is_among(word, ends, sizeof(ends) / sizeof(ends[0])) && is_one_word(text, length);
    return is_among(word, alone, sizeof(alone) / sizeof(alone[0]));
}
