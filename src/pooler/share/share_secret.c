/* share_secret.c - how a share's servers are logged in to: what clients have proven, or files say.
 */
#include "pooler/share/share.h"

#include <stdlib.h>

void share_wipe_password(char **password)
{
    char *gone = TAKE(*password);
    if (gone != NULL)
        explicit_bzero(gone, strlen(gone));
    free(gone);
}

void share_keep_password(struct share *share, const char *text)
{
    if (share->route->server_user != NULL || share->route->server_password != NULL)
        return;
    /* A login at a server that is under way looks at the old one: the next client brings it again.
     */
    bool same =
        share->credentials.password != NULL && strcmp(share->credentials.password, text) == 0;
    if (same || (share->logins > 0 && share->credentials.password != NULL))
        return;
    char *kept = strdup(text);
    if (kept == NULL)
        return;
    share_wipe_password(&share->credentials.password);
    share->credentials.password = kept;
    share->credentials.secret.password = span_text(kept);
    share->credentials.secret.have_keys = false;
}

void share_keep_secret(struct share *share, const char *text)
{
    const struct route_config *route = share->route;
    if (route->server_user != NULL || route->server_password != NULL)
        return;
    if (span_starts(span_text(text), SPAN("SCRAM-SHA-256$")))
        return; /* the client's login brings keys */
    if (strlen(text) == MD5_TEXT - 1 && span_starts(span_text(text), SPAN("md5")))
        memcpy(share->credentials.secret.md5, text, MD5_TEXT);
    else
        share_keep_password(share, text);
}

fault share_set_secret(struct share *share)
{
    const char *text = share->route->server_password;
    if (share->credentials.password != NULL || share->credentials.secret.have_keys ||
        share->credentials.secret.md5[0] != '\0')
        return OK;
    if (text == NULL) {
        const char *user = share->route->server_user ? share->route->server_user : share->user;
        const struct secret *secret = config_secret(share->config, span_text(user));
        text = secret == NULL ? NULL : secret->text;
    }
    if (text == NULL || span_starts(span_text(text), SPAN("SCRAM-SHA-256$")))
        return OK; /* nothing to show, or keys that a client's login may bring */
    if (strlen(text) == MD5_TEXT - 1 && span_starts(span_text(text), SPAN("md5"))) {
        memcpy(share->credentials.secret.md5, text, MD5_TEXT);
        return OK;
    }
    share->credentials.password = strdup(text);
    if (share->credentials.password == NULL)
        return FAULT_MEMORY;
    share->credentials.secret.password = span_text(share->credentials.password);
    return OK;
}
