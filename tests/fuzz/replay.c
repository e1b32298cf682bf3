/*
 * replay.c - gives every file of a corpus to a fuzz target, in the order of their names, so that
 * what a fuzzer found once is tried by every build, whatever its compiler.
 */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

static int replay_bytes(const uint8_t *bytes, size_t size)
{
    uint8_t *memory;
    struct span copy = fuzz_copy(bytes, size, &memory);
    int result = LLVMFuzzerTestOneInput(copy.at, copy.size);
    free(memory);
    return result;
}

static int replay_file(const char *folder, const char *name)
{
    static uint8_t bytes[1 << 20];
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return -1;
    }
    size_t size = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    printf("# %s, %zu bytes\n", name, size);
    fflush(stdout);
    return replay_bytes(bytes, size);
}

static int is_input(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

int main(int count, char **arguments)
{
    struct dirent **entries;
    if (count != 2) {
        fprintf(stderr, "usage: %s FOLDER\n", arguments[0]);
        return EXIT_FAILURE;
    }
    int files = scandir(arguments[1], &entries, is_input, alphasort);
    if (files <= 0) {
        fprintf(stderr, "%s: no inputs\n", arguments[1]);
        return EXIT_FAILURE;
    }
    int failed = replay_bytes(NULL, 0);
    for (int i = 0; i < files; i++) {
        failed |= replay_file(arguments[1], entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    printf("# %d inputs\n", files);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
