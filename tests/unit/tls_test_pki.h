#pragma once
/*
 * tls_test_pki.h - certificates for tests, made on the spot in a folder of their own.
 */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Check's own assertions work within tests only, and this may run before them. */
#define pki_must(fact) ((fact) ? (void)0 : abort())

/* An authority with all that it signed; every path is NUL-terminated text. */
struct pki {
    char folder[64];
    char ca[96];
    char server[96]; /* for db.test, *.wild.test and 127.0.0.1 */
    char server_key[96];
    char client[96];
    char client_key[96];
    X509 *authority;
    EVP_PKEY *authority_key;
};

static inline void pki_write(const char *path, X509 *certificate, EVP_PKEY *key)
{
    FILE *file = fopen(path, "w");
    pki_must(file != NULL);
    if (certificate != NULL)
        pki_must(PEM_write_X509(file, certificate) == 1);
    if (key != NULL)
        pki_must(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1);
    fclose(file);
}

static inline void pki_extend(X509 *certificate, int kind, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, kind, value);
    pki_must(extension != NULL);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
}

/* Signed by `issuer` with `issuer_key`, or by itself where they are NULL. */
static inline X509 *pki_certificate(const char *name, EVP_PKEY *key, const char *alternatives,
                                    X509 *issuer, EVP_PKEY *issuer_key)
{
    static long serial = 1;
    X509 *made = X509_new();
    X509_set_version(made, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(made), serial++);
    X509_gmtime_adj(X509_getm_notBefore(made), -3600);
    X509_gmtime_adj(X509_getm_notAfter(made), 3600);
    X509_set_pubkey(made, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(made), "CN", MBSTRING_ASC,
                               (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(made, X509_get_subject_name(issuer != NULL ? issuer : made));
    if (issuer == NULL)
        pki_extend(made, NID_basic_constraints, "critical,CA:TRUE");
    if (alternatives != NULL)
        pki_extend(made, NID_subject_alt_name, alternatives);
    pki_must(X509_sign(made, issuer_key != NULL ? issuer_key : key, EVP_sha256()) > 0);
    return made;
}

static inline void pki_issue(const struct pki *pki, const char *name, const char *alternatives,
                             const char *path, const char *key_path)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *made = pki_certificate(name, key, alternatives, pki->authority, pki->authority_key);
    pki_write(path, made, NULL);
    pki_write(key_path, NULL, key);
    X509_free(made);
    EVP_PKEY_free(key);
}

static inline void pki_path(const struct pki *pki, const char *name, char *path)
{
    snprintf(path, 96, "%s/%s", pki->folder, name);
}

static inline void pki_init(struct pki *pki)
{
    snprintf(pki->folder, sizeof(pki->folder), "%s", "/tmp/tls_test.XXXXXX");
    pki_must(mkdtemp(pki->folder) != NULL);
    pki_path(pki, "ca.crt", pki->ca);
    pki_path(pki, "server.crt", pki->server);
    pki_path(pki, "server.key", pki->server_key);
    pki_path(pki, "client.crt", pki->client);
    pki_path(pki, "client.key", pki->client_key);
    pki->authority_key = EVP_EC_gen("P-256");
    pki->authority = pki_certificate(pki->folder, pki->authority_key, NULL, NULL, NULL);
    pki_write(pki->ca, pki->authority, NULL);
    pki_issue(pki, "db.test", "DNS:db.test,DNS:*.wild.test,IP:127.0.0.1", pki->server,
              pki->server_key);
    pki_issue(pki, "alice", NULL, pki->client, pki->client_key);
}

static inline void pki_fini(struct pki *pki)
{
    const char *paths[] = {pki->ca, pki->server, pki->server_key, pki->client, pki->client_key};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        unlink(paths[i]);
    rmdir(pki->folder);
    X509_free(pki->authority);
    EVP_PKEY_free(pki->authority_key);
}
