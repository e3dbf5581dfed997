/* BLAKE3, four lanes: what every x86-64 and ARM64 processor has. */
#define LANES 4
#include "digest/blake3_build.h"

const ps_blake3_lanes ps_blake3_generic = {chunks, parents};
