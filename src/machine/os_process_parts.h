#pragma once
/*
 * os_process_parts.h - the part of the os table about this process: identity, environment,
 * privileges.
 *
 * One table for Linux and one for the simulation, used through os->process by process.c,
 * privileges.c, notify.c and inherited.c, whose headers document the functions.  Private to
 * machine/.
 */
#include "machine/os.h"

struct os_process {
    uint32_t (*number)(void);
    uint32_t (*user)(void);
    void (*user_name)(uint32_t user, char *text, size_t size);
    bool (*group_number)(const char *name, int64_t *ret);
    uint32_t (*processors)(void);
    void (*host_name)(char *text, size_t size);
    /* The value of an environment variable; NULL: not set. */
    const char *(*variable)(const char *name);
    void (*variable_drop)(const char *name);
    int (*directory)(char *path, size_t size);
    void (*hide)(void *pages, size_t size, bool hidden);
    /* Sends to the service manager's datagram socket, if it exists; "@" begins an abstract name. */
    void (*notify)(const char *path, const char *text, size_t size);
    /* Ends the process at once. */
    NORETURN void (*leave)(int status);

    void (*lock)(void);
    fault (*become)(const char *user);
    fault (*give)(const char *path, const char *user);
    void (*shed)(void);
    void (*core_dumps)(bool wanted);
    uint64_t (*descriptors)(void);
    bool (*readable)(const char *path);
};
