#pragma once
/*
 * tls_context_parts.h - the contents of a TLS context, for tls.c and tls_files.c; private to
 * machine/.
 */
#include "machine/tls.h"

#include <openssl/ssl.h>

struct tls_context {
    uint32_t references; /* atomic */
    enum tls_mode mode;
    bool server;
    SSL_CTX *ssl; /* owned; immutable after tls_context_new */
};

/** Formats OpenSSL's reason for the last failure in this thread and empties the error queue. */
const char *tls_reason(char *text, size_t size);
#define TLS_REASON_SIZE 160

/* --- tls_files.c: faults name the kind of file, its path and the reason ----------------------- */

/** Loads a certificate; further certificates in the file are its chain. */
fault tls_use_chain(SSL_CTX *ssl, const char *path) MUST_USE;
/** Loads the key of the certificate that was loaded before. */
fault tls_use_key(SSL_CTX *ssl, const char *path) MUST_USE;
/** Loads authorities and revocation lists.  `asks`: the handshake sends the authorities' names to
 *  peers, as the acceptable issuers of their certificates. */
fault tls_use_authorities(SSL_CTX *ssl, const char *path, bool asks) MUST_USE;
