#include "cli/cli_match.h"

#include "cli/cli.h"
#include "machine/stream.h"

#include <stdio.h>
#include <string.h>

static const char *mode_text(enum pool_mode mode)
{
    switch (mode) {
    case POOL_SESSION:
        return "session";
    case POOL_TRANSACTION:
        return "transaction";
    default:
        return "statement";
    }
}

static void route_print(const struct route_config *route)
{
    printf("route:   %s:%u, database %s, user %s", route->file, route->line,
           route->database == NULL ? "*" : route->database,
           route->user == NULL ? "*" : route->user);
    if (route->auth != AUTH_BLOCK)
        printf(": service %s, %s pool of %u", route->service->name, mode_text(route->mode),
               route->pool_size);
    for (size_t i = 0; i < route->listener_count; i++)
        printf("%s %s", i == 0 ? ", for clients of the listeners" : ",", route->listeners[i]);
    putchar('\n');
}

/* Prints the matching line of the HBA file.  Lines that need a look-up (host names, roles) are
 * skipped. */
static bool line_print(const struct config *config, struct hba_subject *subject, bool tls)
{
    static const struct hba_world world;
    const struct hba_rule *rule = NULL;
    const char *with = subject->peer->family == ADDRESS_UNIX ? "       "
                       : tls                                 ? "TLS:   "
                                                             : "plain: ";
    subject->tls = tls;
    if (hba_match(config->hba, subject, &world, &rule) != OK || rule == NULL) {
        printf("%s  no line of %s matches: refused (28000)\n", with, config->hba_file);
        return false;
    }
    printf("%s  %s:%u: %s\n", with, rule->file, rule->line, rule->text);
    return rule->how.method != AUTH_BLOCK;
}

static int hba_print(const struct config *config, struct hba_subject *subject)
{
    if (subject->peer->family == ADDRESS_UNIX)
        return line_print(config, subject, false) ? CLI_DONE : CLI_FAILED;
    bool plain = line_print(config, subject, false);
    bool tls = line_print(config, subject, true);
    puts("Lines with host names or +roles are skipped in this check.");
    return plain || tls ? CLI_DONE : CLI_FAILED;
}

int cli_match(const struct config *config, const char *database, const char *user,
              const char *address)
{
    struct address peer = {.family = ADDRESS_UNIX};
    if (strcmp(address, "local") != 0 && !address_parse_number(address, 0, &peer)) {
        fprintf(stderr, "trunkline check: found address %s; accepted: an IP address, or local\n",
                address);
        return CLI_USAGE;
    }
    const struct route_config *route = config_route(config, span_text(database), span_text(user));
    if (route == NULL) {
        printf("route:   none matches: refused (3D000)\n");
        return CLI_FAILED;
    }
    route_print(route);
    printf("auth:    %s\n", auth_method_text(route->auth));
    if (route->auth == AUTH_BLOCK)
        return CLI_FAILED;
    if (route->auth != AUTH_HBA)
        return CLI_DONE;
    struct hba_subject subject = {
        .database = span_text(database), .user = span_text(user), .peer = &peer};
    return hba_print(config, &subject);
}
