/* Pieces of an output file with a known digest: which bytes are there, and whether each complete piece is right. A byte that
 * arrives at the end of what its piece has is hashed from the caller's memory; only after a gap is a piece read back. */
#include "output/output_inner.h"

#include <stdlib.h>
#include <unistd.h>

#define READ_BACK (256u * 1024u)
#define SPARE_HASHERS 8

typedef struct range { u64 from, to; } range;

typedef struct work {    /* one piece that has begun and is not complete */
    u64 index, hashed;   /* bytes of it that the hasher has seen */
    ps_blake3 *hasher;
    range *have;         /* sorted, disjoint, not touching; offsets within the piece */
    u32 count, cap;
} work;

struct ps_pieces {
    u64 size, total;
    u32 log2;
    u64 ok_count;
    u8 *digests;
    signed char *state;  /* ps_piece_state */
    work *open;
    u32 open_count, open_cap;
    ps_blake3 *spare[SPARE_HASHERS];
    u32 spare_count;
    u8 *buffer;
};

ps_pieces *pieces_new(u64 size, const u8 *digests) {
    u64 total = piece_count(size);
    ps_pieces *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    p->size = size;
    p->total = total;
    p->log2 = piece_log2(size);
    p->digests = malloc(total * 32);
    p->state = calloc(total, 1);
    if (!p->digests || !p->state) {
        pieces_free(p);
        return NULL;
    }
    memcpy(p->digests, digests, total * 32);
    if (!size) { /* nothing will ever be written to it */
        u8 empty[32];
        blake3_hash(NULL, 0, empty);
        p->state[0] = memcmp(empty, digests, 32) ? PS_PIECE_BAD : PS_PIECE_OK;
        p->ok_count = p->state[0] == PS_PIECE_OK;
    }
    return p;
}

void pieces_free(ps_pieces *p) {
    if (!p) return;
    for (u32 i = 0; i < p->open_count; i++) {
        blake3_free(p->open[i].hasher);
        free(p->open[i].have);
    }
    for (u32 i = 0; i < p->spare_count; i++) blake3_free(p->spare[i]);
    free(p->open);
    free(p->digests);
    free(p->state);
    free(p->buffer);
    free(p);
}

static u64 piece_size(const ps_pieces *p, u64 index) {
    u64 start = index << p->log2, most = (u64)1 << p->log2;
    return p->size - start < most ? p->size - start : most;
}

static work *find_work(const ps_pieces *p, u64 index) {
    for (u32 i = 0; i < p->open_count; i++)
        if (p->open[i].index == index) return &p->open[i];
    return NULL;
}

static work *begin_work(ps_pieces *p, u64 index) {
    if (p->open_count == p->open_cap) {
        u32 cap = p->open_cap ? p->open_cap * 2 : 4;
        work *grown = realloc(p->open, cap * sizeof *grown);
        if (!grown) return NULL;
        p->open = grown;
        p->open_cap = cap;
    }
    ps_blake3 *hasher = p->spare_count ? p->spare[--p->spare_count] : blake3_new();
    if (!hasher) return NULL;
    blake3_begin_piece(hasher, index, p->size);
    work *w = &p->open[p->open_count++];
    *w = (work){.index = index, .hasher = hasher};
    return w;
}

static void end_work(ps_pieces *p, work *w) {
    if (p->spare_count < SPARE_HASHERS)
        p->spare[p->spare_count++] = w->hasher;
    else
        blake3_free(w->hasher);
    free(w->have);
    *w = p->open[--p->open_count];
}

/* Adds [from, to) to what the piece has. */
static bool note_range(work *w, u64 from, u64 to) {
    u32 first = 0;
    while (first < w->count && w->have[first].to < from) first++;
    u32 last = first;
    while (last < w->count && w->have[last].from <= to) {
        if (w->have[last].from < from) from = w->have[last].from;
        if (w->have[last].to > to) to = w->have[last].to;
        last++;
    }
    if (last == first) {
        if (w->count == w->cap) {
            u32 cap = w->cap ? w->cap * 2 : 4;
            range *grown = realloc(w->have, cap * sizeof *grown);
            if (!grown) return false;
            w->have = grown;
            w->cap = cap;
        }
        memmove(w->have + first + 1, w->have + first, (w->count - first) * sizeof *w->have);
        w->count++;
    } else {
        memmove(w->have + first + 1, w->have + last, (w->count - last) * sizeof *w->have);
        w->count -= last - first - 1;
    }
    w->have[first] = (range){from, to};
    return true;
}

static int read_back(ps_pieces *p, work *w, int fd, u64 to) {
    if (!p->buffer && !(p->buffer = malloc(READ_BACK))) return PS_FAIL;
    while (w->hashed < to) {
        u64 want = to - w->hashed < READ_BACK ? to - w->hashed : READ_BACK;
        ssize_t n = pread(fd, p->buffer, want, (off_t)((w->index << p->log2) + w->hashed));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            if (n == 0) errno = EIO;
            return PS_FAIL;
        }
        blake3_update(w->hasher, p->buffer, (size_t)n);
        w->hashed += (u64)n;
    }
    return PS_OK;
}

static int wrote_in_piece(ps_pieces *p, int fd, u64 index, u64 from, const u8 *data, u64 n) {
    if (p->state[index] != PS_PIECE_OPEN) return PS_OK;
    work *w = find_work(p, index);
    if (!w && !(w = begin_work(p, index))) return PS_FAIL;
    /* What a hasher has seen cannot change any more; a writer that comes back over it begins the piece anew. */
    if (from < w->hashed && w->hashed) {
        blake3_begin_piece(w->hasher, index, p->size);
        w->hashed = 0;
    }
    if (!note_range(w, from, from + n)) return PS_FAIL;
    if (from == w->hashed) {
        blake3_update(w->hasher, data, n);
        w->hashed += n;
    }
    u64 size = piece_size(p, index);
    if (w->count != 1 || w->have[0].from != 0 || w->have[0].to != size) return PS_OK;
    if (read_back(p, w, fd, size) != PS_OK) return PS_FAIL;
    u8 found[32];
    blake3_final(w->hasher, found);
    bool ok = memcmp(found, p->digests + index * 32, 32) == 0;
    p->state[index] = ok ? PS_PIECE_OK : PS_PIECE_BAD;
    p->ok_count += ok ? 1 : 0;
    end_work(p, w);
    return PS_OK;
}

u64 pieces_part(const ps_pieces *p, u64 offset, size_t n, bool *verified) {
    if (offset >= p->size || n > p->size - offset) return 0;
    u64 index = offset >> p->log2, here = (index << p->log2) + piece_size(p, index) - offset;
    *verified = p->state[index] == PS_PIECE_OK;
    return here < n ? here : n;
}

int pieces_wrote(ps_pieces *p, int fd, u64 offset, const u8 *data, size_t n) {
    if (offset > p->size || n > p->size - offset) {
        errno = EFBIG;
        return PS_FAIL;
    }
    while (n) {
        u64 index = offset >> p->log2, from = offset & (((u64)1 << p->log2) - 1), part = piece_size(p, index) - from;
        if (part > n) part = n;
        if (wrote_in_piece(p, fd, index, from, data, part) != PS_OK) return PS_FAIL;
        data += part;
        offset += part;
        n -= part;
    }
    return PS_OK;
}

ps_piece_state pieces_state(const ps_pieces *p, u64 index) {
    return index < p->total ? (ps_piece_state)p->state[index] : PS_PIECE_BAD;
}

void pieces_again(ps_pieces *p, u64 index) {
    if (index >= p->total) return;
    if (p->state[index] == PS_PIECE_OK) p->ok_count--;
    p->state[index] = PS_PIECE_OPEN;
    work *w = find_work(p, index);
    if (w) end_work(p, w);
}

int pieces_keep(ps_pieces *p, u64 index, u64 offset, u64 len) {
    if (index >= p->total || p->state[index] != PS_PIECE_OPEN) return PS_OK;
    u64 from = offset - (index << p->log2);
    if (!len || from >= piece_size(p, index) || len > piece_size(p, index) - from) return PS_OK;
    work *w = find_work(p, index);
    if (!w && !(w = begin_work(p, index))) return PS_FAIL;
    return note_range(w, from, from + len) ? PS_OK : PS_FAIL;
}

bool pieces_missing(const ps_pieces *p, u64 end, u64 *at, u64 *len) {
    if (end > p->size) end = p->size;
    while (*at < end) {
        u64 index = *at >> p->log2, start = index << p->log2, stop = start + piece_size(p, index);
        const work *w = p->state[index] == PS_PIECE_OPEN ? find_work(p, index) : NULL;
        if (p->state[index] == PS_PIECE_OK) {
            *at = stop;
            continue;
        }
        u64 limit = stop;
        for (u32 i = 0; w && i < w->count; i++) {
            if (start + w->have[i].to <= *at) continue;
            if (start + w->have[i].from > *at) {
                limit = start + w->have[i].from;
                break;
            }
            *at = start + w->have[i].to;
        }
        if (*at >= stop) continue;
        if (*at >= end) return false;
        *len = (limit < end ? limit : end) - *at;
        return true;
    }
    return false;
}

u64 pieces_prefix(const ps_pieces *p) {
    u64 index = 0;
    while (index < p->total && p->state[index] == PS_PIECE_OK) index++;
    u64 bytes = index << p->log2;
    return bytes < p->size ? bytes : p->size;
}

bool pieces_all_ok(const ps_pieces *p) { return p->ok_count == p->total; }
