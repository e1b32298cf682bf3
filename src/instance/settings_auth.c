/* settings_auth.c - the rows of the groups about authentication. */
#include "instance/settings_rows.h"

const struct setting config_failures_rows[] = {
    {.name = "limit",
     .kind = SETTING_COUNT,
     AT(config, failures_most),
     RANGE(1, 60000),
     OR_ZERO("off"),
     .preset = "10",
     .reloadable = true,
     .help = "Wrong passwords from one address (of IPv6, one /64) within `window`; what follows "
             "beyond it. Unix sockets don't count."},
    {.name = "window",
     .kind = SETTING_DURATION,
     AT(config, failures_window),
     RANGE(SECONDS(1), DAYS(1)),
     .preset = "1min",
     .reloadable = true,
     .help = "How long they are counted, from the first on."},
    {.name = "delay",
     .kind = SETTING_DURATION,
     AT(config, failures_delay),
     RANGE(MS(1), SECONDS(60)),
     OR_ZERO("off"),
     .preset = "1s",
     .reloadable = true,
     .help = "The answer to each further wrong password comes so much later."},
    {.name = "block",
     .kind = SETTING_DURATION,
     AT(config, failures_block),
     RANGE(SECONDS(1), DAYS(1)),
     OR_ZERO("off"),
     .preset = "off",
     .reloadable = true,
     .help = "Every login from that address is refused (28000) until so long after the first wrong "
             "password; beware of addresses that many share."},
    {.name = NULL},
};
