/* os_linux_process.c - the process on Linux: its users, variables, memory, working directory. */
#include "machine/os_linux_parts.h"

#include "base/check.h"
#include "machine/os_process_parts.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

/* struct os_process for Linux. */
#define CAPABILITIES_MAX 64

struct account {
    uid_t user;
    gid_t group;
};

static uint32_t linux_user(void)
{
    return geteuid();
}

static void linux_user_name(uint32_t user, char *text, size_t size)
{
    char room[16384];
    struct passwd entry, *found = NULL;
    text[0] = '\0';
    if (getpwuid_r(user, &entry, room, sizeof(room), &found) == 0 && found != NULL)
        snprintf(text, size, "%s", found->pw_name);
}

static bool linux_group_number(const char *name, int64_t *ret)
{
    char room[16384];
    struct group entry, *found = NULL;
    if (getgrnam_r(name, &entry, room, sizeof(room), &found) != 0 || found == NULL)
        return false;
    *ret = found->gr_gid;
    return true;
}

static uint32_t linux_processors(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    /* Fails only on systems with more processors than the set can represent. */
    if (sched_getaffinity(0, sizeof(set), &set) != 0)
        return CPU_SETSIZE;
    invariant(CPU_COUNT(&set) > 0);
    return (uint32_t)CPU_COUNT(&set);
}

static const char *linux_variable(const char *name)
{
    return getenv(name);
}

static void linux_hide(void *pages, size_t size, bool hidden)
{
    /* With pages larger than PROCESS_PAGE the call may fail; the pages are then dumped. */
    (void)madvise(pages, size, hidden ? MADV_DONTDUMP : MADV_DODUMP);
}

static int linux_directory(char *path, size_t size)
{
    return getcwd(path, size) == NULL ? -errno : 0;
}

static uint32_t linux_number(void)
{
    return (uint32_t)getpid();
}

static void linux_host_name(char *text, size_t size)
{
    if (gethostname(text, size) != 0)
        snprintf(text, size, "-");
    text[size - 1] = '\0';
}

static void linux_variable_drop(const char *name)
{
    unsetenv(name);
}

static NORETURN void linux_leave(int status)
{
    _Exit(status);
}

static void linux_notify(const char *path, const char *text, size_t size)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    if (length < 2 || length >= sizeof(to.sun_path) || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(to.sun_path, path, length);
    /* An abstract name begins with a NUL and ends with its length. */
    bool abstract = path[0] == '@';
    if (abstract)
        to.sun_path[0] = '\0';
    length += offsetof(struct sockaddr_un, sun_path) + (abstract ? 0 : 1);
    int handle = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (handle < 0)
        return;
    /* Ignores failures: no listener, or a full queue; the next notification may get through. */
    ssize_t sent =
        sendto(handle, text, size, MSG_NOSIGNAL, (const struct sockaddr *)&to, (socklen_t)length);
    (void)sent;
    close(handle);
}

/* --- privileges ------------------------------------------------------------------------------- */

static void linux_lock(void)
{
    /* Fails only on kernels before 3.5. */
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static fault account_find(const char *name, struct account *ret)
{
    char text[16384];
    struct passwd entry, *found = NULL;
    int status = getpwnam_r(name, &entry, text, sizeof(text), &found);
    if (found == NULL)
        return fault_raise(FAULT_SYSTEM, "user: there is no user \"%s\"%s%s", name,
                           status == 0 ? "" : ": ", status == 0 ? "" : strerrordesc_np(status));
    *ret = (struct account){.user = entry.pw_uid, .group = entry.pw_gid};
    return OK;
}

void os_linux_shed(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {0};
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    (void)syscall(SYS_capset, &header, none);
}

static fault become_failed(const char *user, const char *step)
{
    return fault_raise(FAULT_SYSTEM, "user: cannot become \"%s\": %s: %s", user, step,
                       strerrordesc_np(errno));
}

static fault linux_become(const char *user)
{
    struct account account = {0};
    TRY(account_find(user, &account));
    if (geteuid() != 0) {
        if (geteuid() == account.user)
            return OK;
        return fault_raise(FAULT_SYSTEM,
                           "user: cannot become \"%s\": only root can, and this is user %u", user,
                           (unsigned)geteuid());
    }
    for (unsigned long i = 0; i < CAPABILITIES_MAX; i++)
        (void)prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
    /* The C library applies these to every thread. */
    if (initgroups(user, account.group) != 0)
        return become_failed(user, "initgroups");
    if (setresgid(account.group, account.group, account.group) != 0)
        return become_failed(user, "setresgid");
    if (setresuid(account.user, account.user, account.user) != 0)
        return become_failed(user, "setresuid");
    if (account.user != 0 && setuid(0) == 0)
        return fault_raise(FAULT_SYSTEM, "user: \"%s\" could become root again", user);
    os_linux_shed();
    return OK;
}

static fault linux_give(const char *path, const char *user)
{
    struct account account = {0};
    TRY(account_find(user, &account));
    if (geteuid() == 0 && lchown(path, account.user, account.group) != 0 && errno != ENOENT)
        return fault_raise(FAULT_SYSTEM, "cannot give %s to \"%s\": %s", path, user,
                           strerrordesc_np(errno));
    return OK;
}

static void linux_core_dumps(bool wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_CORE, &limit) == 0) {
        limit.rlim_cur = wanted ? limit.rlim_max : 0;
        (void)setrlimit(RLIMIT_CORE, &limit);
    }
/* The leak detector of AddressSanitizer attaches like a debugger. */
#if defined(__SANITIZE_ADDRESS__)
    wanted = true;
#endif
    (void)prctl(PR_SET_DUMPABLE, wanted ? 1 : 0, 0, 0, 0);
}

static uint64_t linux_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return UINT64_MAX;
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : before;
}

static bool linux_readable(const char *path)
{
    return access(path, R_OK) == 0;
}

const struct os_process os_linux_process = {
    .number = linux_number,
    .user = linux_user,
    .user_name = linux_user_name,
    .group_number = linux_group_number,
    .processors = linux_processors,
    .host_name = linux_host_name,
    .variable = linux_variable,
    .variable_drop = linux_variable_drop,
    .directory = linux_directory,
    .hide = linux_hide,
    .notify = linux_notify,
    .leave = linux_leave,
    .lock = linux_lock,
    .become = linux_become,
    .give = linux_give,
    .shed = os_linux_shed,
    .core_dumps = linux_core_dumps,
    .descriptors = linux_descriptors,
    .readable = linux_readable,
};
