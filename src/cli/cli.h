#pragma once
/*
 * cli.h - the command line: subcommands as rows of a table, each a thin wrapper around a call of a
 * lower layer.
 *
 * Exit statuses: 0 success, 1 failure, 2 wrong usage.
 */

enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

/** Runs the program.  Returns main()'s exit status. */
int cli_main(int argc, char **argv);

/* The commands.  `arguments` are those after the command's name, as many as its row says, followed
 * by NULL.  An option and its words come last. */
int cli_run(char **arguments);
int cli_check(char **arguments);
int cli_secret(char **arguments);
int cli_docs(char **arguments);
