#pragma once
/*
 * cli_match.h - finds the route and the line of the HBA file that match a client.
 */
#include "config/config.h"

/** Prints the match of a client of this database and user at this address ("local": a Unix socket).
 *  Returns the command's exit status: CLI_FAILED if the client would be refused. */
int cli_match(const struct config *config, const char *database, const char *user,
              const char *address);
