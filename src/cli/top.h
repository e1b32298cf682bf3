#pragma once
/*
 * top.h - `trunkline top`: a live screen over the console of a running daemon.
 *
 * The parts: top_ask.c reads the console's views into tables (top_table.c); top_model.c makes a
 * frame of two readings, with rates as differences of counters; top_layout.c draws a frame into a
 * grid of cells; top_screen.c shows the grid on a terminal and reads keys; top_print.c writes one
 * frame as text or JSON.  Only top_screen.c knows the terminal.  Design: docs/internals/top.md
 */

/** Runs the command.  `arguments`: those after its name, followed by NULL.  Returns the exit
 *  status. */
int top_run(char **arguments);
