#include "scenario/scenario.h"

#include "base/uuid.h"
#include "machine/clock.h"

#include <stdio.h>
#include <string.h>

/*
 * An administrator moves clients to another relay, or kills them.
 */
#define ID_SIZE  (UUID_TEXT_SIZE - 1)
#define KEPT_MAX 16

struct ids {
    char texts[KEPT_MAX][UUID_TEXT_SIZE];
    uint32_t count;
};

static bool is_id(struct span value)
{
    return value.size == ID_SIZE && value.at[8] == '-' && value.at[13] == '-';
}

/* A row of SHOW CLIENTS: its first value that looks like an id is one. */
static void collect_id(void *argument, struct span row)
{
    struct ids *ids = argument;
    struct wire_reader in = wire_reader_over(row);
    for (uint16_t columns = wire_get_u16(&in); columns > 0; columns--) {
        uint32_t size = wire_get_u32(&in);
        struct span value = size == UINT32_MAX ? SPAN_NONE : wire_get_bytes(&in, size);
        if (!is_id(value) || ids->count == KEPT_MAX)
            continue;
        snprintf(ids->texts[ids->count++], UUID_TEXT_SIZE, "%.*s", SPAN_ARG(value));
        return;
    }
}

static void run_on_some(const char *verb, uint32_t one_in)
{
    struct ids ids = {.count = 0};
    if (!console_query("SHOW CLIENTS", collect_id, &ids))
        return;
    for (uint32_t i = 0; i < ids.count; i++) {
        char command[64];
        if (!chance_one_in(&scenario.chance, one_in))
            continue;
        snprintf(command, sizeof(command), "%s '%s'", verb, ids.texts[i]);
        if (!console_execute(command))
            return;
    }
}

void moves_move(void)
{
    run_on_some("MOVE_CLIENT", 2);
}

void moves_kill(uint32_t one_in)
{
    run_on_some("KILL_CLIENT", one_in);
}
