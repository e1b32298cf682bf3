/* parade_options.c - the commands of `trunkline parade`, their options and databases. */
#include "cli/cli.h"
#include "cli/cli_pgpass_parts.h"
#include "cli/parade.h"
#include "cli/parade_parts.h"

#include <getopt.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct cli_parade_row rows[] = {
    {"init", "CONNECTION --instance NUMBER|--catalog [--host NAME] [--dry-run]", "icHd", 1, 1, 1,
     cli_parade_init},
    {"upgrade", "CONNECTION... [--dry-run]", "d", 1, CLI_PARADE_PLACES_MAX, -1, cli_parade_upgrade},
    {"status", "FILE|CONNECTION... [--json] [--watch]", "jw", 1, CLI_PARADE_PLACES_MAX, -1,
     cli_parade_status, .file = true},
    {"setup", "FILE [--dry-run]", "d", 1, 1, 0, cli_parade_setup, .file = true},
    {"push", "FILE", "", 1, 1, 0, cli_parade_push, .file = true},
    {"run", "FILE --zone NAME", "z", 1, 1, 0, cli_parade_serve, .file = true},
    {"get", "CONNECTION KEY [--ns NAME] [--text]", "nt", 2, 2, 1, cli_parade_get},
    {"put", "CONNECTION KEY VALUE [--ns NAME] [--expire CLASS] [--text|--bytes]", "netb", 3, 3, 1,
     cli_parade_put},
    {"delete", "CONNECTION KEY [--ns NAME]", "n", 2, 2, 1, cli_parade_delete},
    {"incr", "CONNECTION KEY [DELTA] [--ns NAME] [--expire CLASS]", "ne", 2, 3, 1, cli_parade_incr},
    {"scan", "CONNECTION [PREFIX] [--ns NAME] [--limit COUNT] [--text]", "nlt", 1, 2, 1,
     cli_parade_scan},
    {"verify", "CONNECTION CONNECTION...", "", 2, CLI_PARADE_PLACES_MAX, -1, cli_parade_verify},
    {"repair", "CONNECTION CONNECTION [--dry-run]", "d", 2, 2, 2, cli_parade_repair},
    {"quarantine", "CONNECTION list|retry|drop [NUMBER]", "", 2, 3, 1, cli_parade_quarantine},
    {"gc", "CONNECTION", "", 1, 1, 1, cli_parade_gc},
    {"forget", "CONNECTION PEER", "", 2, 2, 1, cli_parade_forget},
};

static const struct option known[] = {{"ns", required_argument, NULL, 'n'},
                                      {"expire", required_argument, NULL, 'e'},
                                      {"password-file", required_argument, NULL, 'P'},
                                      {"timeout", required_argument, NULL, 'T'},
                                      {"host", required_argument, NULL, 'H'},
                                      {"zone", required_argument, NULL, 'z'},
                                      {"instance", required_argument, NULL, 'i'},
                                      {"limit", required_argument, NULL, 'l'},
                                      {"catalog", no_argument, NULL, 'c'},
                                      {"dry-run", no_argument, NULL, 'd'},
                                      {"json", no_argument, NULL, 'j'},
                                      {"text", no_argument, NULL, 't'},
                                      {"bytes", no_argument, NULL, 'b'},
                                      {"watch", no_argument, NULL, 'w'},
                                      {NULL, 0, NULL, 0}};
#define COMMON "PT" /* options of every command */

static const char help[] =
    "A parade is a key-value store over several sites, on PostgreSQL databases.  A CONNECTION is "
    "a\n"
    "database: postgresql://USER@HOST:PORT/DATABASE?sslmode=MODE, or host=HOST dbname=DATABASE.\n"
    "\n"
    "  init CONNECTION --instance NUMBER  makes a database a shard instance; --catalog: a catalog\n"
    "  upgrade CONNECTION...              installs the newest version of the SQL\n"
    "  setup FILE                         makes all that a topology file describes\n"
    "  push FILE                          carries the configuration to all catalogs and shards\n"
    "  run FILE --zone NAME               replicates: pulls the rows of other zones into this one\n"
    "  status FILE|CONNECTION...          shows instances and their links\n"
    "  get CONNECTION KEY                 prints a value\n"
    "  put CONNECTION KEY VALUE           writes a value, JSON or with --text; -: standard input\n"
    "  delete CONNECTION KEY              deletes a key\n"
    "  incr CONNECTION KEY [DELTA]        adds to a counter, and prints it\n"
    "  scan CONNECTION [PREFIX]           prints keys and values, in the order of their bytes\n"
    "  verify CONNECTION CONNECTION...    compares what the members of a shard hold\n"
    "  repair CONNECTION CONNECTION       makes two members equal\n"
    "  quarantine CONNECTION list         shows rows that could not be written; retry, drop "
    "NUMBER\n"
    "  gc CONNECTION                      removes tombstones that no member needs\n"
    "  forget CONNECTION PEER             waits no longer for a member that is gone for good\n"
    "\n"
    "      --ns NAME              the namespace (DEFAULT)\n"
    "      --expire CLASS         the expiry class of the value\n"
    "      --text                 values are text, not JSON\n"
    "      --bytes                the value is a bytea, as \\x0102\n"
    "      --limit COUNT          at most so many keys\n"
    "      --instance NUMBER      the peer's number, unique in the parade and for ever\n"
    "      --catalog              the database becomes a catalog\n"
    "      --host NAME            what the topology calls this host\n"
    "      --zone NAME            the zone whose shard instances are served\n"
    "      --dry-run              prints what would be done\n"
    "      --json                 prints one JSON document\n"
    "      --watch                prints again every 2 seconds\n"
    "      --timeout SECONDS      for each statement (300)\n"
    "      --password-file FILE   its first line is the password\n"
    "\n"
    "Without a password in the connection string or the file, PGPASSWORD is used, then PGPASSFILE "
    "or\n"
    "~/.pgpass.  PGHOST, PGPORT, PGUSER, PGDATABASE, PGSSLMODE and PGSSLROOTCERT are as for "
    "psql.\n";

const char *cli_parade_help(void)
{
    return help;
}

const struct cli_parade_row *cli_parade_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

/* --- options ---------------------------------------------------------------------------------- */

static bool number_keep(const char *name, const char *text, int64_t max, int64_t *ret)
{
    char *rest;
    long long number = strtoll(text, &rest, 10);
    if (*text != '\0' && *rest == '\0' && number >= 1 && number <= max) {
        *ret = number;
        return true;
    }
    fprintf(stderr, "trunkline parade: found %s %s; accepted: 1 to %lld\n", name, text,
            (long long)max);
    return false;
}

static bool option_keep(int option, const char *text, struct cli_parade *call)
{
    int64_t seconds;
    switch (option) {
    case 'n':
        call->ns = text;
        return true;
    case 'e':
        call->expire = text;
        return true;
    case 'P':
        call->password_file = text;
        return true;
    case 'H':
        call->host = text;
        return true;
    case 'z':
        call->zone = text;
        return true;
    case 'i':
        return number_keep("--instance", text, INT32_MAX, &call->instance);
    case 'l':
        return number_keep("--limit", text, INT32_MAX, &call->limit);
    case 'T':
        if (!number_keep("--timeout", text, 86400, &seconds))
            return false;
        call->timeout = sec(seconds);
        return true;
    default:
        call->catalog |= option == 'c';
        call->dry_run |= option == 'd';
        call->json |= option == 'j';
        call->text |= option == 't';
        call->bytes |= option == 'b';
        call->watch |= option == 'w';
        return true;
    }
}

/* --- databases -------------------------------------------------------------------------------- */

static bool environment_read(const struct cli_parade *call, struct parade_target *target)
{
    static const struct {
        const char *variable, *name;
    } names[] = {{"PGHOST", "host"},
                 {"PGPORT", "port"},
                 {"PGUSER", "user"},
                 {"PGDATABASE", "dbname"},
                 {"PGSSLMODE", "sslmode"},
                 {"PGSSLROOTCERT", "sslrootcert"},
                 {"PGCONNECT_TIMEOUT", "connect_timeout"}};
    const struct passwd *own = getpwuid(geteuid());
    *target = PARADE_TARGET_INIT;
    snprintf(target->user, sizeof(target->user), "%s", own != NULL ? own->pw_name : "trunkline");
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const char *value = getenv(names[i].variable);
        if (value == NULL || *value == '\0')
            continue;
        fault set = parade_target_set(target, span_text(names[i].name), span_text(value));
        if (set != OK) {
            fprintf(stderr, "trunkline parade %s: %s: %s\n", call->name, names[i].variable,
                    fault_detail(set));
            return false;
        }
    }
    return true;
}

/* The first line of the password file. */
static bool password_file_read(const struct cli_parade *call, char *ret, size_t size)
{
    FILE *file = fopen(call->password_file, "re");
    if (file == NULL) {
        fprintf(stderr, "trunkline parade %s: password file %s: %m\n", call->name,
                call->password_file);
        return false;
    }
    bool found = fgets(ret, (int)size, file) != NULL;
    (void)fclose(file);
    if (found)
        ret[strcspn(ret, "\r\n")] = '\0';
    else
        fprintf(stderr, "trunkline parade %s: password file %s is empty\n", call->name,
                call->password_file);
    return found;
}

bool cli_parade_password(const struct cli_parade *call, struct parade_target *target)
{
    const char *password = getenv("PGPASSWORD");
    if (target->password[0] != '\0')
        return true;
    if (call->password_file != NULL)
        return password_file_read(call, target->password, sizeof(target->password));
    if (password != NULL) {
        snprintf(target->password, sizeof(target->password), "%s", password);
        return true;
    }
    const struct cli_login login = {target->host, target->port, target->database, target->user};
    (void)cli_pgpass_read("parade", &login, target->password, sizeof(target->password));
    return true;
}

void cli_parade_place_set(struct cli_parade_place *place, const struct parade_target *target)
{
    place->target = *target;
    parade_target_text(target, place->name, sizeof(place->name));
}

static bool place_add(struct cli_parade *call, const char *word)
{
    struct parade_target read_target, *target = &read_target;
    static_assert(sizeof(target->database) == sizeof(target->user), "a name fits");
    if (!environment_read(call, target))
        return false;
    fault read = parade_target_read(span_text(word), target);
    if (read != OK) {
        fprintf(stderr, "trunkline parade %s: %s\n", call->name, fault_detail(read));
        return false;
    }
    if (target->database[0] == '\0')
        memcpy(target->database, target->user, sizeof(target->user));
    bool found = cli_parade_password(call, target);
    cli_parade_place_set(&call->places[call->place_count++], target);
    explicit_bzero(target, sizeof(*target));
    return found;
}

/* --- topology files --------------------------------------------------------------------------- */

#define TOPOLOGY_SIZE 262144

static bool file_read(const struct cli_parade *call, const char *path, struct buffer *into)
{
    FILE *file = fopen(path, "re");
    uint8_t *room = buffer_room(into, TOPOLOGY_SIZE);
    if (file == NULL || room == NULL) {
        fprintf(stderr, "trunkline parade %s: topology file %s: %m\n", call->name, path);
        return false;
    }
    into->size = fread(room, 1, TOPOLOGY_SIZE, file);
    (void)fclose(file);
    if (into->size < TOPOLOGY_SIZE)
        return true;
    fprintf(stderr, "trunkline parade %s: topology file %s has %d bytes or more\n", call->name,
            path, TOPOLOGY_SIZE);
    return false;
}

static bool topology_take(struct cli_parade *call, const char *path)
{
    struct parade_target presets;
    struct buffer text = BUFFER_INIT(TOPOLOGY_SIZE);
    bool done = environment_read(call, &presets) && file_read(call, path, &text);
    if (done) {
        fault read = parade_topology_read(buffer_span(&text), &presets, &call->topology);
        if (read != OK)
            fprintf(stderr, "trunkline parade %s: %s: %s\n", call->name, path, fault_detail(read));
        done = read == OK;
    }
    buffer_fini(&text);
    return done;
}

/* Each database of the topology becomes a place: the catalogs first, then the shard instances. */
static bool topology_places(struct cli_parade *call)
{
    const struct parade_topology *topology = call->topology;
    size_t count = topology->zone_count + topology->member_count;
    free(call->places);
    call->places = calloc(count, sizeof(call->places[0]));
    if (call->places == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        struct parade_target target;
        if (i < topology->zone_count) {
            target = topology->zones[i].target;
            static_assert(sizeof(target.database) >= sizeof(topology->catalog), "a name fits");
            memcpy(target.database, topology->catalog, sizeof(topology->catalog));
        } else {
            parade_topology_target(topology, &topology->members[i - topology->zone_count], &target);
        }
        if (!cli_parade_password(call, &target))
            return false;
        cli_parade_place_set(&call->places[call->place_count++], &target);
        explicit_bzero(&target, sizeof(target));
    }
    return true;
}

static bool is_file(const struct cli_parade_row *row, const struct cli_parade *call)
{
    return row->file &&
           (row->places == 0 || (call->count == 1 && strchr(call->words[0], '=') == NULL &&
                                 strstr(call->words[0], "://") == NULL));
}

/* --- the whole -------------------------------------------------------------------------------- */

static bool options_read(const struct cli_parade_row *row, int count, char **words,
                         struct cli_parade *call)
{
    int option;
    opterr = 0;
    optind = 1;
    while ((option = getopt_long(count, words, ":", known, NULL)) != -1) {
        if (option == '?' || option == ':') {
            fprintf(stderr, "trunkline parade %s: %s%s\n", row->name,
                    option == '?' ? "unknown option " : "no value after ", words[optind - 1]);
            return false;
        }
        if (strchr(row->options, option) == NULL && strchr(COMMON, option) == NULL) {
            fprintf(stderr,
                    "trunkline parade %s: found an option of another command; accepted: %s\n",
                    row->name, row->arguments);
            return false;
        }
        if (!option_keep(option, optarg, call))
            return false;
    }
    return true;
}

int cli_parade_options(const struct cli_parade_row *row, char **arguments, struct cli_parade *call)
{
    int count = 0;
    while (arguments[count] != NULL)
        count++;
    if (!options_read(row, count, arguments, call))
        return CLI_USAGE;
    call->words = arguments + optind;
    call->count = count - optind;
    if (call->count < row->least || call->count > row->most) {
        fprintf(stderr, "trunkline parade %s: found %d arguments; accepted: %s\n", row->name,
                call->count, row->arguments);
        return CLI_USAGE;
    }
    if (is_file(row, call))
        return topology_take(call, call->words[0]) && topology_places(call) ? CLI_DONE : CLI_FAILED;
    int places = row->places < 0 ? call->count : row->places;
    for (int i = 0; i < places; i++)
        if (!place_add(call, call->words[i]))
            return CLI_USAGE;
    return CLI_DONE;
}
