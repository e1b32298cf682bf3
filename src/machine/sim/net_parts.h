#pragma once
/*
 * net_parts.h - in-memory sockets; shared by net.c, bytes.c, faults.c and poll.c.
 *
 * Sent bytes are stored in the receiver's ring at once, but become visible piece by piece, each at
 * its arrival time; an end or a reset arrives after the bytes.  A full ring causes short writes.
 * Handles are the lowest free numbers, like descriptors, so that they are often reused.
 */
#include "base/check.h"
#include "machine/sim/inside.h"

#define SIM_PIECES_MAX 8
#define SIM_QUEUE_MAX  1024

enum socket_kind { SOCKET_FREE, SOCKET_LISTENER, SOCKET_STREAM, SOCKET_SIGNALS };

struct sim_piece {
    uint64_t end; /* offset in the stream after its last byte */
    int64_t at;   /* arrival time */
};

/* A connection that waits to be accepted. */
struct sim_arrival {
    int handle;
    int64_t at; /* arrival time */
};

struct sim_socket {
    enum socket_kind kind;
    uint32_t generation; /* counts the uses of the handle */
    uint32_t table;      /* of the threads that may use the handle; see sim_socket_own */
    bool is_unix;
    bool edge;   /* the state may have changed since the last event */
    bool listed; /* in its poller's list */
    struct address local;
    struct address service; /* the address that the client connected to; the same at both ends */
    int poller;             /* -1: not registered */
    uint64_t tag;

    /* Listeners: connections that wait, by arrival time. */
    struct sim_arrival *queue; /* SIM_QUEUE_MAX; owned */
    int queued;
    int backlog;
    int origin;  /* of a handle that was given: the listener's first handle; else -1 */
    int *shares; /* of a first handle: the others; owned */
    int share_count;

    /* Streams. */
    int other;   /* the peer's handle; -1: closed, or none */
    int status;  /* of the connect: 0, -EINPROGRESS, or -errno */
    int verdict; /* the value of `status` from `decided` on */
    int64_t decided;
    int error; /* -errno that the next read or write returns, once */
    uint8_t *ring;
    size_t ring_size;
    uint64_t taken; /* offsets in the stream: taken <= visible <= sent */
    uint64_t visible;
    uint64_t sent;
    struct sim_piece pieces[SIM_PIECES_MAX]; /* a ring */
    uint32_t piece_first;
    uint32_t piece_count;
    int64_t latency; /* of bytes to this socket, microseconds */
    int64_t bandwidth;
    int64_t busy;      /* the link transmits earlier bytes until then */
    int64_t last;      /* arrival time of the last bytes sent: later ones do not overtake */
    int64_t sent_at;   /* the latest send to this socket; 0: none */
    int64_t end_at;    /* arrival time of the peer's end; INT64_MAX: not sent */
    int64_t reset_at;  /* arrival time of a reset; INT64_MAX: not sent */
    bool ended;        /* an end or a reset has arrived */
    bool shut;         /* the sending direction has ended */
    bool starved;      /* a write was short */
    bool blocked;      /* writes return EAGAIN for a while */
    bool held;         /* nothing arrives here until the network heals */
    bool unheard;      /* bytes that it sent had not arrived when the peer gave up */
    bool dialling;     /* the connect gets no answer */
    bool linger;       /* closing sends a reset */
    int64_t dies_at;   /* held: fails with ETIMEDOUT then */
    int64_t patience;  /* time until it fails with unacknowledged bytes, microseconds */
    int64_t keepalive; /* the same without such bytes; INT64_MAX: never */
    size_t low_water;
    uint64_t signals; /* of a signal queue, as bits */
    uint32_t user;    /* the peer's uid, at the accepting end of a Unix socket */
};

/** The socket of a handle that is in use. */
struct sim_socket *sim_socket_at(int handle);
/** The same, for calls of threads: the handle must be of the running thread's table.  Numbers are
 *  unique over all tables, so that the use of a handle in another table is always noticed. */
struct sim_socket *sim_socket_own(int handle);
/** The socket of a handle with this generation; NULL: closed since. */
struct sim_socket *sim_socket_of(int64_t handle, int64_t generation);
/** The limit of all handles: each is below it. */
int sim_sockets_end(void);
/** The socket of a handle; NULL: the handle is free. */
struct sim_socket *sim_socket_any(int handle);
/** Makes a socket.  Returns a new handle, or -errno. */
int sim_socket_make(enum socket_kind kind, const struct address *local);
/** Marks a possible event of a socket for its poller. */
void sim_socket_edge(int handle);
/** Marks a possible event of a listener for one or all of the pollers that share it. */
void sim_listener_tell(const struct sim_socket *socket);
/** The readiness that epoll would report now. */
uint32_t sim_socket_state(const struct sim_socket *socket);
/** Free bytes in the socket's ring. */
size_t sim_socket_space(const struct sim_socket *socket);
/** Schedules the delivery of bytes, an end or a reset that arrive at `at`. */
void sim_socket_expect(int handle, int64_t at);
/** Draws the arrival time of `size` bytes that are sent to `to` now. */
int64_t sim_socket_hour(struct sim_socket *to, size_t size);
/** Send an end or a reset to the peer of `handle`. */
void sim_socket_send_end(int handle);
void sim_socket_send_reset(int handle);
/** Sends a reset to both ends, as a middlebox would. */
void sim_socket_reset_both(int handle);
/** Stops arrivals at both ends; sim_socket_release delivers those at one end again. */
void sim_socket_hold(int handle);
void sim_socket_release(int handle);
/** Schedules the ETIMEDOUT of a held socket, by its socket options. */
void sim_socket_despair(int handle);
/** Schedules a retry of a connect that was not answered. */
void sim_connect_again(int handle);
