#pragma once
/*
 * acceptor.h - accepts the connections of a listener that several machines share.
 *
 * Each machine has an acceptor with its own handle of the listening socket, so it registers and
 * closes it without the others.  The poller tells one of the machines that wait about each
 * connection (EPOLLEXCLUSIVE), and goes on telling while connections wait (level-triggered).  An
 * acceptor with little else to do therefore accepts one connection at a time: other machines get
 * their part of a burst.  In a round of many events it accepts more.
 *
 * Everything runs on the event loop's stack and never suspends.
 */
#include "machine/stream.h"

struct acceptor {
    struct stream stream; /* only its registration is used */
    struct waker waker;
    struct timer rest; /* armed while it does not accept for want of descriptors or memory */
    struct waker rested;
    struct address address;
    /** Takes ownership of an accepted handle, which is not registered. */
    void (*take)(struct acceptor *acceptor, int handle, const struct address *peer);
};

/** Gives a handle of the listener to the next acceptor_open, on any machine.  Faults: SYSTEM. */
fault listener_give(const struct listener *listener) MUST_USE;
/** Closes handles that were given and that no acceptor has taken. */
void listener_take_back(void);
/** Accepts from `listener`, whose handle was given, on the running machine.  Faults: SYSTEM. */
fault acceptor_open(struct acceptor *acceptor, const struct listener *listener,
                    void (*take)(struct acceptor *acceptor, int handle,
                                 const struct address *peer)) MUST_USE;
/** Accepts nothing until acceptor_resume. */
void acceptor_pause(struct acceptor *acceptor);
/** Accepts again.  Where the kernel has no memory for that, it is logged, and tried again every
 *  LISTENER_REST. */
void acceptor_resume(struct acceptor *acceptor);
/** Closes the handle.  The other machines and the listener go on.  Idempotent. */
void acceptor_close(struct acceptor *acceptor);
