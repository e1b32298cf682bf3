/*
 * resolve_print.c - asks the catalog through its caller: prints the question of a text, reads the
 * rows of the answer and writes the verdict as a line.  Used by the tests against PostgreSQL.
 *
 * Lines of the input, each answered by lines of the output and flushed:
 *   declare SCHEMA.FUNCTION SCHEMA.TABLE ...   a declared function of the following texts
 *   text HEX      answered by "ask HEX" (the question), or by "verdict ..." if none is needed
 *   row HEX|HEX|...                            a row; a cell that is NULL is "-"
 *   end                                        answered by "verdict ..."
 *   key HEX ...                                texts of bound values: answered by "key HEX" or "key
 * -"
 */
#include "base/check.h"
#include "flight/resolve.h"

#include <stdio.h>
#include <stdlib.h>

#define DECLARED_MAX 8
#define LINE_MAX_    (1024 * 1024)

static char line[LINE_MAX_];
static struct resolve_declared declared[DECLARED_MAX];
static struct query_object tables[DECLARED_MAX][4];
static struct resolve_rules rules = {declared, 0};
static struct query_analysis *analysis;
static struct resolve *resolve;
static struct verdict *verdict;

/* --- bytes ------------------------------------------------------------------------------------ */

static void print_hex(struct span bytes)
{
    for (size_t i = 0; i < bytes.size; i++)
        printf("%02x", bytes.at[i]);
}

/* Decodes in place. */
static struct span read_hex(char *text)
{
    size_t size = strlen(text) / 2;
    for (size_t i = 0; i < size; i++) {
        char digits[3] = {text[2 * i], text[2 * i + 1], '\0'};
        text[i] = (char)strtoul(digits, NULL, 16);
    }
    return span_of(text, size);
}

static struct query_object read_object(const char *word)
{
    char *copy = strdup(word);
    char *point = copy == NULL ? NULL : strchr(copy, '.');
    invariant(point != NULL);
    *point = '\0';
    return (struct query_object){span_text(copy), span_text(point + 1)};
}

/* --- the verdict ------------------------------------------------------------------------------ */

static void print_relations(const char *what, const struct verdict_relation *list, uint16_t count)
{
    printf(" %s=", what);
    for (uint16_t i = 0; i < count; i++)
        printf("%s%u", i == 0 ? "" : ",", list[i].oid);
}

static void print_reason(const char *what, uint32_t reason, struct span because)
{
    if (reason == VERDICT_REASONS)
        printf(" %s=-", what);
    else
        printf(" %s=%s:", what, verdict_reason_word(reason));
    print_hex(because);
}

static void print_verdict(void)
{
    static const char *const extents[] = {"nothing", "listed", "database"};
    printf("verdict");
    print_reason("reason", verdict->reason, verdict->because);
    print_relations("reads", verdict->reads, verdict->reads_count);
    printf(" writes=%s", extents[verdict->writes]);
    print_reason("written_reason", verdict->written_reason, verdict->written_because);
    print_relations("written", verdict->written, verdict->written_count);
    printf(" keys=%u/%u\n", verdict->keys_count, verdict->key_relation);
    query_analysis_free(&analysis);
    resolve_free(&resolve);
}

/* --- commands --------------------------------------------------------------------------------- */

static void declare(char *arguments)
{
    struct resolve_declared *next = &declared[rules.count];
    char *state, *word = strtok_r(arguments, " ", &state);
    invariant(rules.count < DECLARED_MAX && word != NULL);
    *next = (struct resolve_declared){.is = read_object(word), .tables = tables[rules.count]};
    while ((word = strtok_r(NULL, " ", &state)) != NULL)
        tables[rules.count][next->tables_count++] = read_object(word);
    rules.count += 1;
}

static void ask(char *arguments)
{
    struct buffer sql = BUFFER_INIT(RESOLVE_QUESTION_MAX);
    verdict_unref(&verdict);
    invariant(query_analyze(read_hex(arguments), &analysis) == OK);
    if (!resolve_asks(analysis, true)) {
        invariant(resolve_without(analysis, &verdict) == OK);
        print_verdict();
        return;
    }
    resolve = resolve_new(analysis, &rules);
    resolve_question(analysis, &rules, &sql);
    invariant(resolve != NULL && buffer_fault(&sql) == OK);
    printf("ask ");
    print_hex(buffer_span(&sql));
    printf("\n");
    buffer_fini(&sql);
}

static void take_row(char *arguments)
{
    struct span cells[RESOLVE_COLUMNS];
    for (size_t i = 0; i < RESOLVE_COLUMNS; i++) {
        char *cell = strsep(&arguments, "|");
        invariant(cell != NULL);
        cells[i] = strcmp(cell, "-") == 0 ? SPAN_NONE : read_hex(cell);
    }
    invariant(resolve_row(resolve, cells) == OK);
}

static void print_key(char *arguments)
{
    struct verdict_value values[8];
    struct buffer key = BUFFER_INIT(4096);
    char *state, *word = strtok_r(arguments, " ", &state);
    uint32_t count = 0;
    for (; word != NULL && count < 8; word = strtok_r(NULL, " ", &state))
        values[count++] = (struct verdict_value){.bytes = read_hex(word)};
    bool known = verdict_key_bytes(verdict, values, count, &key);
    printf("key ");
    if (known)
        print_hex(buffer_span(&key));
    printf("%s\n", known ? "" : "-");
    buffer_fini(&key);
}

static void obey(char *arguments)
{
    char *word = strsep(&arguments, " ");
    char none[] = "";
    arguments = arguments == NULL ? none : arguments;
    if (strcmp(word, "declare") == 0)
        declare(arguments);
    else if (strcmp(word, "text") == 0)
        ask(arguments);
    else if (strcmp(word, "row") == 0)
        take_row(arguments);
    else if (strcmp(word, "key") == 0)
        print_key(arguments);
    else if (resolve_end(resolve, &verdict) == OK)
        print_verdict();
    else
        abort();
    fflush(stdout);
}

int main(void)
{
    while (fgets(line, sizeof(line), stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        obey(line);
    }
    verdict_unref(&verdict);
    return 0;
}
