#pragma once
/*
 * tls.h - TLS contexts: certificates and policy, immutable, reference-counted, shared by all
 * machines.
 *
 * OpenSSL 3 over our own BIO, which reads and writes through stream.c.  No session cache, no
 * tickets.  Buffers are released when idle: an idle session costs about 14 KiB, most of it
 * OpenSSL's.
 */
#include "base/fault.h"

struct tls_context;

enum tls_mode {
    TLS_MODE_DISABLE,
    TLS_MODE_ALLOW,  /* listeners: the client may use TLS */
    TLS_MODE_PREFER, /* servers: tried first, plain if the server refuses */
    TLS_MODE_REQUIRE,
    TLS_MODE_VERIFY_CA,
    TLS_MODE_VERIFY_FULL,
};

enum tls_version { TLS_VERSION_1_2, TLS_VERSION_1_3 };

/* Allowed versions, ciphers and groups, in OpenSSL's syntax; NULL: OpenSSL's default. */
struct tls_policy {
    enum tls_version min_version;
    const char *ciphers; /* TLS 1.2: a cipher list */
    const char *suites;  /* TLS 1.3 */
    const char *groups;
};

struct tls_settings {
    enum tls_mode mode;
    const char *certificate; /* path, NULL: none */
    const char *key;         /* path, NULL: in the certificate's file */
    const char *authorities; /* path, NULL: none */
    struct tls_policy policy;
    bool server;  /* our end: true for listeners */
    bool is_http; /* the peer does not speak PostgreSQL's protocol: it is not offered by ALPN */
};

/** Loads the files.  Blocks: only at start and at reload.  The caller owns a reference.
 *  Faults: TLS, with the file and OpenSSL's reason. */
fault tls_context_new(const struct tls_settings *settings, struct tls_context **ret) MUST_USE;
struct tls_context *tls_context_ref(struct tls_context *context);
void tls_context_unref(struct tls_context **context); /* NULL-safe, any thread */
