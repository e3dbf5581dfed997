/* What the client has already: outputs are opened, bases searched for the blocks of the new file, what matches is copied, and
 * the pieces that are still missing are announced. Done in short steps, since the session's input waits meanwhile. */
#include "nominate/swarm_inner.h"
#include "render/render.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define COPY_STEP (4u << 20)
#define WINDOW (256u * 1024u)

/* ---- a file begins -------------------------------------------------------------------------------- */

/* receiver.c does the same where a transfer begins. */
static void count_transfer(ps_swarm *s, const swarm_job *j) {
    ps_stats *t = &s->p.c->stats;
    t->xferred_files++;
    t->total_transferred_size += j->size;
    if (j->iflags & PS_ITEM_IS_NEW) t->created_files++;
}

static int make_empty(ps_swarm *s, u32 job) {
    int status;
    ps_out *out = swarm_open_output(s, job, &status);
    if (!out) return status;
    s->jobs[job].out = out;
    return swarm_finish_file(s, job);
}

int swarm_ready(ps_swarm *s, u32 job) {
    swarm_job *j = &s->jobs[job];
    if (gen_route_swarm(s->p.gen, j->ndx) != PS_OK) return PS_FAIL;
    count_transfer(s, j);
    if (!j->size) return make_empty(s, job);
    if (j->basis_size <= 0 && j->size <= (i64)PS_NOMINATE_CUT_OVER_BYTES) return swarm_add_to_bundle(s, job);
    swarm_queue_local(s, job);
    return PS_OK;
}

void swarm_queue_local(ps_swarm *s, u32 job) {
    s->jobs[job].state = JOB_LOCAL;
    s->jobs[job].next = SWARM_NONE;
    if (s->local_tail == SWARM_NONE)
        s->local_head = job;
    else
        s->jobs[s->local_tail].next = job;
    s->local_tail = job;
    s->counts.local_todo++;
}

/* What lies under the file's name now; false: nothing. */
static bool replaced(ps_swarm *s, const swarm_job *j, const char *path, struct stat *st) {
    const char *leaf;
    if (s->p.c->o.perms || j->iflags & PS_ITEM_IS_NEW) return false;
    int dir = root_parent(s->p.dest, path, &leaf);
    return dir >= 0 && fstatat(dir, leaf, st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Opens the output of a job. NULL: the file has failed and is settled, or the context has. */
ps_out *swarm_open_output(ps_swarm *s, u32 job, int *status) {
    swarm_job *j = &s->jobs[job];
    char path[PS_LIMIT_NAME + 1];
    ps_flist *list;
    ps_file *f = swarm_file(s, j, &list, path);
    if (!f) {
        *status = ps_fail(s->p.c, 12, 0, "a file of the swarm has left the file list");
        return NULL;
    }
    struct stat st;
    basis_settle_mode(s->p.c, &s->new_modes, s->p.dest, f, path, replaced(s, j, path, &st) ? &st : NULL);
    ps_out *out = out_open(s->p.outs, f, j->ndx, path, 0);
    *status = out ? PS_OK : s->p.c->error.exit_code ? PS_FAIL : swarm_settle(s, job, PS_SETTLED_FAILED);
    return out;
}

int swarm_finish_file(ps_swarm *s, u32 job) {
    swarm_job *j = &s->jobs[job];
    ps_out *out = j->out;
    ps_flist *list;
    ps_file *f = swarm_file(s, j, &list, NULL);
    j->out = NULL;
    if (f) render_item(s->p.c, PS_LOG_INFO, s->p.all, list, f, j->iflags, NULL, j->size, 0);
    switch (out_finish(out, j->size, true, j->from_partial)) {
    case PS_OUT_DONE: return swarm_settle(s, job, PS_SETTLED_OK);
    case PS_OUT_DELAYED: /* the receiver settles it when the delayed updates are put into place */
        s->counts.files++;
        swarm_job_free(s, job);
        return PS_OK;
    case PS_OUT_BAD:
    case PS_OUT_FAILED: break;
    }
    return s->p.c->error.exit_code ? PS_FAIL : swarm_settle(s, job, PS_SETTLED_FAILED);
}

/* ---- the basis ------------------------------------------------------------------------------------ */

int swarm_write_failed(ps_swarm *s, const swarm_job *j) {
    int err = errno;
    char path[PS_LIMIT_NAME + 1] = "", shown[PS_FULL_FNAME];
    ps_flist *list;
    swarm_file(s, j, &list, path);
    return ps_fail(s->p.c, 11, err, "write failed on %s: %s (%d)", full_fname(s->p.c, path, shown), strerror(err), err);
}

/* A partial file is its own map: pieces that lie in place are taken without a search. */
static int take_partial(ps_swarm *s, swarm_job *j) {
    u64 length = 1ull << piece_log2((u64)j->size), size = (u64)j->size;
    u8 *data = malloc(length);
    if (!data) return ps_fail_memory(s->p.c, "a piece of a partial file");
    int status = PS_OK;
    for (u64 i = 0; i < j->piece_count && status == PS_OK; i++) {
        u64 at = i * length, n = size - at < length ? size - at : length;
        u8 digest[32];
        if (pread(s->basis_fd, data, n, (off_t)at) != (ssize_t)n) break;
        piece_digest(data, n, i, size, digest);
        if (memcmp(digest, j->piece_count > 1 ? j->pieces + i * 32 : j->root, 32) != 0) continue;
        if (out_write(j->out, (i64)at, data, n) != PS_OK) status = swarm_write_failed(s, j);
        s->p.c->stats.matched_data += (i64)n;
    }
    free(data);
    return status;
}

static i32 block_size(const ps_sum_head *h, i32 block) {
    return block == h->count - 1 && h->remainder ? h->remainder : h->block_length;
}

static int note_match(void *owner, const u8 *literal, size_t n, i32 block) {
    ps_swarm *s = owner;
    (void)literal;
    i32 matched = block < 0 ? 0 : block_size(&s->jobs[s->searching].head, block);
    s->counts.local_bytes += n + (u64)matched;
    s->basis_at += (i64)n;
    if (block >= 0 && s->found[block].basis < 0) s->found[block].basis = s->basis_at;
    s->basis_at += matched;
    return PS_OK;
}

static int compare_sums(const void *a, const void *b, void *sums) {
    return memcmp((const u8 *)sums + (size_t) * (const u32 *)a * 12, (const u8 *)sums + (size_t) * (const u32 *)b * 12, 12);
}

/* The search reports one of several equal blocks; the others lie in the basis as well. */
static int fill_equal_blocks(ps_swarm *s, const swarm_job *j) {
    u32 count = (u32)j->head.count;
    u32 *order = malloc(count * sizeof *order);
    if (!order) return ps_fail_memory(s->p.c, "the blocks of a file");
    u32 full = j->head.remainder ? count - 1 : count; /* the short last block equals no other */
    for (u32 i = 0; i < full; i++) order[i] = i;
    qsort_r(order, full, sizeof *order, compare_sums, j->sums);
    for (u32 i = 0; i < full;) {
        u32 end = i + 1;
        i64 at = s->found[order[i]].basis;
        while (end < full && compare_sums(&order[i], &order[end], j->sums) == 0) {
            if (at < 0) at = s->found[order[end]].basis;
            end++;
        }
        for (; i < end; i++)
            if (s->found[order[i]].basis < 0) s->found[order[i]].basis = at;
    }
    free(order);
    return PS_OK;
}

static int start_search(ps_swarm *s, swarm_job *j) {
    if (!s->have_hasher && !(s->have_hasher = block_hasher_init(&s->hasher, PS_SUM_XXH128, 0, true)))
        return ps_fail_memory(s->p.c, "block sums");
    if (!s->sums) s->sums = sums_new();
    if (!s->match) s->match = match_new();
    s->found = malloc((size_t)j->head.count * sizeof *s->found);
    if (!s->sums || !s->match || !s->found || !sums_load(s->sums, &j->head, j->sums))
        return ps_fail_memory(s->p.c, "the search of a basis");
    for (i32 i = 0; i < j->head.count; i++) s->found[i].basis = -1;
    s->basis_at = 0;
    if (!match_begin(s->match, s->sums, &s->hasher, s->basis_fd, j->basis_size, false, NULL, note_match, s))
        return ps_fail_memory(s->p.c, "the search of a basis");
    return PS_OK;
}

/* Copies what was found, adjacent blocks together, about COPY_STEP bytes a call. found[i].basis < -1: done. */
static int copy_found(ps_swarm *s, swarm_job *j) {
    const ps_sum_head *h = &j->head;
    i64 copied = 0;
    for (i32 i = (i32)j->announce; i < h->count; j->announce = (u32)i) {
        if (s->found[i].basis < 0) {
            i++;
            continue;
        }
        i32 end = i;
        i64 from = s->found[i].basis, len = 0;
        while (end < h->count && s->found[end].basis == from + len && len < (i64)COPY_STEP) len += block_size(h, end++);
        /* Pieces of a partial file that were taken before are there already. */
        u64 start = (u64)i * (u64)h->block_length, at = start, n = 0;
        for (; out_missing(j->out, start + (u64)len, &at, &n); at += n) {
            if (out_copy(j->out, (i64)at, (i64)n, s->basis_fd, from + (i64)(at - start)) != PS_OK) {
                if (errno) return swarm_write_failed(s, j);
                return PS_DONE; /* the basis has shrunk: the rest comes from sources */
            }
            s->p.c->stats.matched_data += (i64)n;
        }
        copied += len;
        s->counts.local_bytes += (u64)len;
        i = end;
        if (copied >= (i64)COPY_STEP) {
            j->announce = (u32)i;
            return PS_OK;
        }
    }
    return PS_DONE;
}

/* ---- steps ---------------------------------------------------------------------------------------- */

void swarm_local_stop(ps_swarm *s) {
    if (s->basis_fd >= 0) close(s->basis_fd);
    s->basis_fd = -1;
    free(s->found);
    s->found = NULL;
    s->searching = SWARM_NONE;
}

/* Nothing local is left to do: what is missing is announced, or the file is complete. */
static int end_local(ps_swarm *s, u32 job) {
    swarm_job *j = &s->jobs[job];
    swarm_local_stop(s);
    free(j->sums);
    j->sums = NULL;
    /* A piece that is wrong though all of it was found here is fetched whole. */
    for (u32 i = 0; i < j->piece_count; i++)
        if (out_piece(j->out, i) == PS_PIECE_BAD) out_piece_again(j->out, i);
    if (out_all_pieces_ok(j->out)) return swarm_finish_file(s, job);
    j->state = JOB_LARGE;
    int status = swarm_add_gaps(s, job);
    if (status != PS_DONE) return status;
    j->announce = 0;
    s->announcing = job;
    return PS_OK;
}

static int begin_local(ps_swarm *s, u32 job) {
    swarm_job *j = &s->jobs[job];
    char path[PS_LIMIT_NAME + 1] = "";
    ps_flist *list;
    int status;
    ps_out *out = swarm_open_output(s, job, &status);
    if (!out) return status;
    j->out = out;
    if (out_set_digest(out, (u64)j->size, j->piece_count > 1 ? j->pieces : j->root, j->root) != PS_OK)
        return s->p.c->error.exit_code ? PS_FAIL : ps_fail(s->p.c, 2, 0, "the origin's digests of a file contradict each other");
    swarm_file(s, j, &list, path);
    s->basis_fd = j->basis_size > 0 ? basis_open(s->p.outs, s->p.dest, j->basis, path, &j->from_partial) : -1;
    if (s->basis_fd < 0) return end_local(s, job);
    if (j->basis == PS_BASIS_PARTIAL_DIR && take_partial(s, j) != PS_OK) return PS_FAIL;
    if (!j->head.count || out_all_pieces_ok(out)) return end_local(s, job);
    j->state = JOB_SEARCH;
    j->announce = 0;
    s->searching = job;
    return start_search(s, j);
}

/* j->announce counts copied blocks once the search is over; found NULL: searching has not begun. */
static int go_on_searching(ps_swarm *s) {
    u32 job = s->searching;
    swarm_job *j = &s->jobs[job];
    if (s->basis_at >= 0) {
        int status = match_step(s->match);
        if (status == PS_OK) return PS_OK;
        if (status == PS_DONE && fill_equal_blocks(s, j) != PS_OK) return PS_FAIL;
        s->basis_at = -1; /* a read error of the basis: what was found so far still counts */
        return PS_OK;
    }
    int status = copy_found(s, j);
    return status == PS_DONE ? end_local(s, job) : status;
}

static int announce_runs(ps_swarm *s) {
    u32 job = s->announcing, bits;
    swarm_job *j = swarm_job_at(s, job);
    if (!j || j->state != JOB_LARGE || !j->out) {
        s->announcing = SWARM_NONE;
        return PS_OK;
    }
    bits = piece_log2((u64)j->size);
    for (;;) {
        u64 at = (u64)j->announce << bits, len = 0;
        if (ps_events_full(s->p.c)) return PS_FULL;
        if (!out_missing(j->out, (u64)j->size, &at, &len)) break;
        u32 first = (u32)(at >> bits), last = first;
        i64 bytes = 0, span = 0;
        /* Pieces of which something is missing; while that is little, those in between that are there as well: a request for
         * many small gaps costs less than many requests. */
        for (u32 piece = first; piece < j->piece_count; piece++) {
            u64 begin = (u64)piece << bits, end = begin + (1ull << bits);
            i64 here = 0;
            if (end > (u64)j->size) end = (u64)j->size;
            for (u64 a = begin; out_missing(j->out, end, &a, &len); a += len) here += (i64)len;
            if (!here && bytes >= (i64)PS_NOMINATE_BUNDLE_BYTES) break;
            bytes += here;
            if (here) last = piece + 1, span = (i64)(end - ((u64)first << bits));
        }
        u32 run[2] = {first, last};
        if (!ps_event_add(s->p.c, PS_EV_SWARM_RUN, bytes < span / 2, job, bytes, run, sizeof run)) return PS_FULL;
        j->announce = last;
    }
    s->announcing = SWARM_NONE;
    return PS_OK;
}

int swarm_local_step(ps_swarm *s) {
    if (s->announcing != SWARM_NONE) return announce_runs(s);
    if (s->searching != SWARM_NONE) return go_on_searching(s);
    if (s->local_head == SWARM_NONE || outs_open_count(s->p.outs) >= SWARM_OPEN_OUTPUTS) return PS_AGAIN;
    u32 job = s->local_head;
    s->local_head = s->jobs[job].next;
    if (s->local_head == SWARM_NONE) s->local_tail = SWARM_NONE;
    s->counts.local_todo--;
    return begin_local(s, job);
}
