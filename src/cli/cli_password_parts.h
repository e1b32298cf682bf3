#pragma once
/*
 * cli_password_parts.h - reads a password from the terminal, or from standard input.
 */
#include <stdbool.h>
#include <stddef.h>

#define PASSWORD_MAX 1023 /* as in the auth file */

struct password {
    size_t size;
    char text[PASSWORD_MAX]; /* not terminated */
};

/** Reads one line.  Returns false at the end of the input, for a line that is too long, and for
 *  Ctrl-C. */
bool cli_password_line(struct password *ret);
/** Asks a question without echo.  Keyboard signals are off meanwhile, so that none leaves the
 *  terminal without echo. */
bool cli_password_prompt(const char *question, struct password *ret);
/** Asks on the terminal; if standard input is none, reads its first line.  Terminates the text. */
bool cli_password_ask(const char *question, char *ret, size_t size);
