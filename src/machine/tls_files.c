/* tls_files.c - the files of a TLS context: certificates, keys, revocation lists. */
#include "machine/os.h"
#include "machine/tls_context_parts.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

/*
 * Loads certificates and keys.  Files are read through the os table; OpenSSL gets the bytes.
 */
#define PEM_FILE_MAX ((size_t)16 * 1024 * 1024)

struct pem_file {
    const char *what;
    const char *path;
    uint8_t *bytes;
    size_t room;
    BIO *bio;
};

const char *tls_reason(char *text, size_t size)
{
    unsigned long code = ERR_get_error();
    const char *reason = NULL;
    if (code == 0) {
        snprintf(text, size, "no reason given");
    } else if (ERR_SYSTEM_ERROR(code)) {
        char buffer[96];
        snprintf(text, size, "%s", strerror_r(ERR_GET_REASON(code), buffer, sizeof(buffer)));
    } else if ((reason = ERR_reason_error_string(code)) != NULL) {
        snprintf(text, size, "%s", reason);
    } else {
        snprintf(text, size, "OpenSSL error %lx", code);
    }
    ERR_clear_error();
    return text;
}

static fault pem_fault(const struct pem_file *file)
{
    char reason[TLS_REASON_SIZE];
    tls_reason(reason, sizeof(reason));
    return fault_raise(FAULT_TLS, "%s \"%s\": %s", file->what, file->path, reason);
}

static void pem_close(struct pem_file *file)
{
    BIO_free(file->bio);
    /* The file may contain a key. */
    if (file->bytes != NULL)
        explicit_bzero(file->bytes, file->room);
    free(file->bytes);
    *file = (struct pem_file){.bio = NULL};
}

static fault pem_read(struct pem_file *file, int64_t *ret)
{
    free(file->bytes);
    file->bytes = malloc(file->room);
    if (file->bytes == NULL)
        return fault_raise(FAULT_TLS, "%s \"%s\": no memory", file->what, file->path);
    *ret = os->file_read(file->path, file->bytes, file->room);
    if (*ret < 0)
        return fault_raise(FAULT_TLS, "%s \"%s\": %s", file->what, file->path,
                           strerrordesc_np((int)-*ret));
    return OK;
}

static fault pem_open(struct pem_file *file, const char *what, const char *path)
{
    int64_t size = 0;
    *file = (struct pem_file){.what = what, .path = path, .room = 16384};
    fault result = pem_read(file, &size);
    while (result == OK && (size_t)size == file->room && file->room < PEM_FILE_MAX) {
        explicit_bzero(file->bytes, file->room);
        file->room *= 4;
        result = pem_read(file, &size);
    }
    if (result == OK)
        file->bio = BIO_new_mem_buf(file->bytes, (int)size);
    if (result == OK && file->bio == NULL)
        result = pem_fault(file);
    if (result != OK)
        pem_close(file);
    return result;
}

/* The password callback: a daemon can't ask for one, so loading an encrypted key fails. */
static int refuse_password(char *text, int size, int writing, void *argument)
{
    return -1;
}

/* Whether OpenSSL found no further PEM block, which is no error after the last certificate. */
static bool pem_at_end(void)
{
    unsigned long code = ERR_peek_last_error();
    bool at_end = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
    if (at_end)
        ERR_clear_error();
    return at_end;
}

static bool chain_use(SSL_CTX *ssl, BIO *bio)
{
    X509 *leaf = PEM_read_bio_X509_AUX(bio, NULL, refuse_password, NULL);
    bool used = leaf != NULL && SSL_CTX_use_certificate(ssl, leaf) == 1 &&
                SSL_CTX_clear_chain_certs(ssl) == 1;
    X509_free(leaf);
    while (used) {
        X509 *next = PEM_read_bio_X509(bio, NULL, refuse_password, NULL);
        if (next == NULL)
            return pem_at_end();
        used = SSL_CTX_add0_chain_cert(ssl, next) == 1;
        if (!used)
            X509_free(next);
    }
    return false;
}

fault tls_use_chain(SSL_CTX *ssl, const char *path)
{
    struct pem_file file;
    TRY(pem_open(&file, "certificate", path));
    fault result = chain_use(ssl, file.bio) ? OK : pem_fault(&file);
    pem_close(&file);
    return result;
}

fault tls_use_key(SSL_CTX *ssl, const char *path)
{
    struct pem_file file;
    TRY(pem_open(&file, "key", path));
    EVP_PKEY *key = PEM_read_bio_PrivateKey(file.bio, NULL, refuse_password, NULL);
    bool used =
        key != NULL && SSL_CTX_use_PrivateKey(ssl, key) == 1 && SSL_CTX_check_private_key(ssl) == 1;
    EVP_PKEY_free(key);
    fault result = used ? OK : pem_fault(&file);
    pem_close(&file);
    return result;
}

/* Adds an entry of the file: a certificate authority or a revocation list. */
static bool authority_add(SSL_CTX *ssl, const X509_INFO *entry, bool asks)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ssl);
    if (entry->crl != NULL && X509_STORE_add_crl(store, entry->crl) != 1)
        return false;
    if (entry->x509 == NULL)
        return true;
    return X509_STORE_add_cert(store, entry->x509) == 1 &&
           (!asks || SSL_CTX_add_client_CA(ssl, entry->x509) == 1);
}

static bool authorities_add(SSL_CTX *ssl, BIO *bio, bool asks)
{
    uint32_t certificates = 0;
    STACK_OF(X509_INFO) *entries = PEM_X509_INFO_read_bio(bio, NULL, refuse_password, NULL);
    bool added = entries != NULL;
    for (int i = 0; added && i < sk_X509_INFO_num(entries); i++) {
        const X509_INFO *entry = sk_X509_INFO_value(entries, i);
        certificates += entry->x509 != NULL;
        added = authority_add(ssl, entry, asks);
    }
    if (added && certificates == 0)
        ERR_raise(ERR_LIB_X509, X509_R_NO_CERTIFICATE_FOUND);
    sk_X509_INFO_pop_free(entries, X509_INFO_free);
    return added && certificates > 0;
}

fault tls_use_authorities(SSL_CTX *ssl, const char *path, bool asks)
{
    struct pem_file file;
    TRY(pem_open(&file, "certificate authorities", path));
    fault result = authorities_add(ssl, file.bio, asks) ? OK : pem_fault(&file);
    pem_close(&file);
    return result;
}
