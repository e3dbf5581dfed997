/* Received block sums and the index over their weak sums: what search.c searches in. */
#ifndef PS_MATCH_INDEX_H
#define PS_MATCH_INDEX_H
#include "digest/hash.h"

/* Weak sums are mixed by an odd factor, which is a bijection: equal keys are equal sums, and the upper bits of a key
 * are good enough to index with. */
static inline u32 sums_key(u32 weak) { return weak * 0x9e3779b1u; }

typedef struct ps_sums_entry {
    u32 key;
    i32 block;
} ps_sums_entry;

struct ps_sums {
    ps_sum_head head;
    i32 last_length; /* bytes of the last block */
    u32 *weak;
    u8 *strong;
    ps_sums_entry *sorted, *spare; /* by key, then by descending block: the order of rsync's hash chains */
    u32 *bucket;                   /* first entry of each range of keys; one more than there are ranges */
    u32 *filter;                   /* a bit per range of keys, far more than blocks: fits the second cache level */
    int bucket_bits, filter_bits;
    size_t block_room, strong_room, bucket_room, filter_room; /* elements allocated */
};

static inline bool sums_may_have(const ps_sums *s, u32 key) {
    u32 bit = key >> (32 - s->filter_bits);
    return s->filter[bit >> 5] >> (bit & 31) & 1;
}
static inline i32 sums_block_length(const ps_sums *s, i32 block) {
    return block == s->head.count - 1 ? s->last_length : s->head.block_length;
}
static inline const u8 *sums_strong(const ps_sums *s, i32 block) {
    return s->strong + (size_t)block * (size_t)s->head.strong_length;
}
/* Range of the entries with this key. */
void sums_find(const ps_sums *s, u32 key, u32 *from, u32 *to);
/* Rolls the sum on byte by byte from `first` (a position whose weak sum is *weak) until the filter knows a sum, at most
 * `count` positions. Returns how far it came; *weak belongs to that position. */
i64 sums_roll(const ps_sums *s, const u8 *first, i64 count, u32 *weak);
#endif
