/* Requests to sources and what they bring: bundles of small files, missing ranges of pieces, delivery, leftovers. */
#include "nominate/swarm_inner.h"

#include "api/fetch_api.h"

#include <stdlib.h>

/* ---- bundles -------------------------------------------------------------------------------------- */

/* Bytes of a job's entry as kept for the fetcher. */
static size_t kept_bytes(ps_swarm *s, const swarm_job *j) {
    char path[PS_LIMIT_NAME + 1] = "";
    ps_flist *list;
    swarm_file(s, j, &list, path);
    return 2 + (s->prefix_len ? s->prefix_len + 1 : 0) + strlen(path) + 8 + 8 + 32 + 8 + 8;
}

/* What it may take of a request. */
static size_t entry_bytes(ps_swarm *s, const swarm_job *j) { return kept_bytes(s, j) + s->below_len; }

static u32 bundle_new(ps_swarm *s, bool gaps) {
    u32 at = 0;
    while (at < s->bundle_count && s->bundles[at].jobs) at++;
    if (at == s->bundle_cap) {
        u32 cap = s->bundle_cap ? s->bundle_cap * 2 : 64;
        swarm_bundle *grown = realloc(s->bundles, cap * sizeof *grown);
        if (!grown) return SWARM_NONE;
        s->bundles = grown;
        s->bundle_cap = cap;
    }
    if (at == s->bundle_count) s->bundle_count++;
    s->bundles[at] = (swarm_bundle){.gaps = gaps, .jobs = malloc(PS_NOMINATE_BUNDLE_FILES * sizeof(u32))};
    return s->bundles[at].jobs ? at : SWARM_NONE;
}

static void bundle_drop(ps_swarm *s, u32 bundle) {
    free(s->bundles[bundle].jobs);
    s->bundles[bundle] = (swarm_bundle){0};
}

static void bundle_put(ps_swarm *s, u32 bundle, u32 job, i64 size, u32 ranges) {
    swarm_bundle *b = &s->bundles[bundle];
    b->jobs[b->count++] = job;
    b->bytes += size;
    b->ranges += ranges;
    b->entry_bytes += ranges * entry_bytes(s, &s->jobs[job]);
}

/* Whether a bundle has room for another job, of `size` bytes in `ranges` ranges. */
static bool has_room(ps_swarm *s, const swarm_bundle *b, u32 job, i64 size, u32 ranges) {
    return b->count < (b->gaps ? SWARM_GAP_FILES : PS_NOMINATE_BUNDLE_FILES) && b->bytes + size <= (i64)PS_NOMINATE_BUNDLE_BYTES &&
           b->ranges + ranges <= PS_NOMINATE_FETCH_ENTRIES &&
           b->entry_bytes + ranges * entry_bytes(s, &s->jobs[job]) <= SWARM_ENTRY_BYTES;
}

/* *filling: the bundle that takes new jobs of its kind; a full one is left to swarm_announce. */
static int fill(ps_swarm *s, u32 *filling, bool gaps, u32 job, i64 size, u32 ranges) {
    if (*filling != SWARM_NONE && !has_room(s, &s->bundles[*filling], job, size, ranges)) *filling = SWARM_NONE;
    if (*filling == SWARM_NONE && (*filling = bundle_new(s, gaps)) == SWARM_NONE)
        return ps_fail_memory(s->p.c, "a bundle of files");
    bundle_put(s, *filling, job, size, ranges);
    return PS_OK;
}

int swarm_add_to_bundle(ps_swarm *s, u32 job) {
    s->jobs[job].state = JOB_SMALL;
    return fill(s, &s->filling, false, job, s->jobs[job].size, 1);
}

/* Ranges that are missing of a file of one piece, and their bytes. */
static u32 missing_ranges(const swarm_job *j, i64 *bytes) {
    u32 ranges = 0;
    u64 at = 0, len;
    *bytes = 0;
    for (; out_missing(j->out, (u64)j->size, &at, &len); at += len, ranges++) *bytes += (i64)len;
    return ranges;
}

int swarm_add_gaps(ps_swarm *s, u32 job) {
    const swarm_job *j = &s->jobs[job];
    i64 bytes;
    if (j->piece_count != 1) return PS_DONE;
    u32 ranges = missing_ranges(j, &bytes);
    if (!ranges || ranges > SWARM_GAPS || ranges * entry_bytes(s, j) > SWARM_ENTRY_BYTES) return PS_DONE;
    return fill(s, &s->filling_gaps, true, job, bytes, ranges);
}

/* Tells Python of bundles that are full; of those that are filling too when nothing more is to be waited for. */
int swarm_announce(ps_swarm *s, bool flush) {
    for (u32 i = 0; i < s->bundle_count; i++) {
        swarm_bundle *b = &s->bundles[i];
        if (!b->jobs || b->announced || ((i == s->filling || i == s->filling_gaps) && !flush)) continue;
        if (!ps_event_add(s->p.c, PS_EV_SWARM_BUNDLE, b->gaps, i, b->bytes, NULL, 0)) return PS_FULL;
        b->announced = true;
        if (i == s->filling) s->filling = SWARM_NONE;
        if (i == s->filling_gaps) s->filling_gaps = SWARM_NONE;
    }
    return PS_OK;
}

int ps_swarm_step(ps_swarm *s, bool flush) {
    int status = swarm_announce(s, flush);
    return status == PS_OK ? swarm_local_step(s) : status;
}

/* ---- opening requests ----------------------------------------------------------------------------- */

static swarm_request *find_request(ps_swarm *s, u32 id) {
    for (u32 i = 0; i < s->request_count; i++)
        if (s->requests[i].id == id) return &s->requests[i];
    return NULL;
}

static swarm_request *request_new(ps_swarm *s, u32 id, u32 entries) {
    if (s->request_count == s->request_cap) {
        u32 cap = s->request_cap ? s->request_cap * 2 : 32;
        swarm_request *grown = realloc(s->requests, cap * sizeof *grown);
        if (!grown) return NULL;
        s->requests = grown;
        s->request_cap = cap;
    }
    swarm_request *r = &s->requests[s->request_count];
    *r = (swarm_request){.id = id, .job = SWARM_NONE, .entries = calloc(entries, sizeof(swarm_entry))};
    if (!r->entries) return NULL;
    s->request_count++;
    buf_clear(&s->entries);
    s->entry_count = 0;
    s->entries_length = 0;
    return r;
}

static void request_drop(ps_swarm *s, swarm_request *r) {
    free(r->entries);
    *r = s->requests[--s->request_count];
}

static void put_entry(ps_swarm *s, swarm_request *r, u32 job, const char *path, const ps_file *f, u64 offset, u64 length) {
    const swarm_job *j = &s->jobs[job];
    ps_buf *b = &s->entries;
    size_t n = strlen(path);
    size_t before = s->prefix_len ? s->prefix_len + 1 : 0;
    buf_u16(b, (u16)(before + n));
    if (before) buf_put(b, s->prefix, s->prefix_len), buf_u8(b, '/');
    buf_put(b, path, n);
    buf_u64(b, (u64)j->size);
    buf_u64(b, (u64)f->mtime);
    buf_put(b, j->root, 32);
    buf_u64(b, offset);
    buf_u64(b, length);
    r->entries[r->count++] = (swarm_entry){.job = job, .offset = (i64)offset, .length = (i64)length};
    s->entry_count++;
    s->entries_length += length;
}

int ps_swarm_open_bundle(ps_swarm *s, u32 id, u32 bundle) {
    if (bundle >= s->bundle_count || !s->bundles[bundle].jobs) return ps_fail(s->p.c, 13, 0, "no bundle %u", bundle);
    swarm_bundle *b = &s->bundles[bundle];
    swarm_request *r = request_new(s, id, b->ranges);
    if (!r) return ps_fail_memory(s->p.c, "a request to a source");
    r->small = !b->gaps;
    r->gaps = b->gaps;
    for (u32 i = 0; i < b->count; i++) {
        const swarm_job *j = &s->jobs[b->jobs[i]];
        char path[PS_LIMIT_NAME + 1];
        ps_flist *list;
        ps_file *f = swarm_file(s, j, &list, path);
        if (!f) return ps_fail(s->p.c, 12, 0, "a file of the swarm has left the file list");
        u64 at = 0, len = (u64)j->size;
        if (!b->gaps) put_entry(s, r, b->jobs[i], path, f, at, len);
        for (; b->gaps && r->count < b->ranges && out_missing(j->out, (u64)j->size, &at, &len); at += len)
            put_entry(s, r, b->jobs[i], path, f, at, len);
    }
    bundle_drop(s, bundle);
    return s->entries.failed ? ps_fail_memory(s->p.c, "a request to a source") : PS_OK;
}

static u64 piece_end(const swarm_job *j, u32 last) {
    u64 end = (u64)last << piece_log2((u64)j->size);
    return end < (u64)j->size ? end : (u64)j->size;
}

int ps_swarm_open_pieces(ps_swarm *s, u32 id, u32 job, u32 first, u32 last, u32 *taken) {
    swarm_job *j = swarm_job_at(s, job);
    char path[PS_LIMIT_NAME + 1] = "";
    ps_flist *list;
    *taken = last;
    if (!j || j->state != JOB_LARGE || !j->out || first >= last || last > j->piece_count) return PS_DONE;
    ps_file *f = swarm_file(s, j, &list, path);
    swarm_request *r = f ? request_new(s, id, PS_NOMINATE_FETCH_ENTRIES) : NULL;
    if (!r) return ps_fail_memory(s->p.c, "a request to a source");
    r->job = job;
    r->first = first;
    r->last = last;
    size_t kept = kept_bytes(s, j), each = entry_bytes(s, j);
    u64 at = (u64)first << piece_log2((u64)j->size), len;
    while (out_missing(j->out, piece_end(j, last), &at, &len)) {
        if (r->count == PS_NOMINATE_FETCH_ENTRIES || (r->count + 1) * each > SWARM_ENTRY_BYTES) {
            /* Ends with a whole piece: ranges of the piece that did not fit belong to the next request. */
            u32 stop = (u32)(at >> piece_log2((u64)j->size));
            u64 edge = (u64)stop << piece_log2((u64)j->size);
            while (stop > first && r->count && (u64)r->entries[r->count - 1].offset >= edge) {
                r->count--;
                s->entry_count--;
                s->entries_length -= (u64)r->entries[r->count].length;
                s->entries.len -= kept;
            }
            if (stop == first) stop = first + 1; /* one piece of more ranges than fit: its rest is asked for afterwards */
            *taken = r->last = stop;
            break;
        }
        put_entry(s, r, job, path, f, at, len);
        at += len;
    }
    if (s->entries.failed) return ps_fail_memory(s->p.c, "a request to a source");
    if (r->count) return PS_OK;
    request_drop(s, r);
    return PS_DONE;
}

const u8 *ps_swarm_entries(const ps_swarm *s, size_t *len, u32 *count, u64 *bytes) {
    *bytes = s->entries_length;
    *len = buf_used(&s->entries);
    *count = s->entry_count;
    return buf_head(&s->entries);
}

/* ---- delivery ------------------------------------------------------------------------------------- */

/* A small file is whole: checked before anything of it is written. */
static int finish_small(ps_swarm *s, swarm_request *r, swarm_entry *e, const u8 *data) {
    u32 job = e->job;
    swarm_job *j = &s->jobs[job];
    u8 digest[32];
    blake3_hash(data, (size_t)j->size, digest);
    if (memcmp(digest, j->root, 32) != 0) {
        /* It stays with its request: what is left of that is asked for elsewhere, together. */
        e->got = e->length;
        return ps_event_add(s->p.c, PS_EV_SWARM_BAD, -1, r->id, job, NULL, 0)
                   ? PS_OK
                   : ps_fail(s->p.c, 13, 0, "events were not drained before a delivery");
    }
    e->settled = true;
    int status;
    i64 size = j->size;
    ps_out *out = swarm_open_output(s, job, &status);
    if (!out) return status;
    j = &s->jobs[job];
    j->out = out;
    out_note_data(out);
    s->p.c->stats.literal_data += size;
    s->counts.delivered += (u64)size;
    if (out_write(out, 0, data, (size_t)size) != PS_OK) return swarm_write_failed(s, j);
    return swarm_finish_file(s, job);
}

static int deliver_small(ps_swarm *s, swarm_request *r, swarm_entry *e, const u8 *data, size_t len) {
    swarm_job *j = &s->jobs[e->job];
    bool last = e->got + (i64)len == e->length;
    if (last && !e->got) return finish_small(s, r, e, data);
    if (!j->gathered && !(j->gathered = malloc((size_t)j->size))) return ps_fail_memory(s->p.c, "a small file");
    memcpy(j->gathered + e->got, data, len);
    e->got += (i64)len;
    if (!last) return PS_OK;
    u8 *whole = j->gathered;
    j->gathered = NULL;
    int status = finish_small(s, r, e, whole);
    free(whole);
    return status;
}

/* The job ends: requests for other pieces of it have nothing to deliver to, whoever gets its number next. */
static void detach_requests(ps_swarm *s, u32 job) {
    for (u32 i = 0; i < s->request_count; i++) {
        swarm_request *r = &s->requests[i];
        if (r->job == job) r->job = SWARM_NONE;
        for (u32 k = 0; r->gaps && k < r->count; k++)
            if (r->entries[k].job == job) r->entries[k].settled = true;
    }
}

/* Blame needs proof: of a piece that held local bytes, or bytes of an earlier source, what came now is asked for elsewhere; if
 * that does not help, all of it is. */
static bool all_of_piece(const swarm_job *j, const swarm_entry *e, u32 bits) {
    u64 at = (u64)e->offset, rest = (u64)j->size - at, full = 1ull << bits;
    return !(at & (full - 1)) && (u64)e->length == (rest < full ? rest : full);
}

/* Forgets what the request brought of a bad piece; all of it, the second time. */
static int doubt_piece(ps_swarm *s, const swarm_request *r, u32 job, u32 piece) {
    swarm_job *j = &s->jobs[job];
    u64 at = (u64)piece << piece_log2((u64)j->size), end = piece_end(j, piece + 1);
    if (!j->doubted && !(j->doubted = calloc(j->piece_count, 1))) return ps_fail_memory(s->p.c, "the pieces of a file");
    if (j->doubted[piece]) return PS_OK;
    j->doubted[piece] = 1;
    for (u32 i = 0; i <= r->count; i++) {
        const swarm_entry *e = i < r->count ? &r->entries[i] : NULL;
        u64 from = e ? (u64)e->offset : end;
        if (e && (e->job != job || from < at || from >= end)) continue;
        if (out_piece_keep(j->out, piece, at, from - at) != PS_OK) return ps_fail_memory(s->p.c, "the pieces of a file");
        at = e ? from + (u64)e->length : end;
    }
    return PS_OK;
}

static int deliver_large(ps_swarm *s, swarm_request *r, swarm_entry *e, const u8 *data, size_t len) {
    u32 job = e->job, bits;
    swarm_job *j = &s->jobs[job];
    u64 at = (u64)(e->offset + e->got);
    bits = piece_log2((u64)j->size);
    if (out_write(j->out, (i64)at, data, len) != PS_OK) return swarm_write_failed(s, j);
    out_note_data(j->out);
    e->got += (i64)len;
    s->p.c->stats.literal_data += (i64)len;
    s->counts.delivered += len;
    for (u64 piece = at >> bits; piece <= (at + len - 1) >> bits; piece++) {
        if (out_piece(j->out, piece) != PS_PIECE_BAD) continue;
        out_piece_again(j->out, piece);
        bool proof = all_of_piece(j, e, bits);
        if (!proof && doubt_piece(s, r, job, (u32)piece) != PS_OK) return PS_FAIL;
        if (!ps_event_add(s->p.c, proof ? PS_EV_SWARM_BAD : PS_EV_SWARM_DOUBT, (i32)piece, r->id, job, NULL, 0))
            return ps_fail(s->p.c, 13, 0, "events were not drained before a delivery");
    }
    if (!out_all_pieces_ok(j->out)) return PS_OK;
    e->settled = true;
    detach_requests(s, job);
    return swarm_finish_file(s, job);
}

int ps_swarm_deliver(ps_swarm *s, u32 id, u32 entry, u64 offset, const u8 *data, size_t len, size_t *used) {
    swarm_request *r = find_request(s, id);
    *used = 0;
    if (!r || entry >= r->count || !len) return PS_OK;
    swarm_entry *e = &r->entries[entry];
    bool of_bundle = r->small || r->gaps;
    if (e->settled || e->missing || (!of_bundle && r->job == SWARM_NONE)) return PS_OK;
    /* The fetcher has checked what the source said; a range that does not fit is dropped here all the same. */
    if (offset != (u64)(e->offset + e->got) || len > (u64)(e->length - e->got)) return PS_OK;
    swarm_job *j = swarm_job_at(s, e->job);
    if (!j || (r->small ? j->state != JOB_SMALL : j->state != JOB_LARGE || !j->out)) return PS_OK;
    if (!of_bundle) { /* nothing beyond what the request was shrunk to */
        u64 end = piece_end(j, r->last);
        if (offset >= end) return PS_OK;
        if (len > end - offset) len = (size_t)(end - offset);
    }
    if (ps_events_full(s->p.c)) return PS_FULL;
    *used = len;
    return r->small ? deliver_small(s, r, e, data, len) : deliver_large(s, r, e, data, len);
}

const uint64_t *ps_swarm_progress(const ps_swarm *s) { return s->progress; }

static void add_progress(ps_swarm *s, u32 request, size_t bytes, u32 *pairs) {
    for (u32 i = *pairs; i-- > 0;) {
        if (s->progress[2 * i] != request) continue;
        s->progress[2 * i + 1] += bytes;
        return;
    }
    s->progress[2 * *pairs] = request;
    s->progress[2 * *pairs + 1] = bytes;
    ++*pairs;
}

typedef struct record {
    u32 slot, offset, length, request, entry, kind;
    u64 at;
} record;

static record read_record(ps_reader *r) {
    record x = {.slot = rd_u32(r)};
    x.offset = rd_u32(r), x.length = rd_u32(r), x.request = rd_u32(r), x.entry = rd_u32(r), x.kind = rd_u32(r);
    x.at = rd_u64(r);
    return x;
}

typedef struct shared {
    const u8 *memory;
    size_t len;
    u32 slot_size;
} shared;

/* The fetcher can still write to the memory: what is hashed must be what is written, so both come from a copy. */
static int copy_record(ps_swarm *s, const shared *m, const record *x, u32 at) {
    u64 start = (u64)x->slot * m->slot_size + x->offset;
    if (x->offset > m->slot_size || x->length > m->slot_size - x->offset || start + x->length > m->len)
        return ps_fail(s->p.c, 14, 0, "the fetcher reported data outside the shared memory");
    memcpy(s->scratch + at, m->memory + start, x->length);
    return PS_OK;
}

/* A run of records that go on where the one before ended, delivered at once: a hash and a write cost less in large parts.
 * PS_FULL: nothing of it was done. *taken: records of the run. */
static int take_data(ps_swarm *s, const shared *m, record x, ps_reader rest, u32 *taken, u32 *pairs) {
    if (s->scratch_size < m->slot_size) {
        free(s->scratch);
        s->scratch_size = (s->scratch = malloc(m->slot_size)) ? m->slot_size : 0;
        if (!s->scratch) return ps_fail_memory(s->p.c, "data of a source");
    }
    u32 len = x.length;
    if (copy_record(s, m, &x, 0) != PS_OK) return PS_FAIL;
    while (rd_left(&rest) >= PS_RECORD_BYTES) {
        record next = read_record(&rest);
        bool follows = next.kind == PS_RECORD_DATA && next.request == x.request && next.entry == x.entry && next.at == x.at + len;
        if (!follows || next.length > m->slot_size - len) break;
        if (copy_record(s, m, &next, len) != PS_OK) return PS_FAIL;
        len += next.length;
        ++*taken;
    }
    size_t used = 0;
    int status = ps_swarm_deliver(s, x.request, x.entry, x.at, s->scratch, len, &used);
    if (status == PS_OK && used) add_progress(s, x.request, used, pairs);
    return status;
}

/* The next record, or a run of them. PS_FULL: nothing of it was done. */
static int take_record(ps_swarm *s, const shared *m, ps_reader *r, u32 *taken, u32 *pairs) {
    record x = read_record(r);
    *taken = 1;
    switch (x.kind) {
    case PS_RECORD_MISSING: return ps_swarm_missing(s, x.request, x.entry, (i32)x.length);
    case PS_RECORD_DONE: return ps_event_add(s->p.c, PS_EV_SWARM_ENDED, 0, x.request, 0, NULL, 0) ? PS_OK : PS_FULL;
    case PS_RECORD_BUSY: return ps_event_add(s->p.c, PS_EV_SWARM_ENDED, 1, x.request, x.length, NULL, 0) ? PS_OK : PS_FULL;
    default: break;
    }
    int status = take_data(s, m, x, *r, taken, pairs);
    rd_bytes(r, (*taken - 1) * (size_t)PS_RECORD_BYTES);
    return status;
}

int ps_swarm_deliver_records(ps_swarm *s, const u8 *memory, size_t memory_len, u32 slot_size, const u8 *records, u32 count,
                             u32 *done, u32 *pairs) {
    ps_reader r = rd_make(records, (size_t)count * PS_RECORD_BYTES);
    shared m = {memory, memory_len, slot_size};
    *pairs = *done = 0;
    while (*done < count && *pairs < SWARM_PROGRESS) {
        u32 taken;
        int status = take_record(s, &m, &r, &taken, pairs);
        if (status != PS_OK) return status;
        *done += taken;
    }
    return *done < count ? PS_FULL : PS_OK;
}

int ps_swarm_missing(ps_swarm *s, u32 id, u32 entry, i32 reason) {
    swarm_request *r = find_request(s, id);
    if (r && entry < r->count && !r->entries[entry].settled) r->entries[entry].missing = (u8)(reason > 0 && reason < 255 ? reason : 1);
    return PS_OK;
}

/* A piece has one remote source: what came of an unfinished one is forgotten. */
static void forget_unfinished(swarm_job *j, const swarm_entry *e, u32 from, u32 to) {
    u32 bits = piece_log2((u64)j->size);
    u64 piece = (u64)(e->offset + e->got) >> bits;
    if (!e->got || e->got == e->length || piece < from || piece >= to) return;
    if (out_piece(j->out, piece) == PS_PIECE_OPEN) out_piece_again(j->out, piece);
}

int ps_swarm_shrink(ps_swarm *s, u32 id, u32 last, uint64_t *end) {
    swarm_request *r = find_request(s, id);
    *end = UINT64_MAX;
    if (!r || r->small || r->gaps || last >= r->last) return PS_OK;
    swarm_job *j = swarm_job_at(s, r->job);
    if (j) *end = piece_end(j, last);
    if (j && j->state == JOB_LARGE && j->out)
        for (u32 i = 0; i < r->count; i++) forget_unfinished(j, &r->entries[i], last, r->last);
    r->last = last;
    return PS_OK;
}

/* ---- the end of a request ------------------------------------------------------------------------- */

static void leftover_bundle(ps_swarm *s, u32 bundle, ps_leftover *left) {
    if (bundle == SWARM_NONE) return;
    s->bundles[bundle].announced = true;
    left->bundle = bundle;
    left->files = s->bundles[bundle].count;
    left->bundle_bytes = s->bundles[bundle].bytes;
    left->sparse = s->bundles[bundle].gaps;
}

static int leftover_small(ps_swarm *s, swarm_request *r, ps_leftover *left) {
    u32 bundle = SWARM_NONE;
    for (u32 i = 0; i < r->count; i++) {
        swarm_entry *e = &r->entries[i];
        swarm_job *j = swarm_job_at(s, e->job);
        if (e->settled || !j || j->state != JOB_SMALL) continue;
        free(j->gathered);
        j->gathered = NULL;
        if (bundle == SWARM_NONE && (bundle = bundle_new(s, false)) == SWARM_NONE) return ps_fail_memory(s->p.c, "a bundle of files");
        bundle_put(s, bundle, e->job, j->size, 1);
        left->missing += e->missing != 0;
        left->stale += e->missing == 2;
    }
    leftover_bundle(s, bundle, left);
    return PS_OK;
}

static int leftover_gaps(ps_swarm *s, swarm_request *r, ps_leftover *left) {
    u32 bundle = SWARM_NONE;
    for (u32 i = 0, next; i < r->count; i = next) {
        u32 job = r->entries[i].job;
        swarm_job *j = swarm_job_at(s, job);
        bool open = !r->entries[i].settled && j && j->state == JOB_LARGE && j->out;
        u8 missing = 0;
        for (next = i; next < r->count && r->entries[next].job == job; next++) {
            if (open) forget_unfinished(j, &r->entries[next], 0, 1);
            if (r->entries[next].missing) missing = r->entries[next].missing;
        }
        i64 bytes;
        u32 ranges = open ? missing_ranges(j, &bytes) : 0;
        if (!ranges) continue;
        if (bundle == SWARM_NONE && (bundle = bundle_new(s, true)) == SWARM_NONE) return ps_fail_memory(s->p.c, "a bundle of files");
        bundle_put(s, bundle, job, bytes, ranges);
        left->missing += missing != 0;
        left->stale += missing == 2;
    }
    leftover_bundle(s, bundle, left);
    return PS_OK;
}

static void leftover_pieces(ps_swarm *s, swarm_request *r, ps_leftover *left) {
    swarm_job *j = swarm_job_at(s, r->job);
    if (!j || j->state != JOB_LARGE || !j->out) return;
    u32 bits = piece_log2((u64)j->size);
    for (u32 i = 0; i < r->count; i++) {
        swarm_entry *e = &r->entries[i];
        left->missing += e->missing != 0;
        left->stale += e->missing == 2;
        forget_unfinished(j, e, 0, r->last);
    }
    u64 at = (u64)r->first << bits, len, end = piece_end(j, r->last);
    left->first = left->last = r->last;
    if (!out_missing(j->out, end, &at, &len)) return;
    left->job = r->job;
    left->first = (u32)(at >> bits);
    for (; out_missing(j->out, end, &at, &len); at += len) left->bytes += (i64)len;
    left->sparse = left->bytes < (i64)(end - ((u64)left->first << bits)) / 2;
}

int ps_swarm_close_request(ps_swarm *s, u32 id, ps_leftover *left) {
    *left = (ps_leftover){0};
    swarm_request *r = find_request(s, id);
    if (!r) return PS_OK;
    int status = PS_OK;
    if (r->small)
        status = leftover_small(s, r, left);
    else if (r->gaps)
        status = leftover_gaps(s, r, left);
    else
        leftover_pieces(s, r, left);
    request_drop(s, r);
    return status;
}

/* ---- giving up ------------------------------------------------------------------------------------ */

static void say(ps_swarm *s, const swarm_job *j, int level, const char *what) {
    char path[PS_LIMIT_NAME + 1] = "", shown[PS_FULL_FNAME];
    ps_flist *list;
    swarm_file(s, j, &list, path);
    ps_log(s->p.c, level, "%s %s\n", what, full_fname(s->p.c, path, shown));
}

void swarm_say_undelivered(ps_swarm *s, const swarm_job *j) {
    say(s, j, PS_LOG_ERROR_XFER, "rsync: [receiver] no source delivered");
}

static int give_up(ps_swarm *s, u32 job, bool vanished) {
    swarm_job *j = swarm_job_at(s, job);
    if (!j) return PS_OK;
    if (vanished) {
        s->p.c->io_error |= PS_IOERR_VANISHED;
        say(s, j, PS_LOG_WARNING, "file has vanished:");
    } else {
        swarm_say_undelivered(s, j);
    }
    if (j->out) out_abort(j->out, true);
    j->out = NULL;
    detach_requests(s, job);
    return swarm_settle(s, job, vanished ? PS_SETTLED_NO_SEND : PS_SETTLED_FAILED);
}

int ps_swarm_give_up_bundle(ps_swarm *s, u32 bundle, bool vanished) {
    if (bundle >= s->bundle_count || !s->bundles[bundle].jobs) return PS_OK;
    int status = PS_OK;
    for (u32 i = 0; i < s->bundles[bundle].count && status == PS_OK; i++) status = give_up(s, s->bundles[bundle].jobs[i], vanished);
    bundle_drop(s, bundle);
    return status;
}

int ps_swarm_give_up_job(ps_swarm *s, u32 job, bool vanished) {
    swarm_job *j = swarm_job_at(s, job);
    return j && j->state == JOB_LARGE ? give_up(s, job, vanished) : PS_OK;
}
