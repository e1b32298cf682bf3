#include "runner/check.h"
#include "runner/workers.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * sim - runs the daemon in the simulated system, seed after seed.
 */
#define FOREVER_SPAN 1000 /* seeds between two lines of a soak */

struct command {
    struct options options;
    bool one; /* --seed */
    bool trace;
    bool forever;
    bool as_it_is; /* a failure is not made smaller */
};

static void usage(FILE *to)
{
    fputs("sim [--seed N [--trace] | --seeds A..B | --forever]\n"
          "    --workers N    processes (2)\n"
          "    --clients K    number of clients; default: by the seed\n"
          "    --rounds K     rounds of each client; default: by the seed\n"
          "    --with A,B     kinds that every seed has\n"
          "    --without A,B  kinds of trouble that are left out:\n",
          to);
#define KIND(name, one_in, costly, text) fprintf(to, "        %-16s %s\n", #name, text);
#include "runner/kinds.def"
#undef KIND
    fputs("    --no-shrink    show a failure as it came\n"
          "    --hashes       print each seed's hash of its history\n"
          "    --twice        play each twice: its history must be the same\n"
          "    --quiet        no progress\n",
          to);
}

enum {
    OPT_SEED = 1,
    OPT_SEEDS,
    OPT_FOREVER,
    OPT_WORKERS,
    OPT_CLIENTS,
    OPT_ROUNDS,
    OPT_WITH,
    OPT_WITHOUT,
    OPT_NO_SHRINK,
    OPT_HASHES,
    OPT_TWICE,
    OPT_QUIET,
    OPT_TRACE,
    OPT_HELP
};

static const struct option long_options[] = {
    {"seed", required_argument, NULL, OPT_SEED},
    {"seeds", required_argument, NULL, OPT_SEEDS},
    {"forever", no_argument, NULL, OPT_FOREVER},
    {"workers", required_argument, NULL, OPT_WORKERS},
    {"clients", required_argument, NULL, OPT_CLIENTS},
    {"rounds", required_argument, NULL, OPT_ROUNDS},
    {"with", required_argument, NULL, OPT_WITH},
    {"without", required_argument, NULL, OPT_WITHOUT},
    {"no-shrink", no_argument, NULL, OPT_NO_SHRINK},
    {"hashes", no_argument, NULL, OPT_HASHES},
    {"twice", no_argument, NULL, OPT_TWICE},
    {"quiet", no_argument, NULL, OPT_QUIET},
    {"trace", no_argument, NULL, OPT_TRACE},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

/* "5" or "1..1000". */
static bool read_range(const char *text, struct options *options)
{
    char *end;
    options->first = options->last = strtoull(text, &end, 10);
    if (strncmp(end, "..", 2) == 0)
        options->last = strtoull(end + 2, &end, 10);
    return *end == '\0' && options->first <= options->last;
}

static bool read_option(struct command *command, int option)
{
    struct options *options = &command->options;
    switch (option) {
    case OPT_SEED:
        command->one = true;
        return read_range(optarg, options);
    case OPT_SEEDS:
        return read_range(optarg, options);
    case OPT_FOREVER:
        command->forever = true;
        return true;
    case OPT_WORKERS:
        options->workers = (uint32_t)strtoul(optarg, NULL, 10);
        return options->workers > 0 && options->workers <= 16;
    case OPT_CLIENTS:
        options->clients = (uint32_t)strtoul(optarg, NULL, 10);
        return options->clients > 0;
    case OPT_ROUNDS:
        options->rounds = (uint32_t)strtoul(optarg, NULL, 10);
        return options->rounds > 0;
    case OPT_WITH:
        return plan_read_kinds(optarg, &options->with);
    case OPT_WITHOUT:
        return plan_read_kinds(optarg, &options->without);
    case OPT_NO_SHRINK:
        return command->as_it_is = true;
    case OPT_HASHES:
        return options->hashes = true;
    case OPT_TWICE:
        return options->twice = true;
    case OPT_QUIET:
        return options->quiet = true;
    case OPT_TRACE:
        return command->trace = true;
    case OPT_HELP:
        usage(stdout);
        exit(0);
    default:
        return false;
    }
}

static void print_totals(const struct totals *totals)
{
    const struct counts *counts = &totals->counts;
    double hours = (double)counts->simulated_us / 3.6e9;
    printf("%" PRIu64 " seeds in %.1f s: %.1f simulated hours, %.0f in an hour\n", totals->seeds,
           totals->seconds, hours, hours / MAX_OF(totals->seconds, 0.001) * 3600);
    printf("%" PRIu64 " logins, %" PRIu64 " queries answered, %" PRIu64
           " failed as expected, %" PRIu64 " cancelled, %" PRIu64 " asynchronous messages, %" PRIu64
           " connections lost\n",
           counts->logins, counts->answered, counts->errors, counts->cancelled,
           counts->async_messages, counts->lost);
}

static int show_failure(const struct command *command, struct failure *failure)
{
    struct plan plan;
    char text[PLAN_TEXT];
    const struct options *options = &command->options;
    plan_make(&plan, failure->seed, options->with, options->without, options->clients,
              options->rounds);
    printf("seed %" PRIu64 " FAILED: %s: %s\n", failure->seed, failure->place, failure->text);
    if (!command->as_it_is) {
        fflush(stdout);
        shrink(&plan, failure);
        printf("made smaller: %s: %s\n", failure->place, failure->text);
    }
    printf("play it again: %s --trace\n", plan_command(&plan, text, sizeof(text)));
    return 1;
}

static int play_one(const struct command *command)
{
    struct plan plan;
    struct counts counts = {0};
    const struct options *options = &command->options;
    plan_make(&plan, options->first, options->with, options->without, options->clients,
              options->rounds);
    plan.trace = command->trace;
    trace_enable(command->trace);
    char text[PLAN_TEXT];
    printf("seed %" PRIu64 ": %u clients, %u rounds, %s\n", plan.seed, plan.clients, plan.rounds,
           plan_kinds_text(plan.kinds, text, sizeof(text)));
    fflush(stdout);
    uint64_t hash = run_play(&plan, &counts);
    printf("history %016" PRIx64 "\n", hash);
    return 0;
}

static int play_all(struct command *command)
{
    struct totals totals;
    struct failure failure = {0};
    do {
        if (command->forever)
            command->options.last = command->options.first + FOREVER_SPAN - 1;
        bool good = workers_play(&command->options, &totals, &failure);
        if (!command->options.hashes)
            print_totals(&totals);
        if (!good)
            return show_failure(command, &failure);
        fflush(stdout);
        command->options.first = command->options.last + 1;
    } while (command->forever);
    return 0;
}

int main(int count, char **words)
{
    struct command command = {.options = {.first = 1, .last = 1000, .workers = 2}};
    int option;
    while ((option = getopt_long(count, words, "", long_options, NULL)) != -1) {
        if (read_option(&command, option))
            continue;
        usage(stderr);
        return 2;
    }
    return command.one ? play_one(&command) : play_all(&command);
}
