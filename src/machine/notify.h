#pragma once
/*
 * notify.h - status notifications to the service manager, and its watchdog interval.
 *
 * Implements the protocol of systemd's sd_notify(3) without its library: datagrams to the socket
 * that NOTIFY_SOCKET names.  Does nothing if the variable is not set.  Never waits.  For one
 * thread.
 */
#include "base/compiler.h"
#include "base/time.h"

/** Reads the variables and removes them from the environment, so that no child process sends
 *  notifications for this one. */
void notify_collect(void);
/** Whether the service manager gave a socket. */
bool notify_wanted(void);
/** Sends assignments, one per line: "READY=1\nSTATUS=...". */
void notify_send(const char *format, ...) PRINTF_LIKE(1, 2);
/** The interval in which the service manager expects WATCHDOG=1; NO_LIMIT: no watchdog. */
duration notify_watchdog(void);
