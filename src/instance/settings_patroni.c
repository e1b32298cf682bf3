/* settings_patroni.c - settings of a service: Patroni's REST interface. */
#include "instance/settings_rows.h"

const struct setting config_patroni_rows[] = {
    {.name = "port",
     .kind = SETTING_COUNT,
     AT(patroni_config, port),
     RANGE(1, 65535),
     OR_ZERO("off"),
     .preset = "off",
     .reloadable = true,
     .unit = "a port, or `off`",
     .help = "The port of `restapi.listen` in Patroni's configuration, usually 8008, the same at "
             "every server; it is asked at the server's own address. Needs probes (`probe.user`)."},
    {.name = "timeout",
     .kind = SETTING_DURATION,
     AT(patroni_config, timeout),
     RANGE(MS(10), SECONDS(60)),
     .preset = "1s",
     .reloadable = true,
     .help = "Time limit for Patroni's answer. A Patroni that gives none changes nothing; the next "
             "probe of its server waits for this."},
    {.name = "lag_limit",
     .kind = SETTING_BYTES,
     AT(patroni_config, lag_max),
     RANGE(KIB(1), GIB(1024)),
     OR_ZERO("off"),
     .preset = "off",
     .reloadable = true,
     .help = "Patroni is asked with `/replica?lag=`: a standby that is more bytes behind gets no "
             "reads, as one with the tag `noloadbalance`."},
    {.name = "tls",
     .kind = SETTING_GROUP,
     AT(patroni_config, tls),
     .rows = config_patroni_tls_rows,
     .help = "HTTPS to Patroni's REST interface."},
    {.name = NULL},
};
