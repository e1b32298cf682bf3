#pragma once
/*
 * lock.h - a lock for the few tables that all threads change.
 *
 * For steps of a list or a map, a fraction of a microsecond long.  While a lock is held, nothing
 * may suspend or write to the log, and the simulation does not switch threads.
 */
#include <pthread.h>

struct lock {
    pthread_mutex_t mutex;
};

void lock_init(struct lock *lock);
void lock_fini(struct lock *lock);
void lock_take(struct lock *lock);
void lock_release(struct lock *lock);
