/* process.c - the process of the os table in the simulation. */
#include "base/check.h"
#include "machine/os_process_parts.h"
#include "machine/sim/net_parts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The simulated process: identity, environment, signals, commands. */
#define PROCESS_NUMBER 4242
#define PROCESS_USER   1000
#define VARIABLES_MAX  32

struct sim_variable {
    char name[64];
    char value[1024];
};

static struct sim_process {
    struct sim_variable variables[VARIABLES_MAX];
    uint32_t variable_count;
    uint64_t descriptors;
    uint32_t processors;
    uint64_t signals; /* pending, as bits */
    int (*run)(void *argument, const char *const *words, deadline by, struct os_output *output);
    void *run_argument;
    void (*leave)(void *argument, int status);
    void *leave_argument;
} process;

void sim_process_start(void)
{
    process = (struct sim_process){.descriptors = 1 << 20, .processors = 2};
}

/* --- identity --------------------------------------------------------------------------------- */

static uint32_t process_number(void)
{
    return PROCESS_NUMBER;
}

static uint32_t process_user(void)
{
    return PROCESS_USER;
}

static void process_user_name(uint32_t user, char *text, size_t size)
{
    snprintf(text, size, user == 0 ? "root" : "user%" PRIu32, user);
}

static bool process_group_number(const char *name, int64_t *ret)
{
    int64_t number = 0;
    for (size_t i = 0; name[i] != '\0'; i++)
        number = (number * 31 + name[i]) % 60000;
    *ret = number;
    return name[0] != '\0';
}

static uint32_t process_processors(void)
{
    return process.processors;
}

void sim_processors(uint32_t count)
{
    process.processors = count;
}

static void process_host_name(char *text, size_t size)
{
    snprintf(text, size, "simulated");
}

static struct sim_variable *variable_find(const char *name)
{
    for (uint32_t i = 0; i < process.variable_count; i++)
        if (strcmp(process.variables[i].name, name) == 0)
            return &process.variables[i];
    return NULL;
}

static const char *process_variable(const char *name)
{
    const struct sim_variable *found = variable_find(name);
    return found == NULL ? NULL : found->value;
}

static void process_variable_drop(const char *name)
{
    struct sim_variable *found = variable_find(name);
    if (found != NULL)
        *found = process.variables[--process.variable_count];
}

void sim_variable(const char *name, const char *value)
{
    process_variable_drop(name);
    if (value == NULL)
        return;
    invariant(process.variable_count < VARIABLES_MAX);
    struct sim_variable *entry = &process.variables[process.variable_count++];
    snprintf(entry->name, sizeof(entry->name), "%s", name);
    snprintf(entry->value, sizeof(entry->value), "%s", value);
}

static int process_directory(char *path, size_t size)
{
    snprintf(path, size, "/simulated");
    return 0;
}

static void process_hide(void *pages, size_t size, bool hidden)
{
    (void)pages; /* core dumps are not simulated */
    (void)size;
    (void)hidden;
}

static void process_notify(const char *path, const char *text, size_t size)
{
    (void)path;
    sim_note_text("notify", text, size);
}

/* --- privileges ------------------------------------------------------------------------------- */

static void process_lock(void)
{
    sim_note("lock", 0, 0);
}

static fault process_become(const char *user)
{
    sim_note_text("become", user, strlen(user));
    return OK;
}

static fault process_give(const char *path, const char *user)
{
    (void)path;
    sim_note_text("give", user, strlen(user));
    return OK;
}

static void process_shed(void)
{
    sim_note("shed", 0, 0);
}

static void process_core_dumps(bool wanted)
{
    sim_note("dumps", wanted, 0);
}

static uint64_t process_descriptors(void)
{
    return process.descriptors;
}

void sim_descriptors(uint64_t limit)
{
    process.descriptors = limit;
}

static bool process_readable(const char *path)
{
    return sim_file_exists(path);
}

void sim_exit_by(void (*leave)(void *argument, int status), void *argument)
{
    process.leave = leave;
    process.leave_argument = argument;
}

static NORETURN void process_leave(int status)
{
    sim_note("leave", status, 0);
    if (process.leave != NULL)
        process.leave(process.leave_argument, status);
    fprintf(stderr, "simulation with seed %" PRIu64 ": the process was ended at once (%d)\n",
            sim_seed(), status);
    abort();
}

const struct os_process sim_process = {
    .number = process_number,
    .user = process_user,
    .user_name = process_user_name,
    .group_number = process_group_number,
    .processors = process_processors,
    .host_name = process_host_name,
    .variable = process_variable,
    .variable_drop = process_variable_drop,
    .directory = process_directory,
    .hide = process_hide,
    .notify = process_notify,
    .leave = process_leave,
    .lock = process_lock,
    .become = process_become,
    .give = process_give,
    .shed = process_shed,
    .core_dumps = process_core_dumps,
    .descriptors = process_descriptors,
    .readable = process_readable,
};

/* --- signals ---------------------------------------------------------------------------------- */

/* Maps signal numbers 1 to 64 to bits 0 to 63. */
static uint64_t signal_bit(int number)
{
    invariant(number > 0 && number <= 64);
    return UINT64_C(1) << (number - 1);
}

int sim_signals_open(const int *numbers, size_t count)
{
    static const struct address nowhere;
    int handle = sim_socket_make(SOCKET_SIGNALS, &nowhere);
    if (handle < 0)
        return handle;
    for (size_t i = 0; i < count; i++)
        sim_socket_at(handle)->signals |= signal_bit(numbers[i]);
    sim_note("signals", handle, (int64_t)count);
    return handle;
}

uint64_t sim_signals_waiting(void)
{
    return process.signals;
}

int sim_signals_next(int handle)
{
    uint64_t mine = process.signals & sim_socket_own(handle)->signals;
    if (mine == 0)
        return -EAGAIN;
    int number = __builtin_ctzll(mine) + 1;
    process.signals &= ~signal_bit(number);
    sim_note("signal", handle, number);
    return number;
}

/* Sends a signal; a signal that is pending already is not queued twice, as in POSIX. */
bool sim_signal(int number)
{
    bool heard = false;
    sim_note("kill", number, 0);
    for (int i = 0; i < sim_sockets_end(); i++) {
        const struct sim_socket *socket = sim_socket_any(i);
        if (socket == NULL || socket->kind != SOCKET_SIGNALS ||
            (socket->signals & signal_bit(number)) == 0)
            continue;
        process.signals |= signal_bit(number);
        sim_socket_edge(i);
        heard = true;
    }
    return heard;
}

void sim_signals_forget(void)
{
    process.signals = 0;
}

/* --- commands --------------------------------------------------------------------------------- */

void sim_run_by(int (*run)(void *argument, const char *const *words, deadline by,
                           struct os_output *output),
                void *argument)
{
    process.run = run;
    process.run_argument = argument;
}

int sim_run(const char *const *words, deadline by, struct os_output *output)
{
    sim_note_text("run", words[0], strlen(words[0]));
    output->size = 0;
    output->exit = 0;
    return process.run == NULL ? -ENOENT : process.run(process.run_argument, words, by, output);
}
