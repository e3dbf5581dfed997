/* BLAKE3, plain hash mode, written from the paper: the tree over chunks, and its subtrees as the digests of pieces.
 *
 * A node is only ever closed without the root flag once it is certain that more input follows; so the last chunk stays
 * in `tail` until the end, and the nodes on the stack are complete left subtrees. */
#include "digest/blake3_lanes.h"
#include "digest/hash.h"

#include <stdlib.h>
#include <unistd.h>

#define BATCH 128u            /* chunks whose chaining values are made together */
#define DEPTH_MAX 54          /* 2^64 bytes are 2^54 chunks */
#define READ_SIZE ((size_t)512 * 1024)
#define PIECE_LOG2_MIN 18     /* 256 KiB */
#define PIECE_LOG2_MAX 24     /* 16 MiB */
#define PIECES_WANTED_LOG2 11 /* about 2048 pieces */

struct ps_blake3 {
    const ps_blake3_lanes *lanes;
    u64 base;   /* number of the first chunk within the file */
    u64 closed; /* chunks that the stack stands for */
    bool root;  /* the result is a root, not a subtree's chaining value */
    u32 depth;
    size_t tail_length;
    u8 stack[DEPTH_MAX + 1][32]; /* one more: a pair is merged after its right half was pushed */
    u8 tail[BLAKE3_CHUNK];
};

static void begin(ps_blake3 *b, u64 first_chunk, bool root) {
    b->base = first_chunk;
    b->closed = 0;
    b->root = root;
    b->depth = 0;
    b->tail_length = 0;
}

static void setup(ps_blake3 *b) {
    b->lanes = blake3_lanes();
    begin(b, 0, true);
}

ps_blake3 *blake3_new(void) {
    ps_blake3 *b = malloc(sizeof *b);
    if (b) setup(b);
    return b;
}

void blake3_free(ps_blake3 *b) { free(b); }

void blake3_begin(ps_blake3 *b) { begin(b, 0, true); }

/* Pushes a complete subtree of `size` chunks (a power of two) and joins all pairs that it completes. */
static void push(ps_blake3 *b, const u8 cv[32], u64 size) {
    memcpy(b->stack[b->depth++], cv, 32);
    b->closed += size;
    for (u64 pairs = b->closed / size; !(pairs & 1); pairs >>= 1) {
        b->depth--;
        ps_blake3_scalar.parents(b->stack[b->depth - 1], 1, b->stack[b->depth - 1]);
    }
}

/* The largest power of two, at most `limit`, that divides n and is no more than `most`. */
static u64 aligned_run(u64 n, u64 limit, u64 most) {
    u64 size = n ? n & (~n + 1) : limit;
    if (size > limit) size = limit;
    while (size > most) size >>= 1;
    return size;
}

/* Closes whole chunks, after which more input is known to follow. */
static void close_chunks(ps_blake3 *b, const u8 *data, size_t count) {
    u8 cv[BATCH * 32];
    while (count) {
        size_t n = BATCH - (size_t)(b->closed % BATCH);
        if (n > count) n = count;
        b->lanes->chunks(data, n, b->base + b->closed, cv);
        for (size_t done = 0; done < n;) {
            u64 size = aligned_run(b->closed, BATCH, n - done);
            u8 *run = cv + 32 * done;
            for (size_t left = (size_t)size / 2; left; left /= 2) b->lanes->parents(run, left, run);
            push(b, run, size);
            done += (size_t)size;
        }
        data += n * BLAKE3_CHUNK;
        count -= n;
    }
}

void blake3_update(ps_blake3 *b, const void *input, size_t n) {
    const u8 *data = input;
    if (!n) return;
    if (b->tail_length) {
        size_t take = BLAKE3_CHUNK - b->tail_length < n ? BLAKE3_CHUNK - b->tail_length : n;
        memcpy(b->tail + b->tail_length, data, take);
        b->tail_length += take;
        data += take, n -= take;
        if (!n) return;
        close_chunks(b, b->tail, 1);
    }
    size_t whole = (n - 1) / BLAKE3_CHUNK;
    close_chunks(b, data, whole);
    b->tail_length = n - whole * BLAKE3_CHUNK;
    memcpy(b->tail, data + whole * BLAKE3_CHUNK, b->tail_length);
}

/* Chaining value of the last chunk, which may be short or empty. */
static void close_tail(const ps_blake3 *b, u32 cv[8], u32 flags) {
    size_t at = 0;
    u32 start = BLAKE3_CHUNK_START;
    for (; b->tail_length - at > 64; at += 64, start = 0) blake3_compress(cv, b->tail + at, 64, b->base + b->closed, start);
    u8 block[64] = {0};
    memcpy(block, b->tail + at, b->tail_length - at);
    blake3_compress(cv, block, (u32)(b->tail_length - at), b->base + b->closed, start | BLAKE3_CHUNK_END | flags);
}

/* Joins cv with the subtrees to its left, `depth` of them, into out. */
static void fold(const u8 (*stack)[32], u32 depth, u32 cv[8], bool root, u8 out[32]) {
    const u32 iv[8] = BLAKE3_IV;
    while (depth) {
        u8 block[64];
        memcpy(block, stack[--depth], 32);
        for (int i = 0; i < 8; i++) blake3_store(block + 32 + 4 * i, cv[i]);
        memcpy(cv, iv, sizeof iv);
        blake3_compress(cv, block, 64, 0, BLAKE3_PARENT | (root && !depth ? BLAKE3_ROOT : 0));
    }
    for (int i = 0; i < 8; i++) blake3_store(out + 4 * i, cv[i]);
}

void blake3_final(ps_blake3 *b, u8 out[32]) {
    u32 cv[8] = BLAKE3_IV;
    close_tail(b, cv, b->root && !b->depth ? BLAKE3_ROOT : 0);
    fold((const u8(*)[32])b->stack, b->depth, cv, b->root, out);
}

void blake3_hash(const u8 *data, size_t n, u8 out[32]) {
    ps_blake3 b;
    setup(&b);
    blake3_update(&b, data, n);
    blake3_final(&b, out);
}

static const ps_blake3_lanes *lanes_of_build(int build) {
    switch (build) {
    case 0: return &ps_blake3_scalar;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    case 1: return &ps_blake3_generic;
#endif
#if defined(__x86_64__) && defined(__GNUC__)
    case 2: return __builtin_cpu_supports("avx2") ? &ps_blake3_avx2 : NULL;
    case 3: return blake3_lanes() == &ps_blake3_avx512 ? &ps_blake3_avx512 : NULL;
#endif
    default: return NULL;
    }
}

int ps_blake3_with(int build, const uint8_t *data, size_t n, size_t step, uint8_t *out) {
    ps_blake3 b;
    setup(&b);
    b.lanes = lanes_of_build(build);
    if (!b.lanes) return PS_FAIL;
    for (size_t at = 0; at < n; at += step) blake3_update(&b, data + at, n - at < step ? n - at : step);
    blake3_final(&b, out);
    return PS_OK;
}

/* ---- pieces ---- */

u32 piece_log2(u64 size) {
    u32 log2 = PIECE_LOG2_MIN;
    while (log2 < PIECE_LOG2_MAX && (u64)1 << (log2 + PIECES_WANTED_LOG2) < size) log2++;
    return log2;
}

u64 piece_count(u64 size) {
    u32 log2 = piece_log2(size);
    return size ? ((size - 1) >> log2) + 1 : 1;
}

void blake3_begin_piece(ps_blake3 *b, u64 index, u64 size) {
    begin(b, index << (piece_log2(size) - 10), piece_count(size) == 1);
}

void piece_digest(const u8 *data, size_t n, u64 index, u64 size, u8 out[32]) {
    ps_blake3 b;
    setup(&b);
    blake3_begin_piece(&b, index, size);
    blake3_update(&b, data, n);
    blake3_final(&b, out);
}

void pieces_root(const u8 *digests, u64 size, u8 out[32]) {
    u64 count = piece_count(size);
    ps_blake3 b;
    setup(&b);
    for (u64 i = 0; i < count - 1; i++) push(&b, digests + 32 * i, 1);
    u32 cv[8];
    for (int i = 0; i < 8; i++) cv[i] = blake3_load(digests + 32 * (count - 1) + 4 * i);
    fold((const u8(*)[32])b.stack, b.depth, cv, true, out);
}

static int digest_pieces(ps_blake3 *b, int fd, u64 size, u8 *buffer, u8 *pieces) {
    u64 length = (u64)1 << piece_log2(size), count = piece_count(size), at = 0;
    for (u64 index = 0; index < count; index++) {
        u64 end = index + 1 < count ? (index + 1) * length : size;
        blake3_begin_piece(b, index, size);
        while (at < end) {
            size_t want = end - at < READ_SIZE ? (size_t)(end - at) : READ_SIZE;
            ssize_t got = pread(fd, buffer, want, (off_t)at);
            if (got < 0 && errno == EINTR) continue;
            if (got == 0) errno = 0;
            if (got <= 0) return PS_FAIL;
            blake3_update(b, buffer, (size_t)got);
            at += (u64)got;
        }
        blake3_final(b, pieces + 32 * index);
    }
    return PS_OK;
}

int digest_fd(int fd, u64 size, u8 *pieces, u8 root[32]) {
    size_t room = size < READ_SIZE ? (size_t)size + 1 : READ_SIZE;
    ps_blake3 *b = blake3_new();
    u8 *buffer = malloc(room);
    int status = PS_FAIL;
    if (b && buffer) {
        status = digest_pieces(b, fd, size, buffer, pieces);
        if (status == PS_OK) pieces_root(pieces, size, root);
    } else
        errno = ENOMEM;
    int saved = errno;
    free(buffer);
    blake3_free(b);
    errno = saved;
    return status;
}
