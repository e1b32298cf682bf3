#include "stage/stage.h"

#include "machine/sim/world.h"

#include <string.h>

/*
 * Who is let in by a certificate: the configuration of it, and what must come of it.
 */
#define CHANCE_CERTIFICATES 2020

void certificates_draw(struct setup *setup, const struct plan *plan)
{
    static const enum tls_mode modes[] = {TLS_MODE_ALLOW, TLS_MODE_REQUIRE, TLS_MODE_VERIFY_CA,
                                          TLS_MODE_VERIFY_FULL};
    uint64_t chance = plan_chance(plan, CHANCE_CERTIFICATES);
    setup->vouching = (enum vouching)chance_below(&chance, VOUCHINGS);
    setup->proven_mode = modes[chance_below(&chance, ARRAY_SIZE(modes))];
}

static const char *certificates_method(const struct setup *setup)
{
    return setup->vouching == VOUCH_FULL || setup->vouching == VOUCH_CA ? "trust" : "cert";
}

static const char *certificates_options(const struct setup *setup)
{
    static const char *const options[] = {[VOUCH_CN] = "clientname=CN",
                                          [VOUCH_DN] = "clientname=DN map=people",
                                          [VOUCH_SAN] = "clientname=SAN",
                                          [VOUCH_FULL] = "clientcert=verify-full",
                                          [VOUCH_CA] = "clientcert=verify-ca"};
    return options[setup->vouching];
}

void certificates_put_listener(const struct setup *setup, struct buffer *out)
{
    static const char *const modes[] = {[TLS_MODE_ALLOW] = "allow",
                                        [TLS_MODE_REQUIRE] = "require",
                                        [TLS_MODE_VERIFY_CA] = "verify-ca",
                                        [TLS_MODE_VERIFY_FULL] = "verify-full"};
    buffer_printf(out,
                  "  - {name: proven, host: 127.0.0.1, port: %d, tls: {mode: %s,\n"
                  "     cert: server.crt, key: server.key, ca: server.crt}}\n",
                  STAGE_PROVEN, modes[setup->proven_mode]);
    sim_file_put_text(STAGE_IDENTS, "people /^CN=(joey?)$ \\1\n");
}

void certificates_put_auth(const struct setup *setup, struct buffer *out)
{
    bool by_file = stage_has(KIND_hba);
    buffer_printf(out, "    listeners: [proven]\n    auth: %s\n",
                  by_file ? "hba" : certificates_method(setup));
    if (!by_file)
        buffer_printf(out, "    auth_options: \"%s\"\n", certificates_options(setup));
    /* A certificate logs in to no server. */
    if (setup->proof != PROOF_NONE)
        buffer_printf(out, "    server_password: %s\n", STAGE_PASSWORD);
}

void certificates_put_hba(const struct setup *setup, struct buffer *out)
{
    buffer_printf(out, "hostssl %s all 127.0.0.1/32 %s %s\nhost %s all all reject\n", STAGE_VOUCHED,
                  certificates_method(setup), certificates_options(setup), STAGE_VOUCHED);
}

/* The name in the certificate, if the authority has signed it and its time has not passed. */
static const char *certificate_name(enum shown shown)
{
    return shown == SHOWN_JOE ? "joe" : shown == SHOWN_JOEY ? "joey" : NULL;
}

enum welcome certificates_welcome(const struct setup *setup, enum shown shown, const char *user)
{
    const char *name = certificate_name(shown);
    bool insists =
        setup->proven_mode == TLS_MODE_VERIFY_CA || setup->proven_mode == TLS_MODE_VERIFY_FULL;
    if (shown == SHOWN_FOREIGN || shown == SHOWN_EXPIRED || (shown == SHOWN_NONE && insists))
        return WELCOME_NO_HANDSHAKE;
    bool is_named = name != NULL && strcmp(name, user) == 0;
    bool is_enough = setup->vouching == VOUCH_CA ? name != NULL : is_named;
    return is_enough ? WELCOME_IN : WELCOME_REFUSED;
}
