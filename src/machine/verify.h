#pragma once
/*
 * verify.h - verifies a user's password by PAM or by an LDAP server.
 *
 * Blocks for seconds: on offload threads only.  Without the library at build time the result is
 * VERIFY_BROKEN.
 */
#include "base/compiler.h"

enum verify_outcome {
    VERIFY_YES,
    VERIFY_NO,
    VERIFY_BROKEN, /* could not be verified; `why` has the reason */
};

struct verify_ldap {
    const char *server; /* names separated by blanks */
    const char *scheme; /* "ldap" unless given */
    uint16_t port;      /* 0: the scheme's default */
    bool start_tls;
    const char *prefix; /* simple bind: prefix + user name + suffix; or NULL */
    const char *suffix;
    const char *base; /* search and bind: where to search for the name; NULL: simple bind */
    const char *bind_dn;
    const char *bind_password;
    const char *attribute; /* "uid" unless given */
    const char *filter;    /* with $username; NULL: (attribute=name) */
    int scope;             /* 0 base, 1 one, 2 sub */
};

struct verify_pam {
    const char *service;
    const char *directory; /* of service files; NULL: the system's */
    const char *host;      /* the client's host (PAM_RHOST) */
};

#define VERIFY_WHY_SIZE 200

/* The parts of an LDAP URL, percent signs decoded; NULL: it has none. */
struct verify_ldap_url {
    const char *scheme; /* "ldap" or "ldaps" */
    const char *host;
    const char *base;
    const char *attribute; /* the first one */
    const char *filter;
    uint16_t port; /* 0: the scheme's default */
    int scope;     /* as of struct verify_ldap; base unless given */
};

/** Parses an LDAP URL (RFC 4516) and calls `each` with its parts, which live during the call.
 *  Returns NULL, or what is wrong with the URL. */
const char *verify_ldap_url(const char *text,
                            void (*each)(void *argument, const struct verify_ldap_url *url),
                            void *argument) MUST_USE;

enum verify_outcome verify_by_ldap(const struct verify_ldap *ldap, const char *user,
                                   const char *password, char why[VERIFY_WHY_SIZE]) MUST_USE;
enum verify_outcome verify_by_pam(const struct verify_pam *pam, const char *user,
                                  const char *password, char why[VERIFY_WHY_SIZE]) MUST_USE;
