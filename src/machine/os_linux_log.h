#pragma once
/*
 * os_linux_log.h - the log sink of os_linux: a bounded queue and the thread that writes it.
 *
 * Until it is started, and after it was stopped, each line is written at once by its caller.
 */
#include "base/compiler.h"

/* Bytes that wait for the writer; as many more are being written. */
#define OS_LINUX_LOG_BYTES (256 * 1024)

/* Makes the line that reports `count` lost ones; returns its size, at most `most`. */
typedef size_t os_linux_log_report(char *line, size_t most, uint64_t count);

/** Starts the writer towards `path` (appended to; NULL: stderr), or turns the one that runs to it.
 *  0 or -errno; a failure changes nothing. */
int os_linux_log_start(const char *path, os_linux_log_report *report);
/** Writes what waits and ends the writer.  A target that takes nothing for a second is given up. */
void os_linux_log_stop(void);
