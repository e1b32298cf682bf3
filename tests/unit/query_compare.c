/*
 * query_compare.c - the scanner against PostgreSQL's own grammar over files for psql, such as those
 * of PostgreSQL's regression tests.
 *
 *     query_compare FILE|FOLDER...
 *
 * Every statement is compared alone, and as one text with those behind it.  Commands of psql and
 * the data of COPY are left out.  Prints each difference, then how much was compared.  Exits with 1
 * if there is a difference, or if no statement with effects was compared.
 */
#include "base/buffer.h"
#include "query_grammar.h"

#include <glob.h>

/* Statements of one text. */
#define GROUP_MAX 5

static struct {
    size_t files, statements, no_sql, with_effects, groups, differences;
} counts;

/* --- what psql would send --------------------------------------------------------------------- */

/* Commands of psql that end a statement in the middle of a line. */
static const char *command_in(const char *line)
{
    static const char *const commands[] = {"\\g", "\\;", "\\crosstabview", "\\watch", "\\bind"};
    const char *first = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        const char *at = strstr(line, commands[i]);
        first = at != NULL && (first == NULL || at < first) ? at : first;
    }
    return first;
}

static bool has_word(const char *line, const char *word)
{
    size_t size = strlen(word);
    for (; *line != '\0'; line++)
        if (strncasecmp(line, word, size) == 0)
            return true;
    return false;
}

/* Whether the lines that follow are the data of a COPY. */
static bool begins_data(const char *line)
{
    return strncasecmp(line, "copy ", 5) == 0 && has_word(line, "from stdin") &&
           strchr(line, ';') != NULL;
}

/* Appends a line as psql would send it. */
static void add_line(struct buffer *text, char *line, bool *data)
{
    const char *first = line + strspn(line, " \t");
    if (*data) {
        *data = strncmp(line, "\\.", 2) != 0;
        return;
    }
    *data = begins_data(line);
    if (*first == '\\')
        return;
    const char *command = command_in(line);
    if (command == NULL) {
        buffer_append_text(text, line);
        return;
    }
    buffer_append(text, line, (size_t)(command - line));
    buffer_append_text(text, ";");
    if (command[1] == ';')
        buffer_append_text(text, command + 2);
    else
        buffer_append_text(text, "\n");
}

static void read_file(const char *path, struct buffer *text)
{
    char *line = NULL;
    size_t room = 0;
    bool data = false;
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        perror(path);
        exit(2);
    }
    while (getline(&line, &room, file) > 0)
        add_line(text, line, &data);
    free(line);
    fclose(file);
    buffer_append_byte(text, 0);
    if (buffer_fault(text) != OK) {
        fprintf(stderr, "%s: larger than %zu bytes\n", path, text->max);
        exit(2);
    }
}

/* --- the comparison --------------------------------------------------------------------------- */

static enum comparison compare(const char *path, const char *text)
{
    char why[COMPARE_WHY_MAX] = "";
    enum comparison result = compare_text(text, why);
    if (result == COMPARE_DIFFERS) {
        printf("%s: %s in: %s\n", path, why, text);
        counts.differences += 1;
    }
    return result;
}

/* The statements that are SQL, of which the last ones are compared as one text. */
struct group {
    char *texts[GROUP_MAX];
    size_t count;
};

static void group_compare(const char *path, struct group *group)
{
    struct buffer whole = BUFFER_INIT((size_t)1 << 26);
    for (size_t i = 0; i < group->count; i++) {
        buffer_append_text(&whole, group->texts[i]);
        buffer_append_text(&whole, ";\n");
        free(group->texts[i]);
    }
    buffer_append_byte(&whole, 0);
    if (group->count > 1) {
        counts.groups += 1;
        (void)compare(path, (const char *)whole.at);
    }
    buffer_fini(&whole);
    group->count = 0;
}

static void compare_statement(const char *path, struct group *group, struct span text)
{
    char *statement = strndup((const char *)text.at, text.size);
    struct query_effects effects;
    counts.statements += 1;
    if (compare(path, statement) == COMPARE_NO_SQL) {
        counts.no_sql += 1;
        free(statement);
        return;
    }
    if (query_may_have_effects(text) && query_read_effects(text, &effects))
        counts.with_effects += 1;
    group->texts[group->count++] = statement;
    if (group->count == GROUP_MAX)
        group_compare(path, group);
}

/* Splits where a line ends with a semicolon: for files that PostgreSQL's own scanner refuses. */
static void compare_lines(const char *path, struct group *group, const char *all)
{
    for (const char *end; (end = strstr(all, ";\n")) != NULL; all = end + 2)
        compare_statement(path, group, span_of(all, (size_t)(end - all)));
    compare_statement(path, group, span_text(all));
}

static void compare_file(const char *path)
{
    struct buffer text = BUFFER_INIT((size_t)1 << 26);
    struct group group = {.count = 0};
    read_file(path, &text);
    const char *all = (const char *)text.at;
    PgQuerySplitResult split = pg_query_split_with_scanner(all);
    if (split.error != NULL)
        compare_lines(path, &group, all);
    for (int i = 0; split.error == NULL && i < split.n_stmts; i++)
        compare_statement(
            path, &group,
            span_of(all + split.stmts[i]->stmt_location, (size_t)split.stmts[i]->stmt_len));
    group_compare(path, &group);
    counts.files += 1;
    pg_query_free_split_result(split);
    buffer_fini(&text);
}

static void compare_named(const char *name)
{
    char pattern[4096];
    glob_t found = {0};
    snprintf(pattern, sizeof(pattern), "%s/*.sql", name);
    int none = glob(pattern, 0, NULL, &found);
    if (none != 0)
        compare_file(name);
    for (size_t i = 0; none == 0 && i < found.gl_pathc; i++)
        compare_file(found.gl_pathv[i]);
    globfree(&found);
}

int main(int count, char **words)
{
    for (int i = 1; i < count; i++)
        compare_named(words[i]);
    size_t compared = counts.statements - counts.no_sql;
    printf("%zu files: %zu statements compared, %zu of them with effects; %zu texts of up to %d "
           "statements; %zu statements refused by the grammar; %zu differences\n",
           counts.files, compared, counts.with_effects, counts.groups, GROUP_MAX, counts.no_sql,
           counts.differences);
    return counts.with_effects > 0 && counts.differences == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
