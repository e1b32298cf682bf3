#include "base/buffer.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/uuid.h"
#include "unit.h"

TEST(a_buffer_refuses_to_pass_its_ceiling_and_remembers_it)
{
    struct buffer buffer = BUFFER_INIT(1000);
    char bytes[600] = {0};
    buffer_append(&buffer, bytes, sizeof(bytes));
    ck_assert_int_eq(buffer_fault(&buffer), OK);
    buffer_append(&buffer, bytes, sizeof(bytes));
    ck_assert_int_eq(buffer_fault(&buffer), FAULT_LIMIT);
    ck_assert_uint_eq(buffer.size, 600);
    buffer_append(&buffer, bytes, 1);
    ck_assert_uint_eq(buffer.size, 600);
    buffer_clear(&buffer);
    ck_assert_int_eq(buffer_fault(&buffer), OK);
    buffer_fini(&buffer);
}
END_TEST

struct thing {
    struct map_link link;
    uint64_t key;
};

static bool thing_is(const struct map_link *link, const void *key)
{
    return MAP_ENTRY(link, struct thing, link)->key == *(const uint64_t *)key;
}

TEST(a_map_finds_what_was_inserted_and_nothing_that_was_removed)
{
    struct map map = MAP_INIT(100);
    struct thing things[101];
    for (uint64_t i = 0; i < 100; i++) {
        things[i] = (struct thing){.key = i};
        ck_assert_int_eq(map_insert(&map, &things[i].link, hash_data(&i, sizeof(i), 0)), OK);
    }
    ck_assert_int_eq(map_insert(&map, &things[100].link, 7), FAULT_LIMIT);
    for (uint64_t i = 0; i < 100; i += 2)
        map_remove(&map, &things[i].link);
    for (uint64_t i = 0; i < 100; i++) {
        struct map_link *found = map_find(&map, hash_data(&i, sizeof(i), 0), thing_is, &i);
        ck_assert_ptr_eq(found, i % 2 == 0 ? NULL : &things[i].link);
    }
    uint32_t seen = 0;
    for (struct map_link *link = map_next(&map, NULL); link != NULL; link = map_next(&map, link))
        seen++;
    ck_assert_uint_eq(seen, 50);
    map_fini(&map);
}
END_TEST

TEST(hashes_of_names_differ_with_the_seed)
{
    uint64_t before = hash_span(SPAN("accounts"));
    hash_set_seed(before | 1);
    ck_assert_uint_ne(hash_span(SPAN("accounts")), before);
    hash_set_seed(0);
    ck_assert_uint_eq(hash_span(SPAN("accounts")), before);
}
END_TEST

static void thing_ends(struct map_link *link)
{
    MAP_ENTRY(link, struct thing, link)->key += 1000;
}

TEST(a_map_that_is_cleared_gives_each_object_back_once)
{
    struct map map = MAP_INIT(100);
    struct thing things[100];
    for (uint64_t i = 0; i < 100; i++) {
        things[i] = (struct thing){.key = i};
        ck_assert_int_eq(map_insert(&map, &things[i].link, hash_data(&i, sizeof(i), 0)), OK);
    }
    map_clear(&map, thing_ends);
    for (uint64_t i = 0; i < 100; i++)
        ck_assert_uint_eq(things[i].key, i + 1000);
    ck_assert_uint_eq(map.count, 0);
    ck_assert_ptr_null(map_next(&map, NULL));
}
END_TEST

TEST(a_list_keeps_its_order_and_its_count)
{
    struct list list;
    struct node nodes[3] = {0};
    list_init(&list);
    list_push(&list, &nodes[1]);
    list_push(&list, &nodes[2]);
    list_push_front(&list, &nodes[0]);
    ck_assert_uint_eq(list.count, 3);
    list_remove(&list, &nodes[1]);
    ck_assert_ptr_eq(list_pop(&list), &nodes[0]);
    ck_assert_ptr_eq(list_pop(&list), &nodes[2]);
    ck_assert_ptr_null(list_pop(&list));
}
END_TEST

TEST(a_heap_gives_the_least_first_whatever_was_moved_or_removed)
{
    struct heap heap = {0};
    struct heap_node nodes[200] = {0};
    uint64_t last = 0;
    for (uint64_t i = 0; i < 200; i++)
        heap_push(&heap, &nodes[i], (i * 7919) % 211);
    for (uint64_t i = 0; i < 200; i += 3)
        heap_remove(&heap, &nodes[i]);
    for (uint64_t i = 1; i < 200; i += 3)
        heap_move(&heap, &nodes[i], (i * 104729) % 223);
    uint32_t left = heap.count;
    ck_assert_uint_eq(left, 133);
    for (; heap.top != NULL; left--) {
        struct heap_node *top = heap.top;
        ck_assert_uint_ge(top->key, last);
        last = top->key;
        heap_remove(&heap, top);
        ck_assert(!top->queued);
    }
    ck_assert_uint_eq(left, 0);
    ck_assert_uint_eq(heap.count, 0);
}
END_TEST

TEST(a_uuid_says_its_version_and_its_time)
{
    static const uint8_t random[10] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    struct uuid uuid = uuid_make((instant){.us = 0x0123456789abLL * 1000}, random);
    char text[UUID_TEXT_SIZE];
    ck_assert_str_eq(uuid_text(&uuid, text), "01234567-89ab-7fff-bfff-ffffffffffff");
}
END_TEST

TEST(a_story_is_told_for_its_own_code_only)
{
    ck_assert_int_eq(fault_raise(FAULT_LIMIT, "%d is too much", 7), FAULT_LIMIT);
    ck_assert_str_eq(fault_detail(FAULT_LIMIT), "7 is too much");
    ck_assert_str_eq(fault_detail(FAULT_MEMORY), "memory ceiling reached");
    ck_assert_str_eq(fault_detail_sqlstate(FAULT_LIMIT), "54000");
}
END_TEST

TESTS("base", a_buffer_refuses_to_pass_its_ceiling_and_remembers_it,
      a_map_finds_what_was_inserted_and_nothing_that_was_removed,
      a_map_that_is_cleared_gives_each_object_back_once, hashes_of_names_differ_with_the_seed,
      a_list_keeps_its_order_and_its_count,
      a_heap_gives_the_least_first_whatever_was_moved_or_removed,
      a_uuid_says_its_version_and_its_time, a_story_is_told_for_its_own_code_only)
