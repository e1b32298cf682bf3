#include "flight/generations.h"

#include "base/map.h"
#include "machine/ids.h"

#include <stdlib.h>

struct slot {
    uint64_t generation; /* atomic; only grows */
    uint64_t hold; /* atomic; writes in doubt in the low half, unsettled ones in the high half */
};

struct generations_table {
    uint64_t seed;
    uint32_t count;
    struct slot slots[];
};

#define ONE_DOUBT     UINT64_C(1)
#define ONE_UNSETTLED (UINT64_C(1) << 32)

/* --- which slot ------------------------------------------------------------------------------- */

/* A reader of a whole table compares TABLE, which every write of the table raises.  A reader of one
 * key compares KEY, and UNKEYED, which writes of unknown keys raise. */
enum subject_kind { DATABASE, CATALOG, TABLE, UNKEYED, KEY };

struct subject {
    uint64_t database;
    uint64_t key;
    uint32_t relation;
    uint32_t kind;
};
static_assert(sizeof(struct subject) == 24, "a subject is hashed whole, so it has no padding");

/* Databases, tables and keys have parts of the array of their own: the slot of a database never is
 * that of a table which is written all the time. */
static const struct {
    uint8_t from, to; /* sixteenths of the slots */
} parts[] = {
    [DATABASE] = {0, 1}, [CATALOG] = {1, 2}, [TABLE] = {2, 4}, [UNKEYED] = {4, 6}, [KEY] = {6, 16},
};

static uint32_t slot_of(const struct generations_table *table, enum subject_kind kind,
                        uint64_t database, uint32_t relation, uint64_t key)
{
    struct subject subject = {database, key, relation, (uint32_t)kind};
    uint64_t hash = hash_data(&subject, sizeof(subject), table->seed);
    uint64_t from = (uint64_t)table->count * parts[kind].from / 16;
    uint64_t to = (uint64_t)table->count * parts[kind].to / 16;
    uint64_t slot = from + (((hash >> 32) * (to - from)) >> 32);
    invariant(slot >= from && slot < to && to <= table->count);
    return (uint32_t)slot;
}

struct generations_table *generations_table_new(uint32_t slots)
{
    invariant(IS_POWER_OF_TWO(slots));
    invariant(slots >= GENERATIONS_SLOTS_MIN && slots <= GENERATIONS_SLOTS_MAX);
    struct generations_table *table =
        calloc(1, sizeof(*table) + (size_t)slots * sizeof(struct slot));
    if (table == NULL)
        return NULL;
    random_bytes(&table->seed, sizeof(table->seed));
    table->count = slots;
    return table;
}

void generations_table_free(struct generations_table **table)
{
    if (*table == NULL)
        return;
    for (uint32_t i = 0; i < (*table)->count; i++)
        costly_invariant((*table)->slots[i].hold == 0);
    free(*table);
    *table = NULL;
}

uint64_t generations_database(const struct generations_table *table, struct span service,
                              struct span database)
{
    uint64_t seed = hash_data(service.at, service.size, table->seed);
    return hash_data(database.at, database.size, seed);
}

uint64_t generations_catalog(const struct generations_table *table, uint64_t database)
{
    uint32_t slot = slot_of(table, CATALOG, database, 0, 0);
    return __atomic_load_n(&table->slots[slot].generation, __ATOMIC_ACQUIRE);
}

/* --- sets ------------------------------------------------------------------------------------- */

/* Adds a slot to a set unless it has it.  False: the set is full. */
static bool set_add(uint32_t *slots, uint32_t *count, uint32_t slot)
{
    invariant(*count <= GENERATIONS_SET_MAX);
    for (uint32_t i = 0; i < *count; i++)
        if (slots[i] == slot)
            return true;
    if (*count == GENERATIONS_SET_MAX)
        return false;
    slots[(*count)++] = slot;
    return true;
}

void generations_reads_init(const struct generations_table *table, struct generations_reads *reads,
                            uint64_t database)
{
    reads->database = database;
    reads->count = 2;
    reads->slots[0] = slot_of(table, DATABASE, database, 0, 0);
    reads->slots[1] = slot_of(table, CATALOG, database, 0, 0);
}

void generations_reads_database(const struct generations_table *table,
                                struct generations_reads *reads, uint64_t other)
{
    invariant(reads->count == 2);
    bool added = set_add(reads->slots, &reads->count, slot_of(table, DATABASE, other, 0, 0));
    invariant(added);
}

bool generations_reads_table(const struct generations_table *table, struct generations_reads *reads,
                             uint32_t relation)
{
    invariant(reads->count >= 2);
    return set_add(reads->slots, &reads->count,
                   slot_of(table, TABLE, reads->database, relation, 0));
}

bool generations_reads_key(const struct generations_table *table, struct generations_reads *reads,
                           uint32_t relation, uint64_t key)
{
    invariant(reads->count >= 2);
    return set_add(reads->slots, &reads->count,
                   slot_of(table, UNKEYED, reads->database, relation, 0)) &&
           set_add(reads->slots, &reads->count,
                   slot_of(table, KEY, reads->database, relation, key));
}

void generations_writes_init(struct generations_writes *writes, uint64_t database)
{
    writes->database = database;
    writes->count = 0;
    writes->hold = GENERATIONS_FREE;
}

/* Adds a slot, or makes a full set the whole database. */
static void writes_add(const struct generations_table *table, struct generations_writes *writes,
                       uint32_t slot)
{
    invariant(writes->hold == GENERATIONS_FREE);
    if (!set_add(writes->slots, &writes->count, slot))
        generations_writes_database(table, writes);
}

void generations_writes_table(const struct generations_table *table,
                              struct generations_writes *writes, uint32_t relation)
{
    writes_add(table, writes, slot_of(table, TABLE, writes->database, relation, 0));
    writes_add(table, writes, slot_of(table, UNKEYED, writes->database, relation, 0));
}

void generations_writes_key(const struct generations_table *table,
                            struct generations_writes *writes, uint32_t relation, uint64_t key)
{
    writes_add(table, writes, slot_of(table, TABLE, writes->database, relation, 0));
    writes_add(table, writes, slot_of(table, KEY, writes->database, relation, key));
}

/* The slot of the catalog stays in a set that has it; all other slots of a set are covered by that
 * of the database, which every reader compares. */
void generations_writes_database(const struct generations_table *table,
                                 struct generations_writes *writes)
{
    invariant(writes->hold == GENERATIONS_FREE);
    uint32_t catalog = slot_of(table, CATALOG, writes->database, 0, 0);
    bool has_catalog = false;
    for (uint32_t i = 0; i < writes->count; i++)
        has_catalog = has_catalog || writes->slots[i] == catalog;
    writes->slots[0] = slot_of(table, DATABASE, writes->database, 0, 0);
    writes->slots[1] = catalog;
    writes->count = has_catalog ? 2 : 1;
}

void generations_writes_catalog(const struct generations_table *table,
                                struct generations_writes *writes)
{
    generations_writes_database(table, writes);
    writes_add(table, writes, slot_of(table, CATALOG, writes->database, 0, 0));
    invariant(writes->count == 2);
}

/* --- writers ---------------------------------------------------------------------------------- */

static uint32_t hold_count(uint64_t hold, uint64_t one)
{
    return (uint32_t)(one == ONE_DOUBT ? hold : hold >> 32);
}

static void writes_hold(struct generations_table *table, struct generations_writes *writes,
                        enum generations_hold hold)
{
    invariant(writes->hold == GENERATIONS_FREE && writes->count > 0);
    writes->hold = hold;
    uint64_t one = hold == GENERATIONS_DOUBT ? ONE_DOUBT : ONE_UNSETTLED;
    for (uint32_t i = 0; i < writes->count; i++) {
        invariant(writes->slots[i] < table->count);
        struct slot *slot = &table->slots[writes->slots[i]];
        uint64_t before = __atomic_fetch_add(&slot->hold, one, __ATOMIC_SEQ_CST);
        invariant(hold_count(before, one) < UINT32_MAX); /* else it runs into the other half */
    }
}

static void writes_release(struct generations_table *table, struct generations_writes *writes,
                           enum generations_hold hold)
{
    invariant(writes->hold == hold);
    writes->hold = GENERATIONS_FREE;
    uint64_t one = hold == GENERATIONS_DOUBT ? ONE_DOUBT : ONE_UNSETTLED;
    for (uint32_t i = 0; i < writes->count; i++) {
        struct slot *slot = &table->slots[writes->slots[i]];
        uint64_t before = __atomic_fetch_sub(&slot->hold, one, __ATOMIC_RELEASE);
        invariant(hold_count(before, one) > 0);
    }
}

void generations_doubt(struct generations_table *table, struct generations_writes *writes)
{
    writes_hold(table, writes, GENERATIONS_DOUBT);
}

void generations_raise(struct generations_table *table, const struct generations_writes *writes)
{
    invariant(writes->count > 0);
    for (uint32_t i = 0; i < writes->count; i++) {
        struct slot *slot = &table->slots[writes->slots[i]];
        uint64_t before = __atomic_fetch_add(&slot->generation, 1, __ATOMIC_RELEASE);
        invariant(before < UINT64_MAX);
    }
}

void generations_doubt_end(struct generations_table *table, struct generations_writes *writes)
{
    writes_release(table, writes, GENERATIONS_DOUBT);
}

void generations_unsettle(struct generations_table *table, struct generations_writes *writes)
{
    writes_hold(table, writes, GENERATIONS_UNSETTLED);
    generations_raise(table, writes);
}

void generations_settle(struct generations_table *table, struct generations_writes *writes)
{
    writes_release(table, writes, GENERATIONS_UNSETTLED);
}

/* --- readers ---------------------------------------------------------------------------------- */

/* Sums the generations.  They only grow, so the sum over the same slots is equal only if each of
 * them is.  Returns whether no slot is held and none changed during the look. */
static bool slots_read(const struct generations_table *table, const uint32_t *slots, uint32_t count,
                       uint64_t *ret_sum)
{
    uint64_t sum = 0;
    bool calm = true;
    for (uint32_t i = 0; i < count; i++) {
        invariant(slots[i] < table->count);
        const struct slot *slot = &table->slots[slots[i]];
        uint64_t first = __atomic_load_n(&slot->generation, __ATOMIC_ACQUIRE);
        uint64_t hold = __atomic_load_n(&slot->hold, __ATOMIC_ACQUIRE);
        uint64_t second = __atomic_load_n(&slot->generation, __ATOMIC_ACQUIRE);
        invariant(second >= first);
        calm = calm && hold == 0 && first == second;
        sum += second;
    }
    *ret_sum = sum;
    return calm;
}

bool generations_capture(const struct generations_table *table,
                         const struct generations_reads *reads, uint64_t *ret)
{
    uint64_t sum;
    invariant(reads->count >= 2 && reads->count <= GENERATIONS_SET_MAX);
    if (!slots_read(table, reads->slots, reads->count, &sum))
        return false;
    *ret = sum;
    return true;
}

enum generations_state generations_check(const struct generations_table *table,
                                         const uint32_t *slots, uint32_t count, uint64_t captured)
{
    uint64_t sum;
    bool calm = slots_read(table, slots, count, &sum);
    invariant(sum >= captured);
    if (sum != captured)
        return GENERATIONS_CHANGED;
    return calm ? GENERATIONS_CURRENT : GENERATIONS_HELD;
}
