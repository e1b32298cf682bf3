/* cli_check.c - `check`, and `docs` for developers. */
#include "cli/cli.h"
#include "cli/cli_match.h"

#include "admin/console.h"
#include "instance/config_load.h"
#include "instance/import.h"

#include <stdio.h>
#include <string.h>

/* Room for the maximum of problems that are printed. */
#define PROBLEMS_MAX ((size_t)512 * 1024)

static void count_print(size_t count, const char *thing, const char *behind)
{
    printf("%zu %s%s%s", count, thing, count == 1 ? "" : "s", behind);
}

int cli_check(char **arguments)
{
    struct config *config = NULL;
    struct buffer problems = BUFFER_INIT(PROBLEMS_MAX);
    fault loaded = config_load(arguments[0], 1, &config, &problems);
    fprintf(stderr, "%.*s", SPAN_ARG(buffer_span(&problems)));
    buffer_fini(&problems);
    if (loaded != OK) {
        fprintf(stderr, "trunkline: %s\n", fault_detail(loaded));
        return CLI_FAILED;
    }
    if (arguments[1] != NULL) {
        int matched = cli_match(config, arguments[2], arguments[3], arguments[4]);
        config_unref(&config);
        return matched;
    }
    printf("%s can be run: ", arguments[0]);
    if (config->file_count > 1)
        count_print(config->file_count, "file", ", ");
    count_print(config->listen_count, "listener", ", ");
    count_print(config->relays, "relay", ", ");
    count_print(config->service_count, "service", ", ");
    count_print(config->route_count, "route", ", ");
    count_print(config->secrets.count, "user", " in the auth file\n");
    config_unref(&config);
    return CLI_DONE;
}

static const struct {
    const char *name;
    void (*print)(struct buffer *out);
} pages[] = {
    {"configuration", config_print_manual},
    {"console", console_print_manual},
    {"migrating-from-pgbouncer", import_print_manual},
    {"trunkline.5", config_print_man},
};

int cli_docs(char **arguments)
{
    size_t which = 0;
    while (which < ARRAY_SIZE(pages) && strcmp(pages[which].name, arguments[0]) != 0)
        which += 1;
    if (which == ARRAY_SIZE(pages)) {
        fprintf(stderr, "trunkline docs: unknown page %s\n", arguments[0]);
        return CLI_USAGE;
    }
    struct buffer page = BUFFER_INIT((size_t)1024 * 1024);
    pages[which].print(&page);
    fault made = buffer_fault(&page);
    if (made == OK)
        printf("%.*s", SPAN_ARG(buffer_span(&page)));
    buffer_fini(&page);
    return made == OK ? CLI_DONE : CLI_FAILED;
}
