/* os_linux_poll.c - the pollers of the os table on Linux, by epoll. */
#include "base/check.h"
#include "machine/os_linux_parts.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/*
 * Pollers: an epoll set with an eventfd, so that other threads can end the wait.
 *
 * Tags with the highest bit are reserved: for the eventfd, and for the source's descriptors.  The
 * eventfd is edge-triggered and never read: each write is an edge, and its counter overflows after
 * 2^64 writes.
 */
#define TAG_OURS       ((uint64_t)1 << 63)
#define TAG_WAKE       UINT64_MAX
#define EVENTS_AT_ONCE 256

struct poller {
    uint32_t taken; /* atomic: 1 while in use */
    uint64_t birth; /* number of this poller among all that were made */
    int epoll;
    int wake;
    struct os_linux_source *source;
};

static struct poller pollers[OS_LINUX_POLLERS_MAX];
static uint64_t births; /* atomic: pollers made so far */

/* On a thread with a table of handles of its own: the value of `births` when that was made. */
static _Thread_local uint64_t births_known = UINT64_MAX;

static struct poller *poller_at(int poller)
{
    invariant(poller >= 0 && poller < OS_LINUX_POLLERS_MAX);
    invariant(__atomic_load_n(&pollers[poller].taken, __ATOMIC_RELAXED) == 1);
    return &pollers[poller];
}

static int poller_take(void)
{
    for (int i = 0; i < OS_LINUX_POLLERS_MAX; i++) {
        if (__atomic_exchange_n(&pollers[i].taken, 1, __ATOMIC_ACQUIRE) == 0)
            return i;
    }
    return -EMFILE;
}

int os_linux_poll_new(void)
{
    int at = poller_take();
    if (at < 0)
        return at;
    struct poller *poller = &pollers[at];
    poller->source = NULL;
    poller->epoll = epoll_create1(EPOLL_CLOEXEC);
    poller->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = TAG_WAKE};
    if (poller->epoll >= 0 && poller->wake >= 0 &&
        epoll_ctl(poller->epoll, EPOLL_CTL_ADD, poller->wake, &event) == 0) {
        poller->birth = __atomic_add_fetch(&births, 1, __ATOMIC_ACQ_REL);
        return at;
    }
    int status = -errno;
    os_linux_poll_free(at);
    return status;
}

void os_linux_poll_free(int poller)
{
    struct poller *gone = poller_at(poller);
    os_linux_source_free(poller);
    if (gone->epoll >= 0)
        close(gone->epoll);
    if (gone->wake >= 0)
        close(gone->wake);
    __atomic_store_n(&gone->taken, 0, __ATOMIC_RELEASE);
}

int os_linux_poll_add(int poller, int handle, uint64_t tag)
{
    invariant((tag & TAG_OURS) == 0);
    struct epoll_event event = {.events = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.u64 = tag};
    return epoll_ctl(poller_at(poller)->epoll, EPOLL_CTL_ADD, handle, &event) < 0 ? -errno : 0;
}

int os_linux_poll_add_shared(int poller, int handle, uint64_t tag)
{
    invariant((tag & TAG_OURS) == 0);
    struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.u64 = tag};
    return epoll_ctl(poller_at(poller)->epoll, EPOLL_CTL_ADD, handle, &event) < 0 ? -errno : 0;
}

int os_linux_poll_del(int poller, int handle)
{
    return epoll_ctl(poller_at(poller)->epoll, EPOLL_CTL_DEL, handle, NULL) < 0 ? -errno : 0;
}

void os_linux_poll_wake(int poller)
{
    const struct poller *woken = poller_at(poller);
    uint64_t one = 1;
    /* Of a younger poller this thread has no eventfd: the number may be that of a client. */
    invariant(woken->birth <= births_known);
    ssize_t wrote = write(woken->wake, &one, sizeof(one));
    invariant(wrote == sizeof(one));
}

int os_linux_pollers_keep(int poller, int *ret)
{
    int count = 0;
    births_known = __atomic_load_n(&births, __ATOMIC_ACQUIRE);
    for (int i = 0; i < OS_LINUX_POLLERS_MAX; i++) {
        if (__atomic_load_n(&pollers[i].taken, __ATOMIC_RELAXED) == 1)
            ret[count++] = pollers[i].wake;
    }
    ret[count++] = poller_at(poller)->epoll;
    return count;
}

/* --- waiting ---------------------------------------------------------------------------------- */

static int poll_epoll(int epoll, struct epoll_event *events, int max, deadline by)
{
    if (is_never(by))
        return epoll_wait(epoll, events, max, -1);
    int64_t left = by.us <= 0 ? 0 : by.us - os_linux.monotonic_us();
    if (left <= 0)
        return epoll_wait(epoll, events, max, 0);
    struct timespec wait = {.tv_sec = left / 1000000, .tv_nsec = left % 1000000 * 1000};
    int count = epoll_pwait2(epoll, events, max, &wait, NULL);
    if (count >= 0 || errno != ENOSYS)
        return count;
    /* Linux before 5.11.  Rounded up, to avoid a busy loop in the last millisecond. */
    int64_t rounded = MIN_OF((left + 999) / 1000, INT32_MAX);
    return epoll_wait(epoll, events, max, (int)rounded);
}

static uint32_t poll_ready(uint32_t events)
{
    uint32_t ready = 0;
    if ((events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        ready |= POLL_READ;
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0)
        ready |= POLL_WRITE;
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        ready |= POLL_HANGUP;
    if ((events & EPOLLPRI) != 0)
        ready |= POLL_URGENT;
    return ready;
}

/* Handles the poller's own events; copies the machine's events to `to` and returns their count. */
static int poll_sort(struct poller *poller, const struct epoll_event *from, int count,
                     struct poll_event *to)
{
    int kept = 0;
    for (int i = 0; i < count; i++) {
        uint64_t tag = from[i].data.u64;
        uint32_t ready = poll_ready(from[i].events);
        if ((tag & TAG_OURS) == 0)
            to[kept++] = (struct poll_event){tag, ready};
        else if (tag != TAG_WAKE && poller->source != NULL)
            poller->source->ready(poller->source, (int)(tag & INT32_MAX), ready);
    }
    return kept;
}

int os_linux_poll_wait(int poller, struct poll_event *events, int max, deadline by)
{
    struct poller *waiting = poller_at(poller);
    struct epoll_event raw[EVENTS_AT_ONCE];
    if (waiting->source != NULL && waiting->source->due_at < by.us)
        by.us = waiting->source->due_at;
    int count = poll_epoll(waiting->epoll, raw, MIN_OF(max, EVENTS_AT_ONCE), by);
    if (count < 0)
        return errno == EINTR ? 0 : -errno;
    int kept = poll_sort(waiting, raw, count, events);
    struct os_linux_source *source = waiting->source;
    if (source != NULL && source->due_at != INT64_MAX && source->due_at <= os_linux.monotonic_us())
        source->due(source);
    return kept;
}

/* --- the source ------------------------------------------------------------------------------- */

struct os_linux_source *os_linux_source(int poller)
{
    return poller_at(poller)->source;
}

void os_linux_source_set(int poller, struct os_linux_source *source)
{
    poller_at(poller)->source = source;
}

void os_linux_source_free(int poller)
{
    struct poller *at = poller_at(poller);
    if (at->source != NULL)
        at->source->free(at->source);
    at->source = NULL;
}

int os_linux_source_watch(int poller, int descriptor, uint32_t what)
{
    int epoll = poller_at(poller)->epoll;
    struct epoll_event event = {.data.u64 = TAG_OURS | (uint32_t)descriptor};
    if ((what & POLL_READ) != 0)
        event.events |= EPOLLIN;
    if ((what & POLL_WRITE) != 0)
        event.events |= EPOLLOUT;
    if (what == 0)
        return epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, NULL) < 0 ? -errno : 0;
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, descriptor, &event) == 0)
        return 0;
    if (errno == ENOENT && epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) == 0)
        return 0;
    return -errno;
}
