#include "stage/stage.h"

#include "machine/sim/world.h"
#include "sim_certificate.h"
#include "stage/keys_fixed.h"

#include <string.h>

/*
 * TLS in a run: one certificate for most, which nobody verifies, and where certificates say who
 * somebody is, more of them.
 */

/* Where a certificate lies; all have the same key. */
static const struct {
    const char *path, *text;
} shown[SHOWINGS] = {[SHOWN_JOE] = {"/etc/people/joe.crt", keys_joe},
                     [SHOWN_JOEY] = {"/etc/people/joey.crt", keys_joey},
                     [SHOWN_FOREIGN] = {"/etc/people/foreign.crt", keys_foreign},
                     [SHOWN_EXPIRED] = {"/etc/people/expired.crt", keys_expired}},
  impostors[STAGE_IMPOSTORS] = {{"/etc/people/impostor.crt", keys_impostor},
                                {"/etc/people/elsewhere.crt", keys_elsewhere},
                                {"/etc/people/outdated.crt", keys_outdated}};

static void context_load(const struct tls_settings *settings, struct tls_context **ret)
{
    PROVE(tls_context_new(settings, ret) == OK, "%s", fault_story(FAULT_TLS));
}

static void context_make(bool server, struct tls_context **ret)
{
    const struct tls_settings settings = {.mode = TLS_MODE_REQUIRE,
                                          .certificate = server ? SIM_CERTIFICATE : NULL,
                                          .key = server ? SIM_KEY : NULL,
                                          .server = server};
    context_load(&settings, ret);
}

/* Those who show a certificate want to see the daemon's, too. */
static void shown_make(enum shown what)
{
    struct tls_settings settings = {.mode = TLS_MODE_VERIFY_FULL, .authorities = SIM_CERTIFICATE};
    if (shown[what].path != NULL) {
        settings.certificate = shown[what].path;
        settings.key = SIM_KEY;
        sim_file_put_text(shown[what].path, shown[what].text);
    }
    context_load(&settings, &stage.shown_tls[what]);
}

static void impostor_make(uint32_t which)
{
    const struct tls_settings settings = {.mode = TLS_MODE_REQUIRE,
                                          .certificate = impostors[which].path,
                                          .key = SIM_KEY,
                                          .server = true};
    sim_file_put_text(impostors[which].path, impostors[which].text);
    context_load(&settings, &stage.impostors[which]);
}

void keys_make(void)
{
    bool proven = stage_has(KIND_certificates);
    sim_put_certificate();
    if (stage_has(KIND_tls))
        context_make(false, &stage.client_tls);
    if (stage_has(KIND_server_tls) || proven)
        context_make(true, &stage.model_tls);
    for (uint32_t i = 0; proven && i < SHOWN_PLAIN; i++)
        shown_make((enum shown)i);
    for (uint32_t i = 0; proven && i < STAGE_IMPOSTORS; i++)
        impostor_make(i);
}

void keys_drop(void)
{
    tls_context_unref(&stage.client_tls);
    tls_context_unref(&stage.model_tls);
    for (uint32_t i = 0; i < SHOWINGS; i++)
        tls_context_unref(&stage.shown_tls[i]);
    for (uint32_t i = 0; i < STAGE_IMPOSTORS; i++)
        tls_context_unref(&stage.impostors[i]);
}
