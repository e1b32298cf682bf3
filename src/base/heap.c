#include "base/heap.h"

/* Joins two heaps whose roots have no siblings; either may be NULL. */
static struct heap_node *heap_join(struct heap_node *a, struct heap_node *b)
{
    if (a == NULL || b == NULL)
        return a == NULL ? b : a;
    if (b->key < a->key) {
        struct heap_node *min = b;
        b = a;
        a = min;
    }
    b->previous = a;
    b->next = a->child;
    if (b->next != NULL)
        b->next->previous = b;
    a->child = b;
    return a;
}

static struct heap_node *heap_cut_first(struct heap_node **list)
{
    struct heap_node *node = *list;
    if (node == NULL)
        return NULL;
    *list = node->next;
    node->next = node->previous = NULL;
    return node;
}

/* Joins siblings in pairs from left to right, then joins the pairs from right to left. */
static struct heap_node *heap_join_all(struct heap_node *list)
{
    struct heap_node *pairs = NULL, *all = NULL;
    while (list != NULL) {
        struct heap_node *a = heap_cut_first(&list);
        struct heap_node *pair = heap_join(a, heap_cut_first(&list));
        pair->next = pairs;
        pairs = pair;
    }
    while (pairs != NULL) {
        struct heap_node *pair = pairs;
        pairs = pair->next;
        pair->next = NULL;
        all = heap_join(all, pair);
    }
    return all;
}

void heap_push(struct heap *heap, struct heap_node *node, uint64_t key)
{
    invariant(!node->queued);
    *node = (struct heap_node){.key = key, .queued = true};
    heap->top = heap_join(heap->top, node);
    heap->count += 1;
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
    invariant(node->queued && heap->count > 0);
    struct heap_node *below = heap_join_all(node->child);
    if (node == heap->top) {
        heap->top = below;
    } else {
        if (node->previous->child == node)
            node->previous->child = node->next;
        else
            node->previous->next = node->next;
        if (node->next != NULL)
            node->next->previous = node->previous;
        heap->top = heap_join(heap->top, below);
    }
    if (heap->top != NULL)
        heap->top->previous = heap->top->next = NULL;
    node->queued = false;
    heap->count -= 1;
}

void heap_move(struct heap *heap, struct heap_node *node, uint64_t key)
{
    heap_remove(heap, node);
    heap_push(heap, node, key);
}
