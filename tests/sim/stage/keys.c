#include "stage/stage.h"

#include "machine/tls.h"
#include "sim_certificate.h"

/*
 * TLS in a run: one certificate for all, which nobody verifies.
 */

static void context_make(bool server, struct tls_context **ret)
{
    const struct tls_settings settings = {.mode = TLS_MODE_REQUIRE,
                                          .certificate = server ? SIM_CERTIFICATE : NULL,
                                          .key = server ? SIM_KEY : NULL,
                                          .server = server};
    PROVE(tls_context_new(&settings, ret) == OK, "%s", fault_story(FAULT_TLS));
}

void keys_make(void)
{
    sim_put_certificate();
    if (stage_has(KIND_tls))
        context_make(false, &stage.client_tls);
    if (stage_has(KIND_server_tls))
        context_make(true, &stage.model_tls);
}

void keys_drop(void)
{
    tls_context_unref(&stage.client_tls);
    tls_context_unref(&stage.model_tls);
}
