#pragma once
/*
 * net.h - sockets of memory; shared by net.c, bytes.c, faults.c and poll.c.
 *
 * What is sent lies in the receiver's ring at once, but becomes visible piece by piece, each at its
 * hour; an end or a reset likewise, behind the bytes.  A ring that is full makes short writes.
 * Handles are the lowest free numbers, as descriptors are, so that one is often used again.
 */
#include "base/check.h"
#include "machine/sim/inside.h"

#define SIM_PIECES_MAX 8
#define SIM_QUEUE_MAX  1024

enum socket_kind { SOCKET_FREE, SOCKET_LISTENER, SOCKET_STREAM, SOCKET_SIGNALS };

struct sim_piece {
    uint64_t end; /* offset in the stream behind its last byte */
    int64_t at;   /* when it arrives */
};

/* A connection that waits to be accepted. */
struct sim_arrival {
    int handle;
    int64_t at;
};

struct sim_socket {
    enum socket_kind kind;
    uint32_t generation; /* of the handle's uses */
    bool is_unix;
    bool edge;   /* something happened since the last event */
    bool listed; /* its poller knows that */
    struct address local;
    struct address service; /* whom the client has dialled; the same at both ends */
    int poller;             /* -1: not registered */
    uint64_t tag;

    /* Listeners: connections that wait, by arrival. */
    struct sim_arrival *queue; /* SIM_QUEUE_MAX; owned */
    int queued;
    int backlog;

    /* Streams. */
    int other;   /* the peer's handle; -1: closed, or never there */
    int status;  /* of connecting: 0, -EINPROGRESS, or why not */
    int verdict; /* what `status` becomes at `decided` */
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
    int64_t latency; /* of what comes here */
    int64_t bandwidth;
    int64_t busy;      /* until then the link carries what was sent before */
    int64_t last;      /* nothing arrives before this */
    int64_t end_at;    /* the peer's end arrives; INT64_MAX: not sent */
    int64_t reset_at;  /* a reset does */
    bool ended;        /* either has */
    bool shut;         /* we sent ours */
    bool starved;      /* a write was cut short */
    bool blocked;      /* no write is taken for a while */
    bool held;         /* nothing arrives here until the network heals */
    bool unheard;      /* what was sent had not arrived when the peer gave up */
    bool dialling;     /* connects to nowhere, until then */
    bool linger;       /* closes by a reset */
    int64_t dies_at;   /* held: gives up then */
    int64_t patience;  /* with bytes under way, microseconds */
    int64_t keepalive; /* without; INT64_MAX: for ever */
    size_t low_water;
    uint64_t signals; /* those of a queue, as bits */
    uint32_t user;    /* who has connected, at the accepting end of a Unix socket */
};

/** The socket of a handle that is in use. */
struct sim_socket *sim_socket_at(int handle);
/** The same if it still is that use of the handle; else NULL. */
struct sim_socket *sim_socket_of(int64_t handle, int64_t generation);
/** Handles are below this. */
int sim_sockets_end(void);
/** NULL: the handle is free. */
struct sim_socket *sim_socket_any(int handle);
/** A fresh handle, or -errno. */
int sim_socket_make(enum socket_kind kind, const struct address *local);
/** Something happened: its poller shall look. */
void sim_socket_edge(int handle);
/** What an epoll would say now. */
uint32_t sim_socket_state(const struct sim_socket *socket);
/** Bytes that it can still be sent. */
size_t sim_socket_space(const struct sim_socket *socket);
/** Something for it is under way and comes at `at`. */
void sim_socket_expect(int handle, int64_t at);
/** The hour of `size` bytes that are sent to it now. */
int64_t sim_socket_hour(struct sim_socket *to, size_t size);
/** The peer of `handle` will see its end, or a reset. */
void sim_socket_send_end(int handle);
void sim_socket_send_reset(int handle);
/** A reset of both ends, as by something between them. */
void sim_socket_reset_both(int handle);
/** Nothing arrives any more, at both ends; or what was held back comes. */
void sim_socket_hold(int handle);
void sim_socket_release(int handle);
/** What it held on to has become hopeless: it gives up in its time. */
void sim_socket_despair(int handle);
/** Decides anew what becomes of a connect that was not answered. */
void sim_connect_again(int handle);
