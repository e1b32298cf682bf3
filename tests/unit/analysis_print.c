/*
 * analysis_print.c - writes the analysis of each text of its input as a line.
 *
 * The texts are separated by lines that have a single ";".  Used by the tests against PostgreSQL.
 */
#include "analysis_view.h"

#include <stdlib.h>

static void print_text(const char *text, size_t size)
{
    static char line[64 * 1024];
    struct query_analysis *done = NULL;
    if (query_analyze(span_of(text, size), &done) != OK)
        abort();
    view_analysis(done, line, sizeof(line));
    puts(line);
    query_analysis_free(&done);
}

int main(void)
{
    static char input[4 * 1024 * 1024];
    size_t size = fread(input, 1, sizeof(input) - 1, stdin);
    input[size] = '\0';
    for (char *text = input, *end; (end = strstr(text, "\n;\n")) != NULL; text = end + 3)
        print_text(text, (size_t)(end - text));
    return 0;
}
