#include "scenario/scenario.h"

#include "machine/sim/world.h"
#include "oracle/answers.h"
#include "scenario/nodes.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/*
 * The daemon's configuration file, from the plan.
 */
#define CHANCE_SETUP       2000
#define CHANCE_REPLICATION 2030

void setup_make(struct setup *setup, const struct plan *plan)
{
    uint64_t chance = plan_chance(plan, CHANCE_SETUP);
    uint32_t pool_size = plan_has(plan, KIND_small_pools) ? 1 + chance_below(&chance, 2) : 4;
    if (plan_has(plan, KIND_fairness) || plan_has(plan, KIND_cancel_rush) ||
        plan_has(plan, KIND_shared_budget))
        pool_size = 1;
    if (plan_has(plan, KIND_little_memory)) /* clients with long messages keep servers */
        pool_size = 10;
    uint32_t reserve = plan_has(plan, KIND_reserve) ? 1 : 0;
    /* The servers of sessions, and one more. */
    uint32_t room = pool_size + reserve + 1;
    *setup = (struct setup){
        .relays = 1 + chance_below(&chance, 3),
        .pool_size = pool_size,
        .pool_size_ever = pool_size,
        .pool_size_max = plan_has(plan, KIND_session_pools) ? pool_size : MAX_OF(pool_size, 4u),
        .pool_reserve = reserve,
        .connections_max = plan_has(plan, KIND_backend_limit) ? room : 60,
        .servers_max = plan_has(plan, KIND_server_limit) ? room : 0,
        .prepared_max = plan_has(plan, KIND_evictions) ? 1 : 100,
        .checks = plan_has(plan, KIND_server_checks),
        .single_use = plan_has(plan, KIND_single_use),
        .claim_timeout = plan_has(plan, KIND_claim_timeout) ? ms(100) : sec(60),
        .query_timeout = plan_has(plan, KIND_query_timeout) ? ms(150) : NO_LIMIT,
        .transaction_timeout = plan_has(plan, KIND_transaction_timeout) ? ms(300) : NO_LIMIT,
        .idle_transaction_timeout = plan_has(plan, KIND_idle_timeout) ? ms(60) : NO_LIMIT,
        .client_idle_timeout = plan_has(plan, KIND_idle_timeout) ? ms(500) : NO_LIMIT,
        .login_timeout = plan_has(plan, KIND_login_timeout) ? sec(1) : sec(30),
        .reset_timeout = sec(3),
        .overtake_limit = ms(50),
        .drain_timeout =
            plan_has(plan, KIND_drains) && plan_has(plan, KIND_route_changes) ? ms(200) : NO_LIMIT,
        .version = 1,
    };
    if (plan_has(plan, KIND_overload))
        setup->relays = 1;
    if (plan_has(plan, KIND_fencing)) /* a fence awaits several answers */
        setup->relays += 1;
    if (plan_has(plan, KIND_cancel_rush)) { /* servers often come from another relay */
        setup->relays = 3;
        setup->overtake_limit = ms(2);
    }
    if (plan_has(plan, KIND_little_memory))
        setup->relays = 4; /* each has a part of memory_limit */
    if (plan_has(plan, KIND_shared_budget))
        setup->pool_size_max = 1;
    chance = plan_chance(plan, CHANCE_REPLICATION);
    setup->replication_limit = 1 + chance_below(&chance, 3);
    secrets_draw(setup, plan);
    certificates_draw(setup, plan);
}

void setup_change(struct setup *setup, uint64_t *chance)
{
    setup->version += 1;
    uint32_t identity = setup->identity;
    if (scenario_has(KIND_route_changes))
        setup->identity = chance_below(chance, SCENARIO_IDENTITIES);
    if (setup->identity != identity)
        setup->identity_since = now();
    switch (chance_below(chance, 4)) {
    case 0:
        setup->pool_size = 1 + chance_below(chance, setup->pool_size_max);
        setup->pool_size_ever = MAX_OF(setup->pool_size_ever, setup->pool_size);
        break;
    case 1:
        setup->prepared_max = 1 + chance_below(chance, 100);
        break;
    case 2:
        setup->checks = !setup->checks;
        break;
    default:
        break;
    }
}

static void put_time(struct buffer *out, const char *key, duration time)
{
    if (time.us == NO_LIMIT.us)
        buffer_printf(out, "    %s: never\n", key);
    else
        buffer_printf(out, "    %s: %" PRId64 "us\n", key, time.us);
}

static void put_auth(struct buffer *out, const struct setup *setup)
{
    buffer_printf(out, "    auth: %s\n", scenario_has(KIND_hba) ? "hba" : secrets_method(setup));
    if (setup->server_password && scenario_has(KIND_password_command))
        buffer_printf(out, "    password_command: pass\n    password_lifetime: 1s\n");
    else if (setup->server_password)
        buffer_printf(out, "    server_password: %s\n", SCENARIO_PASSWORD);
}

static const char *route_service(const struct setup *setup, const char *database)
{
    if (nodes_have_twin() && strcmp(database, "session") == 0)
        return "twin";
    return setup->identity == 2 ? "second" : "main";
}

/* Rules for statements by their comments (clients/behave_answers.c). */
static void put_cache(struct buffer *out)
{
    buffer_printf(out,
                  "    cache:\n"
                  "      - match: {text: \"SELECT /*dedupe*/ %%\"}\n        mode: dedupe\n"
                  "      - match: {text: \"SELECT /*ttl*/ %%\"}\n        mode: ttl\n"
                  "        ttl: %" PRId64 "us\n        stale: %" PRId64 "us\n"
                  "      - match: {text: \"SELECT /*strict*/ %%\"}\n        mode: strict\n",
                  ANSWERS_TTL.us, ANSWERS_STALE.us);
}

static void put_route(struct buffer *out, const struct setup *setup, const char *database,
                      const char *pool)
{
    buffer_printf(out, "  - database: %s\n    service: %s\n    pool: %s\n", database,
                  route_service(setup, database), pool);
    if (strcmp(database, SCENARIO_CERTIFICATE_DATABASE) == 0)
        certificates_put_auth(setup, out);
    else
        put_auth(out, setup);
    buffer_printf(out, "    pool_size: %u\n    prepared_statements: %u\n", setup->pool_size,
                  setup->prepared_max);
    if (scenario_has(KIND_replication))
        buffer_printf(out, "    replication_limit: %u\n", setup->replication_limit);
    nodes_put_target(out, database);
    /* No effect on a session, but another pool. */
    if (setup->identity == 1)
        buffer_printf(out, "    server_database: %s\n", database[0] == '"' ? "app" : database);
    if (scenario_has(KIND_short_sessions))
        buffer_printf(out, "    idle_timeout: 1ms\n");
    if (nodes_spares() > 0)
        buffer_printf(out, "    spares: %u\n", nodes_spares());
    if (scenario_has(KIND_claim_delays))
        buffer_printf(
            out, "    claim_delay_target: %" PRId64 "us\n    claim_delay_interval: %" PRId64 "us\n",
            SCENARIO_DELAY_TARGET.us, SCENARIO_DELAY_INTERVAL.us);
    if (setup->pool_reserve > 0)
        buffer_printf(out, "    pool_reserve: %u\n    reserve_after: 2ms\n", setup->pool_reserve);
    buffer_printf(out, "    server_check_delay: %s\n", setup->checks ? "1ms" : "never");
    buffer_printf(out, "    server_lifetime: %s\n", setup->single_use ? "0s" : "never");
    put_time(out, "claim_notice", scenario_has(KIND_claim_notices) ? ms(2) : sec(5));
    put_time(out, "claim_timeout", setup->claim_timeout);
    put_time(out, "query_timeout", setup->query_timeout);
    put_time(out, "transaction_timeout", setup->transaction_timeout);
    put_time(out, "idle_transaction_timeout", setup->idle_transaction_timeout);
    put_time(out, "client_idle_timeout", setup->client_idle_timeout);
    if (scenario_has(KIND_flight) && strcmp(pool, "transaction") == 0)
        put_cache(out);
}

/* How the servers are found. */
static void put_hosts(struct buffer *out)
{
    if (nodes_exist())
        nodes_put_hosts(out);
    else if (!hostname_by_records())
        buffer_printf(out, "    hosts: [\"%s:%d\"]\n",
                      scenario_has(KIND_host_names) ? SCENARIO_HOST_NAME : "127.0.0.1",
                      SCENARIO_SERVER_PORT);
    else
        buffer_printf(out,
                      "    resolver: %s\n    name: %s\n    port: %d\n"
                      "    name_servers: [10.0.0.53, 10.0.0.54]\n    name_server_timeout: 1s\n"
                      "    refresh_min: 200ms\n    refresh_max: 2s\n",
                      hostname_by_services() ? "srv" : "dns",
                      hostname_by_services() ? SCENARIO_SERVICE_NAME : SCENARIO_HOST_NAME,
                      SCENARIO_SERVER_PORT);
}

static void put_balance(struct buffer *out)
{
    buffer_printf(out,
                  "    balance:\n      rebalance_interval: %" PRId64 "us\n      zone_min: %u\n",
                  nodes_rebalance_interval().us, nodes_zone_min());
    if (nodes_logins_per_second() > 0)
        buffer_printf(out, "      logins_per_second: %u\n", nodes_logins_per_second());
}

static void put_service(struct buffer *out, const struct setup *setup, const char *name)
{
    buffer_printf(out, "  %s:\n    connection_limit: %u\n    connect_timeout: 5s\n", name,
                  setup->connections_max);
    put_hosts(out);
    if (scenario_has(KIND_flight))
        buffer_printf(out, "    feed_user: %s\n    probe_timeout: %" PRId64 "us\n", SCENARIO_FEEDER,
                      SCENARIO_PROBE_TIMEOUT.us);
    if (setup->checks)
        buffer_printf(out, "    health_check_interval: 100ms\n");
    put_balance(out);
    nodes_put_probe(out);
    if (scenario_has(KIND_certificates))
        buffer_printf(out, "    tls: {mode: verify-full, ca: server.crt}\n");
    else if (scenario_has(KIND_server_tls))
        buffer_printf(out, "    tls: {mode: require}\n");
}

static void put_listeners(const struct setup *setup, struct buffer *out)
{
    buffer_printf(out, "listen:\n  - {host: 127.0.0.1, port: %d%s}\n", SCENARIO_PORT,
                  scenario_has(KIND_tls) ? ", tls: {mode: allow, cert: server.crt, key: server.key}"
                                         : "");
    if (scenario_has(KIND_unix_sockets))
        buffer_printf(out, "  - {host: %s, port: %d}\n", SCENARIO_FOLDER, SCENARIO_PORT);
    if (scenario_has(KIND_listeners))
        buffer_printf(out, "  - {name: second, host: 127.0.0.1, port: %d}\n", SCENARIO_SECOND_PORT);
    if (scenario_has(KIND_proxies))
        buffer_printf(out, "  - {host: 127.0.0.9, port: %d, proxy_protocol: [127.0.0.9]%s}\n",
                      SCENARIO_PROXIED_PORT,
                      scenario_has(KIND_tls)
                          ? ", tls: {mode: allow, cert: server.crt, key: server.key}"
                          : "");
    if (scenario_has(KIND_certificates))
        certificates_put_listener(setup, out);
}

/* Accepts users from 127.0.0.1 and Unix sockets; refuses mallory. */
static void put_hba(const struct setup *setup)
{
    struct buffer out = BUFFER_INIT(4096);
    const char *method = secrets_method(setup);
    buffer_printf(&out, "# version %u\nlocal all mallory reject\nhost all mallory all reject\n",
                  setup->version);
    if (scenario_has(KIND_certificates))
        certificates_put_hba(setup, &out);
    buffer_printf(&out, "local all all %s\nhost all all 127.0.0.1/32 %s\n", method, method);
    buffer_printf(&out, "host all,replication \"joe\" 198.51.100.0 255.255.255.0 %s\n", method);
    buffer_printf(&out, "local replication all %s\nhost replication all 127.0.0.1/32 %s\n", method,
                  method);
    CHECK(buffer_fault(&out) == OK);
    sim_file_put(SCENARIO_HBA, out.at, out.size, 0600);
    buffer_fini(&out);
}

void setup_write(const struct setup *setup)
{
    static const char probes[] = "keepalive_idle: 10s, keepalive_interval: 5s, keepalive_count: 4";
    struct buffer out = BUFFER_INIT(1 << 16);
    buffer_printf(&out, "# version %u\n", setup->version);
    put_listeners(setup, &out);
    if (scenario_has(KIND_hba)) {
        put_hba(setup);
        buffer_printf(&out, "hba_file: %s\n", SCENARIO_HBA);
    }
    if (scenario_has(KIND_certificates))
        buffer_printf(&out, "ident_file: %s\n", SCENARIO_IDENTS);
    nodes_put_zone(&out);
    buffer_printf(&out, "relays: %u\nclients: 1000\nchunk_size: 16KiB\n", setup->relays);
    buffer_printf(&out, "message_limit: %s\nmemory_limit: %s\ncancel_limit: %u\n",
                  scenario_has(KIND_little_memory) ? "4MiB" : "1MiB",
                  scenario_has(KIND_little_memory) ? "16MiB" : "1GiB", SCENARIO_CANCELS);
    buffer_printf(&out, "auth_file: users.txt\nsecret_files: any\nlogin_timeout: %" PRId64 "us\n",
                  setup->login_timeout.us);
    buffer_printf(&out, "reset_timeout: %" PRId64 "us\novertake_limit: %" PRId64 "us\n",
                  setup->reset_timeout.us, setup->overtake_limit.us);
    buffer_printf(&out, "shutdown_timeout: 20s\n");
    if (setup->drain_timeout.us != NO_LIMIT.us)
        buffer_printf(&out, "drain_timeout: %" PRId64 "us\n", setup->drain_timeout.us);
    buffer_printf(&out, "client_tcp: {%s}\nserver_tcp: {%s}\n", probes, probes);
    if (setup->servers_max > 0)
        buffer_printf(&out, "servers: %u\n", setup->servers_max);
    buffer_printf(&out, "services:\n");
    put_service(&out, setup, "main");
    if (scenario_has(KIND_route_changes))
        put_service(&out, setup, "second");
    if (nodes_have_twin())
        put_service(&out, setup, "twin");
    buffer_printf(&out, "routes:\n");
    if (scenario_has(KIND_listeners))
        buffer_printf(&out, "  - {database: hidden, auth: block, listeners: [second]}\n");
    if (scenario_has(KIND_certificates))
        put_route(&out, setup, SCENARIO_CERTIFICATE_DATABASE, "transaction");
    put_route(&out, setup, "session", "session");
    put_route(&out, setup, "statement", "statement");
    put_route(&out, setup, "\"*\"", "transaction");
    secrets_put_auth_query(setup, &out);
    buffer_printf(&out, "console: {users: [admin]}\nlog: {level: info}\n");
    CHECK(buffer_fault(&out) == OK);
    secrets_put(setup);
    sim_file_put(SCENARIO_CONFIG, out.at, out.size, 0600);
    buffer_fini(&out);
}
