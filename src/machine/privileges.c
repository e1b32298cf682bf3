#include "machine/privileges.h"

#include "machine/os_process_parts.h"

bool privileges_root(void)
{
    return os->process->user() == 0;
}

void privileges_lock(void)
{
    os->process->lock();
}

fault privileges_become(const char *user)
{
    return os->process->become(user);
}

fault privileges_give(const char *path, const char *user)
{
    return os->process->give(path, user);
}

void privileges_shed(void)
{
    os->process->shed();
}

void privileges_core_dumps(bool wanted)
{
    os->process->core_dumps(wanted);
}

uint64_t privileges_descriptors(void)
{
    return os->process->descriptors();
}

bool privileges_readable(const char *path)
{
    return os->process->readable(path);
}
