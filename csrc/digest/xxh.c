/* XXH3 with the instruction set that the compiler was told to assume. */
#include "digest/xxh.h"
#include "digest/xxh_build.h"

const ps_xxh3 ps_xxh3_baseline = {update, hash64, hash128};
