#include "oracle/registers.h"

#include "clients/client.h"
#include "model/model.h"
#include "scenario/nodes.h"
#include "scenario/scenario.h"

#include <stdio.h>

/* Below the rows of records. */
#define KEY_FIRST 1

static struct registers {
    bool exist;
    uint32_t sent[REGISTERS];            /* the latest value that its client has sent */
    uint32_t seen[REGISTERS][REGISTERS]; /* by each client, since it logged in */
} registers;

void registers_init(void)
{
    registers = (struct registers){.exist = nodes_split_reads(SPAN("app"))};
}

bool registers_exist(void)
{
    return registers.exist;
}

int32_t register_key(uint32_t number)
{
    return (int32_t)number + KEY_FIRST;
}

bool register_is_line(const char *line)
{
    int key;
    unsigned value;
    char end;
    return registers.exist && sscanf(line, "%d\t%8u%c", &key, &value, &end) == 3 && end == '\n' &&
           key >= KEY_FIRST && key < KEY_FIRST + (int)REGISTERS &&
           value <= registers.sent[key - KEY_FIRST];
}

void registers_begin(struct model *model)
{
    for (uint32_t i = 0; registers.exist && i < REGISTERS; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%08u", 0u);
        CHECK(model_table_put(model, register_key(i), span_text(text)) == OK);
    }
}

void registers_forget(const struct sim_client *client)
{
    for (uint32_t i = 0; i < REGISTERS; i++)
        registers.seen[client->number][i] = 0;
}

uint32_t register_next(const struct sim_client *client)
{
    return ++registers.sent[client->number];
}

void register_written(const struct sim_client *client, uint32_t value)
{
    registers.seen[client->number][client->number] = value;
}

void register_check(const struct sim_client *client, uint32_t number, struct span text)
{
    uint32_t *seen = &registers.seen[client->number][number], value = 0;
    for (size_t i = 0; i < text.size; i++)
        value = value * 10 + (uint32_t)(text.at[i] - '0');
    CHECK(value <= registers.sent[number], "client %u reads %u in register %u, and %u was written",
          client->number, value, number, registers.sent[number]);
    CHECK(value >= *seen, "client %u (login %u) reads %u in register %u, and has %s %u",
          client->number, client->login, value, number,
          number == client->number ? "written" : "read", *seen);
    *seen = value;
}
