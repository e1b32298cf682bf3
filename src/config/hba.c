/* hba.c - an HBA file as data: its memory, regular expressions, names of methods. */
#include "config/hba_parts.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>

/* Steps of one expression over one name: a pathological expression fails and blocks nothing. */
#define REGEX_STEPS_MAX 100000u
#define REGEX_HEAP_MAX  1024u /* KiB */

struct hba_piece {
    struct hba_piece *next;
    max_align_t bytes[];
};

struct hba_regex {
    struct hba_regex *next;
    pcre2_code *code;
    pcre2_match_context *limits;
};

struct hba *hba_new(void)
{
    return calloc(1, sizeof(struct hba));
}

void hba_free(struct hba **hba)
{
    struct hba *gone = TAKE(*hba);
    if (gone == NULL)
        return;
    while (gone->regexes != NULL) {
        struct hba_regex *regex = gone->regexes;
        gone->regexes = regex->next;
        pcre2_match_context_free(regex->limits);
        pcre2_code_free(regex->code);
        free(regex);
    }
    while (gone->pieces != NULL) {
        struct hba_piece *piece = gone->pieces;
        gone->pieces = piece->next;
        free(piece);
    }
    free(gone->matchers);
    free(gone->mappings);
    free(gone);
}

void *hba_take(struct hba *hba, size_t size)
{
    struct hba_piece *piece = calloc(1, sizeof(*piece) + size);
    if (piece == NULL) {
        hba->failed = true;
        return NULL;
    }
    piece->next = hba->pieces;
    hba->pieces = piece;
    return piece->bytes;
}

char *hba_text(struct hba *hba, struct span text)
{
    char *copy = hba_take(hba, text.size + 1);
    if (copy != NULL && text.size > 0)
        memcpy(copy, text.at, text.size);
    return copy;
}

/* --- regular expressions ---------------------------------------------------------------------- */

const struct hba_regex *hba_regex(struct hba *hba, const char *text, char *why, size_t size)
{
    int code = 0;
    PCRE2_SIZE offset = 0;
    struct hba_regex *regex = calloc(1, sizeof(*regex));
    snprintf(why, size, "out of memory");
    if (regex == NULL)
        return NULL;
    regex->limits = pcre2_match_context_create(NULL);
    regex->code = pcre2_compile((PCRE2_SPTR)(text + 1), PCRE2_ZERO_TERMINATED, PCRE2_DOLLAR_ENDONLY,
                                &code, &offset, NULL);
    if (regex->code == NULL && code != 0)
        pcre2_get_error_message(code, (PCRE2_UCHAR *)why, size);
    if (regex->code == NULL || regex->limits == NULL) {
        pcre2_match_context_free(regex->limits);
        pcre2_code_free(regex->code);
        free(regex);
        return NULL;
    }
    pcre2_set_match_limit(regex->limits, REGEX_STEPS_MAX);
    pcre2_set_heap_limit(regex->limits, REGEX_HEAP_MAX);
    regex->next = hba->regexes;
    hba->regexes = regex;
    return regex;
}

bool hba_regex_matches(const struct hba_regex *regex, struct span text, struct span *ret_group)
{
    pcre2_match_data *match = pcre2_match_data_create_from_pattern(regex->code, NULL);
    const uint8_t *at = text.size == 0 ? (const uint8_t *)"" : text.at;
    if (match == NULL)
        return false;
    int groups = pcre2_match(regex->code, at, text.size, 0, 0, match, regex->limits);
    const PCRE2_SIZE *bounds = pcre2_get_ovector_pointer(match);
    if (ret_group != NULL)
        *ret_group = SPAN_NONE;
    if (ret_group != NULL && groups > 1 && bounds[2] != PCRE2_UNSET)
        *ret_group = span_of(at + bounds[2], bounds[3] - bounds[2]);
    pcre2_match_data_free(match);
    return groups > 0;
}

const char *auth_method_text(enum auth_method method)
{
    static const char *const names[] = {
        [AUTH_TRUST] = "trust",         [AUTH_BLOCK] = "block",
        [AUTH_PASSWORD] = "password",   [AUTH_MD5] = "md5",
        [AUTH_SCRAM] = "scram-sha-256", [AUTH_CERT] = "cert",
        [AUTH_PEER] = "peer",           [AUTH_PAM] = "pam",
        [AUTH_LDAP] = "ldap",           [AUTH_HBA] = "hba",
    };
    return names[method];
}
