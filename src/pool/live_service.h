#pragma once
/*
 * live_service.h - the services in use: struct service of fleet/, each with a resolver coroutine.
 *
 * Runs on the pooler machine.  A live service exists while a pool uses it or the latest
 * configuration names it.  Its coroutine resolves host names at the start, after a failure that may
 * come from stale addresses, and after a reload; names by DNS also as their records expire
 * (live_resolver.h).
 */
#include "config/config.h"
#include "fleet/fleet.h"
#include "fleet/primary.h"

struct router;
struct router_service;
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
/** Follows changed backends: starts and ends probes. */
void live_service_follow_backends(struct live_service *live);
/** Takes the result of a probe of the backend with this id, begun at `asked`.  `silent`: there was
 * no answer at all.  Neither a sample nor silent: the server rejected the probe. */
void live_service_sampled(struct live_service *live, uint64_t backend,
                          const struct backend_sample *sample, moment asked, bool silent);
/** Takes what Patroni says of the backend with this id; NULL: it gave no answer of use. */
void live_service_ruled(struct live_service *live, uint64_t backend,
                        const struct backend_ruling *ruling);
/** Probes a backend by its address now: something has shown that its role has changed. */
void live_service_probe(struct live_service *live, const struct address *address);
/** Wakes the resolver if a failure has made the addresses doubtful. */
void live_service_check(struct live_service *live);
/** Calls service_drain() or service_undrain() for all services, and has the router act on it.
 *  Returns the sum. */
uint32_t live_services_mark(struct live_services *live_services, const char *backend,
                            uint32_t (*mark)(struct service *service, const char *name));
/** Returns what decides on a service's primary; NULL: there is no such service. */
struct failover;
struct failover *live_services_failover(struct live_services *live_services, const char *name);
struct router_election;
/** Has the operator choose the backend with this host or address, see router_elect(). */
void live_services_elect(struct live_services *live_services, const char *backend,
                         const char *service, struct router_election *ret);
/** Asks for a resolution of a service now.  *ret_rounds is for live_services_resolved().  Returns
 *  false if there is no such service. */
bool live_services_demand(struct live_services *live_services, const char *name,
                          uint64_t *ret_rounds);
/** Whether the demanded resolution has ended, or nothing is to be waited for. */
bool live_services_resolved(struct live_services *live_services, const char *name, uint64_t rounds);
/** Adds a row for each record and each name server of one service, see resolver_show(). */
void live_services_show_resolver(struct live_services *live_services, const char *name,
                                 struct table_sink *sink);
/** Adds a row for each service: service, resolver, name, backends, then the cells of
 *  resolver_show_state(), which are null for hosts. */
void live_services_show_resolvers(struct live_services *live_services, struct table_sink *sink);
/** Adds a row for each SRV name: name, null, records. */
void live_services_show_zones(struct live_services *live_services, struct table_sink *sink);
/** Adds a row for each host name: name, remaining time to live, addresses. */
void live_services_show_hosts(struct live_services *live_services, struct table_sink *sink);
void live_services_show(struct live_services *live_services, struct table_sink *sink);
/** Adds a row of SHOW SLOTS for each backend that waits before its next login. */
void live_services_show_failed(struct live_services *live_services, struct table_sink *sink);
void live_services_each(struct live_services *live_services,
                        void (*see)(void *argument, const struct router_service *service),
                        void *argument);
