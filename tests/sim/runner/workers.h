#pragma once
/*
 * workers.h - worker processes: each plays seeds, so that a crash ends one worker and names its
 * seed.
 */
#include "runner/plan.h"
#include "runner/run.h"

struct options {
    uint64_t first;
    uint64_t last;
    kind_set with;
    kind_set without;
    uint32_t clients; /* 0: as the seed says */
    uint32_t rounds;
    uint32_t workers;
    bool hashes; /* print each seed's */
    bool twice;  /* each is played twice, and must have the same history */
    bool quiet;
};

/* How a run failed. */
struct failure {
    uint64_t seed;
    char place[128]; /* two failures at the same place are the same */
    char text[4000];
};

struct totals {
    uint64_t seeds; /* that passed */
    double seconds;
    struct counts counts;
};

/** Plays the seeds.  Returns false if one fails: *ret has the seed and the failure. */
bool workers_play(const struct options *options, struct totals *totals, struct failure *ret);
/** Plays one plan.  Returns false if it fails. */
bool workers_try(const struct plan *plan, struct failure *ret);
/** Makes a failing plan smaller as long as it fails in the same way. */
void shrink(struct plan *plan, struct failure *failure);
