/* XXH3 for processors with AVX2: about three times the speed of SSE2. */
#include "digest/xxh.h"

#if defined(__x86_64__) && defined(__GNUC__)
#pragma GCC target("avx2,bmi,bmi2")
#include "digest/xxh_build.h"

const ps_xxh3 ps_xxh3_avx2 = {update, hash64, hash128};
#endif
