/* settings_balance.c - settings of a service: how connections are spread over its servers. */
#include "instance/settings_rows.h"

const struct setting config_balance_rows[] = {
    {.name = "retry_jitter",
     .kind = SETTING_COUNT,
     AT(balance_config, retry_jitter),
     RANGE(0, 100),
     .preset = "25",
     .reloadable = true,
     .unit = "percent",
     .help = "Each wait before a failed server is tried again is shortened at random by up to this "
             "part, so that several poolers do not try in step."},
    {.name = "logins_per_second",
     .kind = SETTING_COUNT,
     AT(balance_config, logins_per_second),
     RANGE(1, 100000),
     OR_ZERO("off"),
     .preset = "off",
     .reloadable = true,
     .help = "Logins that are begun at one server, evenly spaced over each second."},
    {.name = "zone_min",
     .kind = SETTING_COUNT,
     AT(balance_config, zone_min),
     RANGE(1, 1000),
     .preset = "1",
     .reloadable = true,
     .help = "With fewer servers of the own `zone` that accept logins, those of all zones are "
             "used."},
    {.name = "rebalance_interval",
     .kind = SETTING_DURATION,
     AT(balance_config, rebalance_interval),
     RANGE(MS(100), DAYS(1)),
     .preset = "60s",
     .reloadable = true,
     .help = "How often idle connections are moved to servers that have less than their share, and "
             "failed servers are tried. Also done after servers were added or removed. For servers "
             "with a priority, a weight or a zone."},
    {.name = "rebalance_moves",
     .kind = SETTING_COUNT,
     AT(balance_config, moves_max),
     RANGE(1, 1000),
     .preset = "2",
     .reloadable = true,
     .help =
         "Idle connections of one pool that are moved at a time; a twentieth of the pool if that "
         "is more. The next ones follow after a twentieth of `rebalance_interval`."},
    {.name = NULL},
};
