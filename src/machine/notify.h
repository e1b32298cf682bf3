#pragma once
/*
 * notify.h - what the service manager is told about us, and how long it waits for a sign of life.
 *
 * The protocol of systemd's sd_notify(3), without its library: datagrams to the socket that
 * NOTIFY_SOCKET names.  Nothing happens where it names none.  Never waits.  For one thread.
 */
#include "base/compiler.h"
#include "base/time.h"

/** Takes the variables out of the environment, so that no child speaks for us. */
void notify_collect(void);
/** Whether anybody listens. */
bool notify_wanted(void);
/** Sends assignments, one a line: "READY=1\nSTATUS=...". */
void notify_send(const char *format, ...) PRINTF_LIKE(1, 2);
/** Within this time a WATCHDOG=1 is expected, again and again; NO_LIMIT: none is. */
duration notify_watchdog(void);
