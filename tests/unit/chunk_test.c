#include "session/chunk.h"
#include "unit.h"

TEST(the_chunk_that_came_back_last_is_lent_first)
{
    struct chunk_store store;
    chunk_store_init(&store, 1000, 10);
    struct chunk *a = chunk_lend(&store), *b = chunk_lend(&store);
    ck_assert_ptr_nonnull(a);
    ck_assert_ptr_nonnull(b);
    ck_assert_uint_eq(a->size, 1000);
    struct chunk *last = a;
    chunk_return(&store, &b);
    chunk_return(&store, &a);
    ck_assert_ptr_null(a);
    chunk_return(&store, &a); /* of nothing: nothing */
    ck_assert_ptr_eq(chunk_lend(&store), last);
    ck_assert_uint_eq(store.lent, 1);
    chunk_return(&store, &last);
    chunk_store_fini(&store);
}
END_TEST

TEST(no_more_chunks_are_lent_than_the_ceiling_allows)
{
    struct chunk_store store;
    struct chunk *lent[8];
    chunk_store_init(&store, 100, ARRAY_SIZE(lent));
    for (size_t i = 0; i < ARRAY_SIZE(lent); i++)
        ck_assert_ptr_nonnull(lent[i] = chunk_lend(&store));
    ck_assert_ptr_null(chunk_lend(&store));
    ck_assert_ptr_null(chunk_lend(&store));
    ck_assert_uint_eq(store.short_of, 2);
    chunk_return(&store, &lent[3]);
    ck_assert_ptr_nonnull(lent[3] = chunk_lend(&store));
    for (size_t i = 0; i < ARRAY_SIZE(lent); i++)
        chunk_return(&store, &lent[i]);
    ck_assert_uint_eq(store.lent, 0);
    chunk_store_fini(&store);
}
END_TEST

TEST(a_turn_finds_its_chunks_whatever_the_ceiling)
{
    struct chunk_store store;
    struct chunk *lent[4];
    chunk_store_init(&store, 100, 0);
    for (size_t i = 0; i < ARRAY_SIZE(lent); i++)
        ck_assert_ptr_nonnull(lent[i] = chunk_lend(&store));
    for (size_t i = 0; i < ARRAY_SIZE(lent); i++)
        chunk_return(&store, &lent[i]);
    chunk_store_fini(&store);
}
END_TEST

TEST(beyond_a_few_idle_chunks_memory_goes_back)
{
    struct chunk_store store;
    struct chunk *lent[200];
    chunk_store_init(&store, 100, ARRAY_SIZE(lent));
    for (size_t i = 0; i < ARRAY_SIZE(lent); i++)
        ck_assert_ptr_nonnull(lent[i] = chunk_lend(&store));
    for (size_t i = 0; i < ARRAY_SIZE(lent); i++)
        chunk_return(&store, &lent[i]);
    ck_assert_uint_lt(store.idle.count, ARRAY_SIZE(lent) / 2);
    ck_assert_uint_gt(store.idle.count, 0);
    chunk_store_fini(&store);
}
END_TEST

TEST(what_is_held_takes_the_room_of_idle_chunks_only_where_there_is_no_other)
{
    struct chunk_store store;
    struct chunk *lent[40];
    chunk_store_init(&store, 100, ARRAY_SIZE(lent));
    for (size_t i = 0; i < ARRAY_SIZE(lent); i++)
        ck_assert_ptr_nonnull(lent[i] = chunk_lend(&store));
    for (size_t i = 0; i < ARRAY_SIZE(lent); i++)
        chunk_return(&store, &lent[i]);
    uint32_t idle = store.idle.count;
    uint64_t room = (uint64_t)ARRAY_SIZE(lent) * 100;
    ck_assert_uint_gt(idle, 1);
    ck_assert(chunk_hold(&store, room - (uint64_t)idle * 100));
    ck_assert_uint_eq(store.idle.count, idle);
    ck_assert(chunk_hold(&store, 1));
    ck_assert_uint_eq(store.idle.count, idle - 1);
    ck_assert(chunk_hold(&store, (uint64_t)idle * 100 - 1));
    ck_assert_uint_eq(store.idle.count, 0);
    ck_assert(!chunk_hold(&store, 1));
    ck_assert_uint_eq(store.short_of, 1);
    chunk_unhold(&store, room);
    chunk_store_fini(&store);
}
END_TEST

TESTS("chunk", the_chunk_that_came_back_last_is_lent_first,
      no_more_chunks_are_lent_than_the_ceiling_allows, a_turn_finds_its_chunks_whatever_the_ceiling,
      beyond_a_few_idle_chunks_memory_goes_back,
      what_is_held_takes_the_room_of_idle_chunks_only_where_there_is_no_other)
