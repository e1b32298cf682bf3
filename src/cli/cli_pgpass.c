#include "cli/cli_pgpass_parts.h"

#include "base/compiler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FIELD_SIZE 512
#define FILE_SIZE  65536

/* Takes a field of a password file, which ends at a colon; a backslash takes away the meaning of
 * the next character. */
static void field_take(const char **at, char *ret, size_t size)
{
    size_t used = 0;
    while (**at != '\0' && **at != '\n' && **at != ':') {
        if (**at == '\\' && (*at)[1] != '\0' && (*at)[1] != '\n')
            *at += 1;
        if (used + 1 < size)
            ret[used++] = **at;
        *at += 1;
    }
    ret[used] = '\0';
    *at += **at == ':';
}

bool cli_pgpass_find(const char *file, const struct cli_login *login, char *ret, size_t size)
{
    char port[8], fields[4][FIELD_SIZE];
    snprintf(port, sizeof(port), "%u", login->port);
    const char *wanted[] = {login->host, port, login->database, login->user};
    while (*file != '\0') {
        const char *at = file;
        bool same = *file != '#';
        for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
            field_take(&at, fields[i], sizeof(fields[i]));
            bool local = i == 0 && login->host[0] == '/' && strcmp(fields[i], "localhost") == 0;
            same =
                same && (local || strcmp(fields[i], "*") == 0 || strcmp(fields[i], wanted[i]) == 0);
        }
        field_take(&at, ret, size);
        if (same)
            return true;
        file += strcspn(file, "\n");
        file += *file == '\n';
    }
    explicit_bzero(ret, size);
    return false;
}

bool cli_pgpass_read(const char *command, const struct cli_login *login, char *ret, size_t size)
{
    char path[FIELD_SIZE], text[FILE_SIZE];
    const char *named = getenv("PGPASSFILE"), *home = getenv("HOME");
    struct stat about;
    bool found = false;
    snprintf(path, sizeof(path), "%s%s",
             named != NULL  ? named
             : home != NULL ? home
                            : "",
             named != NULL ? "" : "/.pgpass");
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    if (fstat(fileno(file), &about) != 0 || (about.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        fprintf(stderr, "trunkline %s: %s is not used: others than its owner have access\n",
                command, path);
    } else {
        text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
        found = cli_pgpass_find(text, login, ret, size);
        explicit_bzero(text, sizeof(text));
    }
    (void)fclose(file);
    return found;
}
