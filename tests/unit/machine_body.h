#pragma once
/*
 * machine_body.h - BODY(a_sentence) { ... }: a test whose body is the first coroutine of a machine,
 * which runs on the test's thread and ends with the body.
 */
#include "machine/machine.h"
#include "unit.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define BODY(name)                                                                                 \
    static void name##_body(void *argument);                                                       \
    TEST(name)                                                                                     \
    {                                                                                              \
        ck_assert_int_eq(machine_run("test", name##_body, NULL), OK);                              \
    }                                                                                              \
    END_TEST                                                                                       \
    static void name##_body(void *argument UNUSED)

/* Runs a machine with this body in a child process, which leaves no core file and says nothing.
 * Returns the status of waitpid: exit status 0 if the machine ended well. */
UNUSED static int child_status(void (*body)(void *argument))
{
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        struct rlimit none = {0};
        setrlimit(RLIMIT_CORE, &none);
        dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
        _exit(machine_run("child", body, NULL) == OK ? 0 : 3);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return status;
}
