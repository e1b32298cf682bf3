#pragma once
/*
 * os.h - the table of all calls that Trunkline makes of an operating system.
 *
 * Two implementations: os_linux (epoll) and os_sim (memory sockets, a virtual clock, a seeded
 * order).  Above machine/, few callers use it directly: the configuration reads files and runs
 * commands, authentication runs commands and lists this machine's addresses, listeners close
 * sockets that they can't use.  A `handle` is a descriptor on Linux and an index in the simulation;
 * above machine/ it is passed on from accept to stream_adopt, and shown by SHOW FDS.
 * Calls return what the system call would: a count or handle, or -errno.  poll_wait, join, run,
 * log_stop and the calls about files may block, the others never.
 */
#include "base/fault.h"
#include "base/time.h"

#include <sys/uio.h> /* struct iovec, for the floors above too */

/* Where something listens or connects: an IP address with its port, or a Unix socket's path. */
struct address {
    enum { ADDRESS_NONE, ADDRESS_IPV4, ADDRESS_IPV6, ADDRESS_UNIX } family;
    uint16_t port;
    uint32_t scope;    /* IPv6 link-local interface, else 0 */
    uint8_t bytes[16]; /* 4 or 16 of them, network order */
    char path[108];    /* Unix: the socket's path, NUL-terminated; '@': an abstract name */
};

struct socket_options {
    bool nodelay;
    bool keepalive;
    int keep_idle;     /* seconds; 0: the system's */
    int keep_interval; /* seconds; 0: the system's */
    int keep_count;    /* probes; 0: the system's */
    int user_timeout;  /* milliseconds; 0: the system's */
};

enum {
    POLL_READ = 1,
    POLL_WRITE = 2,
    POLL_HANGUP = 4, /* the peer sent its last byte, or reset */
    POLL_URGENT = 8, /* urgent data came: reads stop at its mark, so a short one says nothing */
};

/* An address of this machine. */
struct os_interface {
    struct address address;
    uint8_t mask[16]; /* 4 or 16 bytes, network order */
};

struct os_process;

struct poll_event {
    uint64_t tag; /* as given to poll_add */
    uint32_t ready;
};

/* What a command printed. */
struct os_output {
    char *at;
    size_t max; /* room */
    size_t size;
    int exit; /* its status, or the negative number of the signal that ended it */
};

/* Sinks of the log.  The first ones take lines that end by a newline, towards files; the others
 * records that end by a NUL, which go to a socket as a datagram each. */
#define OS_LOG_STREAMS 8
#define OS_LOG_SINKS   16

struct os_log_target {
    int file;         /* what log_open has returned; -1: none */
    char socket[108]; /* of a datagram sink */
};

/* Makes the line that reports `count` lost ones; returns its size, at most `most`. */
typedef size_t os_log_report(int sink, char *line, size_t max, uint64_t count);

/* What a signal wait returns; the numbers are those of signal(7). */
struct os {
    const char *name;
    const struct os_process *process; /* os_process.h */

    int64_t (*monotonic_us)(void);
    int64_t (*wall_us)(void);
    void (*random)(void *bytes, size_t size);

    /* Sockets.  Always non-blocking and close-on-exec. */
    int (*listen)(const struct address *at, int backlog, int unix_mode);
    /** Changes a listener: its backlog and, unless negative, the mode of its Unix socket. */
    int (*listen_again)(int handle, const struct address *at, int backlog, int unix_mode);
    /* Whose group the file of a Unix socket is (negative: stays), and how many seconds a connection
     * may wait for its first byte before it is accepted without one (0: none). */
    int (*listen_tune)(int handle, const struct address *at, int64_t group, int defer);
    int (*accept)(int listener, struct address *ret_peer);
    int (*connect)(const struct address *to); /* handle; completion shows as writable */
    int (*connect_result)(int handle);        /* 0 connected, -EINPROGRESS, -errno */
    int (*set_options)(int handle, const struct socket_options *options);
    /* A read is worth an event from so many bytes on; the end and errors always are.  TCP only. */
    int (*set_low_water)(int handle, int bytes);
    int (*local_address)(int handle, struct address *ret);
    int64_t (*peer_user)(
        int handle); /* who connected to a Unix socket: a user's number, or -errno */
    int64_t (*recv)(int handle, void *bytes, size_t size);
    int64_t (*send)(int handle, const void *bytes, size_t size);
    int64_t (*send_vector)(int handle, const struct iovec *parts, int count);
    void (*shut)(int handle); /* nothing more is sent; the peer sees the end */
    void (*close)(int handle);

    /* One poller per machine.  Edge-triggered; a handle is registered once, for everything. */
    int (*poll_new)(void);
    void (*poll_free)(int poller);
    int (*poll_add)(int poller, int handle, uint64_t tag);
    int (*poll_del)(int poller, int handle);
    int (*poll_wait)(int poller, struct poll_event *events, int max, deadline by);
    void (*poll_wake)(int poller); /* from any thread: ends its poll_wait, once */

    /* Threads.  In the simulation all machines share one, in seeded order. */
    int (*spawn)(const char *name, void (*main)(void *argument), void *argument, void **ret_thread);
    void (*join)(void *thread);
    int64_t (*thread_used_us)(void *thread); /* of a processor, ever */

    /* Signals, blocked in every thread; a handle that polls readable, then one number a call. */
    int (*signals_open)(const int *numbers, size_t count);
    int (*signals_next)(int handle);

    /* Whole small files: -errno, or bytes read (at most `size`). */
    int64_t (*file_read)(const char *path, void *bytes, size_t size);
    /** The permission bits of a file, and whose it is; or -errno. */
    int (*file_mode)(const char *path, uint32_t *ret_owner);
    int (*file_unlink)(const char *path);
    /* Names in a directory, in no order, "." and ".." too: 0 or -errno. */
    int (*file_list)(const char *path, void (*each)(void *argument, const char *name),
                     void *argument);

    /* The addresses of this machine, with their masks: how many, at most `most`; or -errno. */
    int (*interfaces)(struct os_interface *ret, int max);

    /* Name look-up below the table: `done` runs on the asking machine's thread, within the
     * poll_wait of that poller, with the raw answer or -errno. */
    int (*dns_query)(int poller, const char *name, int type,
                     void (*done)(void *argument, int status, const uint8_t *answer, size_t size),
                     void *argument);

    /* Runs a command, found by its name, and takes what it prints: 0 or -errno; ETIMEDOUT and
     * EMSGSIZE end it.  Blocks: at the start, and on threads that may. */
    int (*run)(const char *const *words, deadline by, struct os_output *output);

    /* Runs `job` on a thread that may block; `job` itself mails the result back. */
    int (*offload)(void (*job)(void *argument), void *argument);
    /* The same for a job that may take seconds, on threads of their own: others don't wait for it.
     */
    int (*offload_slow)(void (*job)(void *argument), void *argument);

    /* Opens a file to append lines to it (NULL: stderr): its number or -errno. */
    int (*log_open)(const char *path);
    void (*log_close)(int file);
    /* Turns a sink to a target, whose file is its own from now on: 0 or -errno, and then nothing
     * has changed. */
    int (*log_turn)(int sink, const struct os_log_target *target, os_log_report *report);
    /* Writes what waits; later lines are written at once. */
    void (*log_stop)(void);
    /* A log sink takes a whole line or drops it; never waits. */
    void (*log_line)(int sink, const char *line, size_t size);
    uint64_t (*log_dropped)(void);
};

extern const struct os os_linux;
extern const struct os os_sim;
/* The one in use; set once, before the first machine.  os_linux unless told otherwise. */
extern const struct os *os;
