#pragma once
/*
 * cli_match.h - which route, and which line of the HBA file, a client would meet.
 */
#include "config/config.h"

/** Prints it for a client of this database and user at this address ("local": a Unix socket).
 *  Returns the command's exit status: CLI_FAILED when it would not be let in. */
int cli_match(const struct config *config, const char *database, const char *user,
              const char *address);
