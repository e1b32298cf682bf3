#pragma once
/*
 * tls_context.h - what tls.c needs of a context; private to machine/.
 */
#include "machine/tls.h"

#include <openssl/ssl.h>

struct tls_context {
    uint32_t references; /* atomic */
    enum tls_mode mode;
    bool server;
    SSL_CTX *ssl; /* owned; immutable once made */
};

/** OpenSSL's reason for what failed last in this thread; the error queue is empty afterwards. */
const char *tls_reason(char *text, size_t size);
#define TLS_REASON_SIZE 160
