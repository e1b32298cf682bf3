#pragma once
/*
 * cli.h - the command line: subcommands as rows, each a thin shell around a call of a lower floor.
 *
 * Exit statuses: 0 done, 1 it failed, 2 the command line was wrong.
 */

enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

/** The program: what main() returns. */
int cli_main(int argc, char **argv);

/* The commands; `arguments` are those behind the command's name, as many as its row says: with its
 * option, that and its words come last.  NULL is behind the last. */
int cli_run(char **arguments);
int cli_check(char **arguments);
int cli_secret(char **arguments);
int cli_import(char **arguments);
int cli_docs(char **arguments);
