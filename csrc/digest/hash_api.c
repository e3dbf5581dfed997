/* Entry points of the checksums for Python: csrc/api/hash_api.h. */
#include "digest/hash.h"

#include <stdlib.h>
#include <unistd.h>

#define READ_SIZE ((size_t)512 * 1024)

int ps_hash_bytes(int kind, const uint8_t *data, size_t n, uint8_t *out, size_t *out_len) {
    ps_sum *s = sum_new();
    bool good = s && sum_init(s, kind);
    if (good) {
        sum_update(s, data, n);
        *out_len = sum_final(s, out);
    }
    sum_free(s);
    return good ? PS_OK : PS_FAIL;
}

static int sum_fd(ps_sum *s, int fd, u8 *buffer) {
    for (i64 at = 0;;) {
        ssize_t got = pread(fd, buffer, READ_SIZE, at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return errno;
        if (got == 0) return 0;
        sum_update(s, buffer, (size_t)got);
        at += got;
    }
}

int ps_hash_fd(int kind, int fd, uint8_t *out, size_t *out_len, int *error) {
    ps_sum *s = sum_new();
    u8 *buffer = malloc(READ_SIZE);
    bool good = s && buffer && sum_init(s, kind);
    *error = s && buffer ? 0 : ENOMEM;
    if (good) {
        *error = sum_fd(s, fd, buffer);
        *out_len = sum_final(s, out);
    }
    free(buffer);
    sum_free(s);
    return good && !*error ? PS_OK : PS_FAIL;
}

size_t ps_sum_length(int kind) { return sum_length(kind); }

uint32_t ps_weak_sum(const uint8_t *data, size_t n) { return weak_sum(data, n); }

int ps_block_sum(int kind, int32_t seed, bool proper_seed_order, const uint8_t *data, size_t n, uint8_t *out, size_t *out_len) {
    ps_block_hasher h;
    bool good = block_hasher_init(&h, kind, seed, proper_seed_order);
    if (good) {
        block_sum(&h, data, n, out);
        *out_len = sum_length(kind);
    }
    block_hasher_free(&h);
    return good ? PS_OK : PS_FAIL;
}

void ps_head_for(int64_t file_length, int32_t block_size, int protocol, int kind, bool longest_strong, ps_head *out) {
    ps_sum_head full;
    sum_head_for(file_length, block_size, protocol, kind, longest_strong, &full);
    *out = (ps_head){full.count, full.block_length, full.strong_length, full.remainder};
}

int ps_block_sums(int kind, int32_t seed, bool proper_seed_order, int fd, int64_t file_length, const ps_head *head, uint8_t *out,
                  int *error) {
    ps_sum_head full = {head->count, head->block_length, head->strong_length, head->remainder, file_length};
    ps_block_hasher h;
    ps_buf sums = {0};
    int status = PS_FAIL;
    *error = 0;
    if (block_hasher_init(&h, kind, seed, proper_seed_order)) {
        status = block_sums_of_fd(&h, fd, &full, &sums);
        if (status != PS_OK) *error = errno;
        else if (buf_used(&sums)) memcpy(out, buf_head(&sums), buf_used(&sums));
    }
    buf_free(&sums);
    block_hasher_free(&h);
    return status;
}

uint32_t ps_piece_log2(uint64_t size) { return piece_log2(size); }
uint64_t ps_piece_count(uint64_t size) { return piece_count(size); }

void ps_piece_digest(const uint8_t *data, size_t n, uint64_t index, uint64_t size, uint8_t *out) {
    piece_digest(data, n, index, size, out);
}

void ps_pieces_root(const uint8_t *digests, uint64_t size, uint8_t *out) { pieces_root(digests, size, out); }

int ps_digest_fd(int fd, uint64_t size, uint8_t *pieces, uint8_t *root, int *error) {
    int status = digest_fd(fd, size, pieces, root);
    *error = status == PS_OK ? 0 : errno;
    return status;
}
