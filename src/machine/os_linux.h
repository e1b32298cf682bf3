#pragma once
/*
 * os_linux.h - what the files of the Linux door share; private to os_linux*.c and offload.c.
 *
 * A guest is something below the table that waits in a poller beside the machine's own handles (the
 * resolver library): at most one per poller, owned by the poller from os_linux_guest_set on.  Its
 * functions run on the machine's thread, within poll_wait, which returns after them.
 */
#include "machine/os.h"

#define OS_LINUX_POLLERS_MAX 1024

struct os_linux_guest {
    /** `descriptor` is ready for `what` (POLL_READ, POLL_WRITE). */
    void (*ready)(struct os_linux_guest *guest, int descriptor, uint32_t what);
    /** `due_at` has come; sets it anew. */
    void (*due)(struct os_linux_guest *guest);
    /** The poller goes. */
    void (*free)(struct os_linux_guest *guest);
    int64_t due_at; /* monotonic microseconds; INT64_MAX: nothing is due */
};

/** The poller's guest; NULL: none. */
struct os_linux_guest *os_linux_guest(int poller);
void os_linux_guest_set(int poller, struct os_linux_guest *guest);
/** Watches the guest's descriptor, level-triggered, for `what`; 0: no longer.  0 or -errno. */
int os_linux_guest_watch(int poller, int descriptor, uint32_t what);

/** Starts a detached or joinable thread with every signal blocked: 0 or -errno. */
int os_linux_spawn(const char *name, void (*main)(void *argument), void *argument,
                   void **ret_thread);

extern const struct os_process os_linux_process;
/** Gives up every capability of this thread. */
void os_linux_shed(void);

/* --- rows of the table that live in files of their own ---------------------------------------- */

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
