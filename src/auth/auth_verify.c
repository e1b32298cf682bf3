/* auth_verify.c - authentication by PAM or an LDAP server, which check the client's password. */
#include "auth/auth_parts.h"
#include "machine/dns.h"
#include "machine/log.h"
#include "machine/offload.h"
#include "machine/verify.h"
#include "pool/local_pool.h"

#include <stdio.h>
#include <stdlib.h>

/* A check of a password.  Owns all its data but the method's options, which belong to the
 * configuration.  It holds a reference to the configuration, because the login may stop waiting for
 * it. */
struct verification {
    struct offload_job job;
    struct config *config;
    struct auth_how how;
    char host[DNS_NAME_SIZE];
    char user[256];
    enum verify_outcome outcome;
    char why[VERIFY_WHY_SIZE];
    char *password;
};

static struct verify_ldap ldap_of(const struct auth_ldap *options)
{
    return (struct verify_ldap){.server = options->server,
                                .scheme = options->scheme,
                                .port = options->port,
                                .start_tls = options->start_tls,
                                .prefix = options->prefix,
                                .suffix = options->suffix,
                                .base = options->base,
                                .bind_dn = options->bind_dn,
                                .bind_password = options->bind_password,
                                .attribute = options->attribute,
                                .filter = options->filter,
                                .scope = options->scope};
}

static void verification_run(struct offload_job *job)
{
    struct verification *all = CONTAINER_OF(job, struct verification, job);
    invariant(all->password != NULL && all->user[0] != '\0');
    if (all->how.method == AUTH_LDAP) {
        struct verify_ldap ldap = ldap_of(all->how.ldap);
        all->outcome = verify_by_ldap(&ldap, all->user, all->password, all->why);
        return;
    }
    invariant(all->how.method == AUTH_PAM);
    struct verify_pam pam = {.service =
                                 all->how.pam_service == NULL ? "trunkline" : all->how.pam_service,
                             .directory = all->how.pam_directory,
                             .host = all->host[0] == '\0' ? NULL : all->host};
    all->outcome = verify_by_pam(&pam, all->user, all->password, all->why);
}

static void verification_free(struct offload_job *job)
{
    struct verification *all = CONTAINER_OF(job, struct verification, job);
    if (all->password != NULL)
        explicit_bzero(all->password, strlen(all->password));
    free(all->password);
    config_unref(&all->config);
    free(all);
}

static struct verification *verification_new(const struct auth_request *request,
                                             struct span password)
{
    struct verification *all = calloc(1, sizeof(*all));
    if (all == NULL)
        return NULL;
    all->job =
        (struct offload_job){.run = verification_run, .free = verification_free, .blocks = true};
    all->config = config_ref((struct config *)(uintptr_t)request->config);
    all->how = request->how;
    snprintf(all->user, sizeof(all->user), "%.*s", SPAN_ARG(request->user));
    all->password = strndup((const char *)password.at, password.size);
    if (all->password != NULL)
        return all;
    verification_free(&all->job);
    return NULL;
}

/* Writes the client's host name or address, for PAM. */
static fault host_name(const struct auth_request *request, char host[DNS_NAME_SIZE])
{
    char text[ADDRESS_TEXT_SIZE];
    const struct address *peer = request->peer;
    if (peer->family == ADDRESS_UNIX)
        return OK;
    if (request->how.pam_hostname) {
        fault found = dns_reverse(peer, host, request->by);
        if (found != OK && found != FAULT_NAME)
            return found;
    }
    if (host[0] == '\0')
        snprintf(host, DNS_NAME_SIZE, "%s", address_host_text(peer, text, sizeof(text)));
    return OK;
}

static fault verified(const struct auth_request *request, const struct verification *all)
{
    if (all->outcome == VERIFY_YES)
        return OK;
    if (all->outcome == VERIFY_NO)
        return auth_wrong(request->user);
    invariant(all->outcome == VERIFY_BROKEN);
    log_event(LOG_WARNING, "auth.verify_failed", log_id("client", request->client),
              log_span("user", request->user), log_quote("reason", all->why));
    return fault_raise(FAULT_AUTH, "%s authentication failed for user \"%.*s\"",
                       request->how.method == AUTH_LDAP ? "LDAP" : "PAM", SPAN_ARG(request->user));
}

static fault verify(const struct auth_request *request, struct span password)
{
    struct verification *all;
    if (request->user.size >= sizeof(all->user))
        return auth_wrong(request->user);
    all = verification_new(request, password);
    if (all == NULL)
        return FAULT_MEMORY;
    fault named = request->how.method == AUTH_PAM ? host_name(request, all->host) : OK;
    if (named != OK) {
        verification_free(&all->job);
        return named;
    }
    TRY(offload(&all->job, request->by));
    fault result = verified(request, all);
    verification_free(&all->job);
    return result;
}

fault auth_verified(struct auth_request *request)
{
    struct buffer message = BUFFER_INIT(AUTH_PASSWORD_MAX + 1024);
    struct span password;
    fault result = auth_ask_password(request, &message, &password);
    if (result == OK)
        result = verify(request, password);
    if (result == OK && request->pool != NULL)
        local_pool_keep_password(request->pool, request->config, NULL, (const char *)password.at);
    auth_wipe(&message);
    return result == FAULT_PASSWORD ? auth_wrong(request->user) : result;
}
