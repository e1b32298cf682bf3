#include "machine/os_linux_log.h"

#include "base/check.h"
#include "machine/os_linux.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Two halves: the callers fill one, the writer empties the other, and under the lock they are only
 * swapped, so that a caller never waits longer than for somebody's memcpy of one line. */
struct log_half {
    char *at; /* OS_LINUX_LOG_BYTES of them */
    size_t size;
};

static struct {
    pthread_mutex_t lock; /* guards all but `lost_ever`; never held while writing */
    pthread_cond_t work;
    void *thread;
    struct log_half filling;
    uint64_t lost;      /* since the last report */
    uint64_t lost_ever; /* atomic */
    os_linux_log_report *report;
    int target;   /* what to write to: owned, unless it is stderr */
    int taken;    /* what the writer writes to now, and closes once `target` is another; -1: none */
    bool running; /* the queue takes lines */
    bool stop;
} sink = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .work = PTHREAD_COND_INITIALIZER,
    .target = STDERR_FILENO,
    .taken = -1,
};

static void close_target(int target)
{
    if (target >= 0 && target != STDERR_FILENO)
        close(target);
}

static bool is_stopping(void)
{
    pthread_mutex_lock(&sink.lock);
    bool stopping = sink.stop;
    pthread_mutex_unlock(&sink.lock);
    return stopping;
}

/* Whether the target takes more; while the writer is to stop, it gets one last second. */
static bool wait_writable(int target)
{
    struct pollfd poll_target = {.fd = target, .events = POLLOUT};
    for (;;) {
        bool last = is_stopping();
        int found = poll(&poll_target, 1, 1000);
        if (found > 0)
            return true;
        if (found == 0 && last)
            return false;
        if (found < 0 && errno != EINTR)
            return false;
    }
}

/* Writes it all, or says how much was left.  A pipe is fed in pieces that poll() promises to fit,
 * because a reader that stands still must not keep the process from ending. */
static size_t write_all(int target, const char *at, size_t size)
{
    struct stat kind;
    size_t piece = fstat(target, &kind) == 0 && S_ISREG(kind.st_mode) ? 65536 : 4096;
    while (size > 0 && wait_writable(target)) {
        ssize_t done = write(target, at, MIN_OF(size, piece));
        if (done < 0 && errno != EINTR && errno != EAGAIN)
            break;
        if (done > 0) {
            at += done;
            size -= (size_t)done;
        }
    }
    return size;
}

static void count_lost(uint64_t lines)
{
    __atomic_fetch_add(&sink.lost_ever, lines, __ATOMIC_RELAXED);
}

static uint64_t count_lines(const char *at, size_t size)
{
    uint64_t lines = 0;
    for (size_t i = 0; i < size; i++)
        lines += at[i] == '\n';
    return lines;
}

/* What the writer took over in one go. */
struct log_batch {
    struct log_half half;
    uint64_t lost; /* lines that did not fit behind it, or were lost before and not told yet */
    os_linux_log_report *report;
    int target;
    bool last;
};

/* Waits for work, and takes it in exchange for the emptied half. */
static void take_batch(struct log_batch *batch)
{
    pthread_mutex_lock(&sink.lock);
    while (sink.filling.size == 0 && sink.lost == 0 && !sink.stop && sink.target == sink.taken)
        pthread_cond_wait(&sink.work, &sink.lock);
    struct log_half full = sink.filling;
    int old = sink.taken;
    batch->last = sink.stop && full.size == 0 && sink.lost == 0;
    batch->lost += sink.lost;
    batch->report = sink.report;
    batch->target = sink.target;
    sink.filling = (struct log_half){.at = batch->half.at};
    batch->half = full;
    sink.lost = 0;
    sink.taken = sink.target;
    pthread_mutex_unlock(&sink.lock);
    if (old != batch->target)
        close_target(old);
}

static void write_batch(struct log_batch *batch)
{
    char report[1024];
    size_t size = batch->half.size;
    size_t left = write_all(batch->target, batch->half.at, size);
    uint64_t unwritten = count_lines(batch->half.at + size - left, left);
    count_lost(unwritten);
    batch->lost += unwritten;
    if (batch->lost == 0)
        return;
    size = batch->report(report, sizeof(report), batch->lost);
    invariant(size <= sizeof(report));
    /* If not even that can be written, it is told behind the next batch. */
    if (write_all(batch->target, report, size) == 0)
        batch->lost = 0;
}

static void writer_main(void *argument)
{
    struct log_batch batch = {.half.at = argument};
    for (;;) {
        take_batch(&batch);
        if (batch.last)
            break;
        write_batch(&batch);
    }
    free(batch.half.at);
}

static int writer_start(int target, os_linux_log_report *report)
{
    char *first = malloc(OS_LINUX_LOG_BYTES);
    char *second = malloc(OS_LINUX_LOG_BYTES);
    int result = first == NULL || second == NULL ? -ENOMEM : 0;
    sink.filling = (struct log_half){.at = first};
    sink.report = report;
    sink.stop = false;
    sink.taken = sink.target;
    if (result == 0)
        result = os_linux_spawn("log", writer_main, second, &sink.thread);
    sink.running = result == 0;
    if (result == 0) {
        sink.target = target;
        return 0;
    }
    sink.filling.at = NULL;
    free(first);
    free(second);
    return result;
}

int os_linux_log_start(const char *path, os_linux_log_report *report)
{
    int result = 0;
    int target = STDERR_FILENO;
    if (path != NULL)
        target = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
    if (target < 0)
        return -errno;
    pthread_mutex_lock(&sink.lock);
    if (sink.running) {
        /* One that the writer never took is closed here, all others by the writer. */
        if (sink.target != sink.taken)
            close_target(sink.target);
        sink.report = report;
        sink.target = target;
        pthread_cond_signal(&sink.work);
    } else {
        result = writer_start(target, report);
    }
    pthread_mutex_unlock(&sink.lock);
    if (result != 0)
        close_target(target);
    return result;
}

void os_linux_log_stop(void)
{
    pthread_mutex_lock(&sink.lock);
    bool running = sink.running;
    sink.running = false;
    sink.stop = true;
    pthread_cond_signal(&sink.work);
    pthread_mutex_unlock(&sink.lock);
    if (!running)
        return;
    os_linux.join(sink.thread);
    free(sink.filling.at);
    sink.filling.at = NULL;
}

/* The queue is not there: the caller writes. */
static void write_now(int target, const char *line, size_t size)
{
    while (size > 0) {
        ssize_t done = write(target, line, size);
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

void os_linux_log_line(const char *line, size_t size)
{
    pthread_mutex_lock(&sink.lock);
    bool running = sink.running;
    int target = sink.target;
    bool first = sink.filling.size == 0;
    bool fits = running && size <= OS_LINUX_LOG_BYTES - sink.filling.size;
    if (fits) {
        memcpy(sink.filling.at + sink.filling.size, line, size);
        sink.filling.size += size;
        if (first)
            pthread_cond_signal(&sink.work);
    } else if (running) {
        sink.lost += 1;
        count_lost(1);
    }
    pthread_mutex_unlock(&sink.lock);
    if (!running)
        write_now(target, line, size);
}

uint64_t os_linux_log_dropped(void)
{
    return __atomic_load_n(&sink.lost_ever, __ATOMIC_RELAXED);
}
