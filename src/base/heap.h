#pragma once
/*
 * heap.h - an intrusive priority queue: the object with the least key comes first.
 *
 * A pairing heap: the object carries its links, so nothing is allocated and pushing never fails.
 * Push is constant, the others are logarithmic on average.  Owns nothing.
 */
#include "base/check.h"

struct heap_node {
    struct heap_node *child;    /* the first of those that are below it */
    struct heap_node *next;     /* sibling */
    struct heap_node *previous; /* sibling, or the parent of the first */
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
/** The same object under another key. */
void heap_move(struct heap *heap, struct heap_node *node, uint64_t key);
