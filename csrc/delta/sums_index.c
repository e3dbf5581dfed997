/* Index over received block sums. A sorted array with range starts instead of chains: a remote that chooses its weak sums
 * cannot make a look-up longer than a binary search. */
#include "delta/sums_index.h"

#include <stdlib.h>

#define FILTER_BITS_MAX 23 /* 1 MiB */

ps_sums *sums_new(void) { return calloc(1, sizeof(ps_sums)); }

void sums_free(ps_sums *s) {
    if (!s) return;
    free(s->weak);
    free(s->strong);
    free(s->sorted);
    free(s->spare);
    free(s->bucket);
    free(s->filter);
    free(s);
}

const ps_sum_head *sums_head(const ps_sums *s) { return &s->head; }

/* Makes room for n elements, contents not kept. */
static bool renew(void *slot, size_t *room, size_t n, size_t size) {
    void **memory = slot;
    if (*room >= n) return true;
    free(*memory);
    *memory = calloc(n, size);
    *room = *memory ? n : 0;
    return *memory != NULL;
}

static bool make_room(ps_sums *s, size_t count, size_t strong) {
    size_t room = s->block_room, sorted_room = room, spare_room = room;
    if (!renew(&s->weak, &room, count, sizeof *s->weak) || !renew(&s->sorted, &sorted_room, count, sizeof *s->sorted) ||
        !renew(&s->spare, &spare_room, count, sizeof *s->spare)) {
        s->block_room = 0; /* they may differ now: the next load renews all three */
        return false;
    }
    s->block_room = room;
    return renew(&s->strong, &s->strong_room, count * strong + 1, 1) &&
           renew(&s->bucket, &s->bucket_room, ((size_t)1 << s->bucket_bits) + 1, sizeof *s->bucket) &&
           renew(&s->filter, &s->filter_room, (size_t)1 << (s->filter_bits - 5), sizeof *s->filter);
}

static void sort_entries(ps_sums *s, u32 count) {
    for (int shift = 0; shift < 32; shift += 8) {
        u32 start[257] = {0};
        for (u32 i = 0; i < count; i++) start[(s->sorted[i].key >> shift & 255) + 1]++;
        for (int d = 0; d < 256; d++) start[d + 1] += start[d];
        for (u32 i = 0; i < count; i++) s->spare[start[s->sorted[i].key >> shift & 255]++] = s->sorted[i];
        ps_sums_entry *swap = s->sorted;
        s->sorted = s->spare;
        s->spare = swap;
    }
}

static void build_index(ps_sums *s, u32 count) {
    for (u32 i = 0; i < count; i++) {
        u32 block = count - 1 - i;
        s->sorted[i] = (ps_sums_entry){sums_key(s->weak[block]), (i32)block};
    }
    sort_entries(s, count);
    memset(s->filter, 0, ((size_t)1 << s->filter_bits) / 8);
    u32 ranges = (u32)1 << s->bucket_bits, next = 0;
    for (u32 i = 0; i < count; i++) {
        u32 key = s->sorted[i].key, bit = key >> (32 - s->filter_bits);
        while (next <= key >> (32 - s->bucket_bits)) s->bucket[next++] = i;
        s->filter[bit >> 5] |= (u32)1 << (bit & 31);
    }
    while (next <= ranges) s->bucket[next++] = count;
}

bool sums_load(ps_sums *s, const ps_sum_head *head, const u8 *wire) {
    s->head = *head;
    s->last_length = head->remainder ? head->remainder : head->block_length;
    if (head->count <= 0) {
        s->head.count = 0;
        return true;
    }
    if (head->count > PS_LIMIT_BLOCKS || head->block_length <= 0 || head->block_length > PS_LIMIT_OLD_BLOCK_LENGTH ||
        head->remainder < 0 || head->remainder > head->block_length || head->strong_length < 0 ||
        head->strong_length > PS_LIMIT_CHECKSUM) {
        s->head.count = 0;
        return false;
    }
    u32 count = (u32)head->count;
    size_t strong = (size_t)head->strong_length;
    int bits = 32 - __builtin_clz(count);
    s->bucket_bits = bits;
    s->filter_bits = bits + 7 < FILTER_BITS_MAX ? bits + 7 : FILTER_BITS_MAX;
    if (s->filter_bits < bits) s->filter_bits = bits;
    if (!make_room(s, count, strong)) {
        s->head.count = 0;
        return false;
    }
    for (u32 i = 0; i < count; i++, wire += 4 + strong) {
        s->weak[i] = (u32)wire[0] | (u32)wire[1] << 8 | (u32)wire[2] << 16 | (u32)wire[3] << 24;
        memcpy(s->strong + i * strong, wire + 4, strong);
    }
    build_index(s, count);
    return true;
}

void sums_find(const ps_sums *s, u32 key, u32 *from, u32 *to) {
    u32 range = key >> (32 - s->bucket_bits);
    u32 low = s->bucket[range], end = s->bucket[range + 1], high = end;
    while (low < high) {
        u32 middle = low + (high - low) / 2;
        if (s->sorted[middle].key < key) low = middle + 1;
        else high = middle;
    }
    *from = low;
    *to = end; /* the caller stops at the first other key */
}
