/* Rolling the weak sum over data that matches nothing: the sender's cost for changed data. */
#include "delta/sums_index.h"

static i64 roll_portable(const ps_sums *s, const u8 *first, i64 count, u32 *weak) {
    const size_t length = (size_t)s->head.block_length;
    const u32 *filter = s->filter, factor = (u32)length;
    const int shift = 32 - s->filter_bits;
    u32 s1 = *weak & 0xffff, s2 = *weak >> 16, sum = *weak;
    i64 i = 0;
    while (i < count) {
        u32 out = (first[i] ^ 0x80u) - 0x80u, in = (first[(size_t)i + length] ^ 0x80u) - 0x80u;
        s1 += in - out;
        s2 += s1 - factor * out;
        sum = (s1 & 0xffff) | s2 << 16;
        i++;
        u32 bit = sums_key(sum) >> shift;
        if (PS_UNLIKELY(filter[bit >> 5] >> (bit & 31) & 1)) break;
    }
    *weak = sum;
    return i;
}

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))
#define LAST_WORD 0x0f0e /* byte indexes of the last word of a 128-bit half, for a shuffle that spreads it */

/* Every word becomes the sum of itself and all before it. */
AVX2 static inline __m256i running_sums(__m256i v) {
    v = _mm256_add_epi16(v, _mm256_slli_si256(v, 2));
    v = _mm256_add_epi16(v, _mm256_slli_si256(v, 4));
    v = _mm256_add_epi16(v, _mm256_slli_si256(v, 8));
    __m256i low_half_above = _mm256_permute2x128_si256(v, v, 0x08);
    return _mm256_add_epi16(v, _mm256_shuffle_epi8(low_half_above, _mm256_set1_epi16(LAST_WORD)));
}

AVX2 static inline __m256i spread_last(__m256i v) {
    return _mm256_shuffle_epi8(_mm256_permute4x64_epi64(v, 0xff), _mm256_set1_epi16(LAST_WORD));
}

/* The filter's bits for eight weak sums, as a mask. */
AVX2 static inline u32 probe(const ps_sums *s, __m256i sums, __m128i shift) {
    const __m256i low_bits = _mm256_set1_epi32(31);
    __m256i bit = _mm256_srl_epi32(_mm256_mullo_epi32(sums, _mm256_set1_epi32((int)sums_key(1))), shift);
    __m256i words = _mm256_i32gather_epi32((const int *)(const void *)s->filter, _mm256_srli_epi32(bit, 5), 4);
    words = _mm256_sllv_epi32(words, _mm256_sub_epi32(low_bits, _mm256_and_si256(bit, low_bits)));
    return (u32)_mm256_movemask_ps(_mm256_castsi256_ps(words));
}

/* Sixteen positions at once: both halves of the sum are running sums of differences, and wrap at 16 bits. */
AVX2 static i64 roll_avx2(const ps_sums *s, const u8 *first, i64 count, u32 *weak) {
    const size_t length = (size_t)s->head.block_length;
    const __m256i factor = _mm256_set1_epi16((short)length);
    const __m128i shift = _mm_cvtsi32_si128(32 - s->filter_bits);
    __m256i before1 = _mm256_set1_epi16((short)*weak), before2 = _mm256_set1_epi16((short)(*weak >> 16));
    i64 i = 0;
    for (; i + 16 <= count; i += 16) {
        __m256i out = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(first + i)));
        __m256i in = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(first + (size_t)i + length)));
        __m256i s1 = _mm256_add_epi16(running_sums(_mm256_sub_epi16(in, out)), before1);
        __m256i s2 = _mm256_add_epi16(running_sums(_mm256_sub_epi16(s1, _mm256_mullo_epi16(out, factor))), before2);
        u32 a = probe(s, _mm256_unpacklo_epi16(s1, s2), shift); /* positions 0-3 and 8-11 */
        u32 b = probe(s, _mm256_unpackhi_epi16(s1, s2), shift); /* 4-7 and 12-15 */
        if (PS_UNLIKELY(a | b)) {
            u16 half1[16], half2[16];
            _mm256_storeu_si256((__m256i *)(void *)half1, s1);
            _mm256_storeu_si256((__m256i *)(void *)half2, s2);
            int hit = __builtin_ctz((a & 15) | (b & 15) << 4 | (a >> 4) << 8 | (b >> 4) << 12);
            *weak = (u32)half1[hit] | (u32)half2[hit] << 16;
            return i + hit + 1;
        }
        before1 = spread_last(s1), before2 = spread_last(s2);
    }
    *weak = ((u32)_mm256_extract_epi16(before1, 0) & 0xffff) | (u32)_mm256_extract_epi16(before2, 0) << 16;
    return i + roll_portable(s, first + i, count - i, weak);
}
#endif

i64 sums_roll(const ps_sums *s, const u8 *first, i64 count, u32 *weak) {
#if defined(__x86_64__) && defined(__GNUC__)
    if (__builtin_cpu_supports("avx2")) return roll_avx2(s, first, count, weak);
#endif
    return roll_portable(s, first, count, weak);
}
