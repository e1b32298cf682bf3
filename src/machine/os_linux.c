/* os_linux.c - the os table for Linux: clocks, random numbers, threads, signals, files. */
#include "base/check.h"
#include "machine/os_linux_log.h"
#include "machine/os_linux_parts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The os table for Linux, with its short functions: clocks, threads, signals, files. */

static int64_t linux_clock(clockid_t which)
{
    struct timespec time;
    clock_gettime(which, &time);
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

static int64_t linux_monotonic_us(void)
{
    return linux_clock(CLOCK_MONOTONIC);
}

static int64_t linux_wall_us(void)
{
    return linux_clock(CLOCK_REALTIME);
}

static void linux_random(void *bytes, size_t size)
{
    uint8_t *at = bytes;
    while (size > 0) {
        ssize_t got = getrandom(at, size, 0);
        if (got < 0 && errno == EINTR)
            continue;
        invariant(got > 0); /* without flags it fails for bad arguments only */
        at += got;
        size -= (size_t)got;
    }
}

static void linux_close(int handle)
{
    close(handle);
}

/* --- threads ---------------------------------------------------------------------------------- */

struct thread {
    pthread_t id;
    void (*main)(void *argument);
    void *argument;
    bool detached;
    bool apart; /* takes a table of handles of its own */
    int poller;
    char name[16];
};

static void *thread_main(void *argument)
{
    struct thread *thread = argument;
    pthread_setname_np(pthread_self(), thread->name);
    /* Capabilities of an ordinary user (to bind low ports) are for the first thread only. */
    if (geteuid() != 0)
        os_linux_shed();
    if (thread->apart)
        (void)!os_linux_table_own(thread->poller); /* else it shares */
    thread->main(thread->argument);
    os_linux_table_leave();
    if (thread->detached)
        free(thread);
    return NULL;
}

static struct thread *thread_new(const char *name, void (*main)(void *argument), void *argument)
{
    struct thread *thread = calloc(1, sizeof(*thread));
    if (thread == NULL)
        return NULL;
    thread->main = main;
    thread->argument = argument;
    for (size_t i = 0; i + 1 < sizeof(thread->name) && name[i] != '\0'; i++)
        thread->name[i] = name[i];
    return thread;
}

static int thread_start(struct thread *thread, void **ret_thread)
{
    invariant(os_linux_table() == 0); /* the new thread would share the table of this one */
    thread->detached = ret_thread == NULL;
    if (ret_thread != NULL)
        *ret_thread = thread;
    /* The new thread inherits this mask: signals go to the machine that opened their queue.  What
     * the thread itself causes is not blocked: else the process ends without a word of a
     * sanitizer's or of any other handler. */
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    sigset_t all, before;
    sigfillset(&all);
    for (size_t i = 0; i < ARRAY_SIZE(own); i++)
        sigdelset(&all, own[i]);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    if (thread->detached)
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t id;
    int status = pthread_create(&id, &attributes, thread_main, thread);
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (status != 0)
        free(thread);
    else if (ret_thread != NULL)
        thread->id = id;
    return -status;
}

int os_linux_spawn(const char *name, void (*main)(void *argument), void *argument,
                   void **ret_thread)
{
    struct thread *thread = thread_new(name, main, argument);
    return thread == NULL ? -ENOMEM : thread_start(thread, ret_thread);
}

static int linux_spawn_apart(const char *name, void (*main)(void *argument), void *argument,
                             int poller, void **ret_thread)
{
    struct thread *thread = thread_new(name, main, argument);
    if (thread == NULL)
        return -ENOMEM;
    thread->apart = os_linux_offload_prepare() == 0;
    thread->poller = poller;
    return thread_start(thread, ret_thread);
}

static void linux_join(void *thread)
{
    struct thread *ended = thread;
    int status = pthread_join(ended->id, NULL);
    invariant(status == 0);
    free(ended);
}

static int64_t linux_thread_used_us(void *thread)
{
    const struct thread *other = thread;
    struct timespec used = {0};
    clockid_t clock;
    if (pthread_getcpuclockid(other->id, &clock) != 0 || clock_gettime(clock, &used) != 0)
        return 0;
    return (int64_t)used.tv_sec * 1000000 + used.tv_nsec / 1000;
}

/* --- signals ---------------------------------------------------------------------------------- */

static int linux_signals_open(const int *numbers, size_t count)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < count; i++)
        sigaddset(&set, numbers[i]);
    int status = pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (status != 0)
        return -status;
    int handle = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return handle < 0 ? -errno : handle;
}

static int linux_signals_next(int handle)
{
    struct signalfd_siginfo info;
    ssize_t got = read(handle, &info, sizeof(info));
    if (got < 0)
        return -errno;
    invariant(got == sizeof(info));
    return (int)info.ssi_signo;
}

/* --- files ------------------------------------------------------------------------------------ */

/* How long the writer of a pipe may take for each part of it. */
#define PIPE_WAIT_MS 5000

/* Waits until a file can be read: at once, unless it is a pipe or a terminal. */
static int file_wait(int file)
{
    struct pollfd one = {.fd = file, .events = POLLIN};
    int ready = poll(&one, 1, PIPE_WAIT_MS);
    if (ready == 0)
        return -ENODATA;
    return ready < 0 && errno != EINTR ? -errno : 0;
}

static int64_t linux_file_read(const char *path, void *bytes, size_t size)
{
    /* O_NONBLOCK: a FIFO without a writer must not hold up the caller for ever. */
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (file < 0)
        return -errno;
    size_t filled = 0;
    int64_t status = 0;
    while (filled < size && (status = file_wait(file)) == 0) {
        ssize_t got = read(file, (char *)bytes + filled, size - filled);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            status = -errno;
        if (got <= 0)
            break;
        filled += (size_t)got;
    }
    close(file);
    return status < 0 ? status : (int64_t)filled;
}

static int linux_file_mode(const char *path, uint32_t *ret_owner)
{
    struct stat state;
    if (stat(path, &state) < 0)
        return -errno;
    *ret_owner = state.st_uid;
    return (int)(state.st_mode & 07777);
}

static int linux_file_unlink(const char *path)
{
    return unlink(path) < 0 ? -errno : 0;
}

static int linux_file_list(const char *path, void (*each)(void *argument, const char *name),
                           void *argument)
{
    const struct dirent *entry;
    DIR *directory = opendir(path);
    if (directory == NULL)
        return -errno;
    while ((entry = readdir(directory)) != NULL)
        each(argument, entry->d_name);
    closedir(directory);
    return 0;
}

/* --- the os table ----------------------------------------------------------------------------- */

const struct os os_linux = {
    .name = "linux",
    .process = &os_linux_process,
    .monotonic_us = linux_monotonic_us,
    .wall_us = linux_wall_us,
    .random = linux_random,
    .listen = os_linux_listen,
    .listen_again = os_linux_listen_again,
    .listen_tune = os_linux_listen_tune,
    .accept = os_linux_accept,
    .connect = os_linux_connect,
    .pair = os_linux_pair,
    .connect_result = os_linux_connect_result,
    .set_options = os_linux_set_options,
    .set_low_water = os_linux_set_low_water,
    .local_address = os_linux_local_address,
    .peer_user = os_linux_peer_user,
    .recv = os_linux_recv,
    .send = os_linux_send,
    .send_vector = os_linux_send_vector,
    .shut = os_linux_shut,
    .close = linux_close,
    .poll_new = os_linux_poll_new,
    .poll_free = os_linux_poll_free,
    .poll_add = os_linux_poll_add,
    .poll_add_shared = os_linux_poll_add_shared,
    .poll_del = os_linux_poll_del,
    .poll_wait = os_linux_poll_wait,
    .poll_wake = os_linux_poll_wake,
    .spawn = os_linux_spawn,
    .spawn_apart = linux_spawn_apart,
    .table = os_linux_table,
    .handle_give = os_linux_handle_give,
    .handle_take = os_linux_handle_take,
    .join = linux_join,
    .thread_used_us = linux_thread_used_us,
    .signals_open = linux_signals_open,
    .signals_next = linux_signals_next,
    .file_read = linux_file_read,
    .file_mode = linux_file_mode,
    .file_unlink = linux_file_unlink,
    .file_list = linux_file_list,
    .interfaces = os_linux_interfaces,
    .dns_query = os_linux_dns_query,
    .dns_ask = os_linux_dns_ask,
    .run = os_linux_run,
    .offload = os_linux_offload,
    .offload_slow = os_linux_offload_slow,
    .log_open = os_linux_log_open,
    .log_close = os_linux_log_close,
    .log_turn = os_linux_log_turn,
    .log_wake = os_linux_log_wake,
    .log_stop = os_linux_log_stop,
    .log_line = os_linux_log_line,
    .log_dropped = os_linux_log_dropped,
};

const struct os *os = &os_linux;
