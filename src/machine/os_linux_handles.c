/* os_linux_handles.c - tables of handles, and the channel through which handles pass. */
#include "base/check.h"
#include "machine/context_parts.h"
#include "machine/os_linux_parts.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * The threads of a process share one table of handles, and Linux then counts a reference for each
 * call on a handle.  A thread with a table of its own saves that: 15 to 60 ns a call.
 *
 * Such a thread keeps the handles that both sides need: the standard streams, its epoll set, the
 * eventfds that wake other pollers, and the channel.  All other copies are closed, since an open
 * copy would keep a listener listening and a pipe from ending.  From then on a number means one
 * thing in its table and another in the shared one.  Handles pass between the two only through the
 * channel, a pair of Unix sockets (SCM_RIGHTS).
 */

static pthread_once_t channel_once = PTHREAD_ONCE_INIT;
static int channel[2] = {-1, -1}; /* given at the first end, taken at the second */

static uint32_t tables; /* atomic: tables made beside the shared one */

static _Thread_local uint32_t own_table; /* its number; 0: the shared one */
static _Thread_local int own_poller = -1;

static void channel_open(void)
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, channel) < 0)
        channel[0] = channel[1] = -errno;
}

union rights {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

/* A message of one byte with room for one handle. */
struct passing {
    struct msghdr message;
    struct iovec part;
    char byte;
    union rights rights;
};

static void passing_init(struct passing *passing)
{
    *passing = (struct passing){.part = {&passing->byte, 1}};
    passing->message = (struct msghdr){.msg_iov = &passing->part,
                                       .msg_iovlen = 1,
                                       .msg_control = passing->rights.bytes,
                                       .msg_controllen = sizeof(passing->rights.bytes)};
}

int os_linux_handle_give(int handle)
{
    struct passing passing;
    passing_init(&passing);
    passing.rights.header = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
    memcpy(CMSG_DATA(&passing.rights.header), &handle, sizeof(handle));
    pthread_once(&channel_once, channel_open);
    if (channel[0] < 0)
        return channel[0];
    return sendmsg(channel[0], &passing.message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int os_linux_handle_take(void)
{
    struct passing passing;
    int handle;
    passing_init(&passing);
    pthread_once(&channel_once, channel_open);
    if (channel[1] < 0)
        return channel[1];
    if (recvmsg(channel[1], &passing.message, MSG_CMSG_CLOEXEC) < 0)
        return -errno;
    /* The control data is cut if this table has no room for the handle. */
    if (passing.message.msg_controllen < CMSG_LEN(sizeof(int)))
        return -EMFILE;
    memcpy(&handle, CMSG_DATA(&passing.rights.header), sizeof(handle));
    return handle;
}

/* --- tables ----------------------------------------------------------------------------------- */

uint32_t os_linux_table(void)
{
    return own_table;
}

static int range_close(unsigned first, unsigned last)
{
    if (first > last)
        return 0;
    return syscall(SYS_close_range, first, last, 0) < 0 ? -errno : 0;
}

static int number_order(const void *a, const void *b)
{
    const int *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

/* Closes all handles of this thread's table but these. */
static int others_close(int *kept, int count)
{
    unsigned next = STDERR_FILENO + 1;
    int status = 0;
    qsort(kept, (size_t)count, sizeof(*kept), number_order);
    for (int i = 0; i < count && status == 0; i++) {
        if (kept[i] < (int)next)
            continue;
        if (kept[i] > (int)next)
            status = range_close(next, (unsigned)kept[i] - 1);
        next = (unsigned)kept[i] + 1;
    }
    return status < 0 ? status : range_close(next, ~0u);
}

int os_linux_table_own(int poller)
{
    int kept[OS_LINUX_POLLERS_MAX + 3];
    invariant(own_table == 0);
    if (CONTEXT_TSAN) /* ThreadSanitizer knows one table, and takes equal numbers for one handle */
        return -ENOTSUP;
    /* An empty range: whether Linux has the call (since 5.9). */
    if (syscall(SYS_close_range, ~0u, ~0u, 0) < 0)
        return -errno;
    pthread_once(&channel_once, channel_open);
    if (channel[0] < 0)
        return channel[0];
    if (unshare(CLONE_FILES) < 0)
        return -errno;
    int count = os_linux_pollers_keep(poller, kept);
    kept[count++] = channel[0];
    kept[count++] = channel[1];
    int status = others_close(kept, count);
    invariant(status == 0); /* the ranges are valid */
    own_table = __atomic_add_fetch(&tables, 1, __ATOMIC_RELAXED);
    own_poller = poller;
    return 0;
}

void os_linux_table_leave(void)
{
    if (own_table != 0)
        os_linux_source_free(own_poller);
}
