/* verify_ldap.c - verifies a password by an LDAP server; parses LDAP URLs. */
#include "machine/verify.h"

#include <stdio.h>
#include <string.h>

#ifdef WITH_LDAP
#include "machine/process.h"

#include <ldap.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/time.h>

#define URIS_MAX        2048
#define NAME_BYTES_MAX  1024
#define CONNECT_TIMEOUT 5 /* seconds */
#define ANSWER_TIMEOUT  10

struct session {
    const struct verify_ldap *ldap;
    LDAP *handle;
    char *why;
};

/* The calls that use libldap.  Its destructor frees what they use, also of a call that its login no
 * longer waits for. */
static struct {
    pthread_mutex_t lock;
    uint32_t calls;
    bool over; /* the process ends */
} library = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool library_enter(void)
{
    pthread_mutex_lock(&library.lock);
    bool usable = !library.over;
    library.calls += usable ? 1 : 0;
    pthread_mutex_unlock(&library.lock);
    return usable;
}

static void library_leave(void)
{
    pthread_mutex_lock(&library.lock);
    library.calls -= 1;
    pthread_mutex_unlock(&library.lock);
}

/* Runs at exit, before the destructors: they don't run while a call is under way. */
static void library_end(int status, void *argument)
{
    pthread_mutex_lock(&library.lock);
    library.over = true;
    bool used = library.calls > 0;
    pthread_mutex_unlock(&library.lock);
    if (!used)
        return;
    fflush(argument);
    process_leave(status);
}

/* Initializes libldap's global options, which libldap does at the first use without a lock. */
static void library_begin(void)
{
    (void)on_exit(library_end, NULL);
    LDAPAPIInfo info = {.ldapai_info_version = LDAP_API_INFO_VERSION};
    if (ldap_get_option(NULL, LDAP_OPT_API_INFO, &info) != LDAP_OPT_SUCCESS)
        return;
    ldap_memfree(info.ldapai_vendor_name);
    ldap_memvfree((void **)info.ldapai_extensions);
}

static const char *url_problem(int code)
{
    switch (code) {
    case LDAP_URL_ERR_MEM:
        return "out of memory";
    case LDAP_URL_ERR_BADSCHEME:
        return "the scheme is not ldap or ldaps";
    case LDAP_URL_ERR_BADHOST:
        return "the host or port is not valid";
    case LDAP_URL_ERR_BADATTRS:
        return "the attributes are not valid";
    case LDAP_URL_ERR_BADSCOPE:
        return "the scope is not base, one or sub";
    case LDAP_URL_ERR_BADFILTER:
        return "the filter is not valid";
    case LDAP_URL_ERR_BADEXTS:
        return "the extensions are not valid";
    default:
        return "it is not valid";
    }
}

static const char *url_check(const LDAPURLDesc *url)
{
    bool plain = strcmp(url->lud_scheme, "ldap") == 0 || strcmp(url->lud_scheme, "ldaps") == 0;
    if (!plain)
        return url_problem(LDAP_URL_ERR_BADSCHEME);
    if (url->lud_port < 0 || url->lud_port > UINT16_MAX)
        return url_problem(LDAP_URL_ERR_BADHOST);
    if (url->lud_scope < LDAP_SCOPE_BASE || url->lud_scope > LDAP_SCOPE_SUBTREE)
        return url_problem(LDAP_URL_ERR_BADSCOPE);
    return NULL;
}

static const char *part_or_null(const char *part)
{
    return part == NULL || *part == '\0' ? NULL : part;
}

const char *verify_ldap_url(const char *text,
                            void (*each)(void *argument, const struct verify_ldap_url *url),
                            void *argument)
{
    LDAPURLDesc *found;
    int code = ldap_url_parse(text, &found);
    if (code != LDAP_URL_SUCCESS)
        return url_problem(code);
    const char *problem = url_check(found);
    const struct verify_ldap_url url = {
        .scheme = strcmp(found->lud_scheme, "ldaps") == 0 ? "ldaps" : "ldap",
        .host = part_or_null(found->lud_host),
        .base = part_or_null(found->lud_dn),
        .attribute = found->lud_attrs == NULL ? NULL : part_or_null(found->lud_attrs[0]),
        .filter = part_or_null(found->lud_filter),
        .port = (uint16_t)found->lud_port,
        .scope = found->lud_scope,
    };
    if (problem == NULL)
        each(argument, &url);
    ldap_free_urldesc(found);
    return problem;
}

static enum verify_outcome broken(const struct session *session, const char *what, int code)
{
    snprintf(session->why, VERIFY_WHY_SIZE, "LDAP: %s: %s", what, ldap_err2string(code));
    return VERIFY_BROKEN;
}

/* Makes the list of URIs: "ldap://a:389 ldap://b:389". */
static bool uris_make(const struct verify_ldap *ldap, char *uris, size_t size)
{
    const char *scheme = ldap->scheme == NULL ? "ldap" : ldap->scheme;
    unsigned port = ldap->port != 0 ? ldap->port : strcmp(scheme, "ldaps") == 0 ? 636 : 389;
    size_t used = 0;
    const char *at = ldap->server;
    uris[0] = '\0';
    while (*(at += strspn(at, " ")) != '\0') {
        size_t length = strcspn(at, " ");
        bool bare = *at != '[' && memchr(at, ':', length) != NULL; /* an IPv6 address */
        int more = snprintf(uris + used, size - used, "%s%s://%s%.*s%s:%u", used > 0 ? " " : "",
                            scheme, bare ? "[" : "", (int)length, at, bare ? "]" : "", port);
        if (more < 0 || (size_t)more >= size - used)
            return false;
        used += (size_t)more;
        at += length;
    }
    return used > 0;
}

static enum verify_outcome session_open(struct session *session)
{
    static const int version = LDAP_VERSION3;
    static const struct timeval connect = {.tv_sec = CONNECT_TIMEOUT};
    static const struct timeval answer = {.tv_sec = ANSWER_TIMEOUT};
    char uris[URIS_MAX];
    if (!uris_make(session->ldap, uris, sizeof(uris)))
        return broken(session, "the servers' names are too long", LDAP_PARAM_ERROR);
    int code = ldap_initialize(&session->handle, uris);
    if (code != LDAP_SUCCESS)
        return broken(session, uris, code);
    ldap_set_option(session->handle, LDAP_OPT_PROTOCOL_VERSION, &version);
    ldap_set_option(session->handle, LDAP_OPT_NETWORK_TIMEOUT, &connect);
    ldap_set_option(session->handle, LDAP_OPT_TIMEOUT, &answer);
    ldap_set_option(session->handle, LDAP_OPT_REFERRALS, LDAP_OPT_OFF);
    ldap_set_option(session->handle, LDAP_OPT_RESTART, LDAP_OPT_ON);
    if (!session->ldap->start_tls)
        return VERIFY_YES;
    code = ldap_start_tls_s(session->handle, NULL, NULL);
    return code == LDAP_SUCCESS ? VERIFY_YES : broken(session, "StartTLS", code);
}

static void session_close(struct session *session)
{
    if (session->handle != NULL)
        ldap_unbind_ext_s(session->handle, NULL, NULL);
    session->handle = NULL;
}

static int session_bind(const struct session *session, const char *dn, const char *password)
{
    struct berval secret = {.bv_len = strlen(password), .bv_val = (char *)(uintptr_t)password};
    return ldap_sasl_bind_s(session->handle, dn, LDAP_SASL_SIMPLE, &secret, NULL, NULL, NULL);
}

/* Distinguishes a rejected bind (NO) from a failed one (BROKEN). */
static enum verify_outcome bind_outcome(const struct session *session, int code)
{
    switch (code) {
    case LDAP_SUCCESS:
        return VERIFY_YES;
    case LDAP_INVALID_CREDENTIALS:
    case LDAP_NO_SUCH_OBJECT:
    case LDAP_INVALID_DN_SYNTAX:
    case LDAP_INAPPROPRIATE_AUTH:
    case LDAP_UNWILLING_TO_PERFORM:
    case LDAP_INSUFFICIENT_ACCESS:
    case LDAP_CONSTRAINT_VIOLATION:
        return VERIFY_NO;
    default:
        return broken(session, "bind", code);
    }
}

/* Makes the search filter: replaces each $username by the user's name. */
static bool filter_make(const struct verify_ldap *ldap, const char *user, char *filter, size_t size)
{
    static const char mark[] = "$username";
    const char *at = ldap->filter;
    size_t used = 0;
    if (at == NULL) {
        const char *attribute = ldap->attribute == NULL ? "uid" : ldap->attribute;
        int made = snprintf(filter, size, "(%s=%s)", attribute, user);
        return made > 0 && (size_t)made < size;
    }
    while (*at != '\0') {
        bool here = strncmp(at, mark, sizeof(mark) - 1) == 0;
        int more = here ? snprintf(filter + used, size - used, "%s", user)
                        : snprintf(filter + used, size - used, "%c", *at);
        if (more < 0 || (size_t)more >= size - used)
            return false;
        used += (size_t)more;
        at += here ? sizeof(mark) - 1 : 1;
    }
    return used > 0;
}

/* Searches the user's entry and returns its DN; NO if there is none or more than one. */
static enum verify_outcome entry_find(const struct session *session, const char *user, char *dn,
                                      size_t size)
{
    static const int scopes[] = {LDAP_SCOPE_BASE, LDAP_SCOPE_ONELEVEL, LDAP_SCOPE_SUBTREE};
    const struct verify_ldap *ldap = session->ldap;
    char filter[NAME_BYTES_MAX * 2], none[] = LDAP_NO_ATTRS;
    char *attributes[] = {none, NULL};
    LDAPMessage *found = NULL;
    enum verify_outcome result = VERIFY_NO;
    if (!filter_make(ldap, user, filter, sizeof(filter)))
        return VERIFY_NO;
    int code = ldap_search_ext_s(session->handle, ldap->base, scopes[ldap->scope], filter,
                                 attributes, 0, NULL, NULL, NULL, 2, &found);
    if (code != LDAP_SUCCESS && code != LDAP_SIZELIMIT_EXCEEDED && code != LDAP_NO_SUCH_OBJECT)
        result = broken(session, "search", code);
    else if (code == LDAP_SUCCESS && ldap_count_entries(session->handle, found) == 1) {
        char *text = ldap_get_dn(session->handle, ldap_first_entry(session->handle, found));
        if (text != NULL && strlen(text) < size) {
            snprintf(dn, size, "%s", text);
            result = VERIFY_YES;
        }
        ldap_memfree(text);
    }
    ldap_msgfree(found);
    return result;
}

static enum verify_outcome search(struct session *session, const char *user, char *dn, size_t size)
{
    const struct verify_ldap *ldap = session->ldap;
    enum verify_outcome opened = session_open(session);
    if (opened != VERIFY_YES)
        return opened;
    int code = session_bind(session, ldap->bind_dn == NULL ? "" : ldap->bind_dn,
                            ldap->bind_password == NULL ? "" : ldap->bind_password);
    enum verify_outcome result = code == LDAP_SUCCESS
                                     ? entry_find(session, user, dn, size)
                                     : broken(session, "bind for the search", code);
    session_close(session);
    return result;
}

/* Whether the name is free of characters that are special in a filter or a DN. */
static bool name_sound(const struct verify_ldap *ldap, const char *user)
{
    return strpbrk(user, ldap->base != NULL ? "*()\\/" : ",+\"\\<>;=#") == NULL;
}

static enum verify_outcome password_check(const struct verify_ldap *ldap, const char *user,
                                          const char *password, char why[VERIFY_WHY_SIZE])
{
    struct session session = {.ldap = ldap, .why = why};
    char dn[NAME_BYTES_MAX];
    /* An empty password is rejected: a bind without a password succeeds as anonymous. */
    if (password[0] == '\0' || !name_sound(ldap, user))
        return VERIFY_NO;
    if (ldap->base != NULL) {
        enum verify_outcome found = search(&session, user, dn, sizeof(dn));
        if (found != VERIFY_YES)
            return found;
    } else {
        int made = snprintf(dn, sizeof(dn), "%s%s%s", ldap->prefix == NULL ? "" : ldap->prefix,
                            user, ldap->suffix == NULL ? "" : ldap->suffix);
        if (made < 0 || (size_t)made >= sizeof(dn))
            return VERIFY_NO;
    }
    enum verify_outcome result = session_open(&session);
    if (result == VERIFY_YES)
        result = bind_outcome(&session, session_bind(&session, dn, password));
    session_close(&session);
    return result;
}

enum verify_outcome verify_by_ldap(const struct verify_ldap *ldap, const char *user,
                                   const char *password, char why[VERIFY_WHY_SIZE])
{
    static pthread_once_t begun = PTHREAD_ONCE_INIT;
    why[0] = '\0';
    if (!library_enter()) {
        snprintf(why, VERIFY_WHY_SIZE, "LDAP: the process ends");
        return VERIFY_BROKEN;
    }
    pthread_once(&begun, library_begin);
    enum verify_outcome result = password_check(ldap, user, password, why);
    library_leave();
    return result;
}

#else

const char *verify_ldap_url(const char *text,
                            void (*each)(void *argument, const struct verify_ldap_url *url),
                            void *argument)
{
    return "this build has no LDAP";
}

enum verify_outcome verify_by_ldap(const struct verify_ldap *ldap, const char *user,
                                   const char *password, char why[VERIFY_WHY_SIZE])
{
    snprintf(why, VERIFY_WHY_SIZE, "this program was built without LDAP");
    return VERIFY_BROKEN;
}

#endif
