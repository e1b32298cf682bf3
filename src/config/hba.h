#pragma once
/*
 * hba.h - which connections are accepted, and how they authenticate: rules in pg_hba.conf's syntax,
 * maps in pg_ident.conf's.
 *
 * Pure: functions of the caller read files and look up names, addresses and roles.  A `struct hba`
 * is immutable once loaded, owned by its configuration version, and matched from any thread.
 * hba_match() may suspend where the functions of struct hba_world do (host names, roles).  Design
 * and differences from PostgreSQL: docs/authentication.md
 */
#include "base/buffer.h"
#include "machine/os.h"

/* Limits: bytes of one file, nesting of files, rules, and elements of one list. */
#define HBA_FILE_MAX   ((size_t)4 * 1024 * 1024)
#define HBA_DEPTH_MAX  10
#define HBA_RULES_MAX  100000u
#define HBA_TOKENS_MAX 100000u

enum auth_method {
    AUTH_TRUST,
    AUTH_BLOCK,
    AUTH_PASSWORD, /* clear text */
    AUTH_MD5,      /* md5, or SCRAM where the stored secret is a SCRAM verifier */
    AUTH_SCRAM,    /* scram-sha-256 */
    AUTH_CERT,     /* the TLS certificate's name */
    AUTH_PEER,     /* the operating system's user at the other end of a Unix socket */
    AUTH_PAM,
    AUTH_LDAP,
    AUTH_HBA, /* routes only: the method of the first line of the HBA file that matches */
};

/* The part of a certificate that is the client's name. */
enum auth_name { AUTH_NAME_CN, AUTH_NAME_DN, AUTH_NAME_SAN };

enum auth_clientcert { AUTH_CLIENTCERT_NONE, AUTH_CLIENTCERT_CA, AUTH_CLIENTCERT_FULL };

struct auth_ldap {
    const char *server; /* names separated by blanks; NULL: the library's own configuration */
    const char *scheme; /* "ldap" or "ldaps" */
    uint16_t port;      /* 0: the scheme's */
    bool start_tls;
    const char *prefix; /* simple bind: texts before and after the name */
    const char *suffix;
    const char *base; /* search, then bind; NULL: simple bind */
    const char *bind_dn;
    const char *bind_password;
    const char *attribute; /* "uid" unless given */
    const char *filter;    /* with $username; NULL: (attribute=name) */
    int scope;             /* 0 base, 1 one, 2 sub */
};

/* A method with its options. */
struct auth_how {
    enum auth_method method;
    const char *map; /* NULL: both names must be equal */
    enum auth_clientcert clientcert;
    enum auth_name clientname;
    const char *pam_service;
    const char *pam_directory; /* directory of service files; NULL: the system's */
    bool pam_hostname;         /* PAM gets the client's host name instead of its address */
    const struct auth_ldap *ldap;
};

struct hba; /* rules and maps */
struct hba_rule {
    const char *file;
    uint32_t line;
    const char *text; /* the words of the line */
    struct auth_how how;
    const struct hba_matcher *matcher; /* private */
};

/* How files are read and problems are reported. */
struct hba_reader {
    int (*read)(void *argument, const char *path, struct buffer *into); /* 0 or -errno */
    /* Lists a directory: sorted names, each followed by a NUL; returns 0 or -errno. */
    int (*list)(void *argument, const char *path, struct buffer *into);
    void (*problem)(void *argument, const char *file, uint32_t line, const char *text);
    void *argument;
};

struct hba *hba_new(void); /* NULL: no memory */
void hba_free(struct hba **hba);
/** Reads rules, or maps, into `hba`.  Reports all that is wrong to the reader's `problem`. */
void hba_read_rules(struct hba *hba, const char *path, const struct hba_reader *reader);
void hba_read_maps(struct hba *hba, const char *path, const struct hba_reader *reader);
/** Reads options in the form that they have after a method ("map=m clientname=SAN").  Problems
 *  name `place`.  `ret->method` must be set. */
void hba_read_options(struct hba *hba, const char *text, const struct hba_reader *reader,
                      const char *place, struct auth_how *ret);
/** Returns the rule of this index, in the order of the file; NULL after the last. */
const struct hba_rule *hba_rule(const struct hba *hba, size_t index);
/** Returns whether a rule or map depends on role membership ("+role", samerole). */
bool hba_needs_roles(const struct hba *hba);

/* Functions that look up what the files do not say.  Each may be NULL: then its answer is no. */
struct hba_world {
    fault (*in_role)(void *argument, struct span user, const char *role, bool *ret);
    /* Finds whether the peer is that host or, with a leading dot, in that domain. */
    fault (*is_host)(void *argument, const struct address *peer, const char *name, bool *ret);
    /* Returns whether the peer's address is one of ours, or in one of our networks. */
    bool (*is_own)(void *argument, const struct address *peer, bool network);
    void *argument;
};

struct hba_subject {
    struct span database;
    struct span user;
    const struct address *peer; /* ADDRESS_UNIX: "local" */
    bool tls;
    bool replication; /* physical replication */
};

/** Finds the first rule that matches; NULL: none.  Faults: those of the world's functions. */
fault hba_match(const struct hba *hba, const struct hba_subject *subject,
                const struct hba_world *world, const struct hba_rule **ret) MUST_USE;

/** Finds whether the map allows this outer name (of a certificate, of the operating system) to be
 *  this user.  `map` NULL: only if both are equal.  Faults: those of the world's functions. */
fault hba_map_allows(const struct hba *hba, const char *map, struct span outer, struct span user,
                     const struct hba_world *world, bool *ret) MUST_USE;
bool hba_has_map(const struct hba *hba, const char *map);

const char *auth_method_text(enum auth_method method);
