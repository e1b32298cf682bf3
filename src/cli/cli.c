#include "cli/cli.h"

#include "base/check.h"
#include "base/map.h"
#include "cli/parade.h"
#include "cli/top.h"
#include "flight/feed_query.h"
#include "instance/import.h"
#include "instance/instance.h"
#include "machine/ids.h"

#include <stdio.h>
#include <string.h>

/* Maximum of words after a command's name. */
#define WORDS_MAX 8
/* Bytes of what `import` prints. */
#define IMPORT_MAX ((size_t)16 * 1024 * 1024)

struct cli_command {
    const char *name;
    const char *arguments; /* for the usage line */
    int count;             /* number of arguments */
    int max;               /* number of arguments with the option */
    const char *option;    /* NULL: none */
    const char *summary;   /* NULL: for developers, not listed */
    const char *help;
    int (*run)(char **arguments);
    bool own; /* reads its arguments by itself; -h is an option of its own */
};

static int cli_version(char **arguments)
{
    puts("trunkline " TRUNKLINE_VERSION);
    return CLI_DONE;
}

static int cli_import(char **arguments)
{
    struct buffer out = BUFFER_INIT(IMPORT_MAX);
    struct buffer problems = BUFFER_INIT(IMPORT_MAX);
    fault done = import_pgbouncer(arguments[0], &out, &problems);
    fprintf(stderr, "%.*s", SPAN_ARG(buffer_span(&problems)));
    if (done == OK)
        printf("%.*s", SPAN_ARG(buffer_span(&out)));
    else
        fprintf(stderr, "trunkline: %s\n", fault_detail(done));
    buffer_fini(&out);
    buffer_fini(&problems);
    return done == OK ? CLI_DONE : CLI_FAILED;
}

static int cli_feed_setup(char **arguments)
{
    fputs(feed_setup_sql(), stdout);
    return CLI_DONE;
}

static const struct cli_command commands[] = {
    {"run", "FILE", 1, 1, NULL, "runs the pooler in the foreground",
     "Runs the pooler in the foreground with this configuration file.  SIGINT or SIGTERM shuts it\n"
     "down after open transactions have finished; a second signal ends it at once.  SIGHUP "
     "reloads\n"
     "the file.  The log goes to standard error unless the file sets another target.\n",
     cli_run},
    {"check", "FILE [--match DATABASE USER ADDRESS]", 1, 5, "--match",
     "checks a configuration file and reports every problem",
     "Loads the configuration file and the auth file and certificates that it names, and prints\n"
     "every problem: file, line, column, key, what was found, and what is accepted.  The exit\n"
     "status is 0 if the file can be run (there may be warnings), 1 if not.\n"
     "\n"
     "With --match, prints which route a client would use, and which line of the HBA file would\n"
     "match, with and without TLS.  ADDRESS is an IP address, or local for a Unix socket.\n",
     cli_check},
    {"secret", "USER [--from-server HOST[:PORT] ADMIN]", 1, 4, "--from-server",
     "prints a line for the auth file",
     "Asks for a password twice, without echo, and prints the line for the auth file: the user "
     "and\n"
     "a SCRAM-SHA-256 verifier, from which the password can't be recovered.  If standard input is\n"
     "not a terminal, the password is its first line.\n"
     "\n"
     "With --from-server, the secret is copied from a server.  The pooler then logs that user\n"
     "in at the server with the client's own keys, and no password needs to be stored.  ADMIN "
     "needs\n"
     "permission to read pg_authid there; its password is asked for, or is the first line of\n"
     "standard input (may be empty).\n",
     cli_secret},
    {"import", "FILE", 1, 1, NULL, "converts a PgBouncer configuration",
     "Reads pgbouncer.ini and the files that it includes, and prints an equivalent configuration.\n"
     "Settings without an equivalent are printed as comments, each with the reason.\n",
     cli_import},
    {"feed-setup", "", 0, 0, NULL, "prints the SQL that mode: strict needs in a database",
     "Prints the SQL that a database needs before its answers can be kept with mode: strict.  Run "
     "it\n"
     "once in each such database, as a superuser:\n"
     "\n"
     "  trunkline feed-setup | psql -X -v ON_ERROR_STOP=1 DATABASE\n"
     "\n"
     "It makes the schema trunkline with two functions, and two event triggers that tell of DDL.\n"
     "Running it again is harmless; run it again after an update of Trunkline.\n",
     cli_feed_setup},
    {"top", "[OPTION...]", 0, 0, NULL, "shows a running pooler, live",
     "Shows services, backends, pools, databases and relays of a running pooler, with rates and\n"
     "percentiles, over its console.  Press h for the keys.\n"
     "\n"
     "  -h, --host HOST          host or socket directory (PGHOST; 127.0.0.1)\n"
     "  -p, --port PORT          port (PGPORT; 6432)\n"
     "  -U, --username USER      a user of the console (PGUSER; your name)\n"
     "  -d, --dbname DATABASE    the console's database (trunkline)\n"
     "  -W, --password           ask for a password (PGPASSWORD, PGPASSFILE, ~/.pgpass)\n"
     "  -i, --interval SECONDS   between two readings (1)\n"
     "  -f, --filter TEXT        only rows that contain the text\n"
     "      --once               print one frame as text, for scripts\n"
     "      --json               print one frame as JSON\n"
     "\n"
     "PGSSLMODE and PGSSLROOTCERT are as for psql.  --once and --json read the console twice, an\n"
     "interval apart; they end with status 1 if the pooler can't be reached.\n",
     top_run, true},
    {"parade", "COMMAND [ARGUMENT...] [OPTION...]", 0, 0, NULL,
     "installs and uses a key-value store over several sites", NULL, cli_parade_run, true},
    {"version", "", 0, 0, NULL, "prints the version",
     "Prints the name and version of this program.\n", cli_version},
    {"docs", "PAGE", 1, 1, NULL, NULL,
     "Prints a generated page of the manual.  There are four: configuration,\n"
     "console, migrating-from-pgbouncer and trunkline.5.\n",
     cli_docs},
};

int cli_run(char **arguments)
{
    uint64_t seed;
    random_bytes(&seed, sizeof(seed));
    hash_set_seed(seed);
    return instance_run(arguments[0]);
}

static void usage_print(FILE *to)
{
    fputs("Trunkline is a connection pooler for PostgreSQL.\n\nusage:\n", to);
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        const struct cli_command *it = &commands[i];
        char call[32];
        if (it->summary == NULL)
            continue;
        snprintf(call, sizeof(call), "%s %.*s", it->name, (int)strcspn(it->arguments, " "),
                 it->arguments);
        fprintf(to, "  trunkline %-12s %s\n", call, it->summary);
    }
    fputs("  trunkline COMMAND --help\n", to);
}

static void command_usage(const struct cli_command *command, FILE *to)
{
    fprintf(to, "usage: trunkline %s%s%s\n", command->name,
            command->arguments[0] != '\0' ? " " : "", command->arguments);
}

static void command_tell(const struct cli_command *command)
{
    command_usage(command, stdout);
    printf("\n%s", command->help != NULL ? command->help : cli_parade_help());
}

static const struct cli_command *command_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static bool asks_for_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0;
}

static bool is_option(const struct cli_command *command, const char *word)
{
    return command->option != NULL && word != NULL && strcmp(command->option, word) == 0;
}

/* Moves the option to the end: accepts "FILE --match A B C" and "--match A B C FILE".  Returns
 * false if there is no option. */
static bool option_last(const struct cli_command *command, char **arguments, char **ret)
{
    int words = command->max;
    bool leads = is_option(command, arguments[0]);
    if (!leads && !is_option(command, arguments[1]))
        return false;
    for (int i = 0; i < words; i++)
        ret[i] = arguments[leads ? (i + words - 1) % words : i];
    ret[words] = NULL;
    return true;
}

/* Runs a command that reads its arguments by itself. */
static int own_run(const struct cli_command *command, int count, char **arguments)
{
    for (int i = 0; i < count; i++)
        if (strcmp(arguments[i], "--help") == 0 ||
            (count == 1 && strcmp(arguments[i], "-h") == 0)) {
            command_tell(command);
            return CLI_DONE;
        }
    int status = command->run(arguments);
    if (status == CLI_USAGE)
        command_usage(command, stderr);
    return status;
}

static int command_run(const struct cli_command *command, int count, char **arguments)
{
    if (command->own)
        return own_run(command, count, arguments);
    for (int i = 0; i < count; i++) {
        if (strcmp(arguments[i], "--") == 0)
            break;
        if (strcmp(arguments[i], "--help") == 0 || strcmp(arguments[i], "-h") == 0) {
            command_tell(command);
            return CLI_DONE;
        }
    }
    /* "--" lets a file or user begin with a dash. */
    if (count > 0 && strcmp(arguments[0], "--") == 0) {
        arguments++;
        count--;
    } else if (count > 0 && arguments[0][0] == '-' && !is_option(command, arguments[0])) {
        fprintf(stderr, "trunkline %s: unknown option %s\n", command->name, arguments[0]);
        command_usage(command, stderr);
        return CLI_USAGE;
    }
    if (count != command->count && count != command->max) {
        fprintf(stderr, "trunkline %s: found %d arguments; accepted: %d\n", command->name, count,
                command->count);
        command_usage(command, stderr);
        return CLI_USAGE;
    }
    char *ordered[WORDS_MAX + 1] = {NULL};
    invariant(command->max <= WORDS_MAX);
    if (count == command->count)
        return command->run(arguments);
    if (option_last(command, arguments, ordered))
        return command->run(ordered);
    command_usage(command, stderr);
    return CLI_USAGE;
}

int cli_main(int argc, char **argv)
{
    if (argc < 2) {
        usage_print(stderr);
        return CLI_USAGE;
    }
    const char *word = argv[1];
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0)
        return cli_version(NULL);
    if (asks_for_help(word)) {
        const struct cli_command *about = argc > 2 ? command_find(argv[2]) : NULL;
        if (about == NULL)
            usage_print(stdout);
        else
            command_tell(about);
        return CLI_DONE;
    }
    const struct cli_command *command = command_find(word);
    if (command == NULL) {
        fprintf(stderr, "trunkline: unknown command %s\n", word);
        usage_print(stderr);
        return CLI_USAGE;
    }
    int status = command_run(command, argc - 2, argv + 2);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fputs("trunkline: cannot write to standard output\n", stderr);
        return CLI_FAILED;
    }
    invariant(status >= 0);
    return status;
}
