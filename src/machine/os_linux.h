#pragma once
/*
 * os_linux.h - declarations shared by the files of the Linux implementation; private to
 * os_linux*.c.
 *
 * A guest (the resolver library) uses a poller beside the machine's own handles.  A poller has at
 * most one guest and owns it from os_linux_guest_set on.  The guest's functions run on the
 * machine's thread within poll_wait.
 */
#include "machine/os.h"

#define OS_LINUX_POLLERS_MAX 1024

struct os_linux_guest {
    /* Handles that `descriptor` is ready for `what` (POLL_READ, POLL_WRITE). */
    void (*ready)(struct os_linux_guest *guest, int descriptor, uint32_t what);
    /* Handles that `due_at` has passed; sets the next `due_at`. */
    void (*due)(struct os_linux_guest *guest);
    /* Frees the guest when its poller is freed. */
    void (*free)(struct os_linux_guest *guest);
    int64_t due_at; /* monotonic microseconds; INT64_MAX: nothing is due */
};

/** The poller's guest; NULL: none. */
struct os_linux_guest *os_linux_guest(int poller);
void os_linux_guest_set(int poller, struct os_linux_guest *guest);
/** Watches the guest's descriptor for `what`, level-triggered; stops if `what` is 0.  Returns 0 or
 *  -errno. */
int os_linux_guest_watch(int poller, int descriptor, uint32_t what);

/** Starts a thread with every signal blocked, detached if `ret_thread` is NULL: 0 or -errno. */
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
int os_linux_poll_del(int poller, int handle);
int os_linux_poll_wait(int poller, struct poll_event *events, int max, deadline by);
void os_linux_poll_wake(int poller);

int os_linux_dns_query(int poller, const char *name, int type,
                       void (*done)(void *argument, int status, const uint8_t *answer, size_t size),
                       void *argument);
int os_linux_run(const char *const *words, deadline by, struct os_output *output);
int os_linux_offload(void (*job)(void *argument), void *argument);
int os_linux_offload_slow(void (*job)(void *argument), void *argument);
void os_linux_log_line(int sink, const char *line, size_t size);
uint64_t os_linux_log_dropped(void);
