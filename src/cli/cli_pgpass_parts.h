#pragma once
/*
 * cli_pgpass_parts.h - passwords from the password file of libpq, ~/.pgpass.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a line of the file is compared with. */
struct cli_login {
    const char *host;
    uint16_t port;
    const char *database;
    const char *user;
};

/** Finds the first line for a login in the text of a password file.  False: there is none. */
bool cli_pgpass_find(const char *file, const struct cli_login *login, char *ret, size_t size);
/** The same in the file that PGPASSFILE names, or ~/.pgpass; a file that others than its owner may
 *  access is not used, which `command` reports. */
bool cli_pgpass_read(const char *command, const struct cli_login *login, char *ret, size_t size);
