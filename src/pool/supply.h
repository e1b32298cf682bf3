#pragma once
/*
 * supply.h - the services of a configuration on the pooler machine: fleet's, each with the
 * coroutine that resolves its hosts.
 *
 * A supply lives while a pool uses it or the latest configuration names it.  Its resolver runs once
 * at the start, and again when a failure asks for it or the hosts change.
 */
#include "config/config.h"
#include "fleet/fleet.h"

struct router;
struct supplies;
struct supply;
struct table_sink;

fault supplies_new(struct router *router, struct config *config, struct supplies **ret) MUST_USE;
/** Cancels the resolvers; they end by themselves.  Pools must have left. */
void supplies_free(struct supplies **supplies);
/** Follows a new version: limits and hosts in place, new services added, gone ones when unused. */
fault supplies_reload(struct supplies *supplies, struct config *config) MUST_USE;
/** The supply of this service; counted.  NULL: no memory. */
struct supply *supply_join(struct supplies *supplies, const struct service_config *service);
void supply_leave(struct supplies *supplies, struct supply **supply); /* NULL-safe */
struct service *supply_service(const struct supply *supply);
/** Wakes the resolver if a failure asked for it. */
void supply_check(struct supply *supply);
/** Names, what they resolved to, and how long that holds. */
void supplies_show_hosts(struct supplies *supplies, struct table_sink *sink);
void supplies_show(struct supplies *supplies, struct table_sink *sink);
