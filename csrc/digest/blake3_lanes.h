/* BLAKE3's compression function over many chunks or parents at once: one build per instruction set. */
#ifndef PS_BLAKE3_LANES_H
#define PS_BLAKE3_LANES_H
#include "core/bytes.h"

#define BLAKE3_CHUNK 1024
#define BLAKE3_CHUNK_START 1u /* flags of the compression function, section 2.1 of the paper */
#define BLAKE3_CHUNK_END 2u
#define BLAKE3_PARENT 4u
#define BLAKE3_ROOT 8u

#define BLAKE3_IV \
    {0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au, 0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u}

/* The message words of each round in the order in which the eight G functions take them: the identity, then the paper's
 * permutation (table 2) applied once more each time. */
#define BLAKE3_ROUNDS(ROUND)                                          \
    ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)       \
    ROUND(2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)       \
    ROUND(3, 4, 10, 12, 13, 2, 7, 14, 6, 5, 9, 0, 11, 15, 8, 1)       \
    ROUND(10, 7, 12, 9, 14, 3, 13, 15, 4, 0, 11, 2, 5, 8, 1, 6)       \
    ROUND(12, 13, 9, 11, 15, 10, 14, 8, 7, 2, 5, 3, 0, 1, 6, 4)       \
    ROUND(9, 14, 11, 5, 8, 12, 15, 1, 13, 3, 0, 10, 2, 6, 4, 7)       \
    ROUND(11, 15, 5, 0, 1, 9, 8, 6, 14, 10, 2, 12, 3, 4, 7, 13)

/* Columns, then diagonals, of the 4 × 4 state. */
#define BLAKE3_ROUND_STEPS(G, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p) \
    G(0, 4, 8, 12, a, b)                                                      \
    G(1, 5, 9, 13, c, d)                                                      \
    G(2, 6, 10, 14, e, f)                                                     \
    G(3, 7, 11, 15, g, h)                                                     \
    G(0, 5, 10, 15, i, j)                                                     \
    G(1, 6, 11, 12, k, l)                                                     \
    G(2, 7, 8, 13, m, n)                                                      \
    G(3, 4, 9, 14, o, p)

typedef struct ps_blake3_lanes {
    /* Chaining values (32 bytes each) of `count` whole chunks in a row, the first of which is number `counter`. */
    void (*chunks)(const u8 *data, size_t count, u64 counter, u8 *out);
    /* Chaining values of `count` parents, whose children stand in pairs at `children`; out may be children. */
    void (*parents)(const u8 *children, size_t count, u8 *out);
} ps_blake3_lanes;

extern const ps_blake3_lanes ps_blake3_scalar, ps_blake3_generic;
#if defined(__x86_64__) && defined(__GNUC__)
extern const ps_blake3_lanes ps_blake3_avx2, ps_blake3_avx512;
#endif

/* One compression; block: 64 bytes, zeros after `length`. */
void blake3_compress(u32 cv[8], const u8 block[64], u32 length, u64 counter, u32 flags);
/* The build for this processor. */
const ps_blake3_lanes *blake3_lanes(void);

static inline u32 blake3_load(const u8 *p) { return (u32)p[0] | (u32)p[1] << 8 | (u32)p[2] << 16 | (u32)p[3] << 24; }
static inline void blake3_store(u8 *p, u32 v) { p[0] = (u8)v, p[1] = (u8)(v >> 8), p[2] = (u8)(v >> 16), p[3] = (u8)(v >> 24); }
#endif
