#pragma once
/*
 * verify.h - whether a password is a user's, by somebody else's word: PAM, or an LDAP server.
 *
 * Blocks, for seconds: on offload threads only.  Each is there only where its library was when the
 * program was built; else the answer is VERIFY_BROKEN.
 */
#include "base/compiler.h"

enum verify_outcome {
    VERIFY_YES,
    VERIFY_NO,
    VERIFY_BROKEN, /* nobody could say; `why` tells */
};

struct verify_ldap {
    const char *server; /* names separated by blanks */
    const char *scheme; /* "ldap" unless given */
    uint16_t port;      /* 0: the scheme's */
    bool start_tls;
    const char *prefix; /* without `base`: what stands around the name to bind as; or NULL */
    const char *suffix;
    const char *base; /* where to search for the name; NULL: not at all */
    const char *bind_dn;
    const char *bind_password;
    const char *attribute; /* "uid" unless given */
    const char *filter;    /* with $username; NULL: (attribute=name) */
    int scope;             /* 0 base, 1 one, 2 sub */
};

struct verify_pam {
    const char *service;
    const char *directory; /* of service files; NULL: the system's */
    const char *host;      /* where the user comes from */
};

#define VERIFY_WHY_SIZE 200

enum verify_outcome verify_by_ldap(const struct verify_ldap *ldap, const char *user,
                                   const char *password, char why[VERIFY_WHY_SIZE]) MUST_USE;
enum verify_outcome verify_by_pam(const struct verify_pam *pam, const char *user,
                                  const char *password, char why[VERIFY_WHY_SIZE]) MUST_USE;
