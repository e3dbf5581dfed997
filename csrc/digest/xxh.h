/* XXH3 in one build per instruction set; which one runs is chosen when a ps_sum is made. */
#ifndef PS_HASH_XXH_H
#define PS_HASH_XXH_H
#include "core/bytes.h"

/* state: an XXH3_state_t, reset by the baseline build; the layout is the same in all builds. */
typedef struct ps_xxh3 {
    void (*update)(void *state, const void *data, size_t n);
    u64 (*hash64)(const void *data, size_t n, u64 seed);
    void (*hash128)(const void *data, size_t n, u64 seed, u64 out[2]); /* low half, high half */
} ps_xxh3;

extern const ps_xxh3 ps_xxh3_baseline;
#if defined(__x86_64__) && defined(__GNUC__)
extern const ps_xxh3 ps_xxh3_avx2;
#endif
#endif
