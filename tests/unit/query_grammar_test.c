/*
 * The scanner against PostgreSQL's own grammar (query_grammar.h).
 *
 * The texts are those of query_corpus.sql, which has every kind of statement, as they are and
 * changed: case, space, comments, quotes, escapes, statements in front and around.
 */
#include "query_grammar.h"
#include "unit.h"

#define TEXT_MAX 8192

/* False: it is no SQL. */
static bool check_text(const char *text)
{
    char why[COMPARE_WHY_MAX] = "";
    enum comparison result = compare_text(text, why);
    ck_assert_msg(result != COMPARE_DIFFERS, "%s in: %s", why, text);
    return result == COMPARE_AGREES;
}

/* --- mutations -------------------------------------------------------------------------------- */

static uint64_t dice_state;

static unsigned dice(unsigned sides)
{
    dice_state = dice_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(dice_state >> 33) % sides;
}

static void put(char *out, const char *text)
{
    size_t used = strlen(out);
    snprintf(out + used, TEXT_MAX - used, "%s", text);
}

static void put_byte(char *out, char c)
{
    put(out, (const char[]){c, '\0'});
}

static void put_space(char *out)
{
    static const char *const spaces[] = {
        "  ", "\n", "\t", "/**/", " /* ; set x = 1 */ ", " -- '; reset all\n", "/*/*;*/'*/", "\r",
    };
    put(out, dice(3) > 0 ? " " : spaces[dice(ARRAY_SIZE(spaces))]);
}

/* A word as it may be written too. */
static void put_word(char *out, const char *word, size_t size)
{
    unsigned way = dice(12);
    bool folds = way == 1 || way == 2; /* quoted, a word stands for its small letters */
    if (way == 1)
        put(out, "\"");
    if (way == 2)
        put(out, "U&\"");
    for (size_t i = 0; i < size; i++) {
        char c = word[i], escaped[8];
        if (folds && c >= 'A' && c <= 'Z')
            c |= 0x20;
        else if (way == 0 && c >= 'a' && c <= 'z' && dice(2) == 0)
            c &= ~0x20;
        snprintf(escaped, sizeof(escaped), way == 2 && dice(4) == 0 ? "\\%04x" : "%c", c);
        put(out, escaped);
    }
    if (folds)
        put(out, "\"");
}

/* A string in another spelling, quotes included. */
static void put_string(char *out, const char *text, size_t size)
{
    unsigned way = dice(7);
    static const char *const opens[] = {"'", "'", "E'", "$q$", "U&'", "N'", "'"};
    put(out, opens[way]);
    for (size_t i = 0; i < size; i++) {
        char escaped[8];
        bool escapes = way == 2 && dice(4) == 0 && (uint8_t)text[i] < 0x80;
        snprintf(escaped, sizeof(escaped), escapes ? "\\x%02x" : "%c", text[i]);
        put(out, escaped);
        if (way == 6 && dice(4) == 0)
            put(out, "' --'\n  '");
    }
    put(out, way == 3 ? "$q$" : "'");
}

static bool in_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* Word by word; numbers and signs as they are. */
static void respell(char *out, const char *text)
{
    while (*text != '\0') {
        size_t size = 0;
        if (*text == ' ') {
            put_space(out);
            text += 1;
        } else if (*text == '\'' && strchr(text + 1, '\'') != NULL) {
            size = strcspn(text + 1, "'");
            put_string(out, text + 1, size);
            text += size + 2;
        } else if (in_word(*text)) {
            while (in_word(text[size]))
                size += 1;
            put_word(out, text, size);
            text += size;
        } else {
            put_byte(out, *text++);
        }
    }
}

static void mutate(char *out, const char *text, const char *other)
{
    static const struct {
        const char *before, *after;
    } around[] = {
        {"", ""},
        {"", ""},
        {"explain analyze ", ""},
        {"explain (costs off, analyze true) ", ""},
        {"prepare a as ", ""},
        {"declare a cursor for ", ""},
        {"declare a scroll cursor with hold for ", ""},
        {"with a as (", ") select 1"},
        {"with a as (select 1) ", ""},
        {"create table a as ", ""},
        {"create temp table a as ", ""},
        {"copy (", ") to stdout"},
        {"select 1; ", "; select 2"},
        {"; ;select E'\\'; set x = 1';", ";"},
        {"select E'a'\n'\\''; ", " -- '"},
        {"select (", ")"},
        {"create rule a as on insert to t do also (select 1; ", "; select 2)"},
    };
    unsigned frame = dice(ARRAY_SIZE(around));
    out[0] = '\0';
    put(out, around[frame].before);
    if (dice(8) == 0) {
        respell(out, other);
        put(out, ";");
    }
    respell(out, text);
    put(out, around[frame].after);
    if (dice(8) == 0) {
        put(out, ";");
        respell(out, other);
    }
}

/* --- the corpus ------------------------------------------------------------------------------- */

#define TEXTS_MAX 1000

static char *texts[TEXTS_MAX];
static size_t text_count;

/* One statement to a line; "--" begins a comment, and a line that ends in a backslash goes on. */
static void read_corpus(void)
{
    char line[TEXT_MAX];
    FILE *file = fopen(QUERY_CORPUS, "r");
    ck_assert_msg(file != NULL, "no " QUERY_CORPUS);
    text_count = 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '\0' || strncmp(line, "--", 2) == 0)
            continue;
        ck_assert_uint_lt(text_count, TEXTS_MAX);
        texts[text_count++] = strdup(line);
    }
    fclose(file);
}

static void free_corpus(void)
{
    while (text_count > 0)
        free(texts[--text_count]);
}

TEST(what_the_grammar_sees_the_scanner_sees)
{
    read_corpus();
    ck_assert_uint_gt(text_count, 300);
    for (size_t i = 0; i < text_count; i++)
        ck_assert_msg(check_text(texts[i]), "no SQL: %s", texts[i]);
    free_corpus();
}

TEST(however_it_is_written)
{
    static char text[TEXT_MAX];
    size_t sound = 0, rounds = 100;
    read_corpus();
    dice_state = 1;
    for (size_t round = 0; round < rounds; round++)
        for (size_t i = 0; i < text_count; i++) {
            mutate(text, texts[i], texts[dice((unsigned)text_count)]);
            sound += check_text(text);
        }
    /* What is no SQL proves nothing. */
    ck_assert_msg(sound * 5 > rounds * text_count, "only %zu of %zu are SQL", sound,
                  rounds * text_count);
    free_corpus();
}

TESTS("query_grammar", what_the_grammar_sees_the_scanner_sees, however_it_is_written)
