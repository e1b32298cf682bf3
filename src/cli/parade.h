#pragma once
/*
 * parade.h - `trunkline parade`: installs, uses and looks after a parade, the key-value store.
 *
 * Design: docs/internals/parade-cli.md
 */

/** Runs a command of `trunkline parade`.  Returns an exit status. */
int cli_parade_run(char **arguments);
/** The commands, for the help of `trunkline parade`. */
const char *cli_parade_help(void);
