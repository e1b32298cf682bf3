/* settings_probe.c - settings of a service: probes, which ask its servers what they are. */
#include "instance/settings_rows.h"

const struct setting config_probe_rows[] = {
    {.name = "user",
     .kind = SETTING_TEXT,
     AT(probe_config, user),
     RANGE(1, NAME_BYTES_MAX),
     .reloadable = true,
     .help = "The user that logs in to ask; without one there are no probes. Needs no rights; as a "
             "member of pg_monitor it also sees which timeline a standby receives."},
    {.name = "password",
     .kind = SETTING_SECRET,
     AT(probe_config, password),
     RANGE(1, SECRET_MAX),
     .reloadable = true,
     .help = "The password of this user at the servers; default: the auth file's."},
    {.name = "database",
     .kind = SETTING_TEXT,
     AT(probe_config, database),
     RANGE(1, NAME_BYTES_MAX),
     .preset = "postgres",
     .reloadable = true,
     .help = "The database to log in to."},
    {.name = "interval",
     .kind = SETTING_DURATION,
     AT(probe_config, interval),
     RANGE(MS(10), SECONDS(3600)),
     .preset = "1s",
     .reloadable = true,
     .help = "How often each server is asked. An answer is trusted for three intervals and the "
             "`timeout`."},
    {.name = "timeout",
     .kind = SETTING_DURATION,
     AT(probe_config, timeout),
     RANGE(MS(10), SECONDS(3600)),
     .preset = "1s",
     .reloadable = true,
     .help =
         "Time limit for an answer, with the login if there is no connection yet. A server that "
         "three times in a row gives none is offline until a login or a probe succeeds."},
    {.name = NULL},
};
