/* Job table, digest requests and answers (protocol-spec/nominate-1.md §2: digests?, digests). */
#include "nominate/digests_frame.h"
#include "nominate/swarm_inner.h"

#include <stdlib.h>

/* ---- jobs -------------------------------------------------------------------------------------- */

swarm_job *swarm_job_at(ps_swarm *s, u32 job) {
    return job < s->job_count && s->jobs[job].state != JOB_FREE ? &s->jobs[job] : NULL;
}

u32 swarm_job_new(ps_swarm *s) {
    u32 job = s->free_job;
    if (job != SWARM_NONE) {
        s->free_job = s->jobs[job].next;
    } else {
        if (s->job_count == s->job_cap) {
            u32 cap = s->job_cap ? s->job_cap * 2 : 256;
            swarm_job *grown = realloc(s->jobs, cap * sizeof *grown);
            if (!grown) return SWARM_NONE;
            s->jobs = grown;
            s->job_cap = cap;
        }
        job = s->job_count++;
    }
    s->jobs[job] = (swarm_job){.next = SWARM_NONE};
    s->counts.open++;
    return job;
}

void swarm_job_free(ps_swarm *s, u32 job) {
    swarm_job *j = &s->jobs[job];
    free(j->pieces);
    free(j->sums);
    free(j->gathered);
    free(j->doubted);
    *j = (swarm_job){.state = JOB_FREE, .next = s->free_job};
    s->free_job = job;
    s->counts.open--;
}

ps_file *swarm_file(ps_swarm *s, const swarm_job *j, ps_flist **list, char path[PS_LIMIT_NAME + 1]) {
    ps_file *f = flists_file(s->p.all, j->ndx, list);
    if (f && path) file_path(s->p.all, *list, f, path);
    return f;
}

int swarm_settle(ps_swarm *s, u32 job, ps_settled how) {
    i32 ndx = s->jobs[job].ndx;
    if (how == PS_SETTLED_OK) s->counts.files++;
    swarm_job_free(s, job);
    return gen_settled(s->p.gen, ndx, how);
}

int swarm_to_classic(ps_swarm *s, u32 job, bool no_digest) {
    swarm_job *j = &s->jobs[job];
    if (s->no_data) {
        free(j->pieces);
        free(j->sums);
        *j = (swarm_job){.state = JOB_LATER, .ndx = j->ndx, .iflags = j->iflags, .size = j->size, .basis = j->basis,
                         .basis_size = j->basis_size, .since = s->now, .next = SWARM_NONE};
        s->counts.later++;
        return PS_OK;
    }
    i32 ndx = j->ndx;
    s->counts.classic++;
    if (no_digest) s->counts.no_digest++;
    swarm_job_free(s, job);
    return gen_route_classic(s->p.gen, ndx);
}

ps_swarm *swarm_new(const ps_swarm_parts *parts) {
    ps_swarm *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->p = *parts;
    s->free_job = s->queue_head = s->queue_tail = s->local_head = s->local_tail = SWARM_NONE;
    s->filling = s->filling_gaps = s->searching = s->announcing = SWARM_NONE;
    s->basis_fd = -1;
    s->new_modes.dir = UINT32_MAX;
    return s;
}

void swarm_free(ps_swarm *s) {
    if (!s) return;
    swarm_local_stop(s);
    for (u32 i = 0; i < s->job_count; i++) {
        free(s->jobs[i].pieces);
        free(s->jobs[i].sums);
        free(s->jobs[i].gathered);
        free(s->jobs[i].doubted);
    }
    for (u32 i = 0; i < s->ask_count; i++) free(s->asks[i].jobs);
    for (u32 i = 0; i < s->bundle_count; i++) free(s->bundles[i].jobs);
    for (u32 i = 0; i < s->request_count; i++) free(s->requests[i].entries);
    free(s->jobs);
    free(s->bundles);
    free(s->requests);
    buf_free(&s->entries);
    buf_free(&s->frame);
    sums_free(s->sums);
    match_free(s->match);
    if (s->have_hasher) block_hasher_free(&s->hasher);
    free(s->found);
    free(s->scratch);
    free(s->prefix);
    free(s);
}

int ps_swarm_set_prefix(ps_swarm *s, const u8 *prefix, size_t len) {
    if (len > PS_LIMIT_NAME) return ps_fail(s->p.c, 1, 0, "a source path of %zu bytes", len);
    free(s->prefix);
    s->prefix_len = len;
    s->prefix = strndup((const char *)prefix, len);
    return s->prefix ? PS_OK : ps_fail_memory(s->p.c, "a source path");
}

void ps_swarm_set_below(ps_swarm *s, uint32_t longest) { s->below_len = longest ? longest + 1u : 0; }
void ps_swarm_set_no_data(ps_swarm *s, bool no_data) { s->no_data = no_data; }
void ps_swarm_set_now(ps_swarm *s, double now) { s->now = now; }

const ps_swarm_counts *ps_swarm_get_counts(const ps_swarm *s) { return &s->counts; }

/* ---- asking ------------------------------------------------------------------------------------ */

static void queue_job(ps_swarm *s, u32 job) {
    swarm_job *j = &s->jobs[job];
    j->state = JOB_QUEUED;
    j->next = SWARM_NONE;
    if (s->queue_tail == SWARM_NONE)
        s->queue_head = job;
    else
        s->jobs[s->queue_tail].next = job;
    s->queue_tail = job;
    s->queue_len++;
}

static u32 unqueue_job(ps_swarm *s) {
    u32 job = s->queue_head;
    s->queue_head = s->jobs[job].next;
    if (s->queue_head == SWARM_NONE) s->queue_tail = SWARM_NONE;
    s->queue_len--;
    return job;
}

int ps_swarm_stop_joining(ps_swarm *s) {
    s->closed = true;
    while (s->queue_len) {
        s->counts.undecided--;
        if (swarm_to_classic(s, unqueue_job(s), false) != PS_OK) return PS_FAIL;
    }
    return PS_OK;
}

static int take_jobs(ps_swarm *s) {
    size_t count = 0;
    const ps_gen_job *found = gen_jobs(s->p.gen, &count);
    for (size_t i = 0; i < count; i++) {
        u32 job = swarm_job_new(s);
        if (job == SWARM_NONE) return ps_fail_memory(s->p.c, "the swarm's job table");
        swarm_job *j = &s->jobs[job];
        j->ndx = found[i].ndx;
        j->iflags = found[i].iflags;
        j->size = found[i].size;
        j->basis_size = found[i].basis_size;
        j->basis = found[i].basis;
        s->counts.undecided++;
        if (j->size) {
            queue_job(s, job);
        } else { /* nothing to be fetched: made here */
            s->counts.undecided--;
            if (swarm_ready(s, job) != PS_OK) return PS_FAIL;
        }
    }
    gen_jobs_taken(s->p.gen);
    return s->closed ? ps_swarm_stop_joining(s) : PS_OK;
}

/* Bytes that the answer for a job will have, roughly. */
static u64 answer_bytes(const swarm_job *j) {
    u64 bytes = 64, pieces = piece_count((u64)j->size);
    if (pieces > 1) bytes += pieces * 32;
    if (j->basis_size > 0) {
        ps_sum_head head;
        sum_head_for(j->size, 0, 30, PS_SUM_XXH128, false, &head);
        bytes += (u64)head.count * DIGESTS_BLOCK_BYTES;
    }
    return bytes;
}

static int send_ask(ps_swarm *s, u32 want) {
    u32 *jobs = malloc(want * sizeof *jobs);
    if (!jobs) return ps_fail_memory(s->p.c, "a request for digests");
    ps_buf *b = &s->frame;
    u8 bits[SWARM_ASK_ENTRIES / 8] = {0};
    buf_clear(b);
    u32 id = s->next_ask++, count = 0, runs = 0;
    i32 run_first = 0;
    u32 run_len = 0;
    buf_u8(b, PS_FRAME_DIGESTS_REQUEST);
    buf_u32(b, id);
    buf_u16(b, 0);
    while (count < want && s->queue_head != SWARM_NONE) {
        u32 job = s->queue_head;
        swarm_job *j = &s->jobs[job];
        u64 bytes = answer_bytes(j);
        if (count && s->window_bytes + bytes > PS_NOMINATE_DIGEST_WINDOW_BYTES) break;
        s->window_bytes += bytes;
        s->window_entries++;
        unqueue_job(s);
        j->state = JOB_ASKED;
        if (j->basis_size > 0) bits[count / 8] = (u8)(bits[count / 8] | 1u << (count % 8));
        if (run_len && j->ndx == run_first + (i32)run_len) {
            run_len++;
        } else {
            if (run_len) buf_i32(b, run_first), buf_u16(b, (u16)run_len), runs++;
            run_first = j->ndx;
            run_len = 1;
        }
        jobs[count++] = job;
    }
    if (run_len) buf_i32(b, run_first), buf_u16(b, (u16)run_len), runs++;
    buf_put(b, bits, (count + 7) / 8);
    if (b->failed) {
        free(jobs);
        return ps_fail_memory(s->p.c, "a request for digests");
    }
    buf_head(b)[5] = (u8)runs;
    buf_head(b)[6] = (u8)(runs >> 8);
    s->asks[s->ask_count++] = (swarm_ask){id, count, count, jobs};
    if (!mux_out_message(s->p.out, PS_MSG_NOMINATE, buf_head(b), buf_used(b))) return ps_fail_memory(s->p.c, "output");
    return PS_OK;
}

int ps_swarm_ask(ps_swarm *s, bool flush) {
    if (take_jobs(s) != PS_OK) return PS_FAIL;
    while (s->queue_len && (flush || s->queue_len >= SWARM_ASK_ENTRIES) && s->ask_count < SWARM_ASKS &&
           s->window_entries < PS_NOMINATE_DIGEST_WINDOW_ENTRIES - SWARM_ASK_ENTRIES && s->window_bytes < PS_NOMINATE_DIGEST_WINDOW_BYTES) {
        if (send_ask(s, s->queue_len < SWARM_ASK_ENTRIES ? s->queue_len : SWARM_ASK_ENTRIES) != PS_OK) return PS_FAIL;
    }
    return PS_OK;
}

int ps_swarm_again(ps_swarm *s, double before) {
    for (u32 job = 0; job < s->job_count && s->counts.later; job++) {
        if (s->jobs[job].state != JOB_LATER || s->jobs[job].since > before) continue;
        s->counts.later--;
        s->counts.undecided++;
        queue_job(s, job);
    }
    return PS_OK;
}

int ps_swarm_give_up_later(ps_swarm *s) {
    for (u32 job = 0; job < s->job_count && s->counts.later; job++) {
        if (s->jobs[job].state != JOB_LATER) continue;
        s->counts.later--;
        swarm_say_undelivered(s, &s->jobs[job]);
        if (gen_route_swarm(s->p.gen, s->jobs[job].ndx) != PS_OK || swarm_settle(s, job, PS_SETTLED_FAILED) != PS_OK) return PS_FAIL;
    }
    return PS_OK;
}

/* ---- answers ----------------------------------------------------------------------------------- */

static int malformed(ps_swarm *s, const char *what) {
    return ps_fail(s->p.c, 2, 0, "the origin's digest answer is malformed: %s", what);
}

static void answered(ps_swarm *s, swarm_ask *a, u32 entry) {
    swarm_job *j = &s->jobs[a->jobs[entry]];
    u64 bytes = answer_bytes(j);
    s->window_bytes -= bytes < s->window_bytes ? bytes : s->window_bytes;
    s->window_entries--;
    s->counts.undecided--;
    a->jobs[entry] = SWARM_NONE;
    a->open--;
}

static bool complete(const swarm_job *j) {
    return j->head_seen && (j->piece_count < 2 || j->pieces_have == j->piece_count) && j->blocks_have == (u32)j->head.count;
}

/* The entry is decided: the file joins, or goes the classic way. */
static int decided(ps_swarm *s, swarm_ask *a, u32 entry, bool joins, bool no_digest) {
    u32 job = a->jobs[entry];
    swarm_job *j = &s->jobs[job];
    if (j->state == JOB_PENDING) s->counts.pending--;
    answered(s, a, entry);
    if (joins && j->piece_count > 1) {
        u8 root[32];
        pieces_root(j->pieces, (u64)j->size, root);
        if (memcmp(root, j->root, 32) != 0) return malformed(s, "the pieces do not make the file's digest");
    }
    return joins && !s->closed ? swarm_ready(s, job) : swarm_to_classic(s, job, no_digest);
}

/* Reserves what a good answer brings. Counts follow from the file's size alone, which met its limits in the file list. */
static bool prepare(swarm_job *j) {
    u64 pieces = piece_count((u64)j->size);
    if (pieces > PS_NOMINATE_PIECES) return false;
    j->piece_count = (u32)pieces;
    if (pieces > 1 && !(j->pieces = malloc(pieces * 32))) return false;
    if (j->basis_size > 0 && j->size > 0) {
        sum_head_for(j->size, 0, 30, PS_SUM_XXH128, false, &j->head);
        j->head.strong_length = 8;
        if (j->head.count > PS_LIMIT_BLOCKS || !(j->sums = malloc((size_t)j->head.count * DIGESTS_BLOCK_BYTES))) return false;
    }
    return true;
}

static int take_head(ps_swarm *s, swarm_ask *a, const digests_part *p) {
    swarm_job *j = &s->jobs[a->jobs[p->entry]];
    if (j->head_seen) return malformed(s, "an entry has two heads");
    if (p->status == DIGESTS_PENDING) {
        if (j->state == JOB_PENDING) return malformed(s, "an entry is pending twice");
        j->state = JOB_PENDING;
        j->since = s->now;
        s->counts.pending++;
        return PS_OK;
    }
    ps_flist *list;
    ps_file *f = swarm_file(s, j, &list, NULL);
    bool known = p->status == DIGESTS_OK;
    bool same = f && known && p->size == (u64)j->size && p->mtime == f->mtime &&
                (s->p.c->o.protocol < 31 || !f->mtime_ns || p->mtime_ns == f->mtime_ns);
    if (!same || p->digest_kind != DIGESTS_KIND_BLAKE3 || !j->size || !prepare(j)) return decided(s, a, p->entry, false, !known);
    memcpy(j->root, p->root, DIGESTS_PIECE_BYTES);
    j->head_seen = true;
    return complete(j) ? decided(s, a, p->entry, true, false) : PS_OK;
}

/* Pieces or block sums: a run goes on where the last one ended. */
static int take_run(ps_swarm *s, swarm_ask *a, const digests_part *p) {
    swarm_job *j = &s->jobs[a->jobs[p->entry]];
    bool pieces = p->kind == DIGESTS_PIECES;
    size_t width = digests_record_bytes(p->kind);
    u32 *have = pieces ? &j->pieces_have : &j->blocks_have;
    u32 all = pieces ? (j->piece_count > 1 ? j->piece_count : 0) : (u32)j->head.count;
    if (!j->head_seen || p->first != *have || p->count > all - *have) return malformed(s, "a part is out of place");
    if (p->count) memcpy((pieces ? j->pieces : j->sums) + (size_t)p->first * width, p->records, p->count * width);
    *have += p->count;
    return complete(j) ? decided(s, a, p->entry, true, false) : PS_OK;
}

static swarm_ask *find_ask(ps_swarm *s, u32 id) {
    for (u32 i = 0; i < s->ask_count; i++)
        if (s->asks[i].id == id) return &s->asks[i];
    return NULL;
}

static void drop_answered(ps_swarm *s) {
    for (u32 i = 0; i < s->ask_count;) {
        if (s->asks[i].open) {
            i++;
            continue;
        }
        free(s->asks[i].jobs);
        s->asks[i] = s->asks[--s->ask_count];
    }
}

int ps_swarm_digests(ps_swarm *s, const u8 *data, size_t len) {
    ps_reader r = rd_make(data, len);
    u32 id;
    const char *wrong = digests_start(&r, &id);
    swarm_ask *a = wrong ? NULL : find_ask(s, id);
    if (!wrong && !a && id >= s->next_ask) wrong = "it answers nothing that was asked";
    while (!wrong && rd_left(&r)) {
        digests_part p;
        wrong = digests_next(&r, &p);
        if (!wrong && a && p.entry >= a->count) wrong = "an entry was not asked for";
        /* Entries that were settled meanwhile, by a wait that ran out, are read over. */
        if (wrong || !a || a->jobs[p.entry] == SWARM_NONE) continue;
        if ((p.kind == DIGESTS_HEAD ? take_head(s, a, &p) : take_run(s, a, &p)) != PS_OK) return PS_FAIL;
    }
    if (wrong) return malformed(s, wrong);
    drop_answered(s);
    return PS_OK;
}

int ps_swarm_expire_pending(ps_swarm *s, double before) {
    if (!s->counts.pending) return PS_OK;
    for (u32 i = 0; i < s->ask_count; i++) {
        swarm_ask *a = &s->asks[i];
        for (u32 entry = 0; entry < a->count; entry++) {
            if (a->jobs[entry] == SWARM_NONE) continue;
            swarm_job *j = &s->jobs[a->jobs[entry]];
            if (j->state != JOB_PENDING || j->head_seen || j->since > before) continue;
            int status = decided(s, a, entry, false, true);
            if (status != PS_OK) return status;
        }
    }
    drop_answered(s);
    return PS_OK;
}
