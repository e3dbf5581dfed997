/* BLAKE3, sixteen lanes: processors with AVX-512, which also rotates in one instruction. */
#include "digest/blake3_lanes.h"

#if defined(__x86_64__) && defined(__GNUC__)
#pragma GCC target("avx512f,avx512vl,avx512bw")
#define LANES 16
#include "digest/blake3_build.h"

const ps_blake3_lanes ps_blake3_avx512 = {chunks, parents};
#endif
