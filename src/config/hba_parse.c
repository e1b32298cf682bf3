/* hba_parse.c - makes rules and maps from lines. */
#include "config/hba_parts.h"
#include "machine/stream.h"

#include <stdio.h>
#include <stdlib.h>

#define RULE_TEXT_MAX 512

/* --- connection types ------------------------------------------------------------------------- */

static bool connection_read(const char *word, enum hba_connection *ret)
{
    static const struct {
        const char *word;
        enum hba_connection connection;
    } known[] = {
        {"local", HBA_LOCAL},           {"host", HBA_HOST},
        {"hostssl", HBA_HOSTSSL},       {"hostnossl", HBA_HOSTNOSSL},
        {"hostgssenc", HBA_HOSTGSSENC}, {"hostnogssenc", HBA_HOST},
    };
    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        if (strcmp(word, known[i].word) != 0)
            continue;
        *ret = known[i].connection;
        return true;
    }
    return false;
}

/* --- addresses -------------------------------------------------------------------------------- */

static size_t address_size(const struct address *address)
{
    return address->family == ADDRESS_IPV4 ? 4 : 16;
}

static bool prefix_read(const char *text, const struct address *address, uint8_t mask[16])
{
    unsigned bits = 0;
    size_t size = strlen(text);
    if (size == 0 || size > 3)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        bits = bits * 10 + (unsigned)(text[i] - '0');
    }
    if (bits > address_size(address) * 8)
        return false;
    for (size_t i = 0; i < address_size(address); i++, bits -= MIN_OF(bits, 8u))
        mask[i] = bits >= 8 ? 0xff : (uint8_t)(0xff00u >> bits);
    return true;
}

static void network_set(struct hba_matcher *matcher)
{
    matcher->where = HBA_NETWORK;
    for (size_t i = 0; i < address_size(&matcher->address); i++)
        matcher->address.bytes[i] &= matcher->mask[i];
}

static bool mask_field(struct hba_lines *lines, const struct hba_line *line, size_t at,
                       struct hba_matcher *matcher)
{
    struct address mask;
    const char *text =
        at < line->count && line->fields[at].count == 1 ? line->fields[at].tokens[0].text : NULL;
    if (text == NULL || !address_parse_number(text, 0, &mask) ||
        mask.family != matcher->address.family) {
        hba_problem(lines->reader, line->file, line->line,
                    "found \"%s\" behind an address without a prefix; accepted: a mask of the same "
                    "kind, such as 255.255.255.0",
                    text == NULL ? "" : text);
        return false;
    }
    memcpy(matcher->mask, mask.bytes, sizeof(matcher->mask));
    network_set(matcher);
    return true;
}

static bool name_sound(const char *name)
{
    size_t size = strlen(name);
    return size > 0 && size <= 253 && strpbrk(name, " /[]@\"'*:") == NULL;
}

/* Reads the address, and the mask if it has a field of its own.  Moves `*at` after them. */
static bool where_read(struct hba_lines *lines, const struct hba_line *line, size_t *at,
                       struct hba_matcher *matcher)
{
    const struct hba_token *token = &line->fields[*at].tokens[0];
    char host[64];
    const char *slash = strchr(token->text, '/');
    *at += 1;
    if (hba_is_keyword(token, "all") || hba_is_keyword(token, "samehost") ||
        hba_is_keyword(token, "samenet")) {
        matcher->where = token->text[0] == 'a'                 ? HBA_ANYWHERE
                         : strcmp(token->text, "samenet") == 0 ? HBA_SAMENET
                                                               : HBA_SAMEHOST;
        return true;
    }
    size_t size = slash == NULL ? strlen(token->text) : (size_t)(slash - token->text);
    snprintf(host, sizeof(host), "%.*s", (int)MIN_OF(size, sizeof(host)), token->text);
    bool number = size < sizeof(host) && address_parse_number(host, 0, &matcher->address);
    if (number && slash == NULL) {
        *at += 1;
        return mask_field(lines, line, *at - 1, matcher);
    }
    if (number && prefix_read(slash + 1, &matcher->address, matcher->mask)) {
        network_set(matcher);
        return true;
    }
    if (!number && name_sound(token->text)) {
        matcher->where = HBA_NAME;
        matcher->name = token->text;
        return true;
    }
    hba_problem(lines->reader, line->file, line->line,
                "found address \"%s\"; accepted: an address with a prefix such as 10.0.0.0/8, all, "
                "samehost, samenet, or a host name",
                token->text);
    return false;
}

/* --- methods ---------------------------------------------------------------------------------- */

static bool method_read(struct hba_lines *lines, const struct hba_line *line, const char *word,
                        struct hba_matcher *matcher)
{
    static const struct {
        const char *word;
        enum auth_method method;
    } known[] = {
        {"trust", AUTH_TRUST},         {"reject", AUTH_BLOCK},
        {"password", AUTH_PASSWORD},   {"md5", AUTH_MD5},
        {"scram-sha-256", AUTH_SCRAM}, {"cert", AUTH_CERT},
        {"peer", AUTH_PEER},           {"pam", AUTH_PAM},
        {"ldap", AUTH_LDAP},
    };
    /* As in PostgreSQL, "local ... ident" means peer. */
    if (strcmp(word, "ident") == 0 && matcher->connection == HBA_LOCAL)
        word = "peer";
    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        if (strcmp(word, known[i].word) != 0)
            continue;
        matcher->rule.how.method = known[i].method;
        return true;
    }
    hba_problem(lines->reader, line->file, line->line,
                "found method \"%s\"; accepted: trust, reject, password, md5, scram-sha-256, cert, "
                "peer, pam, ldap",
                word);
    return false;
}

static bool how_fits(struct hba_lines *lines, const struct hba_line *line,
                     const struct hba_matcher *matcher)
{
    const struct auth_how *how = &matcher->rule.how;
    const char *wrong = NULL;
    if (how->method == AUTH_PEER && matcher->connection != HBA_LOCAL)
        wrong = "peer is for local connections only";
    else if (how->method == AUTH_CERT && matcher->connection != HBA_HOSTSSL)
        wrong = "cert is for hostssl connections only";
    else if (how->clientcert != AUTH_CLIENTCERT_NONE && matcher->connection != HBA_HOSTSSL)
        wrong = "clientcert is for hostssl connections only";
    if (wrong != NULL)
        hba_problem(lines->reader, line->file, line->line, "%s", wrong);
    return wrong == NULL;
}

/* --- rules ------------------------------------------------------------------------------------ */

static bool names_compile(struct hba_lines *lines, const struct hba_line *line,
                          const struct hba_field *field)
{
    for (size_t i = 0; i < field->count; i++) {
        struct hba_token *token = &field->tokens[i];
        if (!hba_compile(lines, line, token))
            return false;
    }
    return true;
}

static void note_roles(struct hba *hba, const struct hba_matcher *matcher)
{
    for (size_t i = 0; i < matcher->databases.count; i++)
        if (hba_is_keyword(&matcher->databases.tokens[i], "samerole") ||
            hba_is_keyword(&matcher->databases.tokens[i], "samegroup"))
            hba->needs_roles = true;
    for (size_t i = 0; i < matcher->users.count; i++)
        if (!matcher->users.tokens[i].quoted && matcher->users.tokens[i].text[0] == '+')
            hba->needs_roles = true;
}

/* Returns the words of the line, to show which line matched.  Hides ldapbindpasswd. */
static const char *line_text(struct hba *hba, const struct hba_line *line)
{
    struct buffer out = BUFFER_INIT(RULE_TEXT_MAX);
    for (size_t i = 0; i < line->count; i++) {
        for (size_t j = 0; j < line->fields[i].count; j++) {
            const char *word = line->fields[i].tokens[j].text;
            bool secret = strncmp(word, "ldapbindpasswd=", 15) == 0;
            buffer_printf(&out, "%s%s",
                          j > 0   ? ","
                          : i > 0 ? " "
                                  : "",
                          secret ? "ldapbindpasswd=..." : word);
        }
    }
    const char *text = hba_text(hba, buffer_span(&out));
    buffer_fini(&out);
    return text;
}

static void rule_add(struct hba_lines *lines, const struct hba_line *line,
                     struct hba_matcher *matcher)
{
    struct hba *hba = lines->hba;
    if (hba->matcher_count == HBA_RULES_MAX) {
        hba_problem(lines->reader, line->file, line->line, "more than %u rules", HBA_RULES_MAX);
        return;
    }
    if (hba->matcher_count == hba->matcher_room) {
        size_t room = MAX_OF(hba->matcher_room * 2, (size_t)16);
        struct hba_matcher **all = realloc(hba->matchers, room * sizeof(struct hba_matcher *));
        if (all == NULL) {
            hba->failed = true;
            return;
        }
        hba->matchers = all;
        hba->matcher_room = room;
    }
    note_roles(hba, matcher);
    hba->matchers[hba->matcher_count++] = matcher;
}

static bool rule_read(struct hba_lines *lines, const struct hba_line *line,
                      struct hba_matcher *matcher)
{
    size_t at = 3;
    const char *type = line->fields[0].tokens[0].text;
    if (line->fields[0].count != 1 || !connection_read(type, &matcher->connection)) {
        hba_problem(lines->reader, line->file, line->line,
                    "found connection type \"%s\"; accepted: local, host, hostssl, hostnossl, "
                    "hostgssenc, hostnogssenc",
                    type);
        return false;
    }
    bool local = matcher->connection == HBA_LOCAL;
    if (line->count < (local ? 4u : 5u)) {
        hba_problem(lines->reader, line->file, line->line,
                    "the line ends early; accepted: type database user %smethod [options]",
                    local ? "" : "address ");
        return false;
    }
    matcher->databases = line->fields[1];
    matcher->users = line->fields[2];
    if (!names_compile(lines, line, &matcher->databases) ||
        !names_compile(lines, line, &matcher->users))
        return false;
    if (!local && line->fields[3].count != 1) {
        hba_problem(lines->reader, line->file, line->line, "more than one address");
        return false;
    }
    if (!local && !where_read(lines, line, &at, matcher))
        return false;
    if (at >= line->count || line->fields[at].count != 1) {
        hba_problem(lines->reader, line->file, line->line, "the line has no method");
        return false;
    }
    return method_read(lines, line, line->fields[at].tokens[0].text, matcher) &&
           (hba_take_options(lines, line, at + 1, &matcher->rule.how), true) &&
           how_fits(lines, line, matcher);
}

static void rule_take(struct hba_lines *lines, const struct hba_line *line)
{
    struct hba_matcher *matcher = hba_take(lines->hba, sizeof(*matcher));
    if (matcher == NULL || !rule_read(lines, line, matcher))
        return;
    matcher->rule.file = line->file;
    matcher->rule.line = line->line;
    matcher->rule.matcher = matcher;
    matcher->rule.text = line_text(lines->hba, line);
    rule_add(lines, line, matcher);
}

void hba_read_rules(struct hba *hba, const char *path, const struct hba_reader *reader)
{
    struct hba_lines lines = {.hba = hba, .reader = reader, .take = rule_take};
    hba_read_lines(&lines, path);
    if (hba->failed)
        hba_problem(reader, path, 0, "out of memory");
}

/* --- maps ------------------------------------------------------------------------------------- */

static void mapping_take(struct hba_lines *lines, const struct hba_line *line)
{
    struct hba *hba = lines->hba;
    if (line->count != 3 || line->fields[0].count != 1 || line->fields[1].count != 1 ||
        line->fields[2].count != 1) {
        hba_problem(lines->reader, line->file, line->line,
                    "accepted: map-name system-name user-name");
        return;
    }
    struct hba_mapping mapping = {.map = line->fields[0].tokens[0].text,
                                  .outer = line->fields[1].tokens[0],
                                  .user = line->fields[2].tokens[0]};
    if (!hba_compile(lines, line, &mapping.outer) || !hba_compile(lines, line, &mapping.user))
        return;
    if (mapping.outer.regex == NULL && mapping.user.regex == NULL &&
        strstr(mapping.user.text, "\\1") != NULL) {
        hba_problem(lines->reader, line->file, line->line,
                    "\\1 stands for nothing: \"%s\" is no regular expression", mapping.outer.text);
        return;
    }
    if (hba->mapping_count == hba->mapping_room) {
        size_t room = MAX_OF(hba->mapping_room * 2, (size_t)16);
        struct hba_mapping *all = realloc(hba->mappings, room * sizeof(*all));
        if (all == NULL) {
            hba->failed = true;
            return;
        }
        hba->mappings = all;
        hba->mapping_room = room;
    }
    if (!mapping.user.quoted && mapping.user.text[0] == '+')
        hba->needs_roles = true;
    hba->mappings[hba->mapping_count++] = mapping;
}

void hba_read_maps(struct hba *hba, const char *path, const struct hba_reader *reader)
{
    struct hba_lines lines = {.hba = hba, .reader = reader, .take = mapping_take};
    hba_read_lines(&lines, path);
    if (hba->failed)
        hba_problem(reader, path, 0, "out of memory");
}
