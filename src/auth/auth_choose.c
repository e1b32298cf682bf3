/* auth_choose.c - chooses a client's authentication method. */
#include "auth/auth_parts.h"
#include "auth/auth_query.h"
#include "machine/clock.h"
#include "machine/dns.h"
#include "machine/log.h"

#define INTERFACES_MAX 256

/* --- checks that need DNS, interfaces or roles ------------------------------------------------ */

static size_t address_size(const struct address *address)
{
    return address->family == ADDRESS_IPV4 ? 4 : 16;
}

static bool interface_holds(const struct os_interface *interface, const struct address *peer,
                            bool network)
{
    if (interface->address.family != peer->family)
        return false;
    for (size_t i = 0; i < address_size(peer); i++) {
        uint8_t mask = network ? interface->mask[i] : 0xff;
        if ((peer->bytes[i] & mask) != (interface->address.bytes[i] & mask))
            return false;
    }
    return true;
}

static bool world_is_own(void *argument, const struct address *peer, bool network)
{
    struct os_interface all[INTERFACES_MAX];
    int count = os->interfaces(all, INTERFACES_MAX);
    invariant(count <= INTERFACES_MAX);
    for (int i = 0; i < count; i++)
        if (interface_holds(&all[i], peer, network))
            return true;
    return false;
}

static bool name_matches(const char *pattern, const char *host)
{
    size_t own = strlen(host), wanted = strlen(pattern);
    if (pattern[0] != '.')
        return strcasecmp(pattern, host) == 0;
    return own > wanted && strcasecmp(host + own - wanted, pattern) == 0;
}

/* Treats a failed DNS query as "no name", as PostgreSQL does; returns other faults such as
 * TIMEOUT. */
static fault unless_nameless(fault what)
{
    return what == FAULT_NAME ? OK : what;
}

/* Checks that the host name resolves to the client's address: the owner of an address can give it
 * any name in reverse DNS. */
static fault host_confirmed(struct auth_world *world, const struct address *peer, bool *ret)
{
    struct dns_answer answer = {.count = 0};
    *ret = false;
    TRY(unless_nameless(dns_resolve(world->host, 0, &answer, world->request->by)));
    for (size_t i = 0; i < answer.count && !*ret; i++)
        *ret = answer.addresses[i].family == peer->family &&
               memcmp(answer.addresses[i].bytes, peer->bytes, address_size(peer)) == 0;
    return OK;
}

static fault world_is_host(void *argument, const struct address *peer, const char *name, bool *ret)
{
    struct auth_world *world = argument;
    *ret = false;
    if (!world->named) {
        TRY(unless_nameless(dns_reverse(peer, world->host, world->request->by)));
        bool confirmed = false;
        if (world->host[0] != '\0')
            TRY(host_confirmed(world, peer, &confirmed));
        if (!confirmed)
            world->host[0] = '\0';
        world->named = true;
    }
    invariant(memchr(world->host, '\0', sizeof(world->host)) != NULL);
    *ret = world->host[0] != '\0' && name_matches(name, world->host);
    return OK;
}

static fault world_in_role(void *argument, struct span user, const char *role, bool *ret)
{
    struct auth_world *world = argument;
    return auth_query_role(world->request, role, ret);
}

void auth_world_init(struct auth_world *world, struct auth_request *request)
{
    *world = (struct auth_world){.request = request};
    world->world = (struct hba_world){.in_role = world_in_role,
                                      .is_host = world_is_host,
                                      .is_own = world_is_own,
                                      .argument = world};
}

/* --- the choice ------------------------------------------------------------------------------- */

static fault choose_refused(const struct auth_request *request, const struct hba_rule *rule)
{
    char host[ADDRESS_TEXT_SIZE];
    address_host_text(request->peer, host, sizeof(host));
    log_event(LOG_INFO, "hba.refused", log_id("client", request->client),
              log_text("file", rule == NULL ? "" : rule->file),
              log_number("line", rule == NULL ? 0 : rule->line),
              log_quote("rule", rule == NULL ? "no line matches" : rule->text));
    return fault_raise(FAULT_AUTH, "%s host \"%s\", user \"%.*s\", database \"%.*s\", %s",
                       rule == NULL ? "no line of the HBA file is for"
                                    : "the HBA file rejects the connection of",
                       host, SPAN_ARG(request->user), SPAN_ARG(request->database),
                       request->stream->tls != NULL ? "TLS" : "no encryption");
}

fault auth_choose(struct auth_request *request)
{
    const struct hba_rule *rule = NULL;
    struct auth_world world;
    request->how = request->route->how;
    if (request->route->auth != AUTH_HBA)
        return OK;
    auth_world_init(&world, request);
    struct hba_subject subject = {.database = request->database,
                                  .user = request->user,
                                  .peer = request->peer,
                                  .tls = request->stream->tls != NULL,
                                  .replication = request->replication};
    TRY(hba_match(request->config->hba, &subject, &world.world, &rule));
    if (rule == NULL || rule->how.method == AUTH_BLOCK)
        return choose_refused(request, rule);
    request->how = rule->how;
    invariant(request->how.method != AUTH_HBA); /* a line names a method, not another file */
    return OK;
}
