#include "machine/lock.h"

#include "base/check.h"
#include "machine/loop_parts.h"

/* None of these calls fails on an initialized mutex that this thread does not hold. */

void lock_init(struct lock *lock)
{
    int status = pthread_mutex_init(&lock->mutex, NULL);
    invariant(status == 0);
}

void lock_fini(struct lock *lock)
{
    int status = pthread_mutex_destroy(&lock->mutex);
    invariant(status == 0);
}

void lock_take(struct lock *lock)
{
    int status = pthread_mutex_lock(&lock->mutex);
    invariant(status == 0);
    if (UNLIKELY(machine_meeting != NULL))
        machine_locked += 1;
}

void lock_release(struct lock *lock)
{
    if (UNLIKELY(machine_meeting != NULL))
        machine_locked -= 1;
    int status = pthread_mutex_unlock(&lock->mutex);
    invariant(status == 0);
}
