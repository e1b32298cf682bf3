/* settings_tls.c - the rows of the groups named tls, of listeners and of services. */
#include "instance/settings_rows.h"
#include "link/link.h"

static const struct setting_choice listen_tls_modes[] = {
    {"disable", TLS_MODE_DISABLE},         {"allow", TLS_MODE_ALLOW},
    {"require", TLS_MODE_REQUIRE},         {"verify-ca", TLS_MODE_VERIFY_CA},
    {"verify-full", TLS_MODE_VERIFY_FULL}, {NULL, 0},
};
static const struct setting_choice service_tls_modes[] = {
    {"disable", TLS_MODE_DISABLE},         {"prefer", TLS_MODE_PREFER},
    {"require", TLS_MODE_REQUIRE},         {"verify-ca", TLS_MODE_VERIFY_CA},
    {"verify-full", TLS_MODE_VERIFY_FULL}, {NULL, 0},
};
static const struct setting_choice verified_tls_modes[] = {
    {"disable", TLS_MODE_DISABLE},
    {"require", TLS_MODE_REQUIRE},
    {"verify-ca", TLS_MODE_VERIFY_CA},
    {"verify-full", TLS_MODE_VERIFY_FULL},
    {NULL, 0},
};
static const struct setting_choice tls_versions[] = {
    {"TLSv1.2", TLS_VERSION_1_2},
    {"TLSv1.3", TLS_VERSION_1_3},
    {NULL, 0},
};
static const struct setting_choice tls_negotiations[] = {
    {"postgres", TLS_NEGOTIATION_POSTGRES},
    {"direct", TLS_NEGOTIATION_DIRECT},
    {NULL, 0},
};

static const struct setting_choice channel_bindings[] = {
    {"prefer", LINK_BINDING_PREFER},
    {"require", LINK_BINDING_REQUIRE},
    {"disable", LINK_BINDING_DISABLE},
    {NULL, 0},
};

/* Rows of both listeners and services: TLS versions and algorithms. */
#define CIPHERS_MAX 4095
#define POLICY_ROWS                                                                                \
    {.name = "min_version",                                                                        \
     .kind = SETTING_CHOICE,                                                                       \
     AT(tls_config, policy.min_version),                                                           \
     .choices = tls_versions,                                                                      \
     .preset = "TLSv1.2",                                                                          \
     .reloadable = true,                                                                           \
     .help = "The minimum TLS version."},                                                          \
        {.name = "ciphers",                                                                        \
         .kind = SETTING_TEXT,                                                                     \
         AT(tls_config, policy.ciphers),                                                           \
         RANGE(1, CIPHERS_MAX),                                                                    \
         .reloadable = true,                                                                       \
         .help = "Ciphers of TLS 1.2, as an OpenSSL cipher list; default: OpenSSL's."},            \
        {.name = "tls13_ciphers",                                                                  \
         .kind = SETTING_TEXT,                                                                     \
         AT(tls_config, policy.suites),                                                            \
         RANGE(1, CIPHERS_MAX),                                                                    \
         .reloadable = true,                                                                       \
         .help = "Cipher suites of TLS 1.3, separated by colons; default: OpenSSL's."},            \
    {                                                                                              \
        .name = "curves", .kind = SETTING_TEXT, AT(tls_config, policy.groups),                     \
        RANGE(1, CIPHERS_MAX), .reloadable = true,                                                 \
        .help = "Groups for key exchange, such as X25519:prime256v1; default: OpenSSL's."          \
    }

const struct setting config_listen_tls_rows[] = {
    {.name = "mode",
     .kind = SETTING_CHOICE,
     AT(tls_config, mode),
     .choices = listen_tls_modes,
     .preset = "disable",
     .reloadable = true,
     .help = "Whether clients may or must use TLS; verify-ca and verify-full request a client "
             "certificate."},
    {.name = "cert",
     .kind = SETTING_PATH,
     AT(tls_config, certificate),
     RANGE(1, PATH_BYTES_MAX),
     .reloadable = true,
     .help = "The certificate chain presented to clients, in PEM."},
    {.name = "key",
     .kind = SETTING_PATH,
     AT(tls_config, key),
     RANGE(1, PATH_BYTES_MAX),
     .reloadable = true,
     .help = "The certificate's private key; default: the key in the file of `cert`."},
    {.name = "ca",
     .kind = SETTING_PATH,
     AT(tls_config, authorities),
     RANGE(1, PATH_BYTES_MAX),
     .reloadable = true,
     .help = "The certificate authorities accepted for client certificates. If set, clients are "
             "asked for a certificate; verify-ca and verify-full require one."},
    POLICY_ROWS,
    {.name = NULL},
};

const struct setting config_service_tls_rows[] = {
    {.name = "mode",
     .kind = SETTING_CHOICE,
     AT(tls_config, mode),
     .choices = service_tls_modes,
     .preset = "prefer",
     .reloadable = true,
     .help = "Whether TLS is requested from servers and how far they are verified, as in libpq."},
    {.name = "channel_binding",
     .kind = SETTING_CHOICE,
     AT(tls_config, binding),
     .choices = channel_bindings,
     .preset = "prefer",
     .reloadable = true,
     .help = "Whether SCRAM logins at servers use channel binding (SCRAM-SHA-256-PLUS), as in "
             "libpq; require refuses every other login method."},
    {.name = "ca",
     .kind = SETTING_PATH,
     AT(tls_config, authorities),
     RANGE(1, PATH_BYTES_MAX),
     .reloadable = true,
     .help = "The certificate authorities accepted for the servers' certificates."},
    {.name = "cert",
     .kind = SETTING_PATH,
     AT(tls_config, certificate),
     RANGE(1, PATH_BYTES_MAX),
     .reloadable = true,
     .help = "The certificate presented to servers that request one, in PEM."},
    {.name = "key",
     .kind = SETTING_PATH,
     AT(tls_config, key),
     RANGE(1, PATH_BYTES_MAX),
     .reloadable = true,
     .help = "The certificate's private key; default: the key in the file of `cert`."},
    POLICY_ROWS,
    {.name = "negotiation",
     .kind = SETTING_CHOICE,
     AT(tls_config, negotiation),
     .choices = tls_negotiations,
     .preset = "postgres",
     .reloadable = true,
     .help = "How TLS starts: postgres: after a request in PostgreSQL's protocol; direct: with the "
             "first byte (PostgreSQL 17 and newer), which saves a round trip and needs a mode that "
             "requires TLS."},
    {.name = NULL},
};

const struct setting config_patroni_tls_rows[] = {
    {.name = "mode",
     .kind = SETTING_CHOICE,
     AT(tls_config, mode),
     .choices = verified_tls_modes,
     .preset = "disable",
     .reloadable = true,
     .help = "Whether Patroni is asked by HTTPS, and how far its certificate is verified: "
             "verify-full compares it with the server's host."},
    {.name = "ca",
     .kind = SETTING_PATH,
     AT(tls_config, authorities),
     RANGE(1, PATH_BYTES_MAX),
     .reloadable = true,
     .help = "The certificate authorities accepted for Patroni's certificate."},
    {.name = "cert",
     .kind = SETTING_PATH,
     AT(tls_config, certificate),
     RANGE(1, PATH_BYTES_MAX),
     .reloadable = true,
     .help = "The certificate presented to Patroni, in PEM: for its `verify_client: required`."},
    {.name = "key",
     .kind = SETTING_PATH,
     AT(tls_config, key),
     RANGE(1, PATH_BYTES_MAX),
     .reloadable = true,
     .help = "The certificate's private key; default: the key in the file of `cert`."},
    POLICY_ROWS,
    {.name = NULL},
};

const struct setting config_redis_tls_rows[] = {
    {.name = "mode",
     .kind = SETTING_CHOICE,
     AT(tls_config, mode),
     .choices = verified_tls_modes,
     .preset = "disable",
     .help = "Whether the connection to Redis is encrypted, and how far its certificate is "
             "verified: verify-full compares it with `host`."},
    {.name = "ca",
     .kind = SETTING_PATH,
     AT(tls_config, authorities),
     RANGE(1, PATH_BYTES_MAX),
     .help = "The certificate authorities accepted for Redis's certificate."},
    {.name = "cert",
     .kind = SETTING_PATH,
     AT(tls_config, certificate),
     RANGE(1, PATH_BYTES_MAX),
     .help = "The certificate presented to Redis, in PEM: for its `tls-auth-clients`."},
    {.name = "key",
     .kind = SETTING_PATH,
     AT(tls_config, key),
     RANGE(1, PATH_BYTES_MAX),
     .help = "The certificate's private key; default: the key in the file of `cert`."},
    {.name = NULL},
};
