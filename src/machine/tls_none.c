#include "machine/tls_session.h"

/* No stream has a TLS session as long as nothing makes one. */
#define WEAK __attribute__((weak))

WEAK fault tls_read_some(struct tls *tls, void *bytes, size_t size, size_t *ret)
{
    return FAULT_TLS;
}

WEAK fault tls_write_some(struct tls *tls, const struct iovec *parts, int count, size_t *ret)
{
    return FAULT_TLS;
}

WEAK fault tls_flush_some(struct tls *tls)
{
    return OK;
}

WEAK bool tls_has_pending(const struct tls *tls)
{
    return false;
}

WEAK bool tls_quiet(const struct tls *tls)
{
    return true;
}

WEAK void tls_free(struct tls **tls)
{
    *tls = NULL;
}

WEAK const char *tls_text(const struct tls *tls, char *text, size_t size)
{
    text[0] = '\0';
    return text;
}
