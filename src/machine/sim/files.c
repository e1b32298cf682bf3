/* files.c - files of the simulation, in memory. */
#include "machine/sim/inside.h"

#include "base/check.h"
#include "machine/os_process_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Files in memory, by their full paths: a directory exists if a file is in it.  A removed file is
 * kept while the log writes to it.
 */
#define FIRST_LOG 100 /* first number of files that the log has opened */

struct sim_file {
    char *path; /* NULL: removed */
    uint8_t *bytes;
    size_t size;
    size_t capacity;
    uint32_t mode;
    uint32_t owner;
    bool is_socket;
    uint32_t users; /* log targets */
};

static struct sim_files {
    struct sim_file **all;
    size_t count;
    struct sim_file *logs[64]; /* by number - FIRST_LOG */
    int sinks[OS_LOG_SINKS];   /* number of the file of each sink; 0: standard error */
    void (*line)(void *argument, int sink, const char *text, size_t size);
    void *argument;
} files;

static struct sim_file *file_find(const char *path)
{
    for (size_t i = 0; i < files.count; i++)
        if (files.all[i]->path != NULL && strcmp(files.all[i]->path, path) == 0)
            return files.all[i];
    return NULL;
}

static struct sim_file *file_make(const char *path, uint32_t mode)
{
    struct sim_file *file = file_find(path);
    if (file != NULL)
        return file;
    file = calloc(1, sizeof(*file));
    files.all = reallocarray(files.all, files.count + 1, sizeof(struct sim_file *));
    invariant(file != NULL && files.all != NULL);
    file->path = strdup(path);
    invariant(file->path != NULL);
    file->mode = mode;
    file->owner = os->process->user();
    files.all[files.count++] = file;
    return file;
}

static void file_free(struct sim_file *file)
{
    free(file->path);
    free(file->bytes);
    free(file);
}

static void file_remove(struct sim_file *file)
{
    size_t at = 0;
    free(file->path);
    file->path = NULL;
    if (file->users > 0)
        return;
    while (files.all[at] != file)
        at += 1;
    memmove(files.all + at, files.all + at + 1, (--files.count - at) * sizeof(*files.all));
    file_free(file);
}

static void file_append(struct sim_file *file, const void *bytes, size_t size)
{
    if (file->size + size > file->capacity) {
        file->capacity = MAX_OF(2 * file->capacity, file->size + size);
        file->bytes = realloc(file->bytes, file->capacity);
        invariant(file->bytes != NULL);
    }
    if (size > 0)
        memcpy(file->bytes + file->size, bytes, size);
    file->size += size;
}

/* --- functions of the os table ---------------------------------------------------------------- */

int64_t sim_file_read(const char *path, void *bytes, size_t size)
{
    const struct sim_file *file = file_find(path);
    int64_t status = file == NULL ? -ENOENT : file->is_socket ? -ENXIO : 0;
    if (status == 0 && sim_chance(LOT_FAULT, sim_rates.file_fails))
        status = -EIO;
    sim_note_text("read", path, strlen(path));
    if (status < 0)
        return status;
    size_t count = MIN_OF(size, file->size);
    if (count > 0)
        memcpy(bytes, file->bytes, count);
    return (int64_t)count;
}

int sim_file_mode(const char *path, uint32_t *ret_owner)
{
    const struct sim_file *file = file_find(path);
    if (file == NULL)
        return -ENOENT;
    *ret_owner = file->owner;
    return (int)file->mode;
}

int sim_file_unlink(const char *path)
{
    struct sim_file *file = file_find(path);
    sim_note_text("unlink", path, strlen(path));
    if (file == NULL)
        return -ENOENT;
    file_remove(file);
    return 0;
}

int sim_file_list(const char *path, void (*each)(void *argument, const char *name), void *argument)
{
    size_t size = strlen(path), found = 0;
    while (size > 0 && path[size - 1] == '/')
        size -= 1;
    for (size_t i = 0; i < files.count; i++) {
        const char *at = files.all[i]->path;
        if (at == NULL || strncmp(at, path, size) != 0 || at[size] != '/')
            continue;
        found += 1;
        if (strchr(at + size + 1, '/') == NULL)
            each(argument, at + size + 1);
    }
    if (found == 0)
        return -ENOENT;
    each(argument, ".");
    each(argument, "..");
    return 0;
}

bool sim_file_exists(const char *path)
{
    return file_find(path) != NULL;
}

bool sim_file_socket(const char *path, uint32_t mode)
{
    struct sim_file *file = file_find(path);
    if (file != NULL && !file->is_socket)
        return false;
    file = file_make(path, mode);
    file->is_socket = true;
    file->mode = mode;
    return true;
}

/* --- functions for tests ---------------------------------------------------------------------- */

void sim_file_put(const char *path, const void *bytes, size_t size, uint32_t mode)
{
    invariant(path[0] == '/');
    struct sim_file *file = file_make(path, mode);
    file->size = 0;
    file->mode = mode;
    file_append(file, bytes, size);
    sim_note_bytes("put", (int64_t)mode, bytes, size);
}

void sim_file_put_text(const char *path, const char *text)
{
    sim_file_put(path, text, strlen(text), 0640);
}

void sim_file_own(const char *path, uint32_t owner)
{
    struct sim_file *file = file_find(path);
    invariant(file != NULL);
    file->owner = owner;
}

void sim_file_remove(const char *path)
{
    (void)sim_file_unlink(path);
}

const void *sim_file_get(const char *path, size_t *ret_size)
{
    const struct sim_file *file = file_find(path);
    if (file == NULL)
        return NULL;
    *ret_size = file->size;
    return file->bytes != NULL ? (const void *)file->bytes : "";
}

/* --- the log ---------------------------------------------------------------------------------- */

int sim_log_open(const char *path)
{
    size_t at = 0;
    if (path == NULL)
        return 2;
    struct sim_file *file = file_make(path, 0640);
    if (file->is_socket)
        return -ENXIO;
    while (at < ARRAY_SIZE(files.logs) && files.logs[at] != NULL)
        at += 1;
    if (at == ARRAY_SIZE(files.logs))
        return -EMFILE;
    file->users += 1;
    files.logs[at] = file;
    return FIRST_LOG + (int)at;
}

void sim_log_close(int number)
{
    if (number < FIRST_LOG)
        return;
    struct sim_file *file = files.logs[number - FIRST_LOG];
    invariant(file != NULL && file->users > 0);
    files.logs[number - FIRST_LOG] = NULL;
    file->users -= 1;
    if (file->users == 0 && file->path == NULL)
        file_remove(file);
}

int sim_log_turn(int sink, const struct os_log_target *target, os_log_report *report)
{
    (void)report; /* lines are never dropped */
    sim_log_close(files.sinks[sink]);
    files.sinks[sink] = target->file;
    return 0;
}

void sim_log_wake(void)
{
}

void sim_log_stop(void)
{
    for (int i = 0; i < OS_LOG_SINKS; i++) {
        sim_log_close(files.sinks[i]);
        files.sinks[i] = 0;
    }
}

void sim_log_line(int sink, const char *line, size_t size)
{
    int number = files.sinks[sink];
    sim_note_text("log", line, size);
    if (number >= FIRST_LOG)
        file_append(files.logs[number - FIRST_LOG], line, size);
    if (files.line != NULL)
        files.line(files.argument, sink, line, size);
}

uint64_t sim_log_dropped(void)
{
    return 0;
}

void sim_log_to(void (*line)(void *argument, int sink, const char *text, size_t size),
                void *argument)
{
    files.line = line;
    files.argument = argument;
}

void sim_files_finish(void)
{
    sim_log_stop();
    for (size_t i = 0; i < files.count; i++)
        file_free(files.all[i]);
    free(files.all);
    files = (struct sim_files){0};
}
