/* The sender's block search: what match.c:hash_search finds, over a window that slides through the file. */
#include "delta/sums_index.h"

#include <stdlib.h>
#include <unistd.h>

#define READ_SIZE ((size_t)256 * 1024)
#define CANDIDATES_MAX 1024  /* match.c:MAX_CHAIN_LEN: blocks with the same weak sum tried at one offset */
#define BYPASSED_MAX 65536   /* in place: blocks that were overwritten already and are passed over at one offset */

struct ps_match {
    ps_sums *sums; /* NULL: all is literal */
    ps_block_hasher *hasher;
    ps_sum *file_sum;
    ps_match_fn fn;
    void *owner;
    int fd;
    bool in_place;
    i64 size, base, end; /* of the file; the window holds its bytes [base, end) */
    i64 reported, offset; /* handed on so far; the search goes on from here */
    i64 matched;
    ps_match_counts counts;
    i32 wanted; /* the block after the last match: taken wherever it fits */
    u8 *window;
    size_t room;
    u8 *same_offset; /* in place, per block: found at its own offset, so that it still stands there (SUMFLG_SAME_OFFSET) */
    size_t same_room;
};

typedef struct ps_probe { /* one offset of the file that may hold a block */
    i64 offset;
    i32 length;
    u32 weak;
    bool hashed;
    u8 strong[PS_LIMIT_CHECKSUM];
} ps_probe;

ps_match *match_new(void) { return calloc(1, sizeof(ps_match)); }

void match_free(ps_match *m) {
    if (!m) return;
    free(m->window);
    free(m->same_offset);
    free(m);
}

i64 match_matched(const ps_match *m) { return m->matched; }
const ps_match_counts *match_counts(const ps_match *m) { return &m->counts; }

bool match_begin(ps_match *m, ps_sums *s, ps_block_hasher *h, int fd, i64 size, bool in_place, ps_sum *file_sum, ps_match_fn fn,
                 void *owner) {
    bool any = s && s->head.count > 0;
    size_t block = any ? (size_t)s->head.block_length : 0, room = READ_SIZE + 2 * block;
    if (size < (i64)room) room = size > 0 ? (size_t)size : 1;
    if (m->room < room) {
        free(m->window);
        m->window = malloc(room);
        m->room = m->window ? room : 0;
        if (!m->window) return false;
    }
    in_place = in_place && any;
    if (in_place) {
        size_t count = (size_t)s->head.count;
        if (m->same_room < count) {
            free(m->same_offset);
            m->same_offset = malloc(count);
            m->same_room = m->same_offset ? count : 0;
            if (!m->same_offset) return false;
        }
        memset(m->same_offset, 0, count);
    }
    m->sums = any ? s : NULL;
    m->hasher = h, m->file_sum = file_sum, m->fn = fn, m->owner = owner;
    m->fd = fd, m->in_place = in_place, m->size = size;
    m->base = m->end = m->reported = m->offset = m->matched = 0;
    m->wanted = 0;
    return true;
}

static inline const u8 *at(const ps_match *m, i64 offset) { return m->window + (offset - m->base); }

/* Hands on the literal data up to `to`, and with it a block (of length bytes at `to`). */
static int report(ps_match *m, i64 to, i32 block, i32 length) {
    const u8 *literal = at(m, m->reported);
    size_t n = (size_t)(to - m->reported);
    if (!n && block < 0) return PS_OK;
    if (m->file_sum) sum_update(m->file_sum, literal, n + (size_t)length);
    m->reported = to + length;
    m->matched += length;
    return m->fn(m->owner, literal, n, block);
}

/* Drops what was reported and reads on. The literal data before the search's offset must have been handed on. */
static int refill(ps_match *m) {
    i64 keep = m->end - m->reported;
    if (m->reported > m->base && keep > 0) memmove(m->window, at(m, m->reported), (size_t)keep);
    m->base = m->reported;
    i64 want = m->size - m->end, space = (i64)m->room - keep;
    if (want > space) want = space;
    while (want > 0) {
        ssize_t got = pread(m->fd, m->window + (m->end - m->base), (size_t)want, m->end);
        if (got < 0 && errno == EINTR) continue;
        if (got == 0) errno = 0;
        if (got <= 0) return PS_FAIL;
        m->end += got;
        want -= got;
    }
    return PS_OK;
}

static void hash_probe(ps_match *m, ps_probe *p) {
    if (!p->hashed) block_sum(m->hasher, at(m, p->offset), (size_t)p->length, p->strong);
    p->hashed = true;
}

/* Weak sum and length agree; compares the strong sums. */
static bool same_strong(ps_match *m, ps_probe *p, i32 block) {
    hash_probe(m, p);
    bool same = memcmp(p->strong, sums_strong(m->sums, block), (size_t)m->sums->head.strong_length) == 0;
    m->counts.false_alarms += !same;
    return same;
}
static bool is_block(ps_match *m, ps_probe *p, i32 block) {
    return p->weak == m->sums->weak[block] && p->length == sums_block_length(m->sums, block) && same_strong(m, p, block);
}

/* In place, a block is of use only where the receiver has not yet overwritten it. */
static bool still_stands(const ps_match *m, i32 block, i64 offset) {
    return !m->in_place || (i64)block * m->sums->head.block_length >= offset || m->same_offset[block];
}

/* In place: prefers the block that lies at this very offset, so that the receiver need not write it; in a run of zeros,
 * moves the probe on to the next block boundary for that. */
static i32 prefer_same_offset(ps_match *m, ps_probe *p, i32 found) {
    i64 length = m->sums->head.block_length;
    i64 index = (p->offset + length - 1) / length, aligned = index * length;
    bool zeros = p->weak == 0 && p->length == length && aligned + p->length <= m->size;
    if ((p->offset != aligned && !zeros) || index >= m->sums->head.count) return found;
    i32 block = (i32)index;
    if (block != found && !is_block(m, p, block)) return found;
    if (p->offset != aligned) {
        ps_probe next = {.offset = aligned, .length = p->length};
        next.weak = weak_sum(at(m, aligned), (size_t)p->length);
        if (!is_block(m, &next, block)) return block;
        *p = next;
    }
    m->same_offset[block] = 1;
    m->wanted = block;
    return block;
}

/* The block at the probe, or -1. */
static i32 find_block(ps_match *m, ps_probe *p) {
    ps_sums *s = m->sums;
    i32 wanted = m->wanted;
    if (!m->in_place && wanted < s->head.count && is_block(m, p, wanted)) {
        m->counts.hash_hits++;
        return wanted;
    }
    u32 key = sums_key(p->weak), at_entry, end;
    if (!sums_may_have(s, key)) return -1;
    sums_find(s, key, &at_entry, &end);
    int tried = 0, bypassed = 0;
    for (; at_entry < end && s->sorted[at_entry].key == key; at_entry++) {
        i32 block = s->sorted[at_entry].block;
        if (!still_stands(m, block, p->offset)) {
            if (++bypassed > BYPASSED_MAX) break;
            continue;
        }
        if (++tried > CANDIDATES_MAX) break;
        m->counts.hash_hits += tried == 1;
        if (p->length != sums_block_length(s, block) || !same_strong(m, p, block)) continue;
        if (m->in_place) {
            block = prefer_same_offset(m, p, block);
            wanted = m->wanted;
        }
        if (block != wanted && wanted < s->head.count && still_stands(m, wanted, p->offset) && is_block(m, p, wanted)) return wanted;
        return block;
    }
    return -1;
}

static int take_block(ps_match *m, const ps_probe *p, i32 block) {
    m->wanted = block + 1;
    m->counts.matches++;
    m->offset = p->offset + p->length;
    return report(m, p->offset, block, p->length);
}

/* How many bytes from an offset on the window must hold before that offset can be searched: moving on to a block boundary
 * (in place) looks at a second block. */
static i64 reach_of(const ps_match *m) {
    i64 length = m->sums->head.block_length;
    return m->in_place && m->end < m->size ? 2 * length : length;
}

/* Searches all offsets that the window reaches. */
static int search_window(ps_match *m) {
    const i32 length = m->sums->head.block_length;
    const i64 reach = reach_of(m);
    bool summed = false;
    u32 weak = 0;
    while (m->offset + reach <= m->end) {
        if (!summed) weak = weak_sum(at(m, m->offset), (size_t)length);
        summed = true;
        ps_probe p = {.offset = m->offset, .length = length, .weak = weak};
        i32 block = find_block(m, &p);
        if (block >= 0) {
            int status = take_block(m, &p, block);
            if (status != PS_OK) return status;
            summed = false;
            continue;
        }
        i64 further = m->end - reach - m->offset;
        if (further <= 0) {
            m->offset++;
            break;
        }
        m->offset += sums_roll(m->sums, at(m, m->offset), further, &weak);
    }
    return PS_OK;
}

/* What is left is shorter than a block: only the short last block can still match, and only at the very end. */
static int search_tail(ps_match *m) {
    i32 length = m->sums->last_length;
    i64 offset = m->size - length;
    if (length == m->sums->head.block_length || offset < m->offset) return PS_OK;
    ps_probe p = {.offset = offset, .length = length, .weak = weak_sum(at(m, offset), (size_t)length)};
    i32 block = find_block(m, &p);
    return block < 0 ? PS_OK : take_block(m, &p, block);
}

int match_step(ps_match *m) {
    int status = PS_OK;
    if (m->reported >= m->size) return PS_DONE;
    if (!m->sums) m->offset = m->end;
    if (m->end < m->size && (!m->sums || m->offset + reach_of(m) > m->end)) {
        status = report(m, m->offset < m->end ? m->offset : m->end, -1, 0);
        if (status == PS_OK) status = refill(m);
        if (status != PS_OK) return status;
    }
    if (m->sums) status = search_window(m);
    if (status == PS_OK && m->end == m->size) {
        if (m->sums) status = search_tail(m);
        if (status == PS_OK) status = report(m, m->size, -1, 0);
        if (status == PS_OK) return PS_DONE;
    }
    return status;
}

int match_fd(ps_sums *s, ps_block_hasher *h, int fd, i64 size, ps_sum *file_sum, ps_match_fn fn, void *owner, i64 *matched) {
    ps_match *m = match_new();
    int status = PS_FAIL;
    if (!m || !match_begin(m, s, h, fd, size, false, file_sum, fn, owner)) errno = ENOMEM;
    else
        do status = match_step(m);
        while (status == PS_OK);
    if (m) *matched = m->matched;
    int saved = errno;
    match_free(m);
    errno = saved;
    return status == PS_DONE ? PS_OK : status;
}
