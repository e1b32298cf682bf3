/* verify_pam.c - verifies a password by PAM. */
#include "machine/verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef WITH_PAM
#include <security/pam_appl.h>

/* The PAM conversation: answers prompts without echo with the password; ignores messages and
 * rejects other prompts. */
static int converse(int count, const struct pam_message **messages, struct pam_response **ret,
                    void *argument)
{
    const char *password = argument;
    bool sound = true;
    if (count <= 0 || count > PAM_MAX_NUM_MSG)
        return PAM_CONV_ERR;
    /* PAM frees the answers. */
    struct pam_response *answers = calloc((size_t)count, sizeof(*answers));
    if (answers == NULL)
        return PAM_CONV_ERR;
    for (int i = 0; i < count && sound; i++) {
        int style = messages[i]->msg_style;
        if (style == PAM_PROMPT_ECHO_OFF)
            answers[i].resp = strdup(password);
        sound = style == PAM_PROMPT_ECHO_OFF ? answers[i].resp != NULL
                                             : style == PAM_ERROR_MSG || style == PAM_TEXT_INFO;
    }
    if (sound) {
        *ret = answers;
        return PAM_SUCCESS;
    }
    for (int i = 0; i < count; i++) {
        if (answers[i].resp != NULL)
            explicit_bzero(answers[i].resp, strlen(answers[i].resp));
        free(answers[i].resp);
    }
    free(answers);
    return PAM_CONV_ERR;
}

static enum verify_outcome outcome(pam_handle_t *handle, const char *step, int code,
                                   char why[VERIFY_WHY_SIZE])
{
    switch (code) {
    case PAM_SUCCESS:
        return VERIFY_YES;
    case PAM_AUTH_ERR:
    case PAM_USER_UNKNOWN:
    case PAM_MAXTRIES:
    case PAM_PERM_DENIED:
    case PAM_ACCT_EXPIRED:
    case PAM_NEW_AUTHTOK_REQD:
    case PAM_CRED_INSUFFICIENT:
    case PAM_SYSTEM_ERR: /* returned by pam_exec when its program fails */
        return VERIFY_NO;
    default:
        snprintf(why, VERIFY_WHY_SIZE, "PAM: %s: %s", step, pam_strerror(handle, code));
        return VERIFY_BROKEN;
    }
}

enum verify_outcome verify_by_pam(const struct verify_pam *pam, const char *user,
                                  const char *password, char why[VERIFY_WHY_SIZE])
{
    struct pam_conv conversation = {.conv = converse, .appdata_ptr = (void *)(uintptr_t)password};
    pam_handle_t *handle = NULL;
    why[0] = '\0';
    if (password[0] == '\0')
        return VERIFY_NO;
    int code = pam->directory == NULL
                   ? pam_start(pam->service, user, &conversation, &handle)
                   : pam_start_confdir(pam->service, user, &conversation, pam->directory, &handle);
    if (code != PAM_SUCCESS) {
        snprintf(why, VERIFY_WHY_SIZE, "PAM: service %s could not be opened", pam->service);
        return VERIFY_BROKEN;
    }
    if (pam->host != NULL)
        pam_set_item(handle, PAM_RHOST, pam->host);
    code = pam_authenticate(handle, 0);
    enum verify_outcome result = outcome(handle, "authenticate", code, why);
    if (result == VERIFY_YES) {
        code = pam_acct_mgmt(handle, 0);
        result = outcome(handle, "account", code, why);
    }
    pam_end(handle, code);
    return result;
}

#else

enum verify_outcome verify_by_pam(const struct verify_pam *pam, const char *user,
                                  const char *password, char why[VERIFY_WHY_SIZE])
{
    snprintf(why, VERIFY_WHY_SIZE, "this program was built without PAM");
    return VERIFY_BROKEN;
}

#endif
