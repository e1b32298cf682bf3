/*
 * Rules and maps: the first byte says which, up to the first NUL is the file, then what it
 * includes, then who comes.  Whatever it was, matching ends with an answer.
 */
#include "config/hba.h"
#include "fuzz.h"

#include <errno.h>

static struct span fuzz_file, fuzz_included;
static size_t fuzz_problems;

static int fuzz_read(void *argument, const char *path, struct buffer *into)
{
    struct span text = fuzz_included;
    if (strcmp(path, "/fuzz/first") == 0)
        text = fuzz_file;
    else if (strcmp(path, "/fuzz/none") == 0)
        return -ENOENT;
    buffer_append_span(into, text);
    return buffer_fault(into) == OK ? 0 : -EFBIG;
}

static int fuzz_list(void *argument, const char *path, struct buffer *into)
{
    buffer_append(into, "a.conf\0b.conf", 14);
    return 0;
}

static void fuzz_problem(void *argument, const char *file, uint32_t line, const char *text)
{
    invariant(file != NULL && text[0] != '\0');
    fuzz_problems++;
}

static fault fuzz_role(void *argument, struct span user, const char *role, bool *ret)
{
    *ret = user.size == strlen(role);
    return OK;
}

static fault fuzz_host(void *argument, const struct address *peer, const char *name, bool *ret)
{
    *ret = name[0] == '.';
    return OK;
}

static bool fuzz_own(void *argument, const struct address *peer, bool network)
{
    return network;
}

static const struct hba_world world = {
    .in_role = fuzz_role, .is_host = fuzz_host, .is_own = fuzz_own};

static void match_all(const struct hba *hba, struct span who)
{
    static const struct address peers[] = {
        {.family = ADDRESS_UNIX},
        {.family = ADDRESS_IPV4, .bytes = {10, 1, 2, 3}},
        {.family = ADDRESS_IPV6, .bytes = {0x20, 0x01, 0x0d, 0xb8}},
    };
    for (size_t i = 0; i < ARRAY_SIZE(peers) * 4; i++) {
        const struct hba_rule *rule;
        struct hba_subject subject = {.database = who,
                                      .user = span_skip(who, who.size / 2),
                                      .peer = &peers[i / 4],
                                      .tls = (i & 1) != 0,
                                      .replication = (i & 2) != 0};
        invariant(hba_match(hba, &subject, &world, &rule) == OK);
        invariant(rule == NULL || (rule->line > 0 && rule->text != NULL));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct hba_reader reader = {
        .read = fuzz_read, .list = fuzz_list, .problem = fuzz_problem};
    /* Files that include each other are read as often as that: short ones will do. */
    if (size == 0 || size > 4096)
        return 0;
    struct hba *hba = hba_new();
    bool allowed;
    invariant(hba != NULL);
    struct span rest = span_of(data + 1, size - 1);
    const uint8_t *end = rest.size == 0 ? NULL : memchr(rest.at, '\0', rest.size);
    fuzz_file = span_of(rest.at, end == NULL ? rest.size : (size_t)(end - rest.at));
    rest = span_skip(rest, fuzz_file.size + 1);
    end = rest.size == 0 ? NULL : memchr(rest.at, '\0', rest.size);
    fuzz_included = span_of(rest.at, end == NULL ? rest.size : (size_t)(end - rest.at));
    struct span who = span_skip(rest, fuzz_included.size + 1);
    /* A file may include others ten deep and ten times each: not what is looked for here. */
    if (fuzz_included.size > 0 && (memmem(fuzz_included.at, fuzz_included.size, "include", 7) ||
                                   memchr(fuzz_included.at, '@', fuzz_included.size)))
        fuzz_included = SPAN_NONE;
    if (data[0] == 'm')
        hba_read_maps(hba, "/fuzz/first", &reader);
    else
        hba_read_rules(hba, "/fuzz/first", &reader);
    match_all(hba, who);
    invariant(hba_map_allows(hba, "m", who, span_skip(who, who.size / 2), &world, &allowed) == OK);
    hba_free(&hba);
    return 0;
}
