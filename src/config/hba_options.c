/* hba_options.c - reads the "name=value" options after a method. */
#include "config/hba_parts.h"
#include "machine/verify.h"

#include <stdio.h>

/* Options that are being read, and their place. */
struct options {
    struct hba_lines *lines;
    const struct hba_line *line;
    struct auth_how *how;
    struct auth_ldap *ldap; /* NULL until the first ldap option */
    bool clientname_given;
};

static bool refuse(const struct options *options, const char *name, const char *value,
                   const char *accepted)
{
    hba_problem(options->lines->reader, options->line->file, options->line->line,
                "found %s=\"%s\"; accepted: %s", name, value, accepted);
    return false;
}

static struct auth_ldap *ldap_of(struct options *options)
{
    if (options->ldap == NULL)
        options->ldap = hba_take(options->lines->hba, sizeof(*options->ldap));
    if (options->ldap != NULL && options->how->ldap == NULL) {
        options->ldap->scope = 2;
        options->how->ldap = options->ldap;
    }
    return options->ldap;
}

static bool scope_read(const char *text, int *ret)
{
    static const char *const words[] = {"base", "one", "sub"};
    for (int i = 0; i < (int)ARRAY_SIZE(words); i++) {
        if (strcmp(text, words[i]) != 0)
            continue;
        *ret = i;
        return true;
    }
    return false;
}

static bool port_read(const char *text, uint16_t *ret)
{
    unsigned port = 0;
    for (size_t i = 0; text[i] != '\0'; i++) {
        if (i == 5 || text[i] < '0' || text[i] > '9')
            return false;
        port = port * 10 + (unsigned)(text[i] - '0');
    }
    *ret = (uint16_t)port;
    return port > 0 && port <= UINT16_MAX;
}

static const char *part_keep(struct hba *hba, const char *part)
{
    return part == NULL ? NULL : hba_text(hba, span_text(part));
}

static void url_keep(void *argument, const struct verify_ldap_url *url)
{
    struct options *options = argument;
    struct hba *hba = options->lines->hba;
    struct auth_ldap *ldap = options->ldap;
    ldap->scheme = url->scheme;
    ldap->server = url->host == NULL ? ldap->server : part_keep(hba, url->host);
    ldap->port = url->port;
    ldap->base = url->base == NULL ? ldap->base : part_keep(hba, url->base);
    ldap->attribute = url->attribute == NULL ? ldap->attribute : part_keep(hba, url->attribute);
    ldap->filter = url->filter == NULL ? ldap->filter : part_keep(hba, url->filter);
    ldap->scope = url->scope;
}

static bool url_read(struct options *options, const char *text)
{
    if (ldap_of(options) == NULL)
        return false;
    const char *problem = verify_ldap_url(text, url_keep, options);
    if (problem == NULL)
        return true;
    hba_problem(options->lines->reader, options->line->file, options->line->line,
                "found ldapurl=\"%s\": %s; accepted: "
                "ldap[s]://host[:port]/base[?attribute[?scope[?filter]]]",
                text, problem);
    return false;
}

static bool ldap_option(struct options *options, const char *name, const char *value)
{
    struct auth_ldap *ldap = ldap_of(options);
    const char *text = ldap == NULL ? NULL : hba_text(options->lines->hba, span_text(value));
    const struct {
        const char *name;
        const char **to;
    } texts[] = {
        {"ldapserver", &ldap->server},
        {"ldapprefix", &ldap->prefix},
        {"ldapsuffix", &ldap->suffix},
        {"ldapbasedn", &ldap->base},
        {"ldapbinddn", &ldap->bind_dn},
        {"ldapbindpasswd", &ldap->bind_password},
        {"ldapsearchattribute", &ldap->attribute},
        {"ldapsearchfilter", &ldap->filter},
    };
    if (text == NULL)
        return false;
    if (strcmp(name, "ldapurl") == 0)
        return url_read(options, value);
    if (strcmp(name, "ldapport") == 0)
        return port_read(value, &ldap->port) || refuse(options, name, value, "a port");
    if (strcmp(name, "ldapscope") == 0)
        return scope_read(value, &ldap->scope) || refuse(options, name, value, "base, one, sub");
    if (strcmp(name, "ldaptls") == 0) {
        ldap->start_tls = strcmp(value, "1") == 0;
        return ldap->start_tls || strcmp(value, "0") == 0 || refuse(options, name, value, "0, 1");
    }
    if (strcmp(name, "ldapscheme") == 0) {
        ldap->scheme = text;
        return strcmp(value, "ldap") == 0 || strcmp(value, "ldaps") == 0 ||
               refuse(options, name, value, "ldap, ldaps");
    }
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        if (strcmp(name, texts[i].name) != 0)
            continue;
        *texts[i].to = text;
        return true;
    }
    hba_problem(options->lines->reader, options->line->file, options->line->line,
                "found option \"%s\", which ldap does not have", name);
    return false;
}

static bool cert_option(struct options *options, const char *name, const char *value)
{
    struct auth_how *how = options->how;
    if (strcmp(name, "clientcert") == 0) {
        how->clientcert =
            strcmp(value, "verify-full") == 0 ? AUTH_CLIENTCERT_FULL : AUTH_CLIENTCERT_CA;
        if (how->clientcert == AUTH_CLIENTCERT_CA && strcmp(value, "verify-ca") != 0)
            return refuse(options, name, value, "verify-ca, verify-full");
        if (how->method == AUTH_CERT && how->clientcert == AUTH_CLIENTCERT_CA)
            return refuse(options, name, value, "verify-full, with cert");
        return true;
    }
    options->clientname_given = true;
    how->clientname = strcmp(value, "DN") == 0    ? AUTH_NAME_DN
                      : strcmp(value, "SAN") == 0 ? AUTH_NAME_SAN
                                                  : AUTH_NAME_CN;
    return how->clientname != AUTH_NAME_CN || strcmp(value, "CN") == 0 ||
           refuse(options, name, value, "CN, DN, SAN");
}

/* Applies an option.  Returns false after reporting what is wrong with it. */
static bool option_take(struct options *options, const char *name, const char *value)
{
    struct auth_how *how = options->how;
    struct hba *hba = options->lines->hba;
    if (strncmp(name, "ldap", 4) == 0 && how->method == AUTH_LDAP)
        return ldap_option(options, name, value);
    if (strcmp(name, "clientcert") == 0 || strcmp(name, "clientname") == 0)
        return cert_option(options, name, value);
    if (strcmp(name, "map") == 0 && (how->method == AUTH_CERT || how->method == AUTH_PEER)) {
        how->map = hba_text(hba, span_text(value));
        return how->map != NULL;
    }
    if (strcmp(name, "pamservice") == 0 && how->method == AUTH_PAM) {
        how->pam_service = hba_text(hba, span_text(value));
        return how->pam_service != NULL;
    }
    if (strcmp(name, "pam_confdir") == 0 && how->method == AUTH_PAM) {
        how->pam_directory = hba_text(hba, span_text(value));
        return value[0] == '/' || refuse(options, name, value, "an absolute directory");
    }
    if (strcmp(name, "pam_use_hostname") == 0 && how->method == AUTH_PAM) {
        how->pam_hostname = strcmp(value, "1") == 0;
        return how->pam_hostname || strcmp(value, "0") == 0 || refuse(options, name, value, "0, 1");
    }
    hba_problem(options->lines->reader, options->line->file, options->line->line,
                "found option \"%s\", which %s does not have", name, auth_method_text(how->method));
    return false;
}

static const char *ldap_contradiction(const struct auth_ldap *ldap)
{
    if (ldap == NULL)
        return "ldap needs ldapserver, and ldapbasedn or ldapprefix or ldapsuffix";
    bool simple = ldap->prefix != NULL || ldap->suffix != NULL;
    bool search = ldap->base != NULL || ldap->bind_dn != NULL || ldap->bind_password != NULL ||
                  ldap->attribute != NULL || ldap->filter != NULL;
    if (simple && search)
        return "ldapprefix and ldapsuffix don't go with the options of a search";
    if (!simple && ldap->base == NULL)
        return "ldap needs ldapbasedn, or ldapprefix or ldapsuffix";
    if (ldap->server == NULL || ldap->server[0] == '\0')
        return "ldap needs ldapserver";
    if (ldap->attribute != NULL && ldap->filter != NULL)
        return "ldapsearchattribute does not go with ldapsearchfilter";
    if (ldap->start_tls && ldap->scheme != NULL && strcmp(ldap->scheme, "ldaps") == 0)
        return "ldaptls does not go with ldaps";
    return NULL;
}

static const char *contradiction(const struct options *options)
{
    const struct auth_how *how = options->how;
    if (how->method == AUTH_LDAP)
        return ldap_contradiction(how->ldap);
    if (options->clientname_given && how->method != AUTH_CERT &&
        how->clientcert != AUTH_CLIENTCERT_FULL)
        return "clientname is for cert, or for clientcert=verify-full";
    return NULL;
}

void hba_take_options(struct hba_lines *lines, const struct hba_line *line, size_t first,
                      struct auth_how *how)
{
    struct options options = {.lines = lines, .line = line, .how = how};
    bool sound = true;
    for (size_t i = first; i < line->count; i++) {
        for (size_t j = 0; j < line->fields[i].count; j++) {
            const char *text = line->fields[i].tokens[j].text;
            const char *equals = strchr(text, '=');
            if (equals == NULL) {
                hba_problem(lines->reader, line->file, line->line,
                            "found \"%s\" behind the method; accepted: name=value", text);
                sound = false;
                continue;
            }
            char *name = hba_text(lines->hba, span_of(text, (size_t)(equals - text)));
            sound = name != NULL && option_take(&options, name, equals + 1) && sound;
        }
    }
    const char *wrong = sound ? contradiction(&options) : NULL;
    if (wrong != NULL)
        hba_problem(lines->reader, line->file, line->line, "%s", wrong);
}

/* --- options of a route ----------------------------------------------------------------------- */

struct route_options {
    struct hba_lines lines;
    struct auth_how *how;
};

static void route_take(struct hba_lines *lines, const struct hba_line *line)
{
    struct route_options *route = CONTAINER_OF(lines, struct route_options, lines);
    hba_take_options(lines, line, 0, route->how);
}

void hba_read_options(struct hba *hba, const char *text, const struct hba_reader *reader,
                      const char *place, struct auth_how *ret)
{
    struct route_options route = {.lines = {.hba = hba, .reader = reader, .take = route_take},
                                  .how = ret};
    hba_read_text(&route.lines, text, place);
}
