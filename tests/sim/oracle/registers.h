#pragma once
/*
 * registers.h - rows that are written again and again: what reads of them must see.
 *
 * Each client writes one row, and reads all of them.  A client sees the value that it wrote last,
 * and the value of no row goes back while it is connected, wherever its reads run.
 */
#include "base/check.h"
#include "base/span.h"

#define REGISTERS 64u /* one for each client that there may be */

struct model;
struct sim_client;

void registers_init(void);
/** Puts the rows into the table, if reads go to standbys. */
void registers_begin(struct model *model);
/** Whether there are any. */
bool registers_exist(void);
/** The key of a register. */
int32_t register_key(uint32_t number);
/** The client has logged in: its reads may begin with older values than before. */
void registers_forget(const struct sim_client *client);
/** Whether a line of COPY is one of them. */
bool register_is_line(const char *line);
/** The value that the client writes next. */
uint32_t register_next(const struct sim_client *client);
/** The client was told that its register has this value. */
void register_written(const struct sim_client *client, uint32_t value);
/** Checks what a client has read in a register. */
void register_check(const struct sim_client *client, uint32_t number, struct span text);
