/*
 * model_postgres.c - the model as a program: model_postgres PORT [CONNECTIONS [standby]].
 *
 * For the tests that hold it against the real server.  SIGTERM stops it.
 */
#include "machine/clock.h"
#include "machine/co.h"
#include "machine/signals.h"
#include "model.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct model_user users[] = {
    {"postgres", NULL, true},      {"trusted", NULL, false},
    {"app", "app", false},         {"reports", "reports", false},
    {"mallory", "mallory", false}, {.name = "decoder", .replication = true},
};
static const char *const databases[] = {"postgres", "app", "session", "transaction", NULL};

static struct model_options options = {.users = users,
                                       .user_count = ARRAY_SIZE(users),
                                       .databases = databases,
                                       .seed = 2,
                                       .decodes = true};
static int failed;

static void serve(struct model *model)
{
    static const int numbers[] = {SIGTERM, SIGINT};
    struct signals signals;
    int number;
    if (signals_open(&signals, numbers, ARRAY_SIZE(numbers)) != OK)
        return;
    puts("ready");
    fflush(stdout);
    (void)!signals_next(&signals, &number, NEVER);
    signals_close(&signals);
}

static void program(void *argument)
{
    struct model *model = NULL;
    fault started = model_new(&options, &model);
    if (started == OK)
        started = model_start(model);
    if (started == OK) {
        serve(model);
        model_stop(model, after(sec(1)));
    } else {
        fprintf(stderr, "cannot start: %s\n", fault_detail(started));
        failed = 1;
    }
    model_free(&model);
    machine_stop();
}

int main(int count, char **words)
{
    if (count < 2 ||
        !address_parse("127.0.0.1", (uint16_t)strtoul(words[1], NULL, 10), &options.address)) {
        fputs("model_postgres PORT [CONNECTIONS [standby]]\n", stderr);
        return 2;
    }
    if (count > 2)
        options.connections_max = (uint32_t)strtoul(words[2], NULL, 10);
    options.standby = count > 3 && strcmp(words[3], "standby") == 0;
    return machine_run("model", program, NULL) == OK ? failed : 1;
}
