#include "instance/budget.h"

#include "machine/log.h"
#include "machine/privileges.h"

#include <inttypes.h>

/* Descriptors for standard input and output, log, name look-ups, files that are read, signals. */
#define SPARE 64
/* Connections beyond the maximum of clients: logins, consoles, cancel requests. */
#define GUESTS_MIN UINT64_C(8)
/* Descriptors of one machine (a relay or the pooler): its epoll set and what wakes it. */
#define MACHINE_HANDLES 4

/* Backends that are reckoned with where name servers say how many there are. */
#define BACKENDS_BY_NAME 4

static uint64_t budget_servers(const struct config *config)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < config->service_count; i++) {
        const struct service_config *service = &config->services[i];
        uint64_t backends =
            service->resolver == RESOLVER_FIXED ? service->host_count : BACKENDS_BY_NAME;
        sum += backends * service->connections_max;
    }
    return sum;
}

static fault budget_none(uint64_t limit, uint64_t cancels, uint64_t spare, uint64_t needed)
{
    return fault_raise(FAULT_LIMIT,
                       "%" PRIu64 " descriptors are too few: %" PRIu64 " cancel requests and "
                       "%" PRIu64 " others leave none for clients and servers; raise the hard "
                       "limit (LimitNOFILE=, ulimit -Hn) to %" PRIu64,
                       limit, cancels, spare, needed);
}

static uint32_t as_count(uint64_t many)
{
    return (uint32_t)MIN_OF(many, (uint64_t)UINT32_MAX);
}

fault budget_make(const struct config *config, struct pooler_budget *ret)
{
    uint64_t limit = privileges_descriptors();
    uint64_t servers = budget_servers(config);
    uint64_t cancels = (uint64_t)config->cancels_max * config->relays;
    uint64_t spare =
        SPARE + 16 * config->listen_count + MACHINE_HANDLES * ((uint64_t)config->relays + 1);
    uint64_t needed = config->client_max + servers + cancels + spare;
    if (limit < spare + cancels + 2)
        return budget_none(limit, cancels, spare, needed);
    uint64_t left = limit - spare - cancels;
    uint64_t reserved = needed <= limit ? servers : MIN_OF(servers, left / 2);
    invariant(reserved <= left);
    uint64_t rest = left - reserved;
    *ret = (struct pooler_budget){.clients = config->client_max, .connections = as_count(rest)};
    if (needed <= limit)
        return OK;
    /* A client beyond the limit is still accepted, so that it can be told the error. */
    ret->clients = as_count(MIN_OF(config->client_max, rest - MIN_OF(GUESTS_MIN, (rest + 2) / 4)));
    ret->servers = as_count(reserved);
    invariant((uint64_t)ret->clients + ret->servers <= left);
    log_event(LOG_WARNING, "descriptors.few", log_number("limit", limit),
              log_number("needed", needed), log_number("clients", config->client_max),
              log_number("servers", servers), log_number("cancels", cancels),
              log_number("spare", spare), log_number("clients_allowed", ret->clients),
              log_number("servers_allowed", ret->servers),
              log_quote("hint", "raise the hard limit (LimitNOFILE=, ulimit -Hn), or lower clients "
                                "or connection_limit"));
    return OK;
}
