#include "machine/inherited.h"

#include "base/check.h"
#include "machine/os_process_parts.h"
#include "machine/process.h"
#include "machine/stream.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIRST_HANDLE 3

static struct inherited {
    char name[INHERITED_NAME_MAX + 1];
    struct address at;
    int handle; /* INHERITED_NONE: taken */
    bool dual;  /* an IPv6 socket that accepts IPv4 too */
} inherited[INHERITED_MAX];
static uint32_t inherited_count;

/* The number in a variable; -1 when the variable is not set or not a number. */
static int64_t variable_number(const char *name)
{
    const char *text = os->process->variable(name);
    char *end = NULL;
    if (text == NULL || *text == '\0')
        return -1;
    long long value = strtoll(text, &end, 10);
    return *end == '\0' ? value : -1;
}

static bool is_dual(int handle)
{
    int only = 1;
    socklen_t size = sizeof(only);
    return getsockopt(handle, IPPROTO_IPV6, IPV6_V6ONLY, &only, &size) == 0 && only == 0;
}

static bool handle_prepare(int handle)
{
    int type = 0;
    socklen_t size = sizeof(type);
    if (getsockopt(handle, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM)
        return false;
    int flags = fcntl(handle, F_GETFL);
    return fcntl(handle, F_SETFD, FD_CLOEXEC) == 0 && flags >= 0 &&
           fcntl(handle, F_SETFL, flags | O_NONBLOCK) == 0;
}

/* Takes the next name of a colon-separated list; systemd calls sockets without a name "unknown". */
static void name_next(const char **names, char name[INHERITED_NAME_MAX + 1])
{
    size_t size = strcspn(*names, ":");
    struct span text = size > 0 ? span_of(*names, size) : SPAN("unknown");
    size_t kept = MIN_OF(text.size, (size_t)INHERITED_NAME_MAX);
    memcpy(name, text.at, kept);
    name[kept] = '\0';
    *names += size + ((*names)[size] == ':');
}

uint32_t inherited_collect(void)
{
    int64_t count = variable_number("LISTEN_FDS");
    const char *names = os->process->variable("LISTEN_FDNAMES");
    if (variable_number("LISTEN_PID") != (int64_t)os->process->number() || count <= 0)
        return 0;
    names = names == NULL ? "" : names;
    for (int i = 0; i < (int)MIN_OF(count, (int64_t)INHERITED_MAX); i++) {
        struct inherited *one = &inherited[inherited_count];
        name_next(&names, one->name);
        one->handle = FIRST_HANDLE + i;
        if (!handle_prepare(one->handle) || os->local_address(one->handle, &one->at) != 0)
            continue;
        one->dual = one->at.family == ADDRESS_IPV6 && is_dual(one->handle);
        inherited_count += 1;
    }
    os->process->variable_drop("LISTEN_PID");
    os->process->variable_drop("LISTEN_FDS");
    os->process->variable_drop("LISTEN_FDNAMES");
    return inherited_count;
}

static bool is_any(const struct address *at)
{
    static const uint8_t zeros[sizeof(at->bytes)];
    return memcmp(at->bytes, zeros, sizeof(zeros)) == 0;
}

int inherited_take(const struct address *at)
{
    for (uint32_t i = 0; i < inherited_count; i++) {
        struct inherited *one = &inherited[i];
        if (one->dual && at->family == ADDRESS_IPV4 && one->at.port == at->port && is_any(at) &&
            is_any(&one->at))
            return INHERITED_COVERED;
        if (one->handle == INHERITED_NONE || !address_equal(&one->at, at))
            continue;
        int handle = one->handle;
        one->handle = INHERITED_NONE;
        return handle;
    }
    return INHERITED_NONE;
}

int inherited_take_named(const char *name, struct address *ret)
{
    for (uint32_t i = 0; i < inherited_count; i++) {
        struct inherited *one = &inherited[i];
        if (one->handle == INHERITED_NONE || strcmp(one->name, name) != 0)
            continue;
        int handle = one->handle;
        one->handle = INHERITED_NONE;
        *ret = one->at;
        return handle;
    }
    return INHERITED_NONE;
}

bool inherited_drop(char name[INHERITED_NAME_MAX + 1], struct address *ret)
{
    for (uint32_t i = 0; i < inherited_count; i++) {
        struct inherited *one = &inherited[i];
        if (one->handle == INHERITED_NONE)
            continue;
        memcpy(name, one->name, sizeof(one->name));
        *ret = one->at;
        os->close(one->handle);
        one->handle = INHERITED_NONE;
        return true;
    }
    return false;
}
