#pragma once
/*
 * live_service.h - the services in use: struct service of fleet/, each with a resolver coroutine.
 *
 * Runs on the pooler machine.  A live service exists while a pool uses it or the latest
 * configuration names it.  Its resolver turns host names into addresses: at the start, after a
 * failure that may come from stale addresses, and after a reload.
 */
#include "config/config.h"
#include "fleet/fleet.h"

struct router;
struct live_services;
struct live_service;
struct table_sink;

fault live_services_new(struct router *router, struct config *config,
                        struct live_services **ret) MUST_USE;
/** Cancels the resolvers, which end by themselves.  All pools must have left. */
void live_services_free(struct live_services **live_services);
/** Applies a new version: changes limits and hosts in place, adds new services, drops services that
 *  are no longer named as soon as no pool uses them. */
fault live_services_reload(struct live_services *live_services, struct config *config) MUST_USE;
/** Finds the live service by the service's name and counts a pool as its user.  NULL: none. */
struct live_service *live_service_join(struct live_services *live_services,
                                       const struct service_config *service);
void live_service_leave(struct live_services *live_services,
                        struct live_service **live); /* NULL-safe */
struct service *live_service_service(const struct live_service *live);
/** Wakes the resolver if a failure has made the addresses doubtful. */
void live_service_check(struct live_service *live);
/** Adds a row for each host name: name, remaining time to live, addresses. */
void live_services_show_hosts(struct live_services *live_services, struct table_sink *sink);
void live_services_show(struct live_services *live_services, struct table_sink *sink);
