/* A configuration file and, behind its first NUL byte, the auth file, which is also the file that
 * `include: "*.yaml"` finds. */
#include "fuzz.h"
#include "instance/config_load.h"
#include "machine/os_process_parts.h"

#include <errno.h>

/* What the files hold that the loader asks for. */
static struct span fuzz_config, fuzz_users;

static int64_t fuzz_read(const char *path, void *bytes, size_t size)
{
    struct span text = fuzz_users;
    if (strcmp(path, "/fuzz/t.yaml") == 0)
        text = fuzz_config;
    else if (strcmp(path, "/fuzz/users.txt") != 0 && strcmp(path, "/fuzz/part.yaml") != 0)
        return -ENOENT;
    size_t count = MIN_OF(text.size, size);
    if (count > 0)
        memcpy(bytes, text.at, count);
    return (int64_t)count;
}

static int fuzz_list(const char *path, void (*each)(void *argument, const char *name),
                     void *argument)
{
    each(argument, "users.conf");
    each(argument, "part.yaml");
    return 0;
}

static int fuzz_mode(const char *path, uint32_t *ret_owner)
{
    *ret_owner = 0;
    return 0600;
}

/* Whatever the input says, nothing is run. */
static int fuzz_run(const char *const *words, deadline by, struct os_output *output)
{
    return -ENOENT;
}

static int64_t fuzz_time(void)
{
    return 0;
}

static bool fuzz_group(const char *name, int64_t *ret)
{
    *ret = 7;
    return name[0] == 'g';
}

static uint32_t fuzz_processors(void)
{
    return 4;
}

/* Variables have their own names as values. */
static const char *fuzz_variable(const char *name)
{
    return name[0] == '\0' ? NULL : name;
}

static void fuzz_hide(void *pages, size_t size, bool hidden)
{
}

static const struct os_process fuzz_process = {.group_number = fuzz_group,
                                               .processors = fuzz_processors,
                                               .variable = fuzz_variable,
                                               .hide = fuzz_hide};

static const struct os os_fuzz = {.name = "fuzz",
                                  .process = &fuzz_process,
                                  .file_read = fuzz_read,
                                  .file_list = fuzz_list,
                                  .file_mode = fuzz_mode,
                                  .run = fuzz_run,
                                  .monotonic_us = fuzz_time};
const struct os *os = &os_fuzz;

/* Certificates are read by OpenSSL, from wherever the input says: not here. */
fault tls_context_new(const struct tls_settings *settings, struct tls_context **ret)
{
    if (settings->certificate != NULL && strcmp(settings->certificate, "/fuzz/server.crt") != 0)
        return fault_raise(FAULT_TLS, "certificate \"%s\": not here", settings->certificate);
    *ret = NULL;
    return OK;
}

void tls_context_unref(struct tls_context **context)
{
    *context = NULL;
}

static fault load(struct config **ret, struct buffer *problems)
{
    return config_load("/fuzz/t.yaml", 1, ret, problems);
}

static bool same_rows(const struct config *a, const struct config *b)
{
    if (a->row_count != b->row_count)
        return false;
    for (size_t i = 0; i < a->row_count; i++)
        if (strcmp(a->rows[i].key, b->rows[i].key) != 0 ||
            strcmp(a->rows[i].value, b->rows[i].value) != 0)
            return false;
    return true;
}

/* Whatever the file was: a version that got through can be worked with. */
static void use(struct config *config)
{
    invariant(config->listen_count > 0 && config->route_count > 0 && config->row_count > 0);
    invariant(config->relays > 0 && config->chunk >= 16 * 1024);
    for (size_t i = 0; i < config->listen_count; i++)
        invariant(config->listens[i].host[0] != '\0' && config->listens[i].port > 0);
    for (size_t i = 0; i < config->service_count; i++) {
        const struct service_config *service = &config->services[i];
        invariant(service->name[0] != '\0' && service->host_count > 0);
        for (size_t j = 0; j < service->host_count; j++)
            invariant(service->hosts[j].host[0] != '\0' && service->hosts[j].port > 0);
    }
    for (size_t i = 0; i < config->route_count; i++) {
        const struct route_config *route = &config->routes[i];
        invariant(route->service != NULL || route->auth == AUTH_BLOCK);
        invariant(route->pool_min <= route->pool_size && route->line > 0);
        invariant(route_same_identity(route, route));
        invariant(config_route(config, span_text(route->database), span_text(route->user)));
    }
    for (struct map_link *link = map_next(&config->secrets, NULL); link != NULL;
         link = map_next(&config->secrets, link)) {
        const struct secret *secret = MAP_ENTRY(link, const struct secret, link);
        invariant(secret->text[0] != '\0');
        invariant(config_secret(config, span_text(secret->user)) == secret);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config *config = NULL, *again = NULL;
    struct buffer problems = BUFFER_INIT((size_t)1 << 20);
    size_t split = size;
    for (size_t i = size; i > 0; i--)
        if (data[i - 1] == '\0')
            split = i - 1;
    fuzz_config = span_of(data, split);
    fuzz_users = span_skip(span_of(data, size), split + 1);

    fault loaded = load(&config, &problems);
    invariant(loaded == OK || loaded == FAULT_CONFIG);
    invariant((loaded == OK) == (config != NULL) && buffer_fault(&problems) == OK);
    invariant(loaded == OK || problems.size > 0);
    if (loaded == OK) {
        use(config);
        buffer_clear(&problems);
        invariant(load(&again, &problems) == OK && same_rows(config, again));
        buffer_clear(&problems);
        invariant(config_keep_unreloadable(config, again, &problems) == OK);
        invariant(problems.size == 0);
    }
    config_unref(&config);
    config_unref(&again);
    buffer_fini(&problems);
    return 0;
}
