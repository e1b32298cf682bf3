/* tls_names.c - names in certificates, and the digest of a certificate. */
#include "base/buffer.h"
#include "base/check.h"
#include "machine/tls_session.h"

#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

static_assert(STREAM_ENDPOINT_MAX >= EVP_MAX_MD_SIZE, "every digest fits");

bool stream_tls_verified(const struct stream *stream)
{
    const SSL *ssl = stream->tls == NULL ? NULL : tls_ssl(stream->tls);
    return ssl != NULL && SSL_get0_peer_certificate(ssl) != NULL &&
           SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE && SSL_get_verify_result(ssl) == X509_V_OK;
}

/* Appends a name and a NUL.  Ignores names that contain a NUL: an attempt to spoof another name. */
static void name_add(struct buffer *out, const void *text, size_t size)
{
    if (size == 0 || memchr(text, '\0', size) != NULL)
        return;
    buffer_append(out, text, size);
    buffer_append_byte(out, '\0');
}

static void add_common_name(const X509 *certificate, struct buffer *out)
{
    const X509_NAME *subject = X509_get_subject_name(certificate);
    int place = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (place < 0)
        return;
    const ASN1_STRING *value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, place));
    unsigned char *text = NULL;
    int size = ASN1_STRING_to_UTF8(&text, value);
    if (size > 0)
        name_add(out, text, (size_t)size);
    OPENSSL_free(text);
}

static void add_subject(const X509 *certificate, struct buffer *out)
{
    char *text = NULL;
    BIO *memory = BIO_new(BIO_s_mem());
    if (memory == NULL)
        return;
    X509_NAME_print_ex(memory, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253);
    long size = BIO_get_mem_data(memory, &text);
    if (size > 0)
        name_add(out, text, (size_t)size);
    BIO_free(memory);
}

static void add_alternative_names(const X509 *certificate, struct buffer *out)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; names != NULL && i < sk_GENERAL_NAME_num(names); i++) {
        int kind;
        const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &kind);
        if (kind == GEN_DNS || kind == GEN_EMAIL || kind == GEN_URI)
            name_add(out, ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
    }
    GENERAL_NAMES_free(names);
}

void stream_tls_names(const struct stream *stream, enum stream_name kind, struct buffer *out)
{
    const SSL *ssl = stream->tls == NULL ? NULL : tls_ssl(stream->tls);
    const X509 *certificate = ssl == NULL ? NULL : SSL_get0_peer_certificate(ssl);
    if (certificate == NULL)
        return;
    switch (kind) {
    case STREAM_NAME_CN:
        add_common_name(certificate, out);
        break;
    case STREAM_NAME_DN:
        add_subject(certificate, out);
        break;
    case STREAM_NAME_SAN:
        add_alternative_names(certificate, out);
        break;
    }
}

/* RFC 5929, 4.1: the digest of the certificate's signature; SHA-256 instead of MD5 and SHA-1. */
static const EVP_MD *endpoint_digest(const X509 *certificate)
{
    int digest = NID_undef;
    if (X509_get_signature_info((X509 *)(uintptr_t)certificate, &digest, NULL, NULL, NULL) != 1 ||
        digest == NID_undef)
        return NULL;
    if (digest == NID_md5 || digest == NID_sha1)
        return EVP_sha256();
    return EVP_get_digestbynid(digest);
}

size_t stream_tls_endpoint(const struct stream *stream, uint8_t ret[STREAM_ENDPOINT_MAX])
{
    const SSL *ssl = stream->tls == NULL ? NULL : tls_ssl(stream->tls);
    if (ssl == NULL)
        return 0;
    const X509 *certificate =
        SSL_is_server(ssl) ? SSL_get_certificate(ssl) : SSL_get0_peer_certificate(ssl);
    const EVP_MD *digest = certificate == NULL ? NULL : endpoint_digest(certificate);
    unsigned size = 0;
    if (digest == NULL || X509_digest(certificate, digest, ret, &size) != 1)
        return 0;
    invariant(size <= STREAM_ENDPOINT_MAX);
    return size;
}
