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

/* What both ends have: how old a TLS is spoken, and which algorithms. */
#define CIPHERS_MAX 4095
#define POLICY_ROWS                                                                                \
    {.name = "min_version",                                                                        \
     .kind = SETTING_CHOICE,                                                                       \
     AT(tls_config, policy.min_version),                                                           \
     .choices = tls_versions,                                                                      \
     .preset = "TLSv1.2",                                                                          \
     .reloadable = true,                                                                           \
     .help = "The oldest version of TLS that is spoken."},                                         \
        {.name = "ciphers",                                                                        \
         .kind = SETTING_TEXT,                                                                     \
         AT(tls_config, policy.ciphers),                                                           \
         RANGE(1, CIPHERS_MAX),                                                                    \
         .reloadable = true,                                                                       \
         .help = "Ciphers of TLS 1.2, as a list of OpenSSL's; its own choice unless given."},      \
        {.name = "tls13_ciphers",                                                                  \
         .kind = SETTING_TEXT,                                                                     \
         AT(tls_config, policy.suites),                                                            \
         RANGE(1, CIPHERS_MAX),                                                                    \
         .reloadable = true,                                                                       \
         .help = "Cipher suites of TLS 1.3, with colons between; OpenSSL's own choice unless "     \
                 "given."},                                                                        \
    {                                                                                              \
        .name = "curves", .kind = SETTING_TEXT, AT(tls_config, policy.groups),                     \
        RANGE(1, CIPHERS_MAX), .reloadable = true,                                                 \
        .help = "Groups for the exchange of keys, such as X25519:prime256v1; OpenSSL's own "       \
                "choice unless given."                                                             \
    }

const struct setting config_listen_tls_rows[] = {
    {.name = "mode",
     .kind = SETTING_CHOICE,
     AT(tls_config, mode),
     .choices = listen_tls_modes,
     .preset = "disable",
     .reloadable = true,
     .help = "Whether clients may or must use TLS; the verify modes ask them for a certificate."},
    {.name = "cert",
     .kind = SETTING_PATH,
     AT(tls_config, certificate),
     RANGE(1, PATH_BYTES_MAX),
     .reloadable = true,
     .help = "The certificate chain shown to clients, in PEM."},
    {.name = "key",
     .kind = SETTING_PATH,
     AT(tls_config, key),
     RANGE(1, PATH_BYTES_MAX),
     .reloadable = true,
     .help = "Its private key; without it, the key is in the file of `cert`."},
    {.name = "ca",
     .kind = SETTING_PATH,
     AT(tls_config, authorities),
     RANGE(1, PATH_BYTES_MAX),
     .reloadable = true,
     .help = "The authorities that may have signed a client's certificate; clients are asked for "
             "one then, and must have one in the verify modes."},
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
     .help = "Whether servers are asked for TLS and how far they are verified, as in libpq."},
    {.name = "channel_binding",
     .kind = SETTING_CHOICE,
     AT(tls_config, binding),
     .choices = channel_bindings,
     .preset = "prefer",
     .reloadable = true,
     .help =
         "Whether SCRAM logins at servers are bound to the TLS connection (SCRAM-SHA-256-PLUS), "
         "as in libpq; require refuses every other way to log in."},
    {.name = "ca",
     .kind = SETTING_PATH,
     AT(tls_config, authorities),
     RANGE(1, PATH_BYTES_MAX),
     .reloadable = true,
     .help = "The authorities that may have signed the servers' certificates."},
    {.name = "cert",
     .kind = SETTING_PATH,
     AT(tls_config, certificate),
     RANGE(1, PATH_BYTES_MAX),
     .reloadable = true,
     .help = "The certificate shown to servers that ask for one, in PEM."},
    {.name = "key",
     .kind = SETTING_PATH,
     AT(tls_config, key),
     RANGE(1, PATH_BYTES_MAX),
     .reloadable = true,
     .help = "Its private key; without it, the key is in the file of `cert`."},
    POLICY_ROWS,
    {.name = "negotiation",
     .kind = SETTING_CHOICE,
     AT(tls_config, negotiation),
     .choices = tls_negotiations,
     .preset = "postgres",
     .reloadable = true,
     .help = "How TLS begins: after a request in PostgreSQL's protocol, or with the first byte "
             "(direct; PostgreSQL 17 and newer), which saves a round trip and needs a mode that "
             "requires TLS."},
    {.name = NULL},
};
