#include "scenario/scenario.h"

#include "machine/sim/world.h"

#include <string.h>

/*
 * Certificates of clients: the configuration, and which logins must be accepted.
 */
#define CHANCE_CERTIFICATES 2020

void certificates_draw(struct setup *setup, const struct plan *plan)
{
    static const enum tls_mode modes[] = {TLS_MODE_ALLOW, TLS_MODE_REQUIRE, TLS_MODE_VERIFY_CA,
                                          TLS_MODE_VERIFY_FULL};
    uint64_t chance = plan_chance(plan, CHANCE_CERTIFICATES);
    setup->certificate_mapping = (enum certificate_mapping)chance_below(&chance, MAPPINGS);
    setup->certificate_mode = modes[chance_below(&chance, ARRAY_SIZE(modes))];
}

static const char *certificates_method(const struct setup *setup)
{
    return setup->certificate_mapping == MAPPING_FULL || setup->certificate_mapping == MAPPING_CA
               ? "trust"
               : "cert";
}

static const char *certificates_options(const struct setup *setup)
{
    static const char *const options[] = {[MAPPING_CN] = "clientname=CN",
                                          [MAPPING_DN] = "clientname=DN map=mapped",
                                          [MAPPING_SAN] = "clientname=SAN",
                                          [MAPPING_FULL] = "clientcert=verify-full",
                                          [MAPPING_CA] = "clientcert=verify-ca"};
    return options[setup->certificate_mapping];
}

void certificates_put_listener(const struct setup *setup, struct buffer *out)
{
    static const char *const modes[] = {[TLS_MODE_ALLOW] = "allow",
                                        [TLS_MODE_REQUIRE] = "require",
                                        [TLS_MODE_VERIFY_CA] = "verify-ca",
                                        [TLS_MODE_VERIFY_FULL] = "verify-full"};
    buffer_printf(out,
                  "  - {name: mutual, host: 127.0.0.1, port: %d, tls: {mode: %s,\n"
                  "     cert: server.crt, key: server.key, ca: server.crt}}\n",
                  SCENARIO_CERTIFICATE_PORT, modes[setup->certificate_mode]);
    sim_file_put_text(SCENARIO_IDENTS, "mapped /^CN=(joey?)$ \\1\n");
}

void certificates_put_auth(const struct setup *setup, struct buffer *out)
{
    bool by_file = scenario_has(KIND_hba);
    buffer_printf(out, "    listeners: [mutual]\n    auth: %s\n",
                  by_file ? "hba" : certificates_method(setup));
    if (!by_file)
        buffer_printf(out, "    auth_options: \"%s\"\n", certificates_options(setup));
    /* A certificate logs in to no server. */
    if (setup->method != METHOD_TRUST)
        buffer_printf(out, "    server_password: %s\n", SCENARIO_PASSWORD);
}

void certificates_put_hba(const struct setup *setup, struct buffer *out)
{
    buffer_printf(out, "hostssl %s all 127.0.0.1/32 %s %s\nhost %s all all reject\n",
                  SCENARIO_CERTIFICATE_DATABASE, certificates_method(setup),
                  certificates_options(setup), SCENARIO_CERTIFICATE_DATABASE);
}

/* The name in the certificate, if the authority has signed it and its time has not passed. */
static const char *certificate_name(enum presented presented)
{
    return presented == PRESENTED_JOE ? "joe" : presented == PRESENTED_JOEY ? "joey" : NULL;
}

enum admission certificates_admission(const struct setup *setup, enum presented presented,
                                      const char *user)
{
    const char *name = certificate_name(presented);
    bool requires = setup->certificate_mode == TLS_MODE_VERIFY_CA ||
                    setup->certificate_mode == TLS_MODE_VERIFY_FULL;
    if (presented == PRESENTED_FOREIGN || presented == PRESENTED_EXPIRED ||
        (presented == PRESENTED_NONE && requires))
        return ADMISSION_NO_HANDSHAKE;
    bool is_named = name != NULL && strcmp(name, user) == 0;
    bool is_enough = setup->certificate_mapping == MAPPING_CA ? name != NULL : is_named;
    return is_enough ? ADMISSION_GRANTED : ADMISSION_REFUSED;
}
