#pragma once
/*
 * log.h - events: a stable dotted name and typed pairs, one line each, never waiting.
 *
 * Lines go into a bounded queue that a writer thread empties; what does not fit is counted and
 * reported.  base, machine and wire never log.  Levels are syslog's (LOG_ERR, LOG_NOTICE, ...).
 */
#include "base/compiler.h"

#include <syslog.h>

enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/** From now on: the least urgent level to write (LOG_DEBUG writes all), how, and to which file
 *  (NULL: stderr).  Returns 0 or -errno of the file. */
int log_configure(int level, enum log_format format, const char *path);
/** Flushes and ends the writer; later lines are written at once. */
void log_finish(void);
bool log_wants(int level);

/** log_event(LOG_NOTICE, "server.closed", "server=%s reason=\"%s\"", ...): `format` is a list of
 *  key=value pairs, values with blanks in double quotes. */
void log_event(int level, const char *name, const char *format, ...) PRINTF_LIKE(3, 4);
