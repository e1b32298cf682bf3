#include "instance/instance.h"

#include "instance/config_load.h"

#include <stdio.h>

#define PROBLEMS_MOST ((size_t)256 * 1024)

int instance_run(const char *path)
{
    struct config *config = NULL;
    struct buffer problems = BUFFER_INIT(PROBLEMS_MOST);
    fault loaded = config_load(path, 1, &config, &problems);
    fprintf(stderr, "%.*s", SPAN_ARG(buffer_span(&problems)));
    buffer_fini(&problems);
    fprintf(stderr, "trunkline: %s\n",
            loaded == OK ? "there is no pooler yet" : fault_story(loaded));
    config_unref(&config);
    return 1;
}
