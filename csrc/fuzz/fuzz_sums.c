/* Block sums, and the search for them. Head: kind and place, strong length, block length (u16), remainder (u16), count of
 * blocks, length of the new data in hundreds. Then the sums; the data are made of what follows them. */
#include "fuzz_tools.h"
#include "api/hash_api.h"

#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int fd = -1;
    static const int kinds[] = {PS_SUM_XXH128, PS_SUM_MD5, PS_SUM_XXH3, PS_SUM_MD4, PS_SUM_SHA1};
    if (fd < 0 && (fd = memfd_create("fuzz_sums", MFD_CLOEXEC)) < 0) abort();
    u8 head[8];
    fuzz_take(&data, &size, head, sizeof head);
    int kind = kinds[(head[0] & 7) % 5];
    ps_search q = {.kind = kind, .seed = 7, .proper_seed_order = head[0] >> 3 & 1, .in_place = head[0] >> 4 & 1, .sum_kind = kind};
    q.full_every = head[0] >> 5;
    q.head.strong_length = 1 + head[1] % 16;
    q.head.block_length = 1 + (head[2] | head[3] << 8);
    q.head.remainder = (head[4] | head[5] << 8) % (q.head.block_length + 1);
    size_t each = 4 + (size_t)q.head.strong_length;
    q.head.count = head[6];
    if ((size_t)q.head.count * each > size) q.head.count = (i32)(size / each);
    if (!q.head.count) q.head.remainder = q.head.block_length = q.head.strong_length = 0;
    const u8 *rest = data + (size_t)q.head.count * each;
    size_t left = size - (size_t)q.head.count * each;
    q.size = 100 * (i64)head[7];
    if (ftruncate(fd, 0) < 0 || ftruncate(fd, q.size) < 0) abort();
    for (i64 at = 0; left && at < q.size; at += (i64)left)
        if (pwrite(fd, rest, (size_t)(q.size - at) < left ? (size_t)(q.size - at) : left, at) < 0) abort();
    ps_match_op ops[64];
    size_t count = 0;
    u8 sum[PS_LIMIT_DIGEST];
    int error;
    if (ps_search_fd(&q, data, fd, ops, 64, &count, sum, &error) != PS_OK) return 0;
    i64 total = 0;
    for (size_t i = 0; i < count && i < 64; i++) {
        if (ops[i].block < -1 || ops[i].block >= q.head.count) abort();
        total += ops[i].literal;
        if (ops[i].block >= 0)
            total += ops[i].block == q.head.count - 1 && q.head.remainder ? q.head.remainder : q.head.block_length;
    }
    if (count <= 64 && total != q.size) abort(); /* every byte is accounted for */
    return 0;
}
