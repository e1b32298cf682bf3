#include "machine/tls_context_parts.h"

#include "base/check.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The ALPN protocol that IANA registered for PostgreSQL, preceded by its length.  A peer that
 * offers only other protocols is rejected, as in PostgreSQL 17: this prevents attacks by clients of
 * other protocols, e.g. HTTPS (ALPACA). */
static const unsigned char tls_protocols[] = "\012postgresql";
#define TLS_PROTOCOLS_SIZE (sizeof(tls_protocols) - 1)

static fault context_fault(const char *what)
{
    char reason[TLS_REASON_SIZE];
    return fault_raise(FAULT_TLS, "%s: %s", what, tls_reason(reason, sizeof(reason)));
}

static int select_protocol(SSL *ssl, const unsigned char **ret, unsigned char *ret_size,
                           const unsigned char *offered, unsigned offered_size, void *argument)
{
    unsigned char *found;
    int result = SSL_select_next_proto(&found, ret_size, tls_protocols, TLS_PROTOCOLS_SIZE, offered,
                                       offered_size);
    *ret = found;
    return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void set_options(SSL_CTX *ssl)
{
    SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_num_tickets(ssl, 0);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_mode(ssl, SSL_MODE_AUTO_RETRY);
    /* Sends only the chain in the certificate's file: authorities are for verification only. */
    SSL_CTX_set_mode(ssl, SSL_MODE_NO_AUTO_CHAIN);
    /* One recv gets two of PostgreSQL's 8 KiB records.  Buffers larger than OpenSSL's default were
     * measured: 64 KiB cost 7 % more CPU, 128 KiB 20 %. */
    SSL_CTX_set_read_ahead(ssl, 1);
}

static fault policy_fault(const char *what, const char *value)
{
    char reason[TLS_REASON_SIZE];
    return fault_raise(FAULT_TLS, "%s \"%.100s\": %s", what, value,
                       tls_reason(reason, sizeof(reason)));
}

static fault set_policy(SSL_CTX *ssl, const struct tls_policy *policy)
{
    int version = policy->min_version == TLS_VERSION_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
    SSL_CTX_set_min_proto_version(ssl, version);
    if (policy->ciphers != NULL && SSL_CTX_set_cipher_list(ssl, policy->ciphers) != 1)
        return policy_fault("ciphers", policy->ciphers);
    if (policy->suites != NULL && SSL_CTX_set_ciphersuites(ssl, policy->suites) != 1)
        return policy_fault("tls13_ciphers", policy->suites);
    if (policy->groups != NULL && SSL_CTX_set1_groups_list(ssl, policy->groups) != 1)
        return policy_fault("curves", policy->groups);
    return OK;
}

static fault load_certificate(SSL_CTX *ssl, const struct tls_settings *settings)
{
    const char *key = settings->key != NULL ? settings->key : settings->certificate;
    if (settings->certificate == NULL && settings->server)
        return fault_raise(FAULT_TLS, "a TLS listener needs a certificate");
    if (settings->certificate == NULL && settings->key != NULL)
        return fault_raise(FAULT_TLS, "key \"%s\" has no certificate", settings->key);
    if (settings->certificate == NULL)
        return OK;
    TRY(tls_use_chain(ssl, settings->certificate));
    return tls_use_key(ssl, key);
}

static bool verifies(const struct tls_settings *settings)
{
    return settings->mode == TLS_MODE_VERIFY_CA || settings->mode == TLS_MODE_VERIFY_FULL;
}

/* Loads the authorities and sets the verification mode.  A listener with authorities requests a
 * certificate from every client, as PostgreSQL does; only the verify modes require one. */
static fault load_authorities(SSL_CTX *ssl, const struct tls_settings *settings)
{
    bool insists = verifies(settings);
    if (!insists && (!settings->server || settings->authorities == NULL)) {
        SSL_CTX_set_verify(ssl, SSL_VERIFY_NONE, NULL);
        return OK;
    }
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | (insists ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                       NULL);
    if (settings->authorities == NULL) {
        if (SSL_CTX_set_default_verify_paths(ssl) != 1)
            return context_fault("the system's certificate authorities");
        return OK;
    }
    return tls_use_authorities(ssl, settings->authorities, settings->server);
}

static fault context_load(struct tls_context *context, const struct tls_settings *settings)
{
    if (context->ssl == NULL)
        return context_fault("TLS context");
    set_options(context->ssl);
    TRY(set_policy(context->ssl, &settings->policy));
    if (settings->server)
        SSL_CTX_set_alpn_select_cb(context->ssl, select_protocol, NULL);
    else if (!settings->is_http &&
             SSL_CTX_set_alpn_protos(context->ssl, tls_protocols, TLS_PROTOCOLS_SIZE) != 0)
        return context_fault("ALPN");
    TRY(load_certificate(context->ssl, settings));
    return load_authorities(context->ssl, settings);
}

fault tls_context_new(const struct tls_settings *settings, struct tls_context **ret)
{
    struct tls_context *context = calloc(1, sizeof(*context));
    if (context == NULL)
        return fault_raise(FAULT_MEMORY, "no memory for a TLS context");
    ERR_clear_error();
    context->references = 1;
    context->mode = settings->mode;
    context->server = settings->server;
    context->ssl = SSL_CTX_new(settings->server ? TLS_server_method() : TLS_client_method());
    fault result = context_load(context, settings);
    if (result != OK)
        tls_context_unref(&context);
    else
        *ret = context;
    return result;
}

struct tls_context *tls_context_ref(struct tls_context *context)
{
    invariant(__atomic_fetch_add(&context->references, 1, __ATOMIC_RELAXED) > 0);
    return context;
}

void tls_context_unref(struct tls_context **context)
{
    struct tls_context *gone = TAKE(*context);
    if (gone == NULL)
        return;
    uint32_t before = __atomic_fetch_sub(&gone->references, 1, __ATOMIC_ACQ_REL);
    invariant(before > 0);
    if (before > 1)
        return;
    SSL_CTX_free(gone->ssl);
    free(gone);
}
