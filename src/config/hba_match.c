/* hba_match.c - finds the first rule that matches a connection, and applies maps of names. */
#include "config/hba_parts.h"

#include <stdio.h>

#define NAME_BYTES_MAX 512 /* bytes of a database's name, or of a user's name made by a map */

const struct hba_rule *hba_rule(const struct hba *hba, size_t index)
{
    return index < hba->matcher_count ? &hba->matchers[index]->rule : NULL;
}

bool hba_needs_roles(const struct hba *hba)
{
    return hba->needs_roles;
}

/* --- names ------------------------------------------------------------------------------------ */

static fault role_asked(const struct hba_world *world, struct span user, const char *role,
                        bool *ret)
{
    *ret = span_is(user, role);
    if (*ret || world->in_role == NULL)
        return OK;
    return world->in_role(world->argument, user, role, ret);
}

static fault user_is(const struct hba_token *token, struct span user, const struct hba_world *world,
                     bool *ret)
{
    if (!token->quoted && token->text[0] == '+')
        return role_asked(world, user, token->text + 1, ret);
    if (token->regex != NULL)
        *ret = hba_regex_matches(token->regex, user, NULL);
    else
        *ret = hba_is_keyword(token, "all") || span_is(user, token->text);
    return OK;
}

fault hba_user_matches(const struct hba_field *field, struct span user,
                       const struct hba_world *world, bool *ret)
{
    *ret = false;
    for (size_t i = 0; i < field->count && !*ret; i++)
        TRY(user_is(&field->tokens[i], user, world, ret));
    return OK;
}

/* Matches a token against the database.  As in PostgreSQL, only the word "replication" matches
 * physical replication. */
static fault database_is(const struct hba_token *token, const struct hba_subject *subject,
                         const struct hba_world *world, bool *ret)
{
    char name[NAME_BYTES_MAX];
    *ret = false;
    if (subject->replication || hba_is_keyword(token, "replication")) {
        *ret = subject->replication && hba_is_keyword(token, "replication");
    } else if (hba_is_keyword(token, "all")) {
        *ret = true;
    } else if (hba_is_keyword(token, "sameuser")) {
        *ret = span_equal(subject->database, subject->user);
    } else if (hba_is_keyword(token, "samerole") || hba_is_keyword(token, "samegroup")) {
        if (subject->database.size >= sizeof(name))
            return OK;
        snprintf(name, sizeof(name), "%.*s", SPAN_ARG(subject->database));
        return role_asked(world, subject->user, name, ret);
    } else if (token->regex != NULL) {
        *ret = hba_regex_matches(token->regex, subject->database, NULL);
    } else {
        *ret = span_is(subject->database, token->text);
    }
    return OK;
}

static fault databases_match(const struct hba_field *field, const struct hba_subject *subject,
                             const struct hba_world *world, bool *ret)
{
    *ret = false;
    for (size_t i = 0; i < field->count && !*ret; i++)
        TRY(database_is(&field->tokens[i], subject, world, ret));
    return OK;
}

/* --- addresses -------------------------------------------------------------------------------- */

static bool connection_is(const struct hba_matcher *matcher, const struct hba_subject *subject)
{
    bool local = subject->peer->family == ADDRESS_UNIX;
    switch (matcher->connection) {
    case HBA_LOCAL:
        return local;
    case HBA_HOST:
        return !local;
    case HBA_HOSTSSL:
        return !local && subject->tls;
    case HBA_HOSTNOSSL:
        return !local && !subject->tls;
    case HBA_HOSTGSSENC: /* Trunkline never accepts GSSAPI encryption */
        return false;
    }
    return false;
}

static bool network_holds(const struct hba_matcher *matcher, const struct address *peer)
{
    if (matcher->address.family != peer->family)
        return false;
    size_t size = peer->family == ADDRESS_IPV4 ? 4 : 16;
    for (size_t i = 0; i < size; i++)
        if ((peer->bytes[i] & matcher->mask[i]) != matcher->address.bytes[i])
            return false;
    return true;
}

static fault where_is(const struct hba_matcher *matcher, const struct address *peer,
                      const struct hba_world *world, bool *ret)
{
    *ret = true;
    if (matcher->connection == HBA_LOCAL || matcher->where == HBA_ANYWHERE)
        return OK;
    if (matcher->where == HBA_NETWORK) {
        *ret = network_holds(matcher, peer);
        return OK;
    }
    *ret = false;
    if (matcher->where == HBA_NAME)
        return world->is_host == NULL ? OK
                                      : world->is_host(world->argument, peer, matcher->name, ret);
    *ret = world->is_own != NULL &&
           world->is_own(world->argument, peer, matcher->where == HBA_SAMENET);
    return OK;
}

/* Matches a rule.  Compares host names last: they need DNS queries. */
static fault matcher_fits(const struct hba_matcher *matcher, const struct hba_subject *subject,
                          const struct hba_world *world, bool *ret)
{
    bool asks_names = matcher->where == HBA_NAME;
    *ret = connection_is(matcher, subject);
    if (*ret && !asks_names)
        TRY(where_is(matcher, subject->peer, world, ret));
    if (*ret)
        TRY(databases_match(&matcher->databases, subject, world, ret));
    if (*ret)
        TRY(hba_user_matches(&matcher->users, subject->user, world, ret));
    if (*ret && asks_names)
        TRY(where_is(matcher, subject->peer, world, ret));
    return OK;
}

fault hba_match(const struct hba *hba, const struct hba_subject *subject,
                const struct hba_world *world, const struct hba_rule **ret)
{
    *ret = NULL;
    for (size_t i = 0; i < hba->matcher_count; i++) {
        bool fits = false;
        TRY(matcher_fits(hba->matchers[i], subject, world, &fits));
        if (!fits)
            continue;
        *ret = &hba->matchers[i]->rule;
        return OK;
    }
    return OK;
}

/* --- maps ------------------------------------------------------------------------------------- */

/* Replaces "\1" in the user's name by the match of the first parenthesis. */
static bool name_expand(const char *text, struct span group, char name[NAME_BYTES_MAX])
{
    const char *mark = strstr(text, "\\1");
    int size = mark == NULL ? snprintf(name, NAME_BYTES_MAX, "%s", text)
                            : snprintf(name, NAME_BYTES_MAX, "%.*s%.*s%s", (int)(mark - text), text,
                                       SPAN_ARG(group), mark + 2);
    return size >= 0 && size < NAME_BYTES_MAX;
}

static fault mapping_allows(const struct hba_mapping *mapping, struct span outer, struct span user,
                            const struct hba_world *world, bool *ret)
{
    char name[NAME_BYTES_MAX];
    struct span group = SPAN_NONE;
    *ret = false;
    if (mapping->outer.regex == NULL) {
        if (!span_is(outer, mapping->outer.text))
            return OK;
        return user_is(&mapping->user, user, world, ret);
    }
    if (!hba_regex_matches(mapping->outer.regex, outer, &group))
        return OK;
    if (mapping->user.regex != NULL || strstr(mapping->user.text, "\\1") == NULL)
        return user_is(&mapping->user, user, world, ret);
    /* A name made with "\1" is never a keyword.  The match must not be empty. */
    *ret = group.size > 0 && name_expand(mapping->user.text, group, name) && span_is(user, name);
    return OK;
}

fault hba_map_allows(const struct hba *hba, const char *map, struct span outer, struct span user,
                     const struct hba_world *world, bool *ret)
{
    *ret = false;
    if (map == NULL) {
        *ret = outer.size > 0 && span_equal(outer, user);
        return OK;
    }
    for (size_t i = 0; hba != NULL && i < hba->mapping_count && !*ret; i++)
        if (strcmp(hba->mappings[i].map, map) == 0)
            TRY(mapping_allows(&hba->mappings[i], outer, user, world, ret));
    return OK;
}

bool hba_has_map(const struct hba *hba, const char *map)
{
    for (size_t i = 0; i < hba->mapping_count; i++)
        if (strcmp(hba->mappings[i].map, map) == 0)
            return true;
    return false;
}
