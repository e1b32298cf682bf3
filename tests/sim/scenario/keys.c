#include "scenario/scenario.h"

#include "machine/sim/world.h"
#include "scenario/keys_fixed.h"
#include "sim_certificate.h"

#include <string.h>

/*
 * TLS contexts of a run: one certificate that no peer verifies or, with the kind `certificates`,
 * one for each user and impostor.
 */

/* Paths of certificates; all have the same key. */
static const struct {
    const char *path, *text;
} presented[PRESENTED_COUNT] = {[PRESENTED_JOE] = {"/etc/client/joe.crt", keys_joe},
                                [PRESENTED_JOEY] = {"/etc/client/joey.crt", keys_joey},
                                [PRESENTED_FOREIGN] = {"/etc/client/foreign.crt", keys_foreign},
                                [PRESENTED_EXPIRED] = {"/etc/client/expired.crt", keys_expired}},
  impostors[SCENARIO_IMPOSTORS] = {{"/etc/client/impostor.crt", keys_impostor},
                                   {"/etc/client/elsewhere.crt", keys_elsewhere},
                                   {"/etc/client/outdated.crt", keys_outdated}};

static void context_load(const struct tls_settings *settings, struct tls_context **ret)
{
    CHECK(tls_context_new(settings, ret) == OK, "%s", fault_detail(FAULT_TLS));
}

static void context_make(bool server, struct tls_context **ret)
{
    const struct tls_settings settings = {.mode = TLS_MODE_REQUIRE,
                                          .certificate = server ? SIM_CERTIFICATE : NULL,
                                          .key = server ? SIM_KEY : NULL,
                                          .server = server};
    context_load(&settings, ret);
}

/* Clients with a certificate verify the daemon's, too. */
static void presented_make(enum presented what)
{
    struct tls_settings settings = {.mode = TLS_MODE_VERIFY_FULL, .authorities = SIM_CERTIFICATE};
    if (presented[what].path != NULL) {
        settings.certificate = presented[what].path;
        settings.key = SIM_KEY;
        sim_file_put_text(presented[what].path, presented[what].text);
    }
    context_load(&settings, &scenario.presented_tls[what]);
}

static void impostor_make(uint32_t which)
{
    const struct tls_settings settings = {.mode = TLS_MODE_REQUIRE,
                                          .certificate = impostors[which].path,
                                          .key = SIM_KEY,
                                          .server = true};
    sim_file_put_text(impostors[which].path, impostors[which].text);
    context_load(&settings, &scenario.impostors[which]);
}

void keys_make(void)
{
    bool proven = scenario_has(KIND_certificates);
    sim_put_certificate();
    if (scenario_has(KIND_tls))
        context_make(false, &scenario.client_tls);
    if (scenario_has(KIND_server_tls) || proven)
        context_make(true, &scenario.model_tls);
    for (uint32_t i = 0; proven && i < PRESENTED_PLAIN; i++)
        presented_make((enum presented)i);
    for (uint32_t i = 0; proven && i < SCENARIO_IMPOSTORS; i++)
        impostor_make(i);
}

void keys_drop(void)
{
    tls_context_unref(&scenario.client_tls);
    tls_context_unref(&scenario.model_tls);
    for (uint32_t i = 0; i < PRESENTED_COUNT; i++)
        tls_context_unref(&scenario.presented_tls[i]);
    for (uint32_t i = 0; i < SCENARIO_IMPOSTORS; i++)
        tls_context_unref(&scenario.impostors[i]);
}
