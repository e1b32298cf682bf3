#pragma once
/*
 * heap.h - an intrusive priority queue: the object with the smallest key comes first.
 *
 * A pairing heap.  The object contains its links, so nothing is allocated and heap_push never
 * fails.  heap_push takes constant time, the others logarithmic time on average.  The heap owns
 * nothing.
 */
#include "base/check.h"

struct heap_node {
    struct heap_node *child;    /* first child */
    struct heap_node *next;     /* next sibling */
    struct heap_node *previous; /* previous sibling; of a first child: the parent */
    uint64_t key;
    bool queued;
};

struct heap {
    struct heap_node *top;
    uint32_t count;
};

#define HEAP_ENTRY(node, type, field) CONTAINER_OF(node, type, field)

void heap_push(struct heap *heap, struct heap_node *node, uint64_t key);
void heap_remove(struct heap *heap, struct heap_node *node);
/** Changes the key of a queued object. */
void heap_move(struct heap *heap, struct heap_node *node, uint64_t key);
