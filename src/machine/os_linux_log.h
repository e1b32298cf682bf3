#pragma once
/*
 * os_linux_log.h - the log sinks of os_linux: bounded queues, each with the thread that writes it.
 *
 * One sink per target, so that one that takes nothing holds up no other.  Until a sink is turned
 * to its first target, and after the end, each line is written at once by its caller.  The first
 * OS_LOG_STREAMS sinks take lines that end by a newline, towards files; the others records
 * that end by a NUL, which go to a socket as a datagram each.
 */
#include "machine/os.h"

/* Bytes that wait for a writer; as many more are being written. */
#define OS_LINUX_LOG_BYTES (256 * 1024)

/** Opens a file to append to it (NULL: stderr).  Its descriptor, or -errno. */
int os_linux_log_open(const char *path);
void os_linux_log_close(int file);
/** Turns a sink to a target, whose file is its own from now on; starts its writer when there is
 *  none.  Lines that wait go to the target before.  0 or -errno; a failure changes nothing. */
int os_linux_log_turn(int sink, const struct os_log_target *target, os_log_report *report);
/** Writes what waits and ends the writers.  A target that takes nothing for a second is given up.
 */
void os_linux_log_stop(void);
