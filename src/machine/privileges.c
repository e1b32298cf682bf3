#include "machine/privileges.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CAPABILITIES_MOST 64

struct account {
    uid_t user;
    gid_t group;
};

bool privileges_root(void)
{
    return geteuid() == 0;
}

void privileges_lock(void)
{
    /* Fails only on kernels that have no such thing. */
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

void privileges_shed(void)
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

fault privileges_become(const char *user)
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
    for (unsigned long i = 0; i < CAPABILITIES_MOST; i++)
        (void)prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
    /* The C library carries these to every thread. */
    if (initgroups(user, account.group) != 0)
        return become_failed(user, "initgroups");
    if (setresgid(account.group, account.group, account.group) != 0)
        return become_failed(user, "setresgid");
    if (setresuid(account.user, account.user, account.user) != 0)
        return become_failed(user, "setresuid");
    if (account.user != 0 && setuid(0) == 0)
        return fault_raise(FAULT_SYSTEM, "user: \"%s\" could become root again", user);
    privileges_shed();
    return OK;
}

fault privileges_give(const char *path, const char *user)
{
    struct account account = {0};
    TRY(account_find(user, &account));
    if (geteuid() == 0 && lchown(path, account.user, account.group) != 0 && errno != ENOENT)
        return fault_raise(FAULT_SYSTEM, "cannot give %s to \"%s\": %s", path, user,
                           strerrordesc_np(errno));
    return OK;
}

void privileges_core_dumps(bool wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_CORE, &limit) == 0) {
        limit.rlim_cur = wanted ? limit.rlim_max : 0;
        (void)setrlimit(RLIMIT_CORE, &limit);
    }
/* The leak detector of AddressSanitizer is a debugger. */
#if defined(__SANITIZE_ADDRESS__)
    wanted = true;
#endif
    (void)prctl(PR_SET_DUMPABLE, wanted ? 1 : 0, 0, 0, 0);
}

uint64_t privileges_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return UINT64_MAX;
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : before;
}

bool privileges_readable(const char *path)
{
    return access(path, R_OK) == 0;
}
