/*
 * config_file.c - files that a configuration consists of or names: their paths, permissions and
 * contents.
 */
#include "instance/config_reader.h"

#include <errno.h>

int config_file_read(const char *path, struct buffer *into)
{
    size_t size = 64 * 1024;
    into->max += 1; /* room for one byte more than allowed shows that the file is too large */
    for (;;) {
        /* The text may hold secrets, and growing the buffer would leave copies in freed memory. */
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
        /* The buffer is full: the file may be longer. */
        if (into->size < size)
            return 0;
        if (size == into->max)
            return -EFBIG;
        size *= 4;
    }
}

/* --- files that are private ------------------------------------------------------------------- */

/* Reads `secret_files` ahead of the other settings. */
static enum secret_files secret_files(struct config_reader *reader)
{
    const yaml_node_t *node = config_yaml_find(reader, reader->root, "secret_files");
    struct span text = node == NULL ? SPAN("warn") : config_yaml_text(node);
    if (span_is(text, "any"))
        return SECRET_FILES_ANY;
    return span_is(text, "private") ? SECRET_FILES_PRIVATE : SECRET_FILES_WARN;
}

/* PostgreSQL's rule for key files: private to the owner; the group may read files of root. */
static bool mode_private(int mode, uint32_t owner)
{
    return (mode & (owner == 0 ? 0037 : 0077)) == 0;
}

bool config_file_private(struct config_reader *reader, const char *path, int *ret_mode)
{
    uint32_t owner = 0;
    int mode = os->file_mode(path, &owner);
    *ret_mode = mode;
    /* If the mode can't be read, the file can't be read either; that problem is reported then. */
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
         "%s has mode %04o, so other users can read its secrets; use 0600, or 0640 if root owns it",
         path, (unsigned)mode);
    return !refuses;
}
