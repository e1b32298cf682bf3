/*
 * Files that a configuration is made of, or names: where they are, who may read them, what is in
 * them.
 */
#include "instance/config_reader.h"

#include <errno.h>

const char *config_path_absolute(struct config_reader *reader, const char *path)
{
    if (path[0] == '/')
        return path;
    struct buffer whole = BUFFER_INIT((size_t)2 * 4096);
    buffer_printf(&whole, "%s/%s", reader->directory, path);
    const char *kept = config_arena_text(reader->arena, buffer_span(&whole));
    buffer_fini(&whole);
    return kept;
}

int config_file_read(const char *path, struct buffer *into)
{
    size_t size = 64 * 1024;
    into->max += 1; /* a byte more than may be there: it says that there is more */
    for (;;) {
        /* It may hold secrets, and growing leaves the old memory as it is. */
        if (into->at != NULL)
            explicit_bzero(into->at, into->capacity);
        buffer_clear(into);
        size = MIN_OF(size, into->max);
        uint8_t *room = buffer_room(into, size);
        if (room == NULL)
            return -ENOMEM;
        int64_t got = os->file_read(path, room, size);
        if (got < 0)
            return (int)got;
        into->size = (size_t)got;
        /* Filled to the brim: there may be more. */
        if (into->size < size)
            return 0;
        if (size == into->max)
            return -EFBIG;
        size *= 4;
    }
}

/* --- files that are private ------------------------------------------------------------------- */

/* Before the settings are read: what they will say. */
static enum secret_files secret_files(struct config_reader *reader)
{
    const yaml_node_t *node = config_yaml_find(reader, reader->root, "secret_files");
    struct span text = node == NULL ? SPAN("warn") : config_yaml_text(node);
    if (span_is(text, "any"))
        return SECRET_FILES_ANY;
    return span_is(text, "private") ? SECRET_FILES_PRIVATE : SECRET_FILES_WARN;
}

/* As PostgreSQL has it for keys: its owner's alone; a group may read what belongs to root. */
static bool mode_private(int mode, uint32_t owner)
{
    return (mode & (owner == 0 ? 0037 : 0077)) == 0;
}

bool config_file_private(struct config_reader *reader, const char *path, int *ret_mode)
{
    uint32_t owner = 0;
    int mode = os->file_mode(path, &owner);
    *ret_mode = mode;
    /* One that can't be looked at can't be read either, which is told then. */
    return mode < 0 || mode_private(mode, owner) || secret_files(reader) == SECRET_FILES_ANY;
}

bool config_check_private(struct config_reader *reader, const yaml_node_t *node,
                          const struct config_key *key, const char *path)
{
    int mode;
    if (config_file_private(reader, path, &mode))
        return true;
    bool refuses = secret_files(reader) == SECRET_FILES_PRIVATE;
    void (*tell)(struct config_reader *, const yaml_node_t *, const struct config_key *,
                 const char *, ...) = refuses ? config_error : config_warning;
    tell(reader, node, key,
         "%s has mode %04o, so that others can read its secrets; better: 0600, or 0640 where "
         "root owns it",
         path, (unsigned)mode);
    return !refuses;
}
