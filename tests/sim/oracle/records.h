#pragma once
/*
 * records.h - the rows that clients have written, and the outcome of each transaction.
 *
 * A record is a transaction that writes rows of its own, at most RECORD_ROWS, into kv.  Its client
 * sets the outcome when it knows it; with an unknown outcome all rows exist, or none.  At the end
 * all records are compared with the table.
 */
#include "base/compiler.h"

#define RECORD_ROWS 8u
#define RECORD_TEXT 32

struct model;

enum record_outcome {
    RECORD_OPEN,        /* in progress: as RECORD_UNKNOWN at the end */
    RECORD_COMMITTED,   /* acknowledged */
    RECORD_ROLLED_BACK, /* rolled back, or its end was never sent */
    RECORD_UNKNOWN,     /* COMMIT was sent, and no reply came */
};

void records_init(void);
void records_fini(void);
uint32_t record_begin(void);
/** Adds a row; returns its key. */
int32_t record_row(uint32_t record, char value[RECORD_TEXT]);
/** Returns the number of rows. */
uint32_t record_rows(uint32_t record);
/** The rows from `row` on are rolled back. */
void record_roll_back_from(uint32_t record, uint32_t row);
void record_settle(uint32_t record, enum record_outcome fate);
/** Compares all records with the table. */
void records_check(const struct model *model);
