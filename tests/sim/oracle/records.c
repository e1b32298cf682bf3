#include "oracle/records.h"

#include "model/model.h"
#include "runner/check.h"

#include <stdio.h>
#include <stdlib.h>

#define RECORDS_MAX 100000u

struct record {
    enum record_outcome fate;
    uint32_t rows;
    uint32_t back; /* bits of those that were rolled back on their own */
};

static struct record *records;
static uint32_t record_count;

void records_init(void)
{
    records = calloc(RECORDS_MAX, sizeof(*records));
    CHECK(records != NULL);
    record_count = 0;
}

void records_fini(void)
{
    free(records);
    records = NULL;
}

uint32_t record_begin(void)
{
    CHECK(record_count < RECORDS_MAX);
    return record_count++;
}

static int32_t record_key(uint32_t record, uint32_t row)
{
    return (int32_t)(1000 + record * RECORD_ROWS + row);
}

static void record_value(uint32_t record, uint32_t row, char value[RECORD_TEXT])
{
    snprintf(value, RECORD_TEXT, "xact %u row %u", record, row);
}

int32_t record_row(uint32_t record, char value[RECORD_TEXT])
{
    uint32_t row = records[record].rows++;
    CHECK(row < RECORD_ROWS);
    record_value(record, row, value);
    return record_key(record, row);
}

uint32_t record_rows(uint32_t record)
{
    return records[record].rows;
}

void record_roll_back_from(uint32_t record, uint32_t row)
{
    for (; row < records[record].rows; row++)
        records[record].back |= 1u << row;
}

void record_settle(uint32_t record, enum record_outcome fate)
{
    CHECK(records[record].fate == RECORD_OPEN);
    records[record].fate = fate;
}

static void record_check(const struct model *model, uint32_t number)
{
    const struct record *record = &records[number];
    uint32_t there = 0, wanted = 0;
    for (uint32_t row = 0; row < record->rows; row++) {
        char value[RECORD_TEXT];
        struct span found;
        bool back = (record->back >> row & 1) != 0;
        bool is_there = model_table_read(model, record_key(number, row), &found);
        record_value(number, row, value);
        CHECK(!is_there || span_is(found, value), "'%.*s' stands where '%s' was written",
              SPAN_ARG(found), value);
        CHECK(!is_there || !back, "'%s' was rolled back to its savepoint and is there", value);
        there += is_there;
        wanted += !back;
    }
    CHECK(record->fate != RECORD_COMMITTED || there == wanted,
          "record %u was acknowledged: %u of its %u rows are there", number, there, wanted);
    CHECK(record->fate != RECORD_ROLLED_BACK || there == 0,
          "record %u was rolled back: %u of its %u rows are there", number, there, wanted);
    CHECK(there == 0 || there == wanted, "half of record %u is there: %u of its %u rows", number,
          there, wanted);
}

void records_check(const struct model *model)
{
    for (uint32_t i = 0; i < record_count; i++)
        record_check(model, i);
}
