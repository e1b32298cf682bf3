#include "machine/log_repeat_parts.h"

#include "base/check.h"

#include <pthread.h>

static struct {
    pthread_mutex_t lock;
    int64_t period; /* atomic */
    struct log_repeat kinds[LOG_REPEATS_MAX];
} repeats = {.lock = PTHREAD_MUTEX_INITIALIZER};

void log_repeat_period(int64_t period_us)
{
    __atomic_store_n(&repeats.period, period_us, __ATOMIC_RELAXED);
}

static int64_t repeat_period(void)
{
    return __atomic_load_n(&repeats.period, __ATOMIC_RELAXED);
}

bool log_repeat_on(void)
{
    return repeat_period() > 0;
}

static bool is_over(const struct log_repeat *kind, int64_t now_us)
{
    return kind->since != 0 && now_us - kind->since >= repeat_period();
}

/* The entry for a line: that of an equal line, else a free one, else the oldest. */
static struct log_repeat *repeat_place(uint64_t likeness)
{
    struct log_repeat *place = &repeats.kinds[0];
    for (size_t i = 0; i < LOG_REPEATS_MAX; i++) {
        struct log_repeat *kind = &repeats.kinds[i];
        if (kind->since != 0 && kind->likeness == likeness)
            return kind;
        if (kind->since < place->since)
            place = kind;
    }
    return place;
}

bool log_repeat_admit(const struct log_repeat *said, int64_t now_us, struct log_repeat *ret_over)
{
    pthread_mutex_lock(&repeats.lock);
    struct log_repeat *place = repeat_place(said->likeness);
    bool known = place->since != 0 && place->likeness == said->likeness;
    bool again = known && !is_over(place, now_us);
    ret_over->count = 0;
    if (again) {
        place->count += 1;
    } else {
        if (place->since != 0)
            *ret_over = *place;
        *place = *said;
        place->count = 0;
        place->since = MAX_OF(now_us, (int64_t)1);
    }
    pthread_mutex_unlock(&repeats.lock);
    return !again;
}

bool log_repeat_take(int64_t now_us, bool all, struct log_repeat *ret)
{
    bool found = false;
    pthread_mutex_lock(&repeats.lock);
    for (size_t i = 0; i < LOG_REPEATS_MAX && !found; i++) {
        struct log_repeat *kind = &repeats.kinds[i];
        if (kind->since == 0 || (!all && !is_over(kind, now_us)))
            continue;
        found = kind->count > 0;
        if (found)
            *ret = *kind;
        kind->since = 0;
    }
    pthread_mutex_unlock(&repeats.lock);
    return found;
}
