#include "machine/clock.h"
#include "machine/loop.h"

deadline now(void)
{
    if (LIKELY(machine_current != NULL))
        return (deadline){machine_current->now_us};
    return now_exact();
}

deadline now_exact(void)
{
    return (deadline){os->monotonic_us()};
}

instant wall_now(void)
{
    return (instant){os->wall_us()};
}

deadline after(duration wait)
{
    return later(now(), wait);
}
