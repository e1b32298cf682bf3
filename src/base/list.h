#pragma once
/*
 * list.h - an intrusive doubly linked list with a count.
 *
 * A node that is in no list has next == NULL.  The list owns nothing.
 */
#include "base/check.h"

struct node {
    struct node *next;
    struct node *prev;
};

struct list {
    struct node head; /* a ring through the head */
    uint32_t count;
};

#define LIST_ENTRY(node, type, field) CONTAINER_OF(node, type, field)
#define LIST_EACH(list, it)                                                                        \
    for (struct node *it = (list)->head.next; it != &(list)->head; it = it->next)
/* The body may remove `it`, but not the successor of `it`. */
#define LIST_EACH_SAFE(list, it)                                                                   \
    for (struct node *it = (list)->head.next, *it##_next = it->next; it != &(list)->head;          \
         it = it##_next, it##_next = it->next)

static inline void list_init(struct list *list)
{
    list->head.next = list->head.prev = &list->head;
    list->count = 0;
}

static inline bool list_empty(const struct list *list)
{
    return list->count == 0;
}

static inline bool node_linked(const struct node *node)
{
    return node->next != NULL;
}

static inline void list_insert_before(struct list *list, struct node *at, struct node *node)
{
    invariant(!node_linked(node));
    node->next = at;
    node->prev = at->prev;
    at->prev->next = node;
    at->prev = node;
    list->count += 1;
}

static inline void list_push(struct list *list, struct node *node)
{
    list_insert_before(list, &list->head, node);
}

static inline void list_push_front(struct list *list, struct node *node)
{
    list_insert_before(list, list->head.next, node);
}

static inline void list_remove(struct list *list, struct node *node)
{
    invariant(node_linked(node) && list->count > 0);
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = node->prev = NULL;
    list->count -= 1;
}

/* The first and the last node; NULL when the list is empty. */
static inline struct node *list_first(const struct list *list)
{
    return list->count == 0 ? NULL : list->head.next;
}

static inline struct node *list_last(const struct list *list)
{
    return list->count == 0 ? NULL : list->head.prev;
}

static inline struct node *list_pop(struct list *list)
{
    struct node *node = list_first(list);
    if (node != NULL)
        list_remove(list, node);
    return node;
}
