#include "machine/os_linux_log.h"

#include "base/check.h"
#include "base/time.h"
#include "machine/os_linux_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* A queue has two halves: callers fill one while the writer writes the other.  The lock is held to
 * swap them or to copy a line, so that a caller waits at most for the copy of a line. */
struct log_half {
    char *at; /* OS_LINUX_LOG_BYTES bytes */
    size_t size;
};

struct log_sink {
    pthread_mutex_t lock; /* never held while writing */
    pthread_cond_t work;
    pthread_cond_t room; /* the queue was emptied, or the target does not wait any more */
    void *thread;
    char *spare; /* the writer's half, before the writer starts */
    struct log_half filling;
    uint64_t lost; /* lines since the last report */
    os_log_report *report;
    struct os_log_target target; /* the next target; its file is owned, unless stderr */
    struct os_log_target taken;  /* writer only: the target in use; closed at a redirection */
    size_t turned;               /* bytes of `filling` that still go to `taken` */
    bool turning;                /* redirected: the writer must change from `taken` to `target` */
    bool running;                /* the queue takes lines */
    bool waits;                  /* for room, at the latest target */
    bool stop;
    int64_t retry; /* writer only: when to try a failed socket again, monotonic us */
};

#define SINK(descriptor)                                                                           \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER,                       \
        .room = PTHREAD_COND_INITIALIZER, .target = {.file = (descriptor)},                        \
        .taken = {.file = (descriptor)},                                                           \
    }

static struct log_sink sinks[OS_LOG_SINKS] = {
    [0] = SINK(STDERR_FILENO),
    [1 ... OS_LOG_SINKS - 1] = SINK(-1),
};
static uint64_t lost_ever; /* atomic */

static bool sink_is_stream(const struct log_sink *sink)
{
    return sink - sinks < OS_LOG_STREAMS;
}

int os_linux_log_open(const char *path)
{
    if (path == NULL)
        return STDERR_FILENO;
    int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
    return file < 0 ? -errno : file;
}

void os_linux_log_close(int file)
{
    if (file >= 0 && file != STDERR_FILENO)
        close(file);
}

static void count_lost(uint64_t lines)
{
    __atomic_fetch_add(&lost_ever, lines, __ATOMIC_RELAXED);
}

/* --- writing ---------------------------------------------------------------------------------- */

static bool is_stopping(struct log_sink *sink)
{
    pthread_mutex_lock(&sink->lock);
    bool stopping = sink->stop;
    pthread_mutex_unlock(&sink->lock);
    return stopping;
}

/* Waits until the target takes more bytes; returns false after an error, or after a second without
 * progress when the writer is to stop. */
static bool wait_writable(struct log_sink *sink)
{
    struct pollfd poll_target = {.fd = sink->taken.file, .events = POLLOUT};
    for (;;) {
        bool last = is_stopping(sink);
        int found = poll(&poll_target, 1, 1000);
        if (found > 0)
            return true;
        if (found == 0 && last)
            return false;
        if (found < 0 && errno != EINTR)
            return false;
    }
}

/* Writes all bytes, or returns how many were left.  Pipes get pieces of 4 KiB, which poll()
 * promises to fit, because a reader that hangs must not keep the process from ending. */
static size_t stream_out(struct log_sink *sink, const char *at, size_t size)
{
    struct stat kind;
    int file = sink->taken.file;
    size_t piece = fstat(file, &kind) == 0 && S_ISREG(kind.st_mode) ? 65536 : 4096;
    while (file >= 0 && size > 0 && wait_writable(sink)) {
        ssize_t done = write(file, at, MIN_OF(size, piece));
        if (done < 0 && errno != EINTR && errno != EAGAIN)
            break;
        if (done > 0) {
            at += done;
            size -= (size_t)done;
        }
    }
    return size;
}

static void drop_socket(struct log_sink *sink)
{
    os_linux_log_close(sink->taken.file);
    sink->taken.file = -1;
}

/* Connects to the target's socket, with one try per second; until then records are lost. */
static bool connect_socket(struct log_sink *sink)
{
    struct os_log_target *taken = &sink->taken;
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int64_t clock = os_linux.monotonic_us();
    if (taken->file >= 0)
        return true;
    if (taken->socket[0] == '\0' || clock < sink->retry)
        return false;
    sink->retry = clock + 1000000;
    taken->file = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    memcpy(to.sun_path, taken->socket, sizeof(to.sun_path));
    if (taken->file >= 0 && connect(taken->file, (const struct sockaddr *)&to, sizeof(to)) == 0)
        return true;
    drop_socket(sink);
    return false;
}

/* Sends one record; reconnects at once if the daemon behind the socket was restarted. */
static bool record_out(struct log_sink *sink, const char *at, size_t size)
{
    for (int tries = 0; tries < 2 && connect_socket(sink); tries++) {
        ssize_t done;
        do {
            done = send(sink->taken.file, at, size, MSG_NOSIGNAL);
        } while (done < 0 && (errno == EINTR || (errno == EAGAIN && wait_writable(sink))));
        if (done >= 0)
            return true;
        if (errno == EMSGSIZE || errno == EAGAIN)
            return false;
        drop_socket(sink);
        sink->retry = 0;
    }
    return false;
}

static uint64_t count_ends(const char *at, size_t size, char end)
{
    uint64_t lines = 0;
    for (size_t i = 0; i < size; i++)
        lines += at[i] == end;
    return lines;
}

/* Writes lines or records; returns how many could not be written. */
static uint64_t sink_out(struct log_sink *sink, const char *at, size_t size)
{
    uint64_t lost = 0;
    if (sink_is_stream(sink)) {
        size_t left = stream_out(sink, at, size);
        return count_ends(at + size - left, left, '\n');
    }
    while (size > 0) {
        const char *end = memchr(at, '\0', size);
        invariant(end != NULL);
        size_t record = (size_t)(end - at);
        if (!record_out(sink, at, record))
            lost += 1;
        at += record + 1;
        size -= record + 1;
    }
    return lost;
}

/* --- the writer ------------------------------------------------------------------------------- */

/* The work that the writer takes from the sink at once. */
struct log_batch {
    struct log_half half;
    size_t turned; /* bytes for the previous target */
    bool turning;
    struct os_log_target target; /* the next one, if `turning` */
    uint64_t lost;               /* lines that were lost and not reported yet */
    os_log_report *report;
    bool last;
};

/* Waits for work and takes it, in exchange for the empty half. */
static void take_batch(struct log_sink *sink, struct log_batch *batch)
{
    pthread_mutex_lock(&sink->lock);
    while (sink->filling.size == 0 && sink->lost == 0 && !sink->stop && !sink->turning)
        pthread_cond_wait(&sink->work, &sink->lock);
    struct log_half full = sink->filling;
    batch->last = sink->stop && full.size == 0 && sink->lost == 0 && !sink->turning;
    batch->lost += sink->lost;
    batch->report = sink->report;
    batch->turning = sink->turning;
    batch->turned = sink->turning ? sink->turned : full.size;
    batch->target = sink->target;
    sink->filling = (struct log_half){.at = batch->half.at};
    batch->half = full;
    sink->lost = 0;
    sink->turning = false;
    pthread_cond_broadcast(&sink->room);
    pthread_mutex_unlock(&sink->lock);
}

static void write_batch(struct log_sink *sink, struct log_batch *batch)
{
    char report[4096];
    uint64_t unwritten = sink_out(sink, batch->half.at, batch->turned);
    if (batch->turning) {
        os_linux_log_close(sink->taken.file);
        sink->taken = batch->target;
        sink->retry = 0;
    }
    unwritten += sink_out(sink, batch->half.at + batch->turned, batch->half.size - batch->turned);
    count_lost(unwritten);
    batch->lost += unwritten;
    if (batch->lost == 0)
        return;
    size_t size = batch->report((int)(sink - sinks), report, sizeof(report), batch->lost);
    invariant(size <= sizeof(report));
    /* If the report can't be written, it is repeated after the next batch. */
    if (sink_out(sink, report, size) == 0)
        batch->lost = 0;
}

static void writer_main(void *argument)
{
    struct log_sink *sink = argument;
    struct log_batch batch = {.half.at = sink->spare};
    for (;;) {
        take_batch(sink, &batch);
        if (batch.last)
            break;
        write_batch(sink, &batch);
    }
    free(batch.half.at);
}

static int writer_start(struct log_sink *sink, const struct os_log_target *target)
{
    char *first = malloc(OS_LINUX_LOG_BYTES);
    char *second = malloc(OS_LINUX_LOG_BYTES);
    struct os_log_target before = sink->taken;
    int result = first == NULL || second == NULL ? -ENOMEM : 0;
    sink->filling = (struct log_half){.at = first};
    sink->spare = second;
    sink->stop = false;
    sink->turning = false;
    sink->taken = *target;
    if (result == 0)
        result = os_linux_spawn("log", writer_main, sink, &sink->thread);
    sink->running = result == 0;
    if (result == 0) {
        os_linux_log_close(before.file);
        return 0;
    }
    sink->taken = before;
    sink->filling.at = NULL;
    free(first);
    free(second);
    return result;
}

int os_linux_log_turn(int number, const struct os_log_target *target, os_log_report *report)
{
    struct log_sink *sink = &sinks[number];
    int result = 0;
    invariant(os_linux_table() == 0); /* the writers use the table of the process */
    pthread_mutex_lock(&sink->lock);
    sink->report = report;
    sink->waits = target->waits;
    if (sink->running) {
        /* A target that the writer never took is closed here, all others by the writer. */
        if (sink->turning)
            os_linux_log_close(sink->target.file);
        sink->target = *target;
        sink->turned = sink->filling.size;
        sink->turning = true;
        pthread_cond_signal(&sink->work);
        pthread_cond_broadcast(&sink->room);
    } else {
        result = writer_start(sink, target);
    }
    pthread_mutex_unlock(&sink->lock);
    return result;
}

void os_linux_log_wake(void)
{
    for (int i = 0; i < OS_LOG_SINKS; i++) {
        pthread_mutex_lock(&sinks[i].lock);
        sinks[i].waits = false;
        pthread_cond_broadcast(&sinks[i].room);
        pthread_mutex_unlock(&sinks[i].lock);
    }
}

static void sink_stop(struct log_sink *sink)
{
    pthread_mutex_lock(&sink->lock);
    sink->stop = true;
    pthread_cond_signal(&sink->work);
    pthread_cond_broadcast(&sink->room);
    pthread_mutex_unlock(&sink->lock);
}

/* Joins the sink's writer, if there is one, after sink_stop. */
static void sink_join(struct log_sink *sink)
{
    pthread_mutex_lock(&sink->lock);
    bool running = sink->running;
    sink->running = false;
    pthread_mutex_unlock(&sink->lock);
    if (!running)
        return;
    os_linux.join(sink->thread);
    free(sink->filling.at);
    sink->filling.at = NULL;
}

void os_linux_log_stop(void)
{
    /* Stop all before joining: each may take a last second. */
    for (int i = 0; i < OS_LOG_SINKS; i++)
        sink_stop(&sinks[i]);
    for (int i = 0; i < OS_LOG_SINKS; i++)
        sink_join(&sinks[i]);
}

/* --- callers ---------------------------------------------------------------------------------- */

/* Writes a line from its caller's thread, when the queue does not run. */
static void write_now(int file, const char *line, size_t size)
{
    while (size > 0) {
        ssize_t done = write(file, line, size);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            break;
        line += done;
        size -= (size_t)done;
    }
    if (size > 0)
        count_lost(1);
}

static bool has_room(const struct log_sink *sink, size_t size)
{
    return size <= OS_LINUX_LOG_BYTES - sink->filling.size;
}

void os_linux_log_line(int number, const char *line, size_t size)
{
    struct log_sink *sink = &sinks[number];
    pthread_mutex_lock(&sink->lock);
    while (sink->running && !sink->stop && sink->waits && !has_room(sink, size))
        pthread_cond_wait(&sink->room, &sink->lock);
    bool running = sink->running;
    bool idle = sink->filling.size == 0;
    bool fits = running && has_room(sink, size);
    if (fits) {
        memcpy(sink->filling.at + sink->filling.size, line, size);
        sink->filling.size += size;
        if (idle)
            pthread_cond_signal(&sink->work);
    } else if (running) {
        sink->lost += 1;
        count_lost(1);
    }
    pthread_mutex_unlock(&sink->lock);
    /* In a table of its own the caller has another file by this number, or a client. */
    if (!running && os_linux_table() != 0 && sink->taken.file > STDERR_FILENO)
        count_lost(1);
    else if (!running)
        write_now(sink->taken.file, line, sink_is_stream(sink) ? size : size - 1);
}

uint64_t os_linux_log_dropped(void)
{
    return __atomic_load_n(&lost_ever, __ATOMIC_RELAXED);
}
