#pragma once
/*
 * os_linux_log.h - the log sinks of os_linux: bounded queues, each with a writer thread; private to
 * machine/.
 *
 * Each target has a sink of its own, so that a target that blocks does not delay the others.
 * Before the first os_linux_log_turn of a sink and after os_linux_log_stop, callers write their
 * lines themselves.  The first OS_LOG_STREAMS sinks take lines that end with a newline and write
 * them to files; the others take records that end with a NUL and send each as a datagram.
 */
#include "machine/os.h"

/* Size of a queue; as many more bytes may be in the writer's hands. */
#define OS_LINUX_LOG_BYTES (256 * 1024)

/** Opens a file to append to it (NULL: stderr).  Returns its descriptor, or -errno. */
int os_linux_log_open(const char *path);
void os_linux_log_close(int file);
/** Redirects a sink to a target and takes ownership of its file; starts the sink's writer when it
 *  has none.  Queued lines still go to the previous target.  Returns 0 or -errno; a failure changes
 *  no target. */
int os_linux_log_turn(int sink, const struct os_log_target *target, os_log_report *report);
/** Writes all queued lines and ends the writers.  Gives up on a target that blocks for a second. */
void os_linux_log_wake(void);
void os_linux_log_stop(void);
