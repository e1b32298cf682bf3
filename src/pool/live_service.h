#pragma once
/*
 * live_service.h - the services of a configuration on the pooler machine: fleet's, each with the
 * coroutine that resolves its hosts.
 *
 * A live service lives while a pool uses it or the latest configuration names it.  Its resolver
 * runs once at the start, and again when a failure asks for it or the hosts change.
 */
#include "config/config.h"
#include "fleet/fleet.h"

struct router;
struct live_services;
struct live_service;
struct table_sink;

fault live_services_new(struct router *router, struct config *config,
                        struct live_services **ret) MUST_USE;
/** Cancels the resolvers; they end by themselves.  Pools must have left. */
void live_services_free(struct live_services **live_services);
/** Follows a new version: limits and hosts in place, new services added, gone ones when unused. */
fault live_services_reload(struct live_services *live_services, struct config *config) MUST_USE;
/** The live service of this service; counted.  NULL: no memory. */
struct live_service *live_service_join(struct live_services *live_services,
                                       const struct service_config *service);
void live_service_leave(struct live_services *live_services,
                        struct live_service **live); /* NULL-safe */
struct service *live_service_service(const struct live_service *live);
/** Wakes the resolver if a failure asked for it. */
void live_service_check(struct live_service *live);
/** Names, what they resolved to, and how long that holds. */
void live_services_show_hosts(struct live_services *live_services, struct table_sink *sink);
void live_services_show(struct live_services *live_services, struct table_sink *sink);
