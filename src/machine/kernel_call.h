#pragma once
/*
 * kernel_call.h - system calls without the C library; private to machine/.
 *
 * For the few calls that are made for every query.  The library's functions are cancellation
 * points, which costs two atomic exchanges per call in a process with threads; no thread of ours is
 * ever cancelled.  The library's syscall() moves all arguments and sets errno.  Builds with
 * sanitizers use the library's functions, because sanitizers intercept those; processors without
 * assembly here use syscall().
 *
 * Returns the kernel's result: a negative errno for a failure.
 */
#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)

static inline int64_t kernel_call(long number, const long at[6])
{
    int64_t result;
    register long r10 __asm__("r10") = at[3];
    register long r8 __asm__("r8") = at[4];
    register long r9 __asm__("r9") = at[5];
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(at[0]), "S"(at[1]), "d"(at[2]), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

#elif defined(__aarch64__)

static inline int64_t kernel_call(long number, const long at[6])
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = at[0];
    register long x1 __asm__("x1") = at[1];
    register long x2 __asm__("x2") = at[2];
    register long x3 __asm__("x3") = at[3];
    register long x4 __asm__("x4") = at[4];
    register long x5 __asm__("x5") = at[5];
    __asm__ volatile("svc #0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
}

#else

static inline int64_t kernel_call(long number, const long at[6])
{
    long result = syscall(number, at[0], at[1], at[2], at[3], at[4], at[5]);
    return result < 0 ? -errno : result;
}

#endif
