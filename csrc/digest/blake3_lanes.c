/* The compression function on one block, whole chunks and parents by it, and the choice of a build. */
#include "digest/blake3_lanes.h"

static inline u32 rotate(u32 v, int by) { return v >> by | v << (32 - by); }

#define G(a, b, c, d, x, y)         \
    v[a] += v[b] + m[x];            \
    v[d] = rotate(v[d] ^ v[a], 16); \
    v[c] += v[d];                   \
    v[b] = rotate(v[b] ^ v[c], 12); \
    v[a] += v[b] + m[y];            \
    v[d] = rotate(v[d] ^ v[a], 8);  \
    v[c] += v[d];                   \
    v[b] = rotate(v[b] ^ v[c], 7);
#define ROUND(...) BLAKE3_ROUND_STEPS(G, __VA_ARGS__)

void blake3_compress(u32 cv[8], const u8 block[64], u32 length, u64 counter, u32 flags) {
    const u32 iv[8] = BLAKE3_IV;
    u32 m[16], v[16];
    for (int i = 0; i < 16; i++) m[i] = blake3_load(block + 4 * i);
    for (int i = 0; i < 8; i++) v[i] = cv[i];
    for (int i = 0; i < 4; i++) v[8 + i] = iv[i];
    v[12] = (u32)counter, v[13] = (u32)(counter >> 32), v[14] = length, v[15] = flags;
    BLAKE3_ROUNDS(ROUND)
    for (int i = 0; i < 8; i++) cv[i] = v[i] ^ v[i + 8];
}

static void store_cv(u8 *out, const u32 cv[8]) {
    for (int i = 0; i < 8; i++) blake3_store(out + 4 * i, cv[i]);
}

static void chunks_scalar(const u8 *data, size_t count, u64 counter, u8 *out) {
    for (size_t n = 0; n < count; n++) {
        u32 cv[8] = BLAKE3_IV;
        for (u32 block = 0; block < 16; block++, data += 64)
            blake3_compress(cv, data, 64, counter + n, (block == 0 ? BLAKE3_CHUNK_START : 0) | (block == 15 ? BLAKE3_CHUNK_END : 0));
        store_cv(out + 32 * n, cv);
    }
}

static void parents_scalar(const u8 *children, size_t count, u8 *out) {
    for (size_t n = 0; n < count; n++) {
        u32 cv[8] = BLAKE3_IV;
        blake3_compress(cv, children + 64 * n, 64, 0, BLAKE3_PARENT);
        store_cv(out + 32 * n, cv);
    }
}

const ps_blake3_lanes ps_blake3_scalar = {chunks_scalar, parents_scalar};

const ps_blake3_lanes *blake3_lanes(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
        return &ps_blake3_avx512;
    if (__builtin_cpu_supports("avx2")) return &ps_blake3_avx2;
#endif
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return &ps_blake3_generic;
#else
    return &ps_blake3_scalar; /* the vector builds load message words as they lie in memory */
#endif
}
