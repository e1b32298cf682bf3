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

/* --- tls_files.c: faults say what, which file and why ----------------------------------------- */

/** A certificate, and those behind it in the file as its chain. */
fault tls_use_chain(SSL_CTX *ssl, const char *path) MUST_USE;
/** The key of the certificate in use. */
fault tls_use_key(SSL_CTX *ssl, const char *path) MUST_USE;
/** Authorities and revocations; `asks`: peers are told whose certificates are welcome. */
fault tls_use_authorities(SSL_CTX *ssl, const char *path, bool asks) MUST_USE;
