/* resolver_servers.c - the name servers of one service, and those that are held because they fail.
 */
#include "fleet/resolver_parts.h"
#include "machine/stream.h"

/* How long a name server that failed is asked last. */
#define HOLD_MIN sec(5)
#define HOLD_MAX sec(60)

bool lookup_failed(enum dns_said said)
{
    return said != DNS_RECORDS && said != DNS_EMPTY && said != DNS_NO_NAME;
}

static struct name_server *name_server_find(const struct name_servers *servers,
                                            const struct address *at)
{
    for (size_t i = 0; i < servers->count; i++)
        if (address_equal(&servers->all[i].at, at))
            return (struct name_server *)&servers->all[i];
    return NULL;
}

void name_servers_add(struct name_servers *servers, const struct name_servers *before,
                      const struct address *at, enum name_server_source source)
{
    const struct name_server *known = name_server_find(before, at);
    if (name_server_find(servers, at) != NULL || servers->count == NAME_SERVERS_MAX)
        return;
    struct name_server *added = &servers->all[servers->count++];
    *added = known != NULL ? *known : (struct name_server){.at = *at};
    added->source = source;
}

void name_servers_note(struct name_servers *servers, const struct address *at, enum dns_said said,
                       moment now)
{
    struct name_server *server = name_server_find(servers, at);
    if (server == NULL)
        return;
    server->said = said;
    server->answers += 1;
    if (!lookup_failed(said)) {
        server->failures = 0;
        server->held_until = now;
        return;
    }
    duration hold = HOLD_MIN;
    for (uint32_t i = 0; i < server->failures && hold.us < HOLD_MAX.us; i++)
        hold.us *= 2;
    server->failures += 1;
    server->held_until = later(now, hold.us < HOLD_MAX.us ? hold : HOLD_MAX);
}
