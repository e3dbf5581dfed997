/* The body of ps_xxh3 for one instruction set: included once by each hash_xxh*.c, after it has set its target. */
#include <xxhash.h>

static void update(void *state, const void *data, size_t n) { (void)XXH3_128bits_update((XXH3_state_t *)state, data, n); }
static u64 hash64(const void *data, size_t n, u64 seed) { return XXH3_64bits_withSeed(data, n, seed); }
static void hash128(const void *data, size_t n, u64 seed, u64 out[2]) {
    XXH128_hash_t h = XXH3_128bits_withSeed(data, n, seed);
    out[0] = h.low64;
    out[1] = h.high64;
}
