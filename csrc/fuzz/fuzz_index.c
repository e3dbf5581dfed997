/* Records of the digest index, which another process may have written. */
#include "fuzz_tools.h"
#include "digest/index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ps_index_entry e = {0};
    if (!index_decode(data, size, &e)) return 0;
    u64 sum = 0;
    for (u64 i = 0; i < (u64)e.piece_count * 32; i++) sum += e.pieces[i];
    for (u64 i = 0; i < (u64)e.blocks * PS_INDEX_SUM; i++) sum += e.sums[i];
    for (u32 i = 0; i < e.path_length; i++) sum += (u8)e.path[i];
    return sum == 1 ? -1 : 0;
}
