#pragma once
/*
 * deeds.h - what clients have written, and what must have become of it.
 *
 * A deed is a transaction that writes rows of its own, at most DEED_ROWS, into kv.  It is settled
 * by its client when it knows the outcome; what was neither acknowledged nor refused is there
 * wholly or not at all.  At the end all of them are held against the table.
 */
#include "base/compiler.h"

#define DEED_ROWS 8u
#define DEED_TEXT 32

struct model;

enum deed_fate {
    DEED_OPEN,    /* not settled: as DEED_UNKNOWN at the end */
    DEED_DONE,    /* acknowledged */
    DEED_UNDONE,  /* rolled back, or its end was never sent */
    DEED_UNKNOWN, /* its end was sent, and no answer came */
};

void deeds_init(void);
void deeds_fini(void);
uint32_t deed_begin(void);
/** A row of its own: its key; `value` is what stands there. */
int32_t deed_row(uint32_t deed, char value[DEED_TEXT]);
/** So many rows were written; ROLLBACK TO goes back to less. */
uint32_t deed_rows(uint32_t deed);
/** The rows from `row` on are rolled back. */
void deed_back(uint32_t deed, uint32_t row);
void deed_settle(uint32_t deed, enum deed_fate fate);
/** Holds all of them against the table. */
void deeds_check(const struct model *model);
