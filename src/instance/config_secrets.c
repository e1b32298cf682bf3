/*
 * config_secrets.c - reads the auth file, in the format of PgBouncer's userlist.txt:
 *
 *   "user" "secret"      a quote inside is doubled; what follows on the line is ignored
 *   ; or # begins a line that is a comment
 *
 * PgBouncer stops at the first line that is broken and keeps the users before it; here it is an
 * error.  As there, the last line of a user counts.
 */
#include "instance/config_reader.h"
#include "wire/scram.h"

#include <stdlib.h>

/* PgBouncer's MAX_USERNAME and MAX_PASSWORD, without their NUL. */
#define USER_MAX   127
#define SECRET_MAX 2047

struct secret_line {
    struct config_place place;
    struct buffer user;
    struct buffer text;
};

static void line_problem(struct config_reader *reader, enum config_severity severity,
                         const struct secret_line *line, const char *text)
{
    config_problems_add(&reader->problems, severity, line->place, NULL, text);
}

static struct span skip_blanks(struct span text)
{
    while (text.size > 0 && (text.at[0] == ' ' || text.at[0] == '\t' || text.at[0] == '\r'))
        text = span_skip(text, 1);
    return text;
}

/* Takes one quoted text off `rest`.  Returns false if there is none, or it has no end on this
 * line. */
static bool quoted_take(struct span *rest, struct buffer *ret)
{
    struct span text = skip_blanks(*rest);
    if (text.size == 0 || text.at[0] != '"')
        return false;
    for (size_t i = 1; i < text.size; i++) {
        bool quote = text.at[i] == '"';
        if (quote && (i + 1 == text.size || text.at[i + 1] != '"')) {
            *rest = span_skip(text, i + 1);
            return true;
        }
        if (quote)
            i++;
        buffer_append_byte(ret, text.at[i]);
    }
    return false;
}

static bool secret_sound(struct span text)
{
    struct scram_verifier verifier;
    if (!span_starts(text, SPAN("SCRAM-SHA-256$")))
        return true;
    return scram_read_verifier(text, &verifier) == OK;
}

static bool secret_is(const struct map_link *link, const void *key)
{
    const struct secret *secret = MAP_ENTRY(link, const struct secret, link);
    return span_is(*(const struct span *)key, secret->user);
}

static void secret_add(struct config_reader *reader, const struct secret_line *line)
{
    struct config *config = reader->config;
    struct span user = buffer_span(&line->user);
    uint64_t hash = hash_span(user);
    struct map_link *known = map_find(&config->secrets, hash, secret_is, &user);
    if (known != NULL) {
        line_problem(reader, CONFIG_WARNING, line, "duplicate user; this later line is used");
        map_remove(&config->secrets, known);
    }
    if (line->text.size == 0) {
        line_problem(reader, CONFIG_WARNING, line,
                     "the secret is empty, so this user can't log in");
        return;
    }
    struct scram_verifier verifier;
    if (config->scram_iterations == 0 &&
        scram_read_verifier(buffer_span(&line->text), &verifier) == OK)
        config->scram_iterations = verifier.iterations;
    struct secret *secret = config_arena_take(reader->arena, sizeof(*secret));
    if (secret == NULL)
        return;
    secret->user = config_arena_text(reader->arena, user);
    secret->text = config_arena_text(reader->arena, buffer_span(&line->text));
    if (secret->user == NULL || secret->text == NULL)
        return;
    if (map_insert(&config->secrets, &secret->link, hash) != OK)
        line_problem(reader, CONFIG_ERROR, line, "out of memory, or too many users");
}

static void line_read(struct config_reader *reader, struct span rest, struct secret_line *line)
{
    rest = skip_blanks(rest);
    if (rest.size == 0 || rest.at[0] == ';' || rest.at[0] == '#')
        return;
    if (memchr(rest.at, '\0', rest.size) != NULL) {
        line_problem(reader, CONFIG_ERROR, line, "found a NUL byte");
        return;
    }
    if (!quoted_take(&rest, &line->user) || !quoted_take(&rest, &line->text)) {
        line_problem(reader, CONFIG_ERROR, line,
                     "accepted: \"user\" \"secret\", each in double quotes");
        return;
    }
    if (buffer_fault(&line->user) != OK || buffer_fault(&line->text) != OK)
        line_problem(reader, CONFIG_ERROR, line,
                     "too long; accepted: user names up to 127 and secrets up to 2047 bytes");
    else if (line->user.size == 0)
        line_problem(reader, CONFIG_ERROR, line, "the user name is empty");
    else if (!secret_sound(buffer_span(&line->text)))
        line_problem(
            reader, CONFIG_ERROR, line,
            "malformed SCRAM secret; accepted: SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey");
    else
        secret_add(reader, line);
}

void config_parse_secrets(struct config_reader *reader, struct span text)
{
    struct secret_line line = {.place = {.file = reader->config->auth_file},
                               .user = BUFFER_INIT(USER_MAX),
                               .text = BUFFER_INIT(SECRET_MAX)};
    while (text.size > 0) {
        const uint8_t *end = memchr(text.at, '\n', text.size);
        size_t size = end == NULL ? text.size : (size_t)(end - text.at);
        line.place.line += 1;
        buffer_clear(&line.user);
        buffer_clear(&line.text);
        line_read(reader, span_of(text.at, size), &line);
        text = span_skip(text, size + 1);
    }
    /* The buffers held secrets. */
    if (line.text.at != NULL)
        explicit_bzero(line.text.at, line.text.capacity);
    buffer_fini(&line.user);
    buffer_fini(&line.text);
}

static bool is_hash(const char *secret)
{
    struct span text = span_text(secret);
    return span_starts(text, SPAN("SCRAM-SHA-256$")) ||
           (text.size == MD5_TEXT - 1 && span_starts(text, SPAN("md5")));
}

/* Gives feeds without a password the one of the auth file, unless that is a hash. */
static void set_feed_passwords(struct config *config)
{
    for (size_t i = 0; i < config->service_count; i++) {
        struct feed_config *feed = &config->services[i].feed;
        const struct secret *secret =
            feed->user == NULL ? NULL : config_secret(config, span_text(feed->user));
        if (feed->password != NULL || secret == NULL || is_hash(secret->text))
            continue;
        feed->password = secret->text;
    }
}

void config_read_secrets(struct config_reader *reader)
{
    const struct config_key key = {.name = "auth_file"};
    const char *path = reader->config->auth_file;
    if (path == NULL || reader->root->type != YAML_MAPPING_NODE)
        return;
    if (!config_check_private(reader, config_yaml_place(reader, reader->root, "auth_file"), &key,
                              path))
        return;
    struct buffer text = BUFFER_INIT(CONFIG_AUTH_MAX);
    int status = config_file_read(path, &text);
    if (status != 0)
        config_error(reader, config_yaml_place(reader, reader->root, "auth_file"), &key,
                     "cannot read %s: %s", path, strerrordesc_np(-status));
    else
        config_parse_secrets(reader, buffer_span(&text));
    set_feed_passwords(reader->config);
    if (text.at != NULL)
        explicit_bzero(text.at, text.capacity);
    buffer_fini(&text);
}
