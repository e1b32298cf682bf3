#include "machine/process.h"

#include "base/check.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

uint32_t process_user(void)
{
    return geteuid();
}

void process_user_name(uint32_t user, char *text, size_t size)
{
    char room[16384];
    struct passwd entry, *found = NULL;
    text[0] = '\0';
    if (getpwuid_r(user, &entry, room, sizeof(room), &found) == 0 && found != NULL)
        snprintf(text, size, "%s", found->pw_name);
}

bool process_group_number(const char *name, int64_t *ret)
{
    char room[16384];
    struct group entry, *found = NULL;
    if (getgrnam_r(name, &entry, room, sizeof(room), &found) != 0 || found == NULL)
        return false;
    *ret = found->gr_gid;
    return true;
}

uint32_t process_processors(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    /* Fails only where there are more processors than the set can hold. */
    if (sched_getaffinity(0, sizeof(set), &set) != 0)
        return CPU_SETSIZE;
    invariant(CPU_COUNT(&set) > 0);
    return (uint32_t)CPU_COUNT(&set);
}

const char *process_variable(const char *name)
{
    return getenv(name);
}

void process_hide(void *pages, size_t size, bool hidden)
{
    /* Where pages are larger, those are refused that don't begin one: a hint is all it is. */
    (void)madvise(pages, size, hidden ? MADV_DONTDUMP : MADV_DODUMP);
}

fault process_directory(char *path, size_t size)
{
    if (getcwd(path, size) == NULL)
        return fault_raise(FAULT_SYSTEM, "the working directory: %s", strerrordesc_np(errno));
    return OK;
}
