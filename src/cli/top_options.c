/*
 * top_options.c - options of `trunkline top`, with the names and the environment of psql.
 */
#include "cli/cli_pgpass_parts.h"
#include "cli/top_parts.h"

#include <getopt.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define HOST_USUAL     "127.0.0.1"
#define PORT_USUAL     6432
#define DATABASE_USUAL "trunkline"

struct reading {
    struct top_options *options;
    char *problem;
    size_t size;
};

static bool text_keep(char *ret, size_t size, const char *text, const char *name,
                      const struct reading *reading)
{
    if (strlen(text) < size && text[0] != '\0') {
        memcpy(ret, text, strlen(text) + 1);
        return true;
    }
    snprintf(reading->problem, reading->size, "found %s of %zu bytes; accepted: 1 to %zu", name,
             strlen(text), size - 1);
    return false;
}

static bool port_keep(const char *text, const struct reading *reading)
{
    char *rest;
    unsigned long number = strtoul(text, &rest, 10);
    if (*text >= '0' && *text <= '9' && *rest == '\0' && number > 0 && number <= UINT16_MAX) {
        reading->options->port = (uint16_t)number;
        return true;
    }
    snprintf(reading->problem, reading->size, "found port %s; accepted: 1 to 65535", text);
    return false;
}

static bool interval_keep(const char *text, const struct reading *reading)
{
    char *rest;
    double seconds = strtod(text, &rest);
    double least = (double)TOP_INTERVAL_LEAST.us / 1e6, most = (double)TOP_INTERVAL_MOST.us / 1e6;
    if (rest != text && *rest == '\0' && seconds >= least && seconds <= most) {
        reading->options->interval = (duration){.us = (int64_t)(seconds * 1e6 + 0.5)};
        return true;
    }
    snprintf(reading->problem, reading->size, "found interval %s; accepted: %.1f to %.0f seconds",
             text, least, most);
    return false;
}

static bool option_keep(int option, const char *text, const struct reading *reading)
{
    struct top_options *options = reading->options;
    switch (option) {
    case 'h':
        return text_keep(options->host, sizeof(options->host), text, "a host", reading);
    case 'p':
        return port_keep(text, reading);
    case 'U':
        return text_keep(options->user, sizeof(options->user), text, "a user", reading);
    case 'd':
        return text_keep(options->database, sizeof(options->database), text, "a database", reading);
    case 'f':
        return text_keep(options->filter, sizeof(options->filter), text, "a filter", reading);
    case 'i':
        return interval_keep(text, reading);
    case 'W':
        options->ask_password = true;
        return true;
    case 'o':
        options->mode = TOP_ONCE;
        return true;
    case 'j':
        options->mode = TOP_JSON;
        return true;
    default:
        return false;
    }
}

static bool environment_read(const struct reading *reading)
{
    struct top_options *options = reading->options;
    const struct passwd *own = getpwuid(geteuid());
    const char *host = getenv("PGHOST"), *port = getenv("PGPORT"), *user = getenv("PGUSER");
    const char *mode = getenv("PGSSLMODE");
    if (user == NULL || *user == '\0')
        user = own != NULL ? own->pw_name : "trunkline";
    options->authorities = getenv("PGSSLROOTCERT");
    return text_keep(options->host, sizeof(options->host),
                     host != NULL && *host != '\0' ? host : HOST_USUAL, "PGHOST", reading) &&
           text_keep(options->user, sizeof(options->user), user, "PGUSER", reading) &&
           text_keep(options->sslmode, sizeof(options->sslmode),
                     mode != NULL && *mode != '\0' ? mode : "prefer", "PGSSLMODE", reading) &&
           (port == NULL || *port == '\0' || port_keep(port, reading));
}

/* --- passwords -------------------------------------------------------------------------------- */

static struct cli_login login_of(const struct top_options *options)
{
    return (struct cli_login){options->host, options->port, options->database, options->user};
}

bool top_options_find_password(const char *file, const struct top_options *options, char *ret,
                               size_t size)
{
    const struct cli_login login = login_of(options);
    return cli_pgpass_find(file, &login, ret, size);
}

/* --- all -------------------------------------------------------------------------------------- */

bool top_options_read(char **arguments, struct top_options *ret, char *ret_problem, size_t size)
{
    static const struct option known[] = {
        {"host", required_argument, NULL, 'h'},     {"port", required_argument, NULL, 'p'},
        {"username", required_argument, NULL, 'U'}, {"dbname", required_argument, NULL, 'd'},
        {"interval", required_argument, NULL, 'i'}, {"filter", required_argument, NULL, 'f'},
        {"password", no_argument, NULL, 'W'},       {"once", no_argument, NULL, 'o'},
        {"json", no_argument, NULL, 'j'},           {NULL, 0, NULL, 0}};
    const struct reading reading = {ret, ret_problem, size};
    char **words = arguments - 1; /* getopt_long() skips the first word: the command's name */
    int count = 1, option;
    while (words[count] != NULL)
        count++;
    *ret = (struct top_options){.interval = sec(1), .port = PORT_USUAL};
    memcpy(ret->database, DATABASE_USUAL, sizeof(DATABASE_USUAL));
    if (!environment_read(&reading))
        return false;
    opterr = 0;
    optind = 1;
    while ((option = getopt_long(count, words, ":h:p:U:d:i:f:W", known, NULL)) != -1) {
        if (option == '?' || option == ':') {
            snprintf(ret_problem, size, option == '?' ? "unknown option %s" : "%s needs a value",
                     words[optind - 1]);
            return false;
        }
        if (!option_keep(option, optarg, &reading))
            return false;
    }
    if (optind < count) {
        snprintf(ret_problem, size, "found argument %s; accepted: options", words[optind]);
        return false;
    }
    const char *password = getenv("PGPASSWORD");
    if (password != NULL) {
        snprintf(ret->password, sizeof(ret->password), "%s", password);
    } else if (!ret->ask_password) {
        const struct cli_login login = login_of(ret);
        (void)cli_pgpass_read("top", &login, ret->password, sizeof(ret->password));
    }
    return true;
}
