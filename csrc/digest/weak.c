/* The weak (rolling) sum of a whole block. Only the low 16 bits of either half reach the result, so that all
 * arithmetic may wrap at 16 bits: twice the lanes of a 32-bit version. */
#include "digest/hash.h"

/* Adds n bytes to the sums of what came before them. */
static inline u32 weak_tail(const u8 *data, size_t n, u32 s1, u32 s2) {
    for (size_t i = 0; i < n; i++) {
        s1 += (data[i] ^ 0x80u) - 0x80u; /* as a signed byte */
        s2 += s1;
    }
    return (s1 & 0xffff) | s2 << 16;
}

/* A step of LANES bytes: s2 += LANES * s1 + sum of (LANES - j) * byte[j]; s1 += sum of byte[j]. */
#define LANES 32

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

__attribute__((target("avx2"))) static u32 sum_lanes(__m256i v) {
    u16 lane[16];
    u32 total = 0;
    _mm256_storeu_si256((__m256i *)(void *)lane, v);
    for (int i = 0; i < 16; i++) total += lane[i];
    return total;
}

__attribute__((target("avx2"))) static u32 weak_avx2(const u8 *data, size_t n) {
    const __m256i ones = _mm256_set1_epi8(1);
    const __m256i weights = _mm256_setr_epi8(32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12,
                                             11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1);
    __m256i plain = _mm256_setzero_si256(), earlier = plain, weighted = plain;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)(data + i));
        earlier = _mm256_add_epi16(earlier, plain);
        plain = _mm256_add_epi16(plain, _mm256_maddubs_epi16(ones, bytes));
        weighted = _mm256_add_epi16(weighted, _mm256_maddubs_epi16(weights, bytes));
    }
    return weak_tail(data + i, n - i, sum_lanes(plain), sum_lanes(earlier) * LANES + sum_lanes(weighted));
}
#endif

static u32 weak_portable(const u8 *data, size_t n) {
    u16 plain[LANES] = {0}, earlier[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) {
            earlier[j] = (u16)(earlier[j] + plain[j]);
            plain[j] = (u16)(plain[j] + (u16)(int16_t)(int8_t)data[i + (size_t)j]);
        }
    u32 s1 = 0, s2 = 0;
    for (u32 j = 0; j < LANES; j++) {
        s1 += plain[j];
        s2 += (u32)earlier[j] * LANES + (u32)plain[j] * (LANES - j);
    }
    return weak_tail(data + i, n - i, s1, s2);
}

u32 weak_sum(const u8 *data, size_t n) {
#if defined(__x86_64__) && defined(__GNUC__)
    if (__builtin_cpu_supports("avx2")) return weak_avx2(data, n);
#endif
    return weak_portable(data, n);
}
