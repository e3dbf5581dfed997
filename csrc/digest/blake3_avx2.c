/* BLAKE3, eight lanes: processors with AVX2. */
#include "digest/blake3_lanes.h"

#if defined(__x86_64__) && defined(__GNUC__)
#pragma GCC target("avx2")
#define LANES 8
#include "digest/blake3_build.h"

const ps_blake3_lanes ps_blake3_avx2 = {chunks, parents};
#endif
