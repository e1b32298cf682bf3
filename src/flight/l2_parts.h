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
