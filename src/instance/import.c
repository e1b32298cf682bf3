#include "instance/import.h"

#include "instance/import_write.h"
#include "instance/ini_parts.h"
#include "machine/stream.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define PAIRS_MAX   64
#define VALUE_MAX   2048
#define SOCKETS     "/var/run/postgresql" /* the default of Debian's libpq */
#define GLOBAL_PART "pgbouncer"

/* The settings of one line of [databases] or [users]. */
struct pairs {
    struct {
        char key[64];
        char value[VALUE_MAX];
    } at[PAIRS_MAX];
    size_t count;
};

struct importing {
    struct ini ini;
    struct buffer *out;
    struct buffer *problems;
    struct buffer notes;              /* settings without an equivalent */
    char (*services)[VALUE_MAX + 64]; /* hosts of each service; number n belongs to the n-th name */
    size_t service_count;
};

/* --- reading ---------------------------------------------------------------------------------- */

static const char *global_value(const struct importing *import, const char *key)
{
    const struct ini_entry *entry = key == NULL ? NULL : ini_find(&import->ini, GLOBAL_PART, key);
    return entry == NULL ? NULL : entry->value;
}

static const char *global_or(const struct importing *import, const char *key, const char *preset)
{
    const char *value = global_value(import, key);
    return value == NULL ? preset : value;
}

static const char *pairs_value(const struct pairs *pairs, const char *key)
{
    for (size_t i = 0; pairs != NULL && key != NULL && i < pairs->count; i++)
        if (strcmp(pairs->at[i].key, key) == 0)
            return pairs->at[i].value;
    return NULL;
}

/* Reads one value: bare, or in quotes, which are doubled inside.  Returns where it ends; NULL: the
 * quotes have no end, or the value has more than `size` - 1 bytes. */
static const char *pair_value(const char *at, char *ret, size_t size)
{
    bool quoted = *at == '\'';
    size_t used = 0;
    at += quoted;
    while (*at != '\0' && (quoted || !isspace((unsigned char)*at))) {
        if (quoted && *at == '\'' && *++at != '\'')
            break;
        if (used + 1 == size)
            return NULL;
        ret[used++] = *at++;
    }
    ret[used] = '\0';
    return quoted && at[-1] != '\'' ? NULL : at;
}

static fault pairs_read(const struct importing *import, const struct ini_entry *entry,
                        struct pairs *ret)
{
    const char *at = entry->value;
    ret->count = 0;
    for (;;) {
        at += strspn(at, " \t");
        size_t length = strcspn(at, "= \t");
        if (length == 0)
            return OK;
        const char *sign = at + length + strspn(at + length, " \t");
        if (*sign != '=' || ret->count == PAIRS_MAX || length >= sizeof(ret->at[0].key))
            break;
        snprintf(ret->at[ret->count].key, sizeof(ret->at[0].key), "%.*s", (int)length, at);
        at = pair_value(sign + 1 + strspn(sign + 1, " \t"), ret->at[ret->count].value, VALUE_MAX);
        if (at == NULL)
            break;
        ret->count += 1;
    }
    /* The text is not shown: it may hold a password. */
    buffer_printf(import->problems,
                  "%s:%u: \"%s\" is not a list of settings; accepted: up to %d key=value pairs, "
                  "values of up to %d bytes, in quotes ' that end\n",
                  entry->file, entry->line, entry->key, PAIRS_MAX, VALUE_MAX - 1);
    return FAULT_CONFIG;
}

/* --- what has no equal ------------------------------------------------------------------------ */

static const char *row_key(const struct import_row *row, const char *section)
{
    if (strcmp(section, GLOBAL_PART) == 0)
        return row->global;
    return strcmp(section, "databases") == 0 ? row->database : row->user;
}

static const struct import_row *row_find(const char *section, const char *key)
{
    for (size_t i = 0; i < import_rows_count; i++) {
        const char *known = row_key(&import_rows[i], section);
        if (known != NULL && strcmp(known, key) == 0)
            return &import_rows[i];
    }
    return NULL;
}

static void note(struct importing *import, const struct ini_entry *entry, const char *key,
                 const char *value)
{
    const struct import_row *row = row_find(entry->section, key);
    if (row != NULL && row->place != IMPORT_NOTHING)
        return;
    buffer_printf(&import->notes, "# %s:%u: %s = %s\n#     %s\n", entry->file, entry->line, key,
                  strstr(key, "password") != NULL ? "(hidden)" : value,
                  row == NULL ? "Unknown PgBouncer setting." : row->remark);
}

static fault note_all(struct importing *import)
{
    struct pairs *pairs = malloc(sizeof(*pairs));
    fault result = pairs == NULL ? FAULT_MEMORY : OK;
    for (size_t i = 0; i < import->ini.count && result == OK; i++) {
        const struct ini_entry *entry = &import->ini.entries[i];
        if (strcmp(entry->section, GLOBAL_PART) == 0) {
            note(import, entry, entry->key, entry->value);
        } else if (strcmp(entry->section, "databases") == 0 ||
                   strcmp(entry->section, "users") == 0) {
            result = pairs_read(import, entry, pairs);
            for (size_t at = 0; result == OK && at < pairs->count; at++)
                note(import, entry, pairs->at[at].key, pairs->at[at].value);
        } else {
            buffer_printf(&import->notes, "# %s:%u: [%s] %s\n#     %s\n", entry->file, entry->line,
                          entry->section, entry->key,
                          "Not needed: one process uses all processors, so there are no peers.");
        }
    }
    free(pairs);
    return result;
}

/* --- the parts of the file -------------------------------------------------------------------- */

/* Writes all settings of [pgbouncer] that belong to this place.  Returns whether there were any. */
static bool put_place(struct importing *import, enum import_place place, int indent)
{
    bool any = false;
    for (size_t i = 0; i < import_rows_count; i++) {
        const struct import_row *row = &import_rows[i];
        const char *value = global_or(import, row->global, row->preset);
        if (row->place != place || value == NULL || *value == '\0')
            continue;
        import_put_setting(import->out, indent, row, value);
        any = true;
    }
    return any;
}

/* Writes a block with its heading, unless the block is empty. */
static void put_block(struct importing *import, const char *head, enum import_place place)
{
    size_t before = import->out->size;
    buffer_printf(import->out, "\n%s:\n", head);
    if (!put_place(import, place, 2))
        import->out->size = before;
}

/* Writes the setting unless its value is one of PgBouncer's keywords for sets of ciphers or curves,
 * which OpenSSL does not know. */
static void put_unless_word(struct importing *import, const char *key, int indent, const char *ours)
{
    static const char *const words[] = {"default",  "secure", "compat", "fast",
                                        "insecure", "normal", "auto",   "all"};
    const char *value = global_or(import, key, "");
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (strcmp(value, words[i]) == 0)
            return;
    if (*value != '\0')
        import_put_line(import->out, indent, ours, value);
}

static void put_listener_tls(struct importing *import)
{
    const char *mode = global_or(import, "client_tls_sslmode", "disable");
    if (strcmp(mode, "disable") == 0)
        return;
    buffer_append_text(import->out, "    tls:\n");
    import_put_line(import->out, 6, "mode", strcmp(mode, "prefer") == 0 ? "allow" : mode);
    put_place(import, IMPORT_LISTEN_TLS, 6);
    put_unless_word(import, "client_tls_ciphers", 6, "ciphers");
    put_unless_word(import, "client_tls_ecdhcurve", 6, "curves");
}

static void put_listener(struct importing *import, const char *host)
{
    buffer_append_text(import->out, "  - host: ");
    import_put_text(import->out, host);
    buffer_append_byte(import->out, '\n');
    import_put_line(import->out, 4, "port", global_or(import, "listen_port", "6432"));
    put_place(import, IMPORT_LISTEN, 4);
}

static void put_listeners(struct importing *import)
{
    const char *hosts = global_or(import, "listen_addr", "");
    const char *directory = global_or(import, "unix_socket_dir", "/tmp");
    char host[256];
    buffer_append_text(import->out, "\nlisten:\n");
    while (import_next_name(&hosts, host, sizeof(host))) {
        put_listener(import, host);
        put_listener_tls(import);
    }
    if (!address_host_is_unix(directory))
        return;
    put_listener(import, directory);
    const char *mode = global_value(import, "unix_socket_mode");
    if (mode != NULL)
        import_put_line(import->out, 4, "unix_mode", mode);
    const char *group = global_value(import, "unix_socket_group");
    if (group != NULL && group[0] != '\0')
        import_put_line(import->out, 4, "unix_group", group);
}

/* --- services --------------------------------------------------------------------------------- */

static void service_name(size_t number, char *ret, size_t size)
{
    if (number == 0)
        snprintf(ret, size, "main");
    else
        snprintf(ret, size, "service%zu", number + 1);
}

/* Writes the hosts of a line of [databases] as a YAML list. */
static void hosts_of(const struct pairs *pairs, char *ret, size_t size)
{
    const char *hosts = pairs_value(pairs, "host"), *port = pairs_value(pairs, "port");
    struct buffer list = BUFFER_INIT(size - 1);
    char host[256];
    const char *between = "[";
    hosts = hosts == NULL || *hosts == '\0' ? SOCKETS : hosts;
    port = port == NULL ? "5432" : port;
    while (import_next_name(&hosts, host, sizeof(host))) {
        bool is_v6 = !address_host_is_unix(host) && strchr(host, ':') != NULL;
        buffer_printf(&list, is_v6 ? "%s\"[%s]:%s\"" : "%s\"%s:%s\"", between, host, port);
        between = ", ";
    }
    snprintf(ret, size, "%.*s]", SPAN_ARG(buffer_span(&list)));
    buffer_fini(&list);
}

static size_t service_of(const struct importing *import, const struct pairs *pairs)
{
    char hosts[sizeof(import->services[0])];
    size_t at = 0;
    hosts_of(pairs, hosts, sizeof(hosts));
    while (at < import->service_count && strcmp(import->services[at], hosts) != 0)
        at += 1;
    return at;
}

static void put_service(struct importing *import, size_t number)
{
    char name[32];
    const char *mode = global_or(import, "server_tls_sslmode", "prefer");
    service_name(number, name, sizeof(name));
    buffer_printf(import->out, "  %s:\n    hosts: %s\n", name, import->services[number]);
    put_place(import, IMPORT_SERVICE, 4);
    buffer_append_text(import->out, "    tls:\n");
    import_put_line(import->out, 6, "mode", strcmp(mode, "allow") == 0 ? "prefer" : mode);
    put_place(import, IMPORT_SERVICE_TLS, 6);
    put_unless_word(import, "server_tls_ciphers", 6, "ciphers");
}

/* Writes the services; databases with the same hosts share one. */
static fault put_services(struct importing *import, struct pairs *pairs)
{
    buffer_append_text(import->out, "\nservices:\n");
    for (size_t i = 0; i < import->ini.count; i++) {
        const struct ini_entry *entry = &import->ini.entries[i];
        if (strcmp(entry->section, "databases") != 0)
            continue;
        TRY(pairs_read(import, entry, pairs));
        size_t at = service_of(import, pairs);
        if (at < import->service_count)
            continue;
        void *more = reallocarray(import->services, at + 1, sizeof(import->services[0]));
        if (more == NULL)
            return FAULT_MEMORY;
        import->services = more;
        hosts_of(pairs, import->services[at], sizeof(import->services[0]));
        import->service_count = at + 1;
        put_service(import, at);
    }
    return OK;
}

/* --- routes ----------------------------------------------------------------------------------- */

static const char *auth_of(const struct importing *import)
{
    const char *type = global_or(import, "auth_type", "md5");
    if (strcmp(type, "any") == 0)
        return "trust";
    return strcmp(type, "plain") == 0 ? "password" : type;
}

static const char *route_value(const struct importing *import, const struct import_row *row,
                               const struct pairs *database, const struct pairs *user)
{
    const char *value = row->place == IMPORT_USER ? NULL : pairs_value(user, row->user);
    if (value == NULL)
        value = pairs_value(database, row->database);
    return value == NULL ? global_or(import, row->global, row->preset) : value;
}

/* Writes one route; `names` are its database and user, as in PgBouncer's sections. */
static void put_route(struct importing *import, const char *names[2], const struct pairs *database,
                      const struct pairs *user)
{
    char service[32];
    buffer_append_text(import->out, "  - database: ");
    import_put_text(import->out, names[0]);
    buffer_append_byte(import->out, '\n');
    import_put_line(import->out, 4, "user", names[1]);
    service_name(service_of(import, database), service, sizeof(service));
    import_put_line(import->out, 4, "service", service);
    import_put_line(import->out, 4, "auth", auth_of(import));
    for (size_t i = 0; i < import_rows_count; i++) {
        const struct import_row *row = &import_rows[i];
        bool here = row->place == IMPORT_ROUTE || row->place == IMPORT_USER;
        const char *value = here ? route_value(import, row, database, user) : NULL;
        if (value != NULL)
            import_put_setting(import->out, 4, row, value);
    }
    static const char *const apart[][2] = {
        {"dbname", "server_database"}, {"user", "server_user"}, {"password", "server_password"}};
    for (size_t i = 0; i < ARRAY_SIZE(apart); i++) {
        const char *value = pairs_value(database, apart[i][0]);
        if (value != NULL)
            import_put_line(import->out, 4, apart[i][1], value);
    }
}

/* Whether a user's line has a setting that is one of routes but not of `users:`. */
static bool needs_route(const struct pairs *user)
{
    for (size_t i = 0; i < import_rows_count; i++)
        if (import_rows[i].place == IMPORT_ROUTE && pairs_value(user, import_rows[i].user) != NULL)
            return true;
    return false;
}

/* Writes the routes of one database: first those of users with settings of their own. */
static fault put_database(struct importing *import, const struct ini_entry *entry,
                          struct pairs *pairs[2])
{
    TRY(pairs_read(import, entry, pairs[0]));
    for (size_t i = 0; i < import->ini.count; i++) {
        const struct ini_entry *user = &import->ini.entries[i];
        if (strcmp(user->section, "users") != 0)
            continue;
        TRY(pairs_read(import, user, pairs[1]));
        if (needs_route(pairs[1]))
            put_route(import, (const char *[2]){entry->key, user->key}, pairs[0], pairs[1]);
    }
    put_route(import, (const char *[2]){entry->key, "*"}, pairs[0], NULL);
    return OK;
}

/* Writes all routes; `*` comes last, because the first route that matches is used. */
static fault put_routes(struct importing *import, struct pairs *pairs[2])
{
    buffer_append_text(import->out, "\nroutes:\n");
    for (int wild = 0; wild < 2; wild++) {
        for (size_t i = 0; i < import->ini.count; i++) {
            const struct ini_entry *entry = &import->ini.entries[i];
            bool is_wild = strcmp(entry->key, "*") == 0;
            if (strcmp(entry->section, "databases") == 0 && is_wild == (wild == 1))
                TRY(put_database(import, entry, pairs));
        }
    }
    return OK;
}

/* Writes the limits of one database or user: the settings of its line that belong to `place`. */
static void put_named(struct importing *import, const struct ini_entry *entry,
                      const struct pairs *pairs, enum import_place place)
{
    bool any = false;
    for (size_t i = 0; i < import_rows_count; i++) {
        const struct import_row *row = &import_rows[i];
        const char *value = pairs_value(pairs, row_key(row, entry->section));
        if (row->place != place || value == NULL)
            continue;
        if (!any) {
            buffer_append_text(import->out, "  ");
            import_put_text(import->out, entry->key);
            buffer_append_text(import->out, ":\n");
        }
        any = true;
        import_put_setting(import->out, 4, row, value);
    }
}

/* Writes a block of such limits; `*` is skipped, as it names no single database or user. */
static fault put_all_named(struct importing *import, const char *section, enum import_place place,
                           struct pairs *pairs)
{
    size_t before = import->out->size;
    buffer_printf(import->out, "\n%s:\n", section);
    size_t head = import->out->size;
    for (size_t i = 0; i < import->ini.count; i++) {
        const struct ini_entry *entry = &import->ini.entries[i];
        if (strcmp(entry->section, section) != 0 || strcmp(entry->key, "*") == 0)
            continue;
        TRY(pairs_read(import, entry, pairs));
        put_named(import, entry, pairs, place);
    }
    if (import->out->size == head)
        import->out->size = before;
    return OK;
}

/* --- the whole -------------------------------------------------------------------------------- */

static fault put_all(struct importing *import, const char *path)
{
    struct pairs *room = calloc(2, sizeof(*room));
    if (room == NULL)
        return FAULT_MEMORY;
    struct pairs *pairs[2] = {&room[0], &room[1]};
    buffer_printf(
        import->out,
        "# Made from %s by `trunkline import`. Settings without an equivalent are at the end.\n\n",
        path);
    put_place(import, IMPORT_TOP, 0);
    put_listeners(import);
    put_block(import, "client_tcp", IMPORT_TCP);
    put_block(import, "server_tcp", IMPORT_TCP);
    fault result = put_services(import, pairs[0]);
    if (result == OK)
        result = put_routes(import, pairs);
    if (result == OK)
        result = put_all_named(import, "databases", IMPORT_DATABASE, pairs[0]);
    if (result == OK)
        result = put_all_named(import, "users", IMPORT_USER, pairs[0]);
    free(room);
    put_block(import, "console", IMPORT_CONSOLE);
    put_block(import, "log", IMPORT_LOG);
    if (result == OK)
        result = note_all(import);
    if (import->notes.size > 0) {
        buffer_append_text(import->out, "\n# Settings without an equivalent:\n");
        buffer_append_span(import->out, buffer_span(&import->notes));
    }
    return result;
}

fault import_pgbouncer(const char *path, struct buffer *out, struct buffer *problems)
{
    struct importing import = {
        .out = out, .problems = problems, .notes = BUFFER_INIT((size_t)1024 * 1024)};
    fault result = ini_read(path, &import.ini, problems);
    if (result == OK)
        result = put_all(&import, path);
    if (result == OK)
        result = buffer_fault(out);
    if (result == FAULT_CONFIG && problems->size > 0)
        fault_raise(FAULT_CONFIG, "%s can't be parsed", path);
    buffer_fini(&import.notes);
    free(import.services);
    ini_free(&import.ini);
    return result;
}
