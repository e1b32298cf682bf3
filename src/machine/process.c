#include "machine/process.h"

#include "machine/os_process_parts.h"

#include <openssl/crypto.h>

uint32_t process_user(void)
{
    return os->process->user();
}

void process_user_name(uint32_t user, char *text, size_t size)
{
    os->process->user_name(user, text, size);
}

bool process_group_number(const char *name, int64_t *ret)
{
    return os->process->group_number(name, ret);
}

uint32_t process_processors(void)
{
    return os->process->processors();
}

const char *process_variable(const char *name)
{
    return os->process->variable(name);
}

void process_hide(void *pages, size_t size, bool hidden)
{
    os->process->hide(pages, size, hidden);
}

fault process_directory(char *path, size_t size)
{
    int status = os->process->directory(path, size);
    if (status < 0)
        return fault_raise(FAULT_SYSTEM, "the working directory: %s", strerrordesc_np(-status));
    return OK;
}

void process_leave(int status)
{
    os->process->leave(status);
}

void process_keep_openssl(void)
{
    (void)!OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
}
