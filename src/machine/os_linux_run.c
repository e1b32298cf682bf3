/* os_linux_run.c - runs a command and collects its output. */
#include "base/check.h"
#include "machine/clock.h"
#include "machine/os_linux_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs a command for its output; on threads that may block. */

/* Sets what a shell's child expects: no blocked signals, the default action of SIGPIPE, and a
 * process group of its own, so that the whole group can be killed. */
static int attributes_fill(posix_spawnattr_t *attributes)
{
    sigset_t none, usual;
    sigemptyset(&none);
    sigemptyset(&usual);
    sigaddset(&usual, SIGPIPE);
    posix_spawnattr_setsigmask(attributes, &none);
    posix_spawnattr_setsigdefault(attributes, &usual);
    posix_spawnattr_setpgroup(attributes, 0);
    return posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                                    POSIX_SPAWN_SETPGROUP);
}

/* Starts the command with empty standard input, our pipe as standard output, and our standard
 * error.  All other descriptors are close-on-exec. */
static int command_spawn(const char *const *words, int output, pid_t *ret)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int status = posix_spawn_file_actions_init(&actions);
    if (status != 0)
        return -status;
    status = posix_spawnattr_init(&attributes);
    if (status == 0) {
        status = attributes_fill(&attributes);
        if (status == 0)
            status =
                posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        if (status == 0)
            status = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
        if (status == 0)
            status = posix_spawnp(ret, words[0], &actions, &attributes,
                                  (char *const *)(uintptr_t)words, environ);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return -status;
}

static int output_read(int pipe, deadline by, struct os_output *output)
{
    for (;;) {
        struct pollfd end = {.fd = pipe, .events = POLLIN};
        int64_t left = (by.us - os->monotonic_us()) / 1000;
        int ready = left <= 0 ? 0 : poll(&end, 1, (int)MIN_OF(left, INT64_C(60000)));
        if (ready == 0 && left <= 0)
            return -ETIMEDOUT;
        if (ready < 0 && errno != EINTR)
            return -errno;
        if (ready <= 0)
            continue;
        ssize_t got = read(pipe, output->at + output->size, output->max - output->size);
        if (got < 0 && errno != EINTR && errno != EAGAIN)
            return -errno;
        if (got == 0)
            return 0;
        output->size += got > 0 ? (size_t)got : 0;
        if (output->size == output->max)
            return -EMSGSIZE;
    }
}

int os_linux_run(const char *const *words, deadline by, struct os_output *output)
{
    int ends[2];
    pid_t child = -1;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    int status = command_spawn(words, ends[1], &child);
    close(ends[1]);
    if (status == 0) {
        status = output_read(ends[0], by, output);
        /* Kill the whole group after a failure; otherwise waitpid could block. */
        if (status != 0)
            kill(-child, SIGKILL);
        int end = 0;
        while (waitpid(child, &end, 0) < 0 && errno == EINTR)
            ;
        output->exit = WIFEXITED(end) ? WEXITSTATUS(end) : -WTERMSIG(end);
    }
    close(ends[0]);
    return status;
}
