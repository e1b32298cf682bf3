#pragma once
/*
 * inherited.h - listening sockets that the service manager made and passed on (socket activation).
 *
 * The protocol of systemd's sd_listen_fds(3), without its library: LISTEN_PID, LISTEN_FDS and
 * LISTEN_FDNAMES say which descriptors from 3 on are ours.  Given to the process when it starts,
 * handles of a system; in the simulated world there are none.  One thread.
 */
#include "machine/os.h"

#define INHERITED_MAX      64
#define INHERITED_NAME_MAX 255

enum {
    INHERITED_NONE = -1,   /* no such socket was passed, or it is taken */
    INHERITED_COVERED = -2 /* a socket of both families takes connections to this address */
};

/** Takes over what was passed and removes the variables, so that nobody takes it twice.  Returns
 *  how many; before any other thread starts. */
uint32_t inherited_collect(void);
/** The handle of the socket that is bound to this address, or one of the two values above. */
int inherited_take(const struct address *at);
/** The handle of one more socket of this name with its address, or INHERITED_NONE. */
int inherited_take_named(const char *name, struct address *ret);
/** Closes one that nobody wanted, and tells its name and address; false when none is left. */
bool inherited_drop(char name[INHERITED_NAME_MAX + 1], struct address *ret);
