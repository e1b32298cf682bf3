#include "instance/watch_parts.h"

#include "machine/clock.h"
#include "machine/co.h"
#include "machine/notify.h"

#include <stdio.h>
#include <string.h>

#define STATUS_PERIOD sec(10)

static void look_at_nothing(struct relay *relay, void *argument)
{
}

static void watch_tell(struct watch *watch)
{
    char status[sizeof(watch->status)];
    uint32_t clients = pooler_clients(watch->pooler);
    snprintf(status, sizeof(status), "Ready: %u client%s", clients, clients == 1 ? "" : "s");
    if (watch->stopping || strcmp(status, watch->status) == 0)
        return;
    memcpy(watch->status, status, sizeof(status));
    notify_send("STATUS=%s", status);
}

bool watch_end_looks(struct watch *watch, deadline by)
{
    watch->stopping = true;
    while (watch->looking && now().us < by.us)
        if (co_sleep(ms(1)) != OK)
            break;
    return !watch->looking;
}

void watch_main(void *argument)
{
    struct watch *watch = argument;
    duration watchdog = notify_watchdog();
    duration period = STATUS_PERIOD;
    /* Half of the watchdog's interval, as systemd's documentation recommends. */
    if (watchdog.us / 2 < period.us)
        period.us = MAX_OF(watchdog.us / 2, INT64_C(1));
    invariant(period.us > 0 && !watch->looking);
    while (notify_wanted() && co_sleep(period) == OK) {
        invariant(!watch->looking); /* the previous look has returned */
        watch->looking = !watch->stopping;
        if (watch->looking)
            pooler_look(watch->pooler, look_at_nothing, NULL);
        watch->looking = false;
        if (watchdog.us != NO_LIMIT.us)
            notify_send("WATCHDOG=1");
        watch_tell(watch);
    }
}
