#include "cli/cli.h"

#include "instance/import.h"

#include <stdio.h>

#define IMPORT_MAX ((size_t)16 * 1024 * 1024)

int cli_import(char **arguments)
{
    struct buffer out = BUFFER_INIT(IMPORT_MAX);
    struct buffer problems = BUFFER_INIT(IMPORT_MAX);
    fault done = import_pgbouncer(arguments[0], &out, &problems);
    fprintf(stderr, "%.*s", SPAN_ARG(buffer_span(&problems)));
    if (done == OK)
        printf("%.*s", SPAN_ARG(buffer_span(&out)));
    else
        fprintf(stderr, "trunkline: %s\n", fault_story(done));
    buffer_fini(&out);
    buffer_fini(&problems);
    return done == OK ? CLI_DONE : CLI_FAILED;
}
