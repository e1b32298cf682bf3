#pragma once
/*
 * os_linux_parts.h - declarations shared by the files of the Linux implementation; private to
 * os_linux*.c.
 *
 * A source (the resolver library) uses a poller beside the machine's own handles.  A poller has at
 * most one source and owns it from os_linux_source_set on.  The source's functions run on the
 * machine's thread within poll_wait.
 */
#include "machine/os.h"

#define OS_LINUX_POLLERS_MAX 1024

struct os_linux_source {
    /* Handles that `descriptor` is ready for `what` (POLL_READ, POLL_WRITE). */
    void (*ready)(struct os_linux_source *source, int descriptor, uint32_t what);
    /* Handles that `due_at` has passed; sets the next `due_at`. */
    void (*due)(struct os_linux_source *source);
    /* Frees the source when its poller is freed. */
    void (*free)(struct os_linux_source *source);
    int64_t due_at; /* monotonic microseconds; INT64_MAX: nothing is due */
};

/** The poller's source; NULL: none. */
struct os_linux_source *os_linux_source(int poller);
void os_linux_source_set(int poller, struct os_linux_source *source);
/** Frees the poller's source, on the thread that has its handles. */
void os_linux_source_free(int poller);
/** Watches the source's descriptor for `what`, level-triggered; stops if `what` is 0.  Returns 0 or
 *  -errno. */
int os_linux_source_watch(int poller, int descriptor, uint32_t what);

/** Starts a thread with every signal blocked, detached if `ret_thread` is NULL: 0 or -errno.  Not
 *  from a thread with a table of handles of its own, which the new thread would share. */
int os_linux_spawn(const char *name, void (*main)(void *argument), void *argument,
                   void **ret_thread);

extern const struct os_process os_linux_process;
/** Drops every capability of this thread. */
void os_linux_shed(void);

/* --- functions of the os table that have files of their own ----------------------------------- */

int os_linux_listen(const struct address *at, int backlog, int unix_mode);
int os_linux_listen_again(int handle, const struct address *at, int backlog, int unix_mode);
int os_linux_listen_tune(int handle, const struct address *at, int64_t group, int defer);
int os_linux_accept(int listener, struct address *ret_peer);
int os_linux_connect(const struct address *to);
int os_linux_connect_result(int handle);
int os_linux_pair(int ret_handles[2]);
int os_linux_set_low_water(int handle, int bytes);
int os_linux_set_options(int handle, const struct socket_options *options);
int os_linux_local_address(int handle, struct address *ret);
int64_t os_linux_peer_user(int handle);
int64_t os_linux_recv(int handle, void *bytes, size_t size);
int64_t os_linux_send(int handle, const void *bytes, size_t size);
int64_t os_linux_send_vector(int handle, const struct iovec *parts, int count);
void os_linux_shut(int handle);
int os_linux_interfaces(struct os_interface *ret, int max);

int os_linux_poll_new(void);
void os_linux_poll_free(int poller);
int os_linux_poll_add(int poller, int handle, uint64_t tag);
int os_linux_poll_add_shared(int poller, int handle, uint64_t tag);
int os_linux_poll_del(int poller, int handle);
int os_linux_poll_wait(int poller, struct poll_event *events, int max, deadline by);
void os_linux_poll_wake(int poller);
/** Lists the handles of pollers that a thread with a table of its own keeps: all of its own poller,
 *  and what wakes the others.  Returns their count, at most OS_LINUX_POLLERS_MAX + 1.  Pollers that
 *  are made later can't be woken from that thread. */
int os_linux_pollers_keep(int poller, int *ret);

/** Gives the calling thread, whose poller this is, a table of handles of its own: 0; or -errno, and
 *  it goes on sharing the table of the process. */
int os_linux_table_own(int poller);
uint32_t os_linux_table(void);
/** Frees what has handles in a table of the calling thread's own; the thread is about to end. */
void os_linux_table_leave(void);
int os_linux_handle_give(int handle);
int os_linux_handle_take(void);

int os_linux_dns_query(int poller, const char *name, int type,
                       void (*done)(void *argument, int status, const uint8_t *answer, size_t size),
                       void *argument);
int os_linux_dns_ask(int poller, const struct address *server, const char *name, int type,
                     duration timeout,
                     void (*done)(void *argument, int status, const uint8_t *answer, size_t size),
                     void *argument);
int os_linux_run(const char *const *words, deadline by, struct os_output *output);
int os_linux_offload(void (*job)(void *argument), void *argument);
int os_linux_offload_slow(void (*job)(void *argument), void *argument);
/** Has offload threads started by one of them, not by threads that want jobs done: 0 or -errno. */
int os_linux_offload_prepare(void);
void os_linux_log_line(int sink, const char *line, size_t size);
uint64_t os_linux_log_dropped(void);
