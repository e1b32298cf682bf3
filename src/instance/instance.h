#pragma once
/*
 * instance.h - the running daemon: from its configuration to its last client.
 */

/** Runs the daemon until it is told to stop.  Returns the exit status. */
int instance_run(const char *path);
