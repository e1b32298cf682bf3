/* Generations of tables: what shares a slot, and that no order of steps, nor any thread, lets an
 * answer be used that is older than a write which could be seen. */
#include "flight/generations.h"
#include "unit.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static struct generations_table *table;
static uint64_t database;

static void setup(void)
{
    table = generations_table_new(4096);
    ck_assert_ptr_nonnull(table);
    database = generations_database(table, SPAN("service"), SPAN("shop"));
}

static void teardown(void)
{
    generations_table_free(&table);
    ck_assert_ptr_null(table);
}

static struct generations_reads reads_of(uint32_t relation)
{
    struct generations_reads reads;
    generations_reads_init(table, &reads, database);
    ck_assert(generations_reads_table(table, &reads, relation));
    return reads;
}

static struct generations_reads reads_of_key(uint32_t relation, uint64_t key)
{
    struct generations_reads reads;
    generations_reads_init(table, &reads, database);
    ck_assert(generations_reads_key(table, &reads, relation, key));
    return reads;
}

static struct generations_writes writes_of(uint32_t relation)
{
    struct generations_writes writes;
    generations_writes_init(&writes, database);
    generations_writes_table(table, &writes, relation);
    return writes;
}

static struct generations_writes writes_of_key(uint32_t relation, uint64_t key)
{
    struct generations_writes writes;
    generations_writes_init(&writes, database);
    generations_writes_key(table, &writes, relation, key);
    return writes;
}

static uint64_t captured(const struct generations_reads *reads)
{
    uint64_t sum = 0;
    ck_assert(generations_capture(table, reads, &sum));
    return sum;
}

static enum generations_state state(const struct generations_reads *reads, uint64_t sum)
{
    return generations_check(table, reads->slots, reads->count, sum);
}

/* Two sets share slots by chance; these are sets that share none but the database's. */
static bool sets_apart(const struct generations_reads *a, const struct generations_reads *b)
{
    for (uint32_t i = 2; i < a->count; i++)
        for (uint32_t j = 2; j < b->count; j++)
            if (a->slots[i] == b->slots[j])
                return false;
    return true;
}

static struct generations_reads reads_apart_from(uint32_t relation)
{
    struct generations_reads reads = reads_of(relation), other = reads;
    for (uint32_t i = 1; !sets_apart(&reads, &other); i++)
        other = reads_of(relation + i);
    return other;
}

/* Reads of another key of the same table. */
static struct generations_reads reads_of_another_key(uint32_t relation, uint64_t key)
{
    struct generations_reads reads = reads_of_key(relation, key), other = reads;
    for (uint64_t i = 1; reads.slots[3] == other.slots[3]; i++)
        other = reads_of_key(relation, key + i);
    return other;
}

/* Another database, whose slot is not that of this one. */
static uint64_t database_apart(void)
{
    struct generations_reads here = reads_of(1), there = here;
    char name[16];
    for (int i = 0; here.slots[0] == there.slots[0]; i++) {
        int size = snprintf(name, sizeof(name), "archive%d", i);
        generations_reads_init(
            table, &there,
            generations_database(table, SPAN("service"), span_of(name, (size_t)size)));
    }
    return there.database;
}

/* --- what a write changes --------------------------------------------------------------------- */

TEST(a_write_changes_its_table_and_no_other)
{
    struct generations_reads one = reads_of(1), two = reads_apart_from(1);
    uint64_t of_one = captured(&one), of_two = captured(&two);
    struct generations_writes write = writes_of(1);
    generations_raise(table, &write);
    ck_assert_int_eq(state(&one, of_one), GENERATIONS_CHANGED);
    ck_assert_int_eq(state(&two, of_two), GENERATIONS_CURRENT);
    ck_assert_int_eq(state(&one, captured(&one)), GENERATIONS_CURRENT);
}
END_TEST

TEST(a_write_of_one_key_changes_that_key_and_the_whole_table)
{
    struct generations_reads key = reads_of_key(1, 7), other = reads_of_another_key(1, 7),
                             whole = reads_of(1);
    uint64_t of_key = captured(&key), of_other = captured(&other), of_whole = captured(&whole);
    struct generations_writes write = writes_of_key(1, 7);
    generations_raise(table, &write);
    ck_assert_int_eq(state(&key, of_key), GENERATIONS_CHANGED);
    ck_assert_int_eq(state(&whole, of_whole), GENERATIONS_CHANGED);
    ck_assert_int_eq(state(&other, of_other), GENERATIONS_CURRENT);
    struct generations_writes unknown = writes_of(1);
    generations_raise(table, &unknown);
    ck_assert_int_eq(state(&other, of_other), GENERATIONS_CHANGED);
}
END_TEST

TEST(a_write_of_a_database_changes_all_of_it_and_no_other_database)
{
    uint64_t elsewhere = database_apart();
    ck_assert_uint_ne(elsewhere, database);
    ck_assert_uint_ne(generations_database(table, SPAN("other"), SPAN("shop")), database);
    struct generations_reads here = reads_of_key(1, 7), there;
    generations_reads_init(table, &there, elsewhere);
    uint64_t of_here = captured(&here), of_there = captured(&there);
    struct generations_writes write;
    generations_writes_init(&write, database);
    generations_writes_database(table, &write);
    generations_raise(table, &write);
    ck_assert_int_eq(state(&here, of_here), GENERATIONS_CHANGED);
    ck_assert_int_eq(state(&there, of_there), GENERATIONS_CURRENT);
}
END_TEST

TEST(a_change_of_the_schema_changes_the_catalog_and_all_of_the_database)
{
    struct generations_reads reads = reads_of(1);
    uint64_t sum = captured(&reads), catalog = generations_catalog(table, database);
    struct generations_writes write = writes_of(3);
    generations_writes_catalog(table, &write);
    generations_raise(table, &write);
    ck_assert_uint_eq(generations_catalog(table, database), catalog + 1);
    ck_assert_int_eq(state(&reads, sum), GENERATIONS_CHANGED);
    struct generations_writes data;
    generations_writes_init(&data, database);
    generations_writes_database(table, &data);
    generations_raise(table, &data);
    ck_assert_uint_eq(generations_catalog(table, database), catalog + 1);
}
END_TEST

/* --- limits ----------------------------------------------------------------------------------- */

TEST(a_full_set_of_reads_is_refused_and_a_full_set_of_writes_is_the_database)
{
    struct generations_reads reads = reads_of(0);
    uint32_t relation = 1;
    while (generations_reads_table(table, &reads, relation))
        relation += 1;
    ck_assert_uint_eq(reads.count, GENERATIONS_SET_MAX);
    ck_assert(generations_reads_table(table, &reads, 0)); /* it has this one */

    struct generations_reads bystander = reads_of(1000000);
    uint64_t sum = captured(&bystander);
    struct generations_writes writes = writes_of(0);
    uint32_t count = 0;
    for (relation = 1; writes.count >= count; relation++) {
        count = writes.count;
        generations_writes_table(table, &writes, relation);
        ck_assert_uint_le(writes.count, GENERATIONS_SET_MAX);
    }
    ck_assert_uint_gt(count, GENERATIONS_SET_MAX - 2);
    generations_raise(table, &writes);
    ck_assert_int_eq(state(&bystander, sum), GENERATIONS_CHANGED);
}
END_TEST

/* With so few slots nearly all tables collide: each write must still change all of its readers. */
TEST(collisions_never_hide_a_write)
{
    struct generations_table *full = table;
    uint32_t unharmed = 0;
    table = generations_table_new(GENERATIONS_SLOTS_MIN);
    for (uint32_t relation = 0; relation < 200; relation++)
        for (uint32_t other = 0; other < 20; other++) {
            struct generations_reads reads = reads_of(relation), key = reads_of_key(relation, 5),
                                     beside = reads_of(other);
            uint64_t sum = captured(&reads), of_key = captured(&key), of_other = captured(&beside);
            struct generations_writes write = writes_of_key(relation, 5);
            generations_raise(table, &write);
            ck_assert_int_eq(state(&reads, sum), GENERATIONS_CHANGED);
            ck_assert_int_eq(state(&key, of_key), GENERATIONS_CHANGED);
            unharmed += state(&beside, of_other) == GENERATIONS_CURRENT;
        }
    ck_assert_uint_gt(unharmed, 0);
    generations_table_free(&table);
    table = full;
}
END_TEST

/* --- holds ------------------------------------------------------------------------------------ */

TEST(a_table_in_doubt_gives_nothing_until_all_doubts_have_ended)
{
    struct generations_reads reads = reads_of(1), other = reads_apart_from(1);
    uint64_t sum = captured(&reads), none = 77;
    struct generations_writes first = writes_of(1), second = writes_of(1);
    generations_doubt(table, &first);
    generations_doubt(table, &second);
    ck_assert_int_eq(state(&reads, sum), GENERATIONS_HELD);
    ck_assert(!generations_capture(table, &reads, &none));
    ck_assert_uint_eq(none, 77);
    ck_assert_int_eq(state(&other, captured(&other)), GENERATIONS_CURRENT);
    generations_doubt_end(table, &first);
    ck_assert_int_eq(state(&reads, sum), GENERATIONS_HELD);
    generations_doubt_end(table, &second); /* neither committed */
    ck_assert_int_eq(state(&reads, sum), GENERATIONS_CURRENT);
}
END_TEST

TEST(an_unsettled_table_is_changed_at_once_and_held_until_it_is_settled)
{
    struct generations_reads reads = reads_of(1);
    uint64_t sum = captured(&reads), late;
    struct generations_writes write = writes_of(1), doubt = writes_of(1);
    generations_unsettle(table, &write);
    ck_assert_int_eq(state(&reads, sum), GENERATIONS_CHANGED);
    ck_assert(!generations_capture(table, &reads, &late));
    generations_doubt(table, &doubt);
    generations_settle(table, &write);
    ck_assert(!generations_capture(table, &reads, &late));
    generations_doubt_end(table, &doubt);
    ck_assert(generations_capture(table, &reads, &late));
    ck_assert_uint_ne(late, sum);
}
END_TEST

/* --- every order of steps --------------------------------------------------------------------- */

/* A row's versions that others see, an answer under way, and one that is stored.  A reader's steps
 * are one execution and then one look-up; a writer's are those of generations.h. */
struct world {
    struct generations_reads reads;
    struct generations_writes writes;
    uint32_t visible; /* the version that a snapshot sees now */
    uint64_t captured;
    bool may_store;
    uint32_t answer; /* the version that the execution saw */
    bool stored;
    uint32_t arrived; /* the version that was visible when the request came */
    bool stale;
};

static void reader_step(struct world *world, uint32_t step)
{
    switch (step) {
    case 0:
        world->may_store = generations_capture(table, &world->reads, &world->captured);
        break;
    case 1:
        world->answer = world->visible;
        break;
    case 2:
        world->stored =
            world->may_store && state(&world->reads, world->captured) == GENERATIONS_CURRENT;
        break;
    case 3:
        world->arrived = world->visible;
        break;
    default:
        if (world->stored && state(&world->reads, world->captured) == GENERATIONS_CURRENT)
            world->stale = world->answer < world->arrived;
    }
}
#define READER_STEPS 5u
#define WRITER_STEPS 4u

typedef void writer(struct world *world, uint32_t step);

static void writer_in_path(struct world *world, uint32_t step)
{
    switch (step) {
    case 0:
        generations_doubt(table, &world->writes);
        break;
    case 1:
        world->visible += 1;
        break;
    case 2:
        generations_raise(table, &world->writes);
        break;
    default:
        generations_doubt_end(table, &world->writes);
    }
}

static void writer_decoded_first(struct world *world, uint32_t step)
{
    switch (step) {
    case 0:
        generations_unsettle(table, &world->writes);
        break;
    case 1:
        break;
    case 2:
        world->visible += 1;
        break;
    default:
        generations_settle(table, &world->writes);
    }
}

/* Mistakes, each with one rule left out. */
static void writer_without_doubt(struct world *world, uint32_t step)
{
    if (step == 1 || step == 2)
        writer_in_path(world, step);
}

static void writer_that_raises_behind_the_doubt(struct world *world, uint32_t step)
{
    writer_in_path(world, step < 2 ? step : 5 - step);
}

static void writer_that_raises_before_the_commit(struct world *world, uint32_t step)
{
    if (step == 1 || step == 2)
        writer_in_path(world, 3 - step);
}

static void writer_without_unsettled(struct world *world, uint32_t step)
{
    if (step == 0)
        generations_raise(table, &world->writes);
    else if (step == 2)
        world->visible += 1;
}

/* Plays every order of the reader's and the writer's steps; returns how many gave a stale answer.
 */
static uint32_t stale_orders(writer *writes, uint32_t *ret_hits)
{
    uint32_t stale = 0;
    *ret_hits = 0;
    for (uint32_t order = 0; order < 1u << (READER_STEPS + WRITER_STEPS); order++) {
        if ((uint32_t)__builtin_popcount(order) != WRITER_STEPS)
            continue;
        struct world world = {.reads = reads_of(1), .writes = writes_of(1)};
        uint32_t read = 0, written = 0;
        for (uint32_t i = 0; i < READER_STEPS + WRITER_STEPS; i++)
            if (order >> i & 1)
                writes(&world, written++);
            else
                reader_step(&world, read++);
        stale += world.stale;
        *ret_hits += world.stored && state(&world.reads, world.captured) == GENERATIONS_CURRENT;
    }
    return stale;
}

TEST(no_order_of_steps_gives_a_stale_answer)
{
    uint32_t hits;
    ck_assert_uint_eq(stale_orders(writer_in_path, &hits), 0);
    ck_assert_uint_gt(hits, 0);
    ck_assert_uint_eq(stale_orders(writer_decoded_first, &hits), 0);
    ck_assert_uint_gt(hits, 0);
}
END_TEST

TEST(each_rule_that_is_left_out_gives_a_stale_answer_in_some_order)
{
    uint32_t hits;
    ck_assert_uint_gt(stale_orders(writer_without_doubt, &hits), 0);
    ck_assert_uint_gt(stale_orders(writer_that_raises_behind_the_doubt, &hits), 0);
    ck_assert_uint_gt(stale_orders(writer_that_raises_before_the_commit, &hits), 0);
    ck_assert_uint_gt(stale_orders(writer_without_unsettled, &hits), 0);
}
END_TEST

/* --- threads ---------------------------------------------------------------------------------- */

#define RELATIONS 4u
#define WRITES    20000u

/* What all threads see: the visible version of each table, and one answer in memory per table. */
static struct {
    uint64_t visible[RELATIONS]; /* atomic */
    uint32_t writing;            /* atomic; writers that have not ended */
    struct {
        pthread_mutex_t lock;
        uint64_t answer, captured;
        bool stored;
    } memory[RELATIONS];
} shared;

/* A lock as PostgreSQL has it: writers of one table come one by one. */
static pthread_mutex_t row_locks[RELATIONS];

static void *write_often(void *argument)
{
    bool decoded_first = argument != NULL;
    for (uint32_t i = 0; i < WRITES; i++) {
        uint32_t relation = i % RELATIONS;
        struct generations_writes write = writes_of(relation);
        if (decoded_first)
            generations_unsettle(table, &write);
        else
            generations_doubt(table, &write);
        pthread_mutex_lock(&row_locks[relation]);
        __atomic_fetch_add(&shared.visible[relation], 1, __ATOMIC_SEQ_CST);
        pthread_mutex_unlock(&row_locks[relation]);
        if (decoded_first) {
            generations_settle(table, &write);
        } else {
            generations_raise(table, &write);
            generations_doubt_end(table, &write);
        }
    }
    __atomic_fetch_sub(&shared.writing, 1, __ATOMIC_RELEASE);
    return NULL;
}

/* Looks up, and on a miss executes and stores.  Returns the number of hits. */
static void *read_often(void *argument)
{
    uint64_t *stale = argument;
    for (uint32_t i = 0; __atomic_load_n(&shared.writing, __ATOMIC_ACQUIRE) > 0; i++) {
        uint32_t relation = i / 4 % RELATIONS;
        struct generations_reads reads = reads_of(relation);
        uint64_t arrived = __atomic_load_n(&shared.visible[relation], __ATOMIC_SEQ_CST), sum;
        pthread_mutex_lock(&shared.memory[relation].lock);
        uint64_t answer = shared.memory[relation].answer;
        bool hit = shared.memory[relation].stored &&
                   state(&reads, shared.memory[relation].captured) == GENERATIONS_CURRENT;
        pthread_mutex_unlock(&shared.memory[relation].lock);
        if (hit) {
            *stale += answer < arrived;
            continue;
        }
        if (!generations_capture(table, &reads, &sum))
            continue;
        answer = __atomic_load_n(&shared.visible[relation], __ATOMIC_SEQ_CST);
        pthread_mutex_lock(&shared.memory[relation].lock);
        if (state(&reads, sum) == GENERATIONS_CURRENT) {
            shared.memory[relation].answer = answer;
            shared.memory[relation].captured = sum;
            shared.memory[relation].stored = true;
        }
        pthread_mutex_unlock(&shared.memory[relation].lock);
    }
    return NULL;
}

TEST(threads_that_write_and_read_never_see_a_stale_answer)
{
    pthread_t writers[2], readers[2];
    uint64_t stale[2] = {0};
    memset(&shared, 0, sizeof(shared));
    for (uint32_t i = 0; i < RELATIONS; i++) {
        pthread_mutex_init(&row_locks[i], NULL);
        pthread_mutex_init(&shared.memory[i].lock, NULL);
    }
    shared.writing = 2;
    for (size_t i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_create(&writers[i], NULL, write_often, i == 0 ? NULL : &shared),
                         0);
        ck_assert_int_eq(pthread_create(&readers[i], NULL, read_often, &stale[i]), 0);
    }
    for (size_t i = 0; i < 2; i++) {
        pthread_join(writers[i], NULL);
        pthread_join(readers[i], NULL);
        ck_assert_uint_eq(stale[i], 0);
    }
    uint64_t written = 0;
    for (uint32_t i = 0; i < RELATIONS; i++)
        written += shared.visible[i];
    ck_assert_uint_eq(written, 2 * WRITES);
    struct generations_reads reads = reads_of(0);
    ck_assert_int_eq(state(&reads, captured(&reads)), GENERATIONS_CURRENT); /* all holds ended */
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_write_changes_its_table_and_no_other,
        a_write_of_one_key_changes_that_key_and_the_whole_table,
        a_write_of_a_database_changes_all_of_it_and_no_other_database,
        a_change_of_the_schema_changes_the_catalog_and_all_of_the_database,
        a_full_set_of_reads_is_refused_and_a_full_set_of_writes_is_the_database,
        collisions_never_hide_a_write,
        a_table_in_doubt_gives_nothing_until_all_doubts_have_ended,
        an_unsettled_table_is_changed_at_once_and_held_until_it_is_settled,
        no_order_of_steps_gives_a_stale_answer,
        each_rule_that_is_left_out_gives_a_stale_answer_in_some_order,
        threads_that_write_and_read_never_see_a_stale_answer,
        NULL,
    };
    return unit_run("generations", tests, setup, teardown);
}
