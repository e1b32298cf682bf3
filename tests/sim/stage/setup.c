#include "stage/stage.h"

#include "machine/sim/world.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/*
 * The daemon's configuration file, from the plan.
 */
#define CHANCE_SETUP 2000
#define CHANCE_WALKS 2030

void setup_make(struct setup *setup, const struct plan *plan)
{
    uint64_t chance = plan_chance(plan, CHANCE_SETUP);
    uint32_t pool_size = plan_has(plan, KIND_small_pools) ? 1 + chance_below(&chance, 2) : 4;
    if (plan_has(plan, KIND_contest))
        pool_size = 1;
    if (plan_has(plan, KIND_little_memory)) /* what is held has a server */
        pool_size = 10;
    uint32_t reserve = plan_has(plan, KIND_reserve) ? 1 : 0;
    /* What sessions may keep, and one more for the others. */
    uint32_t room = pool_size + reserve + 1;
    *setup = (struct setup){
        .relays = 1 + chance_below(&chance, 3),
        .pool_size = pool_size,
        .pool_size_ever = pool_size,
        .pool_size_max = plan_has(plan, KIND_sessions) ? pool_size : MAX_OF(pool_size, 4u),
        .pool_reserve = reserve,
        .connections_max = plan_has(plan, KIND_crowding) ? room : 60,
        .servers_max = plan_has(plan, KIND_capping) ? room : 0,
        .prepared_max = plan_has(plan, KIND_evictions) ? 1 : 100,
        .checks = plan_has(plan, KIND_checks),
        .single_use = plan_has(plan, KIND_single_use),
        .claim_timeout = plan_has(plan, KIND_claim_timeout) ? ms(100) : sec(60),
        .query_timeout = plan_has(plan, KIND_query_timeout) ? ms(150) : NO_LIMIT,
        .transaction_timeout = plan_has(plan, KIND_transaction_timeout) ? ms(300) : NO_LIMIT,
        .idle_transaction_timeout = plan_has(plan, KIND_idle_timeout) ? ms(60) : NO_LIMIT,
        .client_idle_timeout = plan_has(plan, KIND_idle_timeout) ? ms(500) : NO_LIMIT,
        .login_timeout = plan_has(plan, KIND_login_timeout) ? sec(1) : sec(30),
        .reset_timeout = sec(3),
        .overtake_limit = ms(50),
        .version = 1,
    };
    if (plan_has(plan, KIND_little_memory))
        setup->relays = 4; /* each has its part of it */
    chance = plan_chance(plan, CHANCE_WALKS);
    setup->walks_max = 1 + chance_below(&chance, 3);
    secrets_draw(setup, plan);
    certificates_draw(setup, plan);
}

void setup_change(struct setup *setup, uint64_t *chance)
{
    setup->version += 1;
    if (stage_has(KIND_identities))
        setup->identity = chance_below(chance, STAGE_IDENTITIES);
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
    buffer_printf(out, "    auth: %s\n", stage_has(KIND_hba) ? "hba" : secrets_method(setup));
    if (setup->server_password && stage_has(KIND_commands))
        buffer_printf(out, "    password_command: tell\n    password_lifetime: 1s\n");
    else if (setup->server_password)
        buffer_printf(out, "    server_password: %s\n", STAGE_PASSWORD);
}

static void put_route(struct buffer *out, const struct setup *setup, const char *database,
                      const char *pool)
{
    buffer_printf(out, "  - database: %s\n    service: %s\n    pool: %s\n", database,
                  setup->identity == 2 ? "second" : "main", pool);
    if (strcmp(database, STAGE_VOUCHED) == 0)
        certificates_put_auth(setup, out);
    else
        put_auth(out, setup);
    buffer_printf(out, "    pool_size: %u\n    prepared_statements: %u\n", setup->pool_size,
                  setup->prepared_max);
    if (stage_has(KIND_replication))
        buffer_printf(out, "    replication_limit: %u\n", setup->walks_max);
    /* Nothing that a session shows, but a pool of its own. */
    if (setup->identity == 1)
        buffer_printf(out, "    server_database: %s\n", database[0] == '"' ? "app" : database);
    if (stage_has(KIND_haste))
        buffer_printf(out, "    idle_timeout: 1ms\n");
    if (setup->pool_reserve > 0)
        buffer_printf(out, "    pool_reserve: %u\n    reserve_after: 2ms\n", setup->pool_reserve);
    buffer_printf(out, "    server_check_delay: %s\n", setup->checks ? "1ms" : "never");
    buffer_printf(out, "    server_lifetime: %s\n", setup->single_use ? "0s" : "never");
    put_time(out, "claim_notice", stage_has(KIND_claim_notices) ? ms(2) : sec(5));
    put_time(out, "claim_timeout", setup->claim_timeout);
    put_time(out, "query_timeout", setup->query_timeout);
    put_time(out, "transaction_timeout", setup->transaction_timeout);
    put_time(out, "idle_transaction_timeout", setup->idle_transaction_timeout);
    put_time(out, "client_idle_timeout", setup->client_idle_timeout);
}

static void put_service(struct buffer *out, const struct setup *setup, const char *name)
{
    buffer_printf(out,
                  "  %s:\n    hosts: [\"%s:%d\"]\n    connection_limit: %u\n"
                  "    connect_timeout: 5s\n",
                  name, stage_has(KIND_names) ? STAGE_NAME : "127.0.0.1", STAGE_SERVER,
                  setup->connections_max);
    if (stage_has(KIND_certificates))
        buffer_printf(out, "    tls: {mode: verify-full, ca: server.crt}\n");
    else if (stage_has(KIND_server_tls))
        buffer_printf(out, "    tls: {mode: require}\n");
}

static void put_listeners(const struct setup *setup, struct buffer *out)
{
    buffer_printf(out, "listen:\n  - {host: 127.0.0.1, port: %d%s}\n", STAGE_PORT,
                  stage_has(KIND_tls) ? ", tls: {mode: allow, cert: server.crt, key: server.key}"
                                      : "");
    if (stage_has(KIND_unix_sockets))
        buffer_printf(out, "  - {host: %s, port: %d}\n", STAGE_FOLDER, STAGE_PORT);
    if (stage_has(KIND_listeners))
        buffer_printf(out, "  - {name: second, host: 127.0.0.1, port: %d}\n", STAGE_SECOND);
    if (stage_has(KIND_proxies))
        buffer_printf(
            out, "  - {host: 127.0.0.9, port: %d, proxy_protocol: [127.0.0.9]%s}\n", STAGE_PROXIED,
            stage_has(KIND_tls) ? ", tls: {mode: allow, cert: server.crt, key: server.key}" : "");
    if (stage_has(KIND_certificates))
        certificates_put_listener(setup, out);
}

/* Nobody comes from elsewhere, and mallory from nowhere. */
static void put_hba(const struct setup *setup)
{
    struct buffer out = BUFFER_INIT(4096);
    const char *method = secrets_method(setup);
    buffer_printf(&out, "# version %u\nlocal all mallory reject\nhost all mallory all reject\n",
                  setup->version);
    if (stage_has(KIND_certificates))
        certificates_put_hba(setup, &out);
    buffer_printf(&out, "local all all %s\nhost all all 127.0.0.1/32 %s\n", method, method);
    buffer_printf(&out, "host all,replication \"joe\" 198.51.100.0 255.255.255.0 %s\n", method);
    buffer_printf(&out, "local replication all %s\nhost replication all 127.0.0.1/32 %s\n", method,
                  method);
    PROVE(buffer_fault(&out) == OK);
    sim_file_put(STAGE_HBA, out.at, out.size, 0600);
    buffer_fini(&out);
}

void setup_write(const struct setup *setup)
{
    static const char probes[] = "keepalive_idle: 10s, keepalive_interval: 5s, keepalive_count: 4";
    struct buffer out = BUFFER_INIT(1 << 16);
    buffer_printf(&out, "# version %u\n", setup->version);
    put_listeners(setup, &out);
    if (stage_has(KIND_hba)) {
        put_hba(setup);
        buffer_printf(&out, "hba_file: %s\n", STAGE_HBA);
    }
    if (stage_has(KIND_certificates))
        buffer_printf(&out, "ident_file: %s\n", STAGE_IDENTS);
    buffer_printf(&out, "relays: %u\nclients: 1000\nchunk_size: 16KiB\n", setup->relays);
    buffer_printf(&out, "message_limit: %s\nmemory_limit: %s\ncancel_limit: %u\n",
                  stage_has(KIND_little_memory) ? "4MiB" : "1MiB",
                  stage_has(KIND_little_memory) ? "16MiB" : "1GiB", STAGE_CANCELS);
    buffer_printf(&out, "auth_file: users.txt\nsecret_files: any\nlogin_timeout: %" PRId64 "us\n",
                  setup->login_timeout.us);
    buffer_printf(&out, "reset_timeout: %" PRId64 "us\novertake_limit: %" PRId64 "us\n",
                  setup->reset_timeout.us, setup->overtake_limit.us);
    buffer_printf(&out, "shutdown_timeout: 20s\n");
    buffer_printf(&out, "client_tcp: {%s}\nserver_tcp: {%s}\n", probes, probes);
    if (setup->servers_max > 0)
        buffer_printf(&out, "servers: %u\n", setup->servers_max);
    buffer_printf(&out, "services:\n");
    put_service(&out, setup, "main");
    if (stage_has(KIND_identities))
        put_service(&out, setup, "second");
    buffer_printf(&out, "routes:\n");
    if (stage_has(KIND_listeners))
        buffer_printf(&out, "  - {database: hidden, auth: block, listeners: [second]}\n");
    if (stage_has(KIND_certificates))
        put_route(&out, setup, STAGE_VOUCHED, "transaction");
    put_route(&out, setup, "session", "session");
    put_route(&out, setup, "statement", "statement");
    put_route(&out, setup, "\"*\"", "transaction");
    secrets_put_question(setup, &out);
    buffer_printf(&out, "console: {users: [admin]}\nlog: {level: info}\n");
    PROVE(buffer_fault(&out) == OK);
    secrets_put(setup);
    sim_file_put(STAGE_CONFIG, out.at, out.size, 0600);
    buffer_fini(&out);
}
