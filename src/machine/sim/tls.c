/*
 * tls.c - random bytes for OpenSSL, drawn from the seed.
 *
 * RAND_set_rand_method is deprecated, but the only way to seed OpenSSL without a provider.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "machine/sim/inside.h"

#include "base/check.h"

#include <openssl/rand.h>
#include <string.h>

/* Random bytes for OpenSSL, drawn from the seed. */

static const RAND_METHOD *method_before;

static int sim_tls_bytes(unsigned char *bytes, int size)
{
    for (int i = 0; i < size; i += (int)sizeof(uint64_t)) {
        uint64_t some = sim_draw(LOT_TLS);
        memcpy(bytes + i, &some, MIN_OF((size_t)(size - i), sizeof(some)));
    }
    return 1;
}

static int sim_tls_status(void)
{
    return 1;
}

static const RAND_METHOD sim_tls_method = {
    .bytes = sim_tls_bytes,
    .pseudorand = sim_tls_bytes,
    .status = sim_tls_status,
};

void sim_tls_start(void)
{
    method_before = RAND_get_rand_method();
    int set = RAND_set_rand_method(&sim_tls_method);
    invariant(set == 1);
}

void sim_tls_finish(void)
{
    int set = RAND_set_rand_method(method_before);
    invariant(set == 1);
}
