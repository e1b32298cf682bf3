#pragma once
/*
 * os.h - the os table: all calls that Trunkline makes to the operating system.
 *
 * Two implementations: os_linux (epoll) and os_sim (simulation: in-memory sockets, a virtual clock,
 * a seeded order).  Above machine/, few callers use the table directly: the configuration reads
 * files and runs commands, pools run commands for passwords, authentication lists this machine's
 * addresses, listeners close sockets that they can't use.  A `handle` is a descriptor on Linux and
 * an index in the simulation; above machine/ it is passed from accept to stream_adopt, and shown by
 * SHOW FDS. Calls return the result of the system call: a count or handle, or -errno.  poll_wait,
 * join, run, log_stop and the calls about files may block; the others never do.
 */
#include "base/fault.h"
#include "base/time.h"

#include <sys/uio.h> /* struct iovec, which this header exports */

/* The address of a socket: an IP address with its port, or a Unix socket's path. */
struct address {
    enum { ADDRESS_NONE, ADDRESS_IPV4, ADDRESS_IPV6, ADDRESS_UNIX } family;
    uint16_t port;
    uint32_t scope;    /* IPv6 link-local interface, else 0 */
    uint8_t bytes[16]; /* 4 or 16 of them, network order */
    char path[108];    /* Unix: the path, NUL-terminated; '@' begins an abstract name */
};

struct socket_options {
    bool nodelay;
    bool keepalive;
    int keep_idle;     /* seconds; 0: the system's default */
    int keep_interval; /* seconds; 0: the system's default */
    int keep_count;    /* probes; 0: the system's default */
    int user_timeout;  /* milliseconds; 0: derived from keepalive, or the system's */
};

enum {
    POLL_READ = 1,
    POLL_WRITE = 2,
    POLL_HANGUP = 4, /* the peer sent its last byte, or reset */
    POLL_URGENT = 8, /* urgent data came: a read stops at its mark, so a short read does not mean
                      * that the socket is drained */
};

/* An address of a network interface of this machine. */
struct os_interface {
    struct address address;
    uint8_t mask[16]; /* 4 or 16 bytes, network order */
};

struct os_process;

struct poll_event {
    uint64_t tag; /* as given to poll_add */
    uint32_t ready;
};

/* The output of a command. */
struct os_output {
    char *at;
    size_t max; /* room at `at`, bytes */
    size_t size;
    int exit; /* exit status, or the negative number of the signal that ended the command */
};

/* Log sinks.  The first OS_LOG_STREAMS take lines that end with a newline and write them to files.
 * The others take records that end with a NUL and send each as a datagram. */
#define OS_LOG_STREAMS 8
#define OS_LOG_SINKS   16

struct os_log_target {
    int file;         /* the result of log_open; -1: none */
    char socket[108]; /* path, for a datagram sink */
    bool waits;       /* a line that finds the queue full waits for room */
};

/* Writes the line that reports `count` lost lines; returns its size, at most `max`. */
typedef size_t os_log_report(int sink, char *line, size_t max, uint64_t count);

struct os {
    const char *name;
    const struct os_process *process; /* os_process_parts.h */

    int64_t (*monotonic_us)(void);
    int64_t (*wall_us)(void);
    void (*random)(void *bytes, size_t size);

    /* Sockets, always non-blocking and close-on-exec. */
    int (*listen)(const struct address *at, int backlog, int unix_mode);
    /* Changes a listener: its backlog and, unless negative, the mode of its Unix socket. */
    int (*listen_again)(int handle, const struct address *at, int backlog, int unix_mode);
    /* Sets the group of a Unix socket's file (negative: unchanged), or for TCP how many seconds the
     * kernel delays a connection that has sent nothing (TCP_DEFER_ACCEPT; 0: not at all). */
    int (*listen_tune)(int handle, const struct address *at, int64_t group, int defer);
    int (*accept)(int listener, struct address *ret_peer);
    int (*connect)(const struct address *to); /* handle; writable once the connect has completed */
    int (*connect_result)(int handle);        /* 0 connected, -EINPROGRESS, -errno */
    int (*pair)(int ret_handles[2]); /* two Unix sockets, connected with each other: 0 or -errno */
    int (*set_options)(int handle, const struct socket_options *options);
    /* Reports POLL_READ from this many bytes on (SO_RCVLOWAT); the end and errors are always
     * reported.  TCP only. */
    int (*set_low_water)(int handle, int bytes);
    int (*local_address)(int handle, struct address *ret);
    int64_t (*peer_user)(
        int handle); /* uid of the process that connected to a Unix socket, or -errno */
    int64_t (*recv)(int handle, void *bytes, size_t size);
    int64_t (*send)(int handle, const void *bytes, size_t size);
    int64_t (*send_vector)(int handle, const struct iovec *parts, int count);
    void (*shut)(int handle); /* ends the sending direction; the peer reads the end */
    void (*close)(int handle);

    /* One poller per machine.  Edge-triggered; a handle is registered once, for all events. */
    int (*poll_new)(void);
    void (*poll_free)(int poller);
    int (*poll_add)(int poller, int handle, uint64_t tag);
    /* Registers a shared listener: level-triggered, and each connection is reported to one of the
     * pollers that wait.  A close does not undo it: call poll_del first. */
    int (*poll_add_shared)(int poller, int handle, uint64_t tag);
    int (*poll_del)(int poller, int handle);
    int (*poll_wait)(int poller, struct poll_event *events, int max, deadline by);
    void (*poll_wake)(int poller); /* from any thread: ends the present or next poll_wait */

    /* Threads.  The simulation runs all of them on one thread, in a seeded order. */
    int (*spawn)(const char *name, void (*main)(void *argument), void *argument, void **ret_thread);
    /* Same as spawn, but the thread, whose poller this is, has a table of handles of its own: calls
     * on them cost less.  If the system can't, the thread shares the table of the process. */
    int (*spawn_apart)(const char *name, void (*main)(void *argument), void *argument, int poller,
                       void **ret_thread);
    /* Returns the number of the calling thread's table of handles; 0: the table of the process.  A
     * handle means something in its own table only; handle_give and handle_take pass it on. */
    uint32_t (*table)(void);
    /* Pass duplicates of handles, in order: give puts one into the process's channel and returns 0
     * or -errno; take returns the oldest, or -errno (EAGAIN: none).  Listeners only. */
    int (*handle_give)(int handle);
    int (*handle_take)(void);
    void (*join)(void *thread);
    int64_t (*thread_used_us)(void *thread); /* CPU time since the thread's start */

    /* Signals.  signals_open blocks them in this thread and returns a handle that polls readable;
     * signals_next returns the number of one signal (signal(7)), or -errno. */
    int (*signals_open)(const int *numbers, size_t count);
    int (*signals_next)(int handle);

    /* Reads a small file: the bytes read (at most `size`), or -errno.  A pipe whose writer sends
     * nothing for 5 s: -ENODATA. */
    int64_t (*file_read)(const char *path, void *bytes, size_t size);
    /* Returns the permission bits of a file and its owner's uid; or -errno. */
    int (*file_mode)(const char *path, uint32_t *ret_owner);
    int (*file_unlink)(const char *path);
    /* Calls `each` for the names in a directory, in no order, "." and ".." too: 0 or -errno. */
    int (*file_list)(const char *path, void (*each)(void *argument, const char *name),
                     void *argument);

    /* Lists the addresses of this machine with their masks: the count, at most `max`; or -errno. */
    int (*interfaces)(struct os_interface *ret, int max);

    /* Queries a name server: `done` runs on the calling machine's thread, within poll_wait of that
     * poller, with the raw answer or -errno. */
    int (*dns_query)(int poller, const char *name, int type,
                     void (*done)(void *argument, int status, const uint8_t *answer, size_t size),
                     void *argument);

    /* Asks one name server: UDP with EDNS, TCP if the answer was truncated.  `name` is complete: no
     * search list is used.  `done` runs as for dns_query, within about `timeout`, with the raw
     * answer whatever its response code; or -ETIMEDOUT, -ECONNREFUSED (the server can't be
     * reached), -EBADMSG, -ECANCELED (the poller is being freed).  Returns 0; or -errno, and `done`
     * does not run (-EINVAL: no valid name). */
    int (*dns_ask)(int poller, const struct address *server, const char *name, int type,
                   duration timeout,
                   void (*done)(void *argument, int status, const uint8_t *answer, size_t size),
                   void *argument);

    /* Runs a command, found in PATH, and collects its output: 0 or -errno.  After ETIMEDOUT (`by`)
     * or EMSGSIZE (`output` is full) the command is killed.  Blocks: only at start-up and on
     * offload threads. */
    int (*run)(const char *const *words, deadline by, struct os_output *output);

    /* Runs `job` on an offload thread; `job` itself mails the result back.  0 or -errno. */
    int (*offload)(void (*job)(void *argument), void *argument);
    /* Same as offload, for jobs that may take seconds: on separate threads, so that they do not
     * delay others. */
    int (*offload_slow)(void (*job)(void *argument), void *argument);

    /* Opens a file to append lines to it (NULL: stderr): its number or -errno. */
    int (*log_open)(const char *path);
    void (*log_close)(int file);
    /* Redirects a sink to a target and takes ownership of its file: 0; or -errno, and nothing has
     * changed. */
    int (*log_turn)(int sink, const struct os_log_target *target, os_log_report *report);
    /* Ends all waiting for room, until a sink is turned again. */
    void (*log_wake)(void);
    /* Writes all queued lines and ends the writers; later lines are written by their callers. */
    void (*log_stop)(void);
    /* Queues a whole line.  When the queue is full the line is dropped or, if the sink's target
     * waits, the thread waits until the writer has emptied it. */
    void (*log_line)(int sink, const char *line, size_t size);
    uint64_t (*log_dropped)(void);
};

extern const struct os os_linux;
extern const struct os os_sim;
/* The table in use; set before the first machine.  os_linux by default. */
extern const struct os *os;
