#pragma once
/*
 * inherited.h - listening sockets that the service manager passed to this process (socket
 * activation).
 *
 * Implements the protocol of systemd's sd_listen_fds(3) without its library: LISTEN_PID, LISTEN_FDS
 * and LISTEN_FDNAMES describe the descriptors from 3 on.  The simulation has none.  For one thread.
 */
#include "machine/os.h"

#define INHERITED_MAX      64
#define INHERITED_NAME_MAX 255

enum {
    INHERITED_NONE = -1,   /* no such socket was passed, or it was taken before */
    INHERITED_COVERED = -2 /* a dual-stack IPv6 socket accepts connections to this address */
};

/** Records the passed sockets and removes the variables, so that no child process takes them too.
 *  Returns their count.  Before any other thread starts. */
uint32_t inherited_collect(void);
/** Takes the socket that is bound to this address: its handle, or one of the two values above. */
int inherited_take(const struct address *at);
/** Takes the next socket with this name: its handle and address, or INHERITED_NONE. */
int inherited_take_named(const char *name, struct address *ret);
/** Closes a socket that was not taken and returns its name and address; false when none is left. */
bool inherited_drop(char name[INHERITED_NAME_MAX + 1], struct address *ret);
