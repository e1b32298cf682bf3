#include "machine/clock.h"
#include "machine/loop_parts.h"

moment now(void)
{
    if (LIKELY(machine_current != NULL))
        return (moment){machine_current->now_us};
    return now_exact();
}

moment now_exact(void)
{
    return (moment){os->monotonic_us()};
}

instant wall_now(void)
{
    return (instant){os->wall_us()};
}

deadline after(duration wait)
{
    return later(now(), wait);
}
