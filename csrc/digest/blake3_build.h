/* The body of ps_blake3_lanes for vectors of LANES 32-bit words (4, 8 or 16): each lane holds one chunk or parent.
 * Included by blake3_*.c, which set LANES and the target. */
#include "digest/blake3_lanes.h"

typedef u32 vec __attribute__((vector_size(4 * LANES)));

#define ROTATE(x, by) ((x) >> (by) | (x) << (32 - (by)))

/* Interleaves within 128-bit parts, as the unpack instructions do: by words, by pairs of words; then exchanges parts. */
#if LANES == 4
#define WORDS_LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define WORDS_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#define PAIRS_LOW(a, b) __builtin_shufflevector(a, b, 0, 1, 4, 5)
#define PAIRS_HIGH(a, b) __builtin_shufflevector(a, b, 2, 3, 6, 7)
#elif LANES == 8
#define WORDS_LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13)
#define WORDS_HIGH(a, b) __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15)
#define PAIRS_LOW(a, b) __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13)
#define PAIRS_HIGH(a, b) __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15)
#define PARTS_LOW(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11)
#define PARTS_HIGH(a, b) __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15)
#else
#define WORDS_LOW(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define WORDS_HIGH(a, b) __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
#define PAIRS_LOW(a, b) __builtin_shufflevector(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
#define PAIRS_HIGH(a, b) __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)
#define PARTS_EVEN(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27)
#define PARTS_ODD(a, b) __builtin_shufflevector(a, b, 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31)
#define HALVES_LOW(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23)
#define HALVES_HIGH(a, b) __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31)
#endif

/* Transposes a square of LANES × LANES words in place. */
static inline __attribute__((always_inline)) void transpose(vec v[LANES]) {
    vec t[LANES];
    for (int i = 0; i < LANES; i += 4) { /* squares of 4 × 4 within the 128-bit parts */
        vec a = WORDS_LOW(v[i], v[i + 1]), b = WORDS_LOW(v[i + 2], v[i + 3]);
        vec c = WORDS_HIGH(v[i], v[i + 1]), d = WORDS_HIGH(v[i + 2], v[i + 3]);
        t[i] = PAIRS_LOW(a, b);
        t[i + 1] = PAIRS_HIGH(a, b);
        t[i + 2] = PAIRS_LOW(c, d);
        t[i + 3] = PAIRS_HIGH(c, d);
    }
#if LANES == 4
    for (int i = 0; i < 4; i++) v[i] = t[i];
#elif LANES == 8
    for (int i = 0; i < 4; i++) {
        v[i] = PARTS_LOW(t[i], t[i + 4]);
        v[i + 4] = PARTS_HIGH(t[i], t[i + 4]);
    }
#else
    for (int i = 0; i < 4; i++) {
        vec a = PARTS_EVEN(t[i], t[i + 4]), b = PARTS_ODD(t[i], t[i + 4]);
        vec c = PARTS_EVEN(t[i + 8], t[i + 12]), d = PARTS_ODD(t[i + 8], t[i + 12]);
        v[i] = HALVES_LOW(a, c);
        v[i + 4] = HALVES_LOW(b, d);
        v[i + 8] = HALVES_HIGH(a, c);
        v[i + 12] = HALVES_HIGH(b, d);
    }
#endif
}

static inline vec load(const u8 *p) {
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Word i of the 64 bytes at input[lane] + offset, for all lanes, in m[i]. */
static inline __attribute__((always_inline)) void load_blocks(vec m[16], const u8 *const input[LANES], size_t offset) {
    for (int part = 0; part < 16; part += LANES) {
        for (int lane = 0; lane < LANES; lane++) m[part + lane] = load(input[lane] + offset + 4 * part);
        transpose(m + part);
    }
}

#define G(a, b, c, d, x, y)         \
    v##a += v##b + m[x];            \
    v##d = ROTATE(v##d ^ v##a, 16); \
    v##c += v##d;                   \
    v##b = ROTATE(v##b ^ v##c, 12); \
    v##a += v##b + m[y];            \
    v##d = ROTATE(v##d ^ v##a, 8);  \
    v##c += v##d;                   \
    v##b = ROTATE(v##b ^ v##c, 7);
#define ROUND(...) BLAKE3_ROUND_STEPS(G, __VA_ARGS__)

static inline __attribute__((always_inline)) void compress_lanes(vec h[8], const vec m[16], vec low, vec high, u32 flags) {
    const u32 iv[8] = BLAKE3_IV;
    const vec zero = {0};
    vec v0 = h[0], v1 = h[1], v2 = h[2], v3 = h[3], v4 = h[4], v5 = h[5], v6 = h[6], v7 = h[7];
    vec v8 = zero + iv[0], v9 = zero + iv[1], v10 = zero + iv[2], v11 = zero + iv[3];
    vec v12 = low, v13 = high, v14 = zero + 64u, v15 = zero + flags;
    BLAKE3_ROUNDS(ROUND)
    h[0] = v0 ^ v8, h[1] = v1 ^ v9, h[2] = v2 ^ v10, h[3] = v3 ^ v11;
    h[4] = v4 ^ v12, h[5] = v5 ^ v13, h[6] = v6 ^ v14, h[7] = v7 ^ v15;
}

/* Compresses LANES inputs of `blocks` blocks each; the first `count` results go to out. */
static void compress_inputs(const u8 *const input[LANES], u32 blocks, vec low, vec high, u32 flags, u32 first, u32 last, size_t count,
                            u8 *out) {
    const u32 iv[8] = BLAKE3_IV;
    const vec zero = {0};
    vec h[8], m[16];
    for (int i = 0; i < 8; i++) h[i] = zero + iv[i];
    for (u32 block = 0; block < blocks; block++) {
        load_blocks(m, input, 64 * (size_t)block);
        compress_lanes(h, m, low, high, flags | (block == 0 ? first : 0) | (block == blocks - 1 ? last : 0));
    }
    u32 words[8][LANES];
    memcpy(words, h, sizeof words);
    for (size_t lane = 0; lane < count; lane++)
        for (size_t i = 0; i < 8; i++) memcpy(out + 32 * lane + 4 * i, &words[i][lane], 4);
}

static void chunks(const u8 *data, size_t count, u64 counter, u8 *out) {
    while (count) {
        size_t n = count < LANES ? count : LANES;
        if (n == 1) { /* spare lanes cost as much as used ones */
            ps_blake3_scalar.chunks(data, 1, counter, out);
            return;
        }
        const u8 *input[LANES];
        u32 low[LANES], high[LANES];
        for (size_t lane = 0; lane < LANES; lane++) {
            input[lane] = data + BLAKE3_CHUNK * (lane < n ? lane : n - 1);
            low[lane] = (u32)(counter + lane);
            high[lane] = (u32)((counter + lane) >> 32);
        }
        compress_inputs(input, BLAKE3_CHUNK / 64, load((const u8 *)low), load((const u8 *)high), 0, BLAKE3_CHUNK_START, BLAKE3_CHUNK_END,
                        n, out);
        data += BLAKE3_CHUNK * n, count -= n, counter += n, out += 32 * n;
    }
}

static void parents(const u8 *children, size_t count, u8 *out) {
    const vec zero = {0};
    while (count) {
        size_t n = count < LANES ? count : LANES;
        if (n == 1) {
            ps_blake3_scalar.parents(children, 1, out);
            return;
        }
        const u8 *input[LANES];
        for (size_t lane = 0; lane < LANES; lane++) input[lane] = children + 64 * (lane < n ? lane : n - 1);
        compress_inputs(input, 1, zero, zero, BLAKE3_PARENT, 0, 0, n, out);
        children += 64 * n, count -= n, out += 32 * n;
    }
}
