#include "oracle/deeds.h"

#include "model/model.h"
#include "runner/proof.h"

#include <stdio.h>
#include <stdlib.h>

#define DEEDS_MAX 100000u

struct deed {
    enum deed_fate fate;
    uint32_t rows;
    uint32_t back; /* bits of those that were rolled back on their own */
};

static struct deed *deeds;
static uint32_t deed_count;

void deeds_init(void)
{
    deeds = calloc(DEEDS_MAX, sizeof(*deeds));
    PROVE(deeds != NULL);
    deed_count = 0;
}

void deeds_fini(void)
{
    free(deeds);
    deeds = NULL;
}

uint32_t deed_begin(void)
{
    PROVE(deed_count < DEEDS_MAX);
    return deed_count++;
}

static int32_t deed_key(uint32_t deed, uint32_t row)
{
    return (int32_t)(1000 + deed * DEED_ROWS + row);
}

static void deed_value(uint32_t deed, uint32_t row, char value[DEED_TEXT])
{
    snprintf(value, DEED_TEXT, "deed %u row %u", deed, row);
}

int32_t deed_row(uint32_t deed, char value[DEED_TEXT])
{
    uint32_t row = deeds[deed].rows++;
    PROVE(row < DEED_ROWS);
    deed_value(deed, row, value);
    return deed_key(deed, row);
}

uint32_t deed_rows(uint32_t deed)
{
    return deeds[deed].rows;
}

void deed_back(uint32_t deed, uint32_t row)
{
    for (; row < deeds[deed].rows; row++)
        deeds[deed].back |= 1u << row;
}

void deed_settle(uint32_t deed, enum deed_fate fate)
{
    PROVE(deeds[deed].fate == DEED_OPEN);
    deeds[deed].fate = fate;
}

static void deed_check(const struct model *model, uint32_t number)
{
    const struct deed *deed = &deeds[number];
    uint32_t there = 0, wanted = 0;
    for (uint32_t row = 0; row < deed->rows; row++) {
        char value[DEED_TEXT];
        struct span found;
        bool back = (deed->back >> row & 1) != 0;
        bool is_there = model_table_read(model, deed_key(number, row), &found);
        deed_value(number, row, value);
        PROVE(!is_there || span_is(found, value), "'%.*s' stands where '%s' was written",
              SPAN_ARG(found), value);
        PROVE(!is_there || !back, "'%s' was rolled back to its savepoint and is there", value);
        there += is_there;
        wanted += !back;
    }
    PROVE(deed->fate != DEED_DONE || there == wanted,
          "deed %u was acknowledged: %u of its %u rows are there", number, there, wanted);
    PROVE(deed->fate != DEED_UNDONE || there == 0,
          "deed %u was rolled back: %u of its %u rows are there", number, there, wanted);
    PROVE(there == 0 || there == wanted, "half of deed %u is there: %u of its %u rows", number,
          there, wanted);
}

void deeds_check(const struct model *model)
{
    for (uint32_t i = 0; i < deed_count; i++)
        deed_check(model, i);
}
