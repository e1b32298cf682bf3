/*
 * config_source.c - reads a secret from elsewhere than the file itself:
 *
 *   server_password: {env: NAME}        a variable of the environment
 *   server_password: {file: path}       a file, which must be private
 *   server_password: {command: words}   what a command prints; a text is for the shell
 *
 * One line break at the end is cut.  Read at the start and at each reload.
 */
#include "instance/config_reader.h"
#include "machine/clock.h"
#include "machine/process.h"

#include <errno.h>

#define COMMAND_WORDS_MAX 64
#define COMMAND_TIMEOUT   sec(10)

/* A secret that is being read, and the place for problems. */
struct source {
    struct config_reader *reader;
    const yaml_node_t *node;
    const struct config_key *key;
    char text[CONFIG_SECRET_MAX + 3]; /* room for a line break, and for a byte too many */
    size_t size;
};

/* --- the three places ------------------------------------------------------------------------- */

static bool env_read(struct source *source, const char *name)
{
    const char *value = process_variable(name);
    if (value == NULL) {
        config_error(source->reader, source->node, source->key,
                     "environment variable %s is not set", name);
        return false;
    }
    source->size = MIN_OF(strlen(value), sizeof(source->text));
    memcpy(source->text, value, source->size);
    return true;
}

static bool file_read(struct source *source, const char *path)
{
    if (!config_check_private(source->reader, source->node, source->key, path))
        return false;
    int64_t got = os->file_read(path, source->text, sizeof(source->text));
    if (got < 0)
        config_error(source->reader, source->node, source->key, "cannot read %s: %s", path,
                     strerrordesc_np((int)-got));
    source->size = got < 0 ? 0 : (size_t)got;
    return got >= 0;
}

static bool command_read(struct source *source, const char *const *words)
{
    struct os_output output = {.at = source->text, .max = sizeof(source->text)};
    int status = os->run(words, later(now_exact(), COMMAND_TIMEOUT), &output);
    source->size = output.size;
    if (status == 0 && output.exit == 0)
        return true;
    if (status == -EMSGSIZE)
        return true; /* the size shows that it is too long */
    if (status == -ETIMEDOUT)
        config_error(source->reader, source->node, source->key,
                     "the command did not finish within 10s");
    else if (status != 0)
        config_error(source->reader, source->node, source->key, "the command %s: %s", words[0],
                     strerrordesc_np(-status));
    else
        config_error(source->reader, source->node, source->key, "the command failed with %s %d",
                     output.exit < 0 ? "signal" : "status",
                     output.exit < 0 ? -output.exit : output.exit);
    return false;
}

/* --- the mapping ------------------------------------------------------------------------------ */

static const struct setting word_row = {
    .kind = SETTING_TEXT, .min = 1, .max = 4095, .unit = "a text"};

static bool read_command(struct source *source, yaml_node_t *node)
{
    struct config_reader *reader = source->reader;
    const char *words[COMMAND_WORDS_MAX + 1] = {"/bin/sh", "-c"};
    size_t count = 2;
    bool list = node->type == YAML_SEQUENCE_NODE;
    if (list)
        count = config_yaml_count(node);
    if (count == 0 || count > COMMAND_WORDS_MAX) {
        config_error(reader, node, source->key, "found %zu words; accepted: 1 to %d", count,
                     COMMAND_WORDS_MAX);
        return false;
    }
    for (size_t i = list ? 0 : count; i < count + !list; i++) {
        yaml_node_t *item = list ? config_yaml_item(reader, node, i) : node;
        words[i] = config_read_text(reader, &word_row, item, source->key, word_row.max);
        if (words[i] == NULL)
            return false;
    }
    return command_read(source, words);
}

static bool read_source(struct source *source, struct span how, yaml_node_t *value)
{
    struct config_reader *reader = source->reader;
    if (span_is(how, "command"))
        return read_command(source, value);
    const char *text = config_read_text(reader, &word_row, value, source->key, word_row.max);
    if (text == NULL)
        return false;
    if (span_is(how, "env"))
        return env_read(source, text);
    const char *path = config_path_absolute(reader, value, text);
    return path != NULL && file_read(source, path);
}

/* Removes one line break at the end.  Returns true if the rest is a secret that the setting
 * accepts. */
static bool source_sound(struct source *source, int64_t max)
{
    if (source->size > 0 && source->text[source->size - 1] == '\n')
        source->size -= 1;
    if (source->size > 0 && source->text[source->size - 1] == '\r')
        source->size -= 1;
    return source->size > 0 && source->size <= (size_t)max &&
           memchr(source->text, '\0', source->size) == NULL;
}

const char *config_read_source(struct config_reader *reader, const struct setting *setting,
                               const yaml_node_t *node, const struct config_key *key)
{
    invariant(node->type == YAML_MAPPING_NODE && setting->max <= CONFIG_SECRET_MAX);
    const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    struct span how = SPAN_NONE;
    if (node->data.mapping.pairs.top - pair == 1)
        how = config_yaml_text(yaml_document_get_node(&reader->document, pair->key));
    if (!span_is(how, "env") && !span_is(how, "file") && !span_is(how, "command")) {
        config_refuse(reader, node, key, setting);
        return NULL;
    }
    struct source source = {.reader = reader, .node = node, .key = key};
    const char *kept = NULL;
    if (read_source(&source, how, yaml_document_get_node(&reader->document, pair->value))) {
        if (source_sound(&source, setting->max))
            kept = config_arena_text(reader->arena, span_of(source.text, source.size));
        else
            config_error(reader, node, key,
                         "found %zu bytes; accepted: a secret of 1 to %lld bytes", source.size,
                         (long long)setting->max);
    }
    explicit_bzero(source.text, sizeof(source.text));
    return kept;
}
