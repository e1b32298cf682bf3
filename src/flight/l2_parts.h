#pragma once
/* l2_parts.h - what the files of the second tier share. */
#include "flight/l2_shared.h"

struct l2 {
    struct l2_settings settings; /* texts are owned, tls is counted */
    uint64_t counts[L2_COUNTS];  /* atomics */
    /* Flushes that were asked for, and those of them that Redis has been told; atomics.  While they
     * differ no answer is taken: each look-up tells Redis first. */
    uint64_t flushes_wanted;
    uint64_t flushes_done;
    uint32_t lost; /* atomic: Redis could not be reached, and that was logged */
};

/* Names in Redis: a prefix, and what stands behind it. */
#define L2_NAME_SIZE 128u
/* Digits of an epoch, and one byte more. */
#define L2_EPOCH_SIZE 17u

/** The name of the epoch, in `name`. */
struct span l2_epoch_name(const struct l2 *l2, char name[L2_NAME_SIZE]);
/** A new epoch, in `text`. */
struct span l2_epoch_text(char text[L2_EPOCH_SIZE]);
/** What the log calls it: the host, or the name that the Sentinels know. */
const char *l2_called(const struct l2 *l2);
