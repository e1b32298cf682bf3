#include "pool/local_pool_command.h"

#include "machine/clock.h"
#include "machine/offload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define PASSWORD_MAX             16384u /* bytes that a command may print */
#define PASSWORD_COMMAND_TIMEOUT sec(30)

/* A run of the command.  Owns all that it uses, because the login may stop waiting for it. */
struct command {
    struct offload_job job;
    char *words[9]; /* NULL behind the last */
    int status;
    struct os_output output;
    char text[PASSWORD_MAX];
};

static void command_run(struct offload_job *job)
{
    struct command *command = CONTAINER_OF(job, struct command, job);
    command->output = (struct os_output){.at = command->text, .max = sizeof(command->text)};
    command->status = os->run((const char *const *)command->words,
                              later(now_exact(), PASSWORD_COMMAND_TIMEOUT), &command->output);
}

static void command_free(struct command *command)
{
    for (size_t i = 0; command->words[i] != NULL; i++)
        free(command->words[i]);
    explicit_bzero(command, sizeof(*command));
    free(command);
}

static void command_drop(struct offload_job *job)
{
    command_free(CONTAINER_OF(job, struct command, job));
}

static struct command *command_new(const struct local_pool *pool, const struct link_target *target)
{
    const struct route_config *route = pool->shown.route;
    char port[8];
    snprintf(port, sizeof(port), "%u", target->address.port);
    const char *const words[] = {
        "/bin/sh",
        "-c",
        route->password_command,
        "password_command",
        route->server_user != NULL ? route->server_user : pool->user,
        target->host,
        port,
        route->server_database != NULL ? route->server_database : pool->database,
    };
    struct command *command = calloc(1, sizeof(*command));
    if (command == NULL)
        return NULL;
    command->job = (struct offload_job){.run = command_run, .free = command_drop, .blocks = true};
    static_assert(ARRAY_SIZE(words) < ARRAY_SIZE(command->words), "every word has a place");
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        command->words[i] = strdup(words[i]);
        if (command->words[i] != NULL)
            continue;
        command_free(command);
        return NULL;
    }
    return command;
}

/* Returns the output without its last line break, or the reason why there is no password. */
static fault command_outcome(const struct command *command, struct span *ret)
{
    struct span text = span_of(command->text, command->output.size);
    if (command->status != 0)
        return fault_raise(FAULT_AUTH, "password_command: %s", strerrordesc_np(-command->status));
    if (command->output.exit != 0)
        return fault_raise(FAULT_AUTH, "password_command ended with %s %d",
                           command->output.exit < 0 ? "signal" : "status",
                           abs(command->output.exit));
    if (text.size > 0 && text.at[text.size - 1] == '\n')
        text.size -= 1;
    if (text.size > 0 && text.at[text.size - 1] == '\r')
        text.size -= 1;
    if (text.size == 0 || memchr(text.at, '\0', text.size) != NULL)
        return fault_raise(FAULT_AUTH, "password_command printed no password");
    *ret = text;
    return OK;
}

void local_pool_command_forget(struct local_pool *pool)
{
    local_pool_wipe_password(&pool->credentials.command.password);
}

void local_pool_command_doubt(struct local_pool *pool)
{
    pool->credentials.command.until = (deadline){.us = 0};
}

static fault command_ask(struct local_pool *pool, const struct link_target *target, char **ret)
{
    struct span text = SPAN_NONE;
    struct command *command = command_new(pool, target);
    if (command == NULL)
        return FAULT_MEMORY;
    TRY(offload(&command->job, after(pool->shown.route->service->connect_timeout)));
    fault result = command_outcome(command, &text);
    if (result == OK) {
        *ret = text.at == NULL ? NULL : strndup((const char *)text.at, text.size);
        result = *ret == NULL ? FAULT_MEMORY : OK;
    }
    command_free(command);
    return result;
}

fault local_pool_command_password(struct local_pool *pool, const struct link_target *target,
                                  char **ret)
{
    /* A token may be valid for one host only. */
    uint64_t place = hash_data(target->host, strlen(target->host), target->address.port);
    char *password = NULL;
    uint64_t asked = pool->shown.latest->version;
    if (pool->credentials.command.password != NULL && pool->credentials.command.place == place &&
        pool->credentials.command.until.us > now().us) {
        *ret = strdup(pool->credentials.command.password);
        return *ret == NULL ? FAULT_MEMORY : OK;
    }
    TRY(command_ask(pool, target, &password));
    *ret = password;
    if (pool->shown.latest->version != asked)
        return OK; /* after a reload meanwhile: the next login runs the command again */
    local_pool_command_forget(pool);
    pool->credentials.command.password = strdup(password);
    pool->credentials.command.place = place;
    pool->credentials.command.until = after(pool->shown.route->password_lifetime);
    return OK;
}

void local_pool_wipe_password(char **password)
{
    char *gone = TAKE(*password);
    if (gone != NULL)
        explicit_bzero(gone, strlen(gone));
    free(gone);
}
