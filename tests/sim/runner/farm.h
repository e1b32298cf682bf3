#pragma once
/*
 * farm.h - many runs, in processes of their own: a crash names its seed and takes nothing along.
 */
#include "runner/plan.h"
#include "runner/scene.h"

struct options {
    uint64_t first;
    uint64_t last;
    kind_set without;
    uint32_t clients; /* 0: as the seed says */
    uint32_t rounds;
    uint32_t workers;
    bool hashes; /* say each seed's */
    bool twice;  /* each is played twice, and must have the same history */
    bool quiet;
};

/* How a run failed. */
struct failure {
    uint64_t seed;
    char place[128]; /* two failures at the same place are the same */
    char text[4000];
};

struct harvest {
    uint64_t seeds; /* that went well */
    double seconds;
    struct counts counts;
};

/** Plays the seeds until one fails; false: *ret says which and how. */
bool farm_play(const struct options *options, struct harvest *harvest, struct failure *ret);
/** Plays one plan; false: it failed. */
bool farm_try(const struct plan *plan, struct failure *ret);
/** Makes a failing plan smaller as long as it fails in the same way. */
void shrink(struct plan *plan, struct failure *failure);
