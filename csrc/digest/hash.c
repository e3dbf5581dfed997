/* Checksums of rsync's kinds, whole and by block, and the rule for block lengths. */
#include "digest/hash.h"
#include "digest/md4.h"
#include "digest/xxh.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <unistd.h>
#include <xxhash.h>

#define SHARED_LENGTH ((i64)8 << 20) /* from here on a second thread is worth its start */
#define READ_SIZE ((size_t)512 * 1024)
#define READ_ALIGN ((size_t)4096)
#define FILE_STEP (256 * 1024)    /* of a file whose sum is made: the processor's nearer cache holds it until it is hashed */
#define DEFAULT_BLOCK 700         /* rsync.h:BLOCK_SIZE */
#define SHORTEST_STRONG 2         /* rsync.h:SHORT_SUM_LENGTH */
#define LONGEST_STRONG 16         /* rsync.h:SUM_LENGTH */
#define STRENGTH_BIAS 10          /* rsync.h:BLOCKSUM_BIAS */

struct ps_sum {
    int kind;
    const ps_xxh3 *xxh3;
    EVP_MD *md5, *sha1; /* fetched at their first use, which costs 0.6 ms; NULL where libcrypto refuses them */
    EVP_MD_CTX *evp;
    ps_blake3 *blake3;
    u8 *read_buffer; /* of block_sums_range; allocated at its first use */
    size_t read_size;
    union {
        ps_md4 md4;
        XXH64_state_t xxh64;
        _Alignas(64) XXH3_state_t xxh3;
    } state;
};

static const ps_xxh3 *best_xxh3(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    if (__builtin_cpu_supports("avx2")) return &ps_xxh3_avx2;
#endif
    return &ps_xxh3_baseline;
}

ps_sum *sum_new(void) {
    size_t size = (sizeof(ps_sum) + 63) & ~(size_t)63;
    ps_sum *s = aligned_alloc(64, size);
    if (!s) return NULL;
    memset(s, 0, size);
    s->xxh3 = best_xxh3();
    s->blake3 = blake3_new();
    if (!s->blake3) {
        sum_free(s);
        return NULL;
    }
    return s;
}

void sum_free(ps_sum *s) {
    if (!s) return;
    EVP_MD_CTX_free(s->evp);
    EVP_MD_free(s->md5);
    EVP_MD_free(s->sha1);
    blake3_free(s->blake3);
    free(s->read_buffer);
    free(s);
}

size_t sum_length(int kind) {
    switch (kind) {
    case PS_SUM_NONE: return 1;
    case PS_SUM_MD4:
    case PS_SUM_MD4_SEEDED:
    case PS_SUM_MD5:
    case PS_SUM_XXH128: return 16;
    case PS_SUM_SHA1: return 20;
    case PS_SUM_XXH64:
    case PS_SUM_XXH3: return 8;
    case PS_SUM_BLAKE3: return 32;
    default: return 0;
    }
}

static bool evp_begin(ps_sum *s, EVP_MD **md, const char *name) {
    if (!s->evp) {
        /* The default provider is built in. Without this, libcrypto would now read its configuration and load what that
         * names, maybe from within a chroot. */
        (void)OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
        s->evp = EVP_MD_CTX_new();
    }
    if (!*md) *md = EVP_MD_fetch(NULL, name, NULL);
    return s->evp && *md && EVP_DigestInit_ex2(s->evp, *md, NULL) == 1;
}

bool sum_init(ps_sum *s, int kind) {
    s->kind = kind;
    switch (kind) {
    case PS_SUM_NONE: return true;
    case PS_SUM_MD4:
    case PS_SUM_MD4_SEEDED: md4_begin(&s->state.md4); return true;
    case PS_SUM_MD5: return evp_begin(s, &s->md5, "MD5");
    case PS_SUM_SHA1: return evp_begin(s, &s->sha1, "SHA1");
    case PS_SUM_XXH64: return XXH64_reset(&s->state.xxh64, 0) == XXH_OK;
    case PS_SUM_XXH3: XXH3_INITSTATE(&s->state.xxh3); return XXH3_64bits_reset(&s->state.xxh3) == XXH_OK;
    case PS_SUM_XXH128: XXH3_INITSTATE(&s->state.xxh3); return XXH3_128bits_reset(&s->state.xxh3) == XXH_OK;
    case PS_SUM_BLAKE3: blake3_begin(s->blake3); return true;
    default: s->kind = PS_SUM_NONE; return false;
    }
}

static void put_seed(ps_sum *s, i32 seed) {
    u8 raw[4];
    for (int i = 0; i < 4; i++) raw[i] = (u8)((u32)seed >> (8 * i));
    sum_update(s, raw, sizeof raw);
}

bool sum_init_transfer(ps_sum *s, int kind, i32 seed) {
    if (!sum_init(s, kind)) return false;
    if (kind == PS_SUM_MD4_SEEDED) put_seed(s, seed);
    return true;
}

void sum_update(ps_sum *s, const void *data, size_t n) {
    if (!n) return;
    switch (s->kind) {
    case PS_SUM_MD4:
    case PS_SUM_MD4_SEEDED: md4_update(&s->state.md4, data, n); break;
    case PS_SUM_MD5:
    case PS_SUM_SHA1: (void)EVP_DigestUpdate(s->evp, data, n); break;
    case PS_SUM_XXH64: (void)XXH64_update(&s->state.xxh64, data, n); break;
    case PS_SUM_XXH3:
    case PS_SUM_XXH128: s->xxh3->update(&s->state.xxh3, data, n); break;
    case PS_SUM_BLAKE3: blake3_update(s->blake3, data, n); break;
    default: break;
    }
}

/* rsync stores the xxh family as little-endian numbers, low half first: the reverse of their canonical form. */
static void store_u64(u8 *out, u64 v) {
    for (int i = 0; i < 8; i++) out[i] = (u8)(v >> (8 * i));
}

size_t sum_final(ps_sum *s, u8 out[PS_LIMIT_CHECKSUM]) {
    switch (s->kind) {
    case PS_SUM_MD4:
    case PS_SUM_MD4_SEEDED: md4_final(&s->state.md4, out); break;
    case PS_SUM_MD5:
    case PS_SUM_SHA1: (void)EVP_DigestFinal_ex(s->evp, out, NULL); break;
    case PS_SUM_XXH64: store_u64(out, XXH64_digest(&s->state.xxh64)); break;
    case PS_SUM_XXH3: store_u64(out, XXH3_64bits_digest(&s->state.xxh3)); break;
    case PS_SUM_XXH128: {
        XXH128_hash_t h = XXH3_128bits_digest(&s->state.xxh3);
        store_u64(out, h.low64);
        store_u64(out + 8, h.high64);
        break;
    }
    case PS_SUM_BLAKE3: blake3_final(s->blake3, out); break;
    default: out[0] = 0; break;
    }
    return sum_length(s->kind);
}

bool block_hasher_init(ps_block_hasher *h, int kind, i32 seed, bool proper_seed_order) {
    h->kind = kind;
    h->seed = seed;
    /* MD4 always has its seed last; SHA-1 was never spoken by peers with the old order. */
    h->seed_first = kind == PS_SUM_SHA1 || (kind == PS_SUM_MD5 && proper_seed_order);
    h->scratch = sum_new();
    return h->scratch && sum_init(h->scratch, kind);
}

void block_hasher_free(ps_block_hasher *h) {
    sum_free(h->scratch);
    h->scratch = NULL;
}

static void seeded_sum(ps_block_hasher *h, const u8 *data, size_t n, u8 out[PS_LIMIT_CHECKSUM]) {
    (void)sum_init(h->scratch, h->kind);
    if (h->seed && h->seed_first) put_seed(h->scratch, h->seed);
    sum_update(h->scratch, data, n);
    if (h->seed && !h->seed_first) put_seed(h->scratch, h->seed);
    (void)sum_final(h->scratch, out);
}

void block_sum(ps_block_hasher *h, const u8 *data, size_t n, u8 out[PS_LIMIT_CHECKSUM]) {
    u64 seed = (u64)(i64)h->seed; /* rsync hands its int over: the sign is extended */
    switch (h->kind) {
    case PS_SUM_XXH64: store_u64(out, XXH64(data, n, seed)); break;
    case PS_SUM_XXH3: store_u64(out, h->scratch->xxh3->hash64(data, n, seed)); break;
    case PS_SUM_XXH128: {
        u64 half[2];
        h->scratch->xxh3->hash128(data, n, seed, half);
        store_u64(out, half[0]);
        store_u64(out + 8, half[1]);
        break;
    }
    case PS_SUM_BLAKE3: blake3_hash(data, n, out); break;
    default: seeded_sum(h, data, n, out); break;
    }
}

i32 block_length_limit(int protocol) { return protocol < 30 ? PS_LIMIT_OLD_BLOCK_LENGTH : PS_LIMIT_BLOCK_LENGTH; }

/* The largest multiple of 8 whose square is at most `length`, between rsync's default and its limit. */
static i32 block_length_for(i64 length, i32 limit) {
    if (length <= (i64)DEFAULT_BLOCK * DEFAULT_BLOCK) return DEFAULT_BLOCK;
    i64 top = 1;
    for (i64 rest = length >> 2; rest; rest >>= 2) top <<= 1;
    if (top >= limit) return limit;
    i64 root = 0;
    for (i64 bit = top; bit >= 8; bit >>= 1)
        if ((root | bit) * (root | bit) <= length) root |= bit;
    return root < DEFAULT_BLOCK ? DEFAULT_BLOCK : (i32)root;
}

/* Bytes of the strong sum that make a wrong match about 2^-10 likely for a file of this size. */
static i32 strong_length_for(i64 length, i32 block_length, i32 longest) {
    int bits = STRENGTH_BIAS;
    for (i64 rest = length >> 1; rest; rest >>= 1) bits += 2;
    for (i32 rest = block_length >> 1; rest && bits; rest >>= 1) bits--;
    i32 bytes = (bits + 1 - 32 + 7) / 8; /* the weak sum contributes its 32 bits */
    if (bytes < SHORTEST_STRONG) bytes = SHORTEST_STRONG;
    return bytes < longest ? bytes : longest;
}

void sum_head_for(i64 file_length, i32 block_size_option, int protocol, int kind, bool longest_strong, ps_sum_head *out) {
    i32 longest = (i32)sum_length(kind);
    if (longest > LONGEST_STRONG) longest = LONGEST_STRONG;
    memset(out, 0, sizeof *out);
    out->file_length = file_length;
    out->block_length = block_size_option;
    if (file_length < 0) {
        out->count = -1;
        return;
    }
    if (!out->block_length) out->block_length = block_length_for(file_length, block_length_limit(protocol));
    out->strong_length = longest_strong ? longest : strong_length_for(file_length, out->block_length, longest);
    out->remainder = (i32)(file_length % out->block_length);
    i64 count = file_length / out->block_length + (out->remainder != 0);
    out->count = count > INT32_MAX ? -1 : (i32)count;
}

/* Reads n bytes at `at`; what lies beyond the end of the file (it may have shrunk) reads as zeros, as in rsync. */
static bool read_padded(int fd, u8 *data, size_t n, i64 at) {
    while (n) {
        ssize_t got = pread(fd, data, n, at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return false;
        if (got == 0) {
            memset(data, 0, n);
            return true;
        }
        data += got, n -= (size_t)got, at += got;
    }
    return true;
}

/* At a page's start: the kernel copies into an odd address a tenth slower. */
static bool read_buffer_grow(ps_sum *s, size_t n) {
    if (s->read_size >= n) return true;
    size_t whole = (n + READ_ALIGN - 1) & ~(READ_ALIGN - 1);
    u8 *larger = aligned_alloc(READ_ALIGN, whole);
    if (!larger) return false;
    free(s->read_buffer);
    s->read_buffer = larger;
    s->read_size = whole;
    return true;
}

int sum_read(ps_sum *s, int fd, i64 *left) {
    if (*left <= 0) return PS_DONE;
    if (!read_buffer_grow(s, FILE_STEP)) return PS_FAIL;
    ssize_t got;
    do got = read(fd, s->read_buffer, *left < FILE_STEP ? (size_t)*left : (size_t)FILE_STEP);
    while (got < 0 && errno == EINTR);
    if (got <= 0) return PS_DONE;
    sum_update(s, s->read_buffer, (size_t)got);
    *left -= got;
    return PS_OK;
}

int block_sums_range(ps_block_hasher *h, int fd, const ps_sum_head *head, i32 first, i32 count, ps_buf *out) {
    if (first < 0 || count < 0 || first > head->count || count > head->count - first || head->block_length <= 0) {
        errno = EINVAL;
        return PS_FAIL;
    }
    size_t block = (size_t)head->block_length, strong = (size_t)head->strong_length;
    i64 at = (i64)first * head->block_length, end = (i64)(first + (i64)count) * head->block_length;
    if (end > head->file_length) end = head->file_length;
    size_t step = block < READ_SIZE ? READ_SIZE / block * block : block;
    if ((i64)step > end - at) step = end > at ? (size_t)(end - at) : 1;
    if (!read_buffer_grow(h->scratch, step) || !buf_reserve(out, (size_t)count * (4 + strong))) {
        errno = ENOMEM;
        return PS_FAIL;
    }
    u8 sum[PS_LIMIT_CHECKSUM];
    while (at < end) {
        size_t have = end - at < (i64)step ? (size_t)(end - at) : step;
        if (!read_padded(fd, h->scratch->read_buffer, have, at)) return PS_FAIL;
        for (size_t done = 0; done < have; done += block) {
            size_t n = have - done < block ? have - done : block;
            const u8 *data = h->scratch->read_buffer + done;
            block_sum(h, data, n, sum);
            buf_u32(out, weak_sum(data, n));
            buf_put(out, sum, strong);
        }
        at += (i64)have;
    }
    return PS_OK;
}

/* The second half of a large file's blocks, for a thread of their own. */
typedef struct second_half {
    ps_block_hasher hasher;
    int fd, status, error;
    const ps_sum_head *head;
    i32 first;
    ps_buf sums;
} second_half;

static void *sum_second_half(void *argument) {
    second_half *s = argument;
    s->status = block_sums_range(&s->hasher, s->fd, s->head, s->first, s->head->count - s->first, &s->sums);
    s->error = errno;
    return NULL;
}

static int sums_by_two(ps_block_hasher *h, second_half *s, ps_buf *out) {
    pthread_t id;
    bool threaded = thread_start(&id, sum_second_half, s);
    int status = block_sums_range(h, s->fd, s->head, 0, s->first, out), error = errno;
    if (threaded)
        pthread_join(id, NULL);
    else
        sum_second_half(s);
    errno = status != PS_OK ? error : s->error;
    if (status != PS_OK || s->status != PS_OK) return PS_FAIL;
    if (buf_put(out, buf_head(&s->sums), buf_used(&s->sums))) return PS_OK;
    errno = ENOMEM;
    return PS_FAIL;
}

/* The sender can do nothing for a file before it has all its sums: there is a processor to spare, even where both sides are
 * on one machine. */
int block_sums_of_fd(ps_block_hasher *h, int fd, const ps_sum_head *head, ps_buf *out) {
    i32 count = head->count < 0 ? 0 : head->count;
    if (head->file_length < SHARED_LENGTH || count < 2 || !thread_pays()) return block_sums_range(h, fd, head, 0, count, out);
    second_half s = {.fd = fd, .head = head, .first = count / 2};
    int status = PS_FAIL, error = ENOMEM;
    if (block_hasher_init(&s.hasher, h->kind, h->seed, false)) {
        s.hasher.seed_first = h->seed_first;
        status = sums_by_two(h, &s, out);
        error = errno;
    }
    block_hasher_free(&s.hasher);
    buf_free(&s.sums);
    errno = error;
    return status;
}
